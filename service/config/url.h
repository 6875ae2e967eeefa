#ifndef POSTERN_CONFIG_URL_H
#define POSTERN_CONFIG_URL_H

/* "scheme://user:password@host:port/?query" (RFC 3986), as POSTERN_RELAY and proxies are written.
 */

#include <stddef.h>
#include <stdint.h>

struct url_part { /* borrowed from the text, not decoded; `at` NULL: it is not there */
    const char *at;
    size_t len;
};

struct url {
    struct url_part scheme, user, password;
    struct url_part host; /* IPv6 without its brackets */
    struct url_part query;
    uint16_t port; /* 0: not there */
};

/*
 * -1: not of that form, and the caller says what is wanted: the text may hold a password. A path is
 * refused, because it is most likely the end of a password with a "/" that was not encoded. For the
 * same reason the last "@" ends the login.
 */
int url_split(const char *text, struct url *url_out);

/* Percent-encoding undone, into at least part.len + 1 octets. -1: a percent sign without two
 * digits, or %00. */
int url_decode(struct url_part part, char *out);

#endif
