#ifndef POSTERN_OAUTH_LOGIN_DEVICE_H
#define POSTERN_OAUTH_LOGIN_DEVICE_H

/*
 * A device code (RFC 8628), without I/O: a person goes to an address on any machine and types a
 * short code there, while this side asks the token endpoint again and again whether they have.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct device {
    char code[4096];            /* secret */
    char user_code[64];         /* what the person types */
    char verification_uri[512]; /* where */
    int64_t expires_ms;         /* monotonic; then all was in vain */
    int64_t interval_ms;        /* between two polls, as the server wants it */
    int64_t setback_ms;         /* instead, while it is out of order */
};

/* The device authorization endpoint's answer. ERR_TOKEN_REFUSED with its `error` as first word of
 * the detail; ERR_TOKEN_UNAVAILABLE: there is no use in what it said. */
int device_parse(int status, const char *body, size_t len, int64_t now_ms,
                 struct device *device_out, struct error *err);

enum device_verdict {
    DEVICE_FAILED = -1, /* `err`: ERR_TOKEN_REFUSED */
    DEVICE_GRANTED,     /* the body holds the tokens */
    DEVICE_PENDING,     /* ask again after device_wait_ms() */
};

/* A poll's answer. */
enum device_verdict device_judge(struct device *device, int status, const char *body, size_t len,
                                 struct error *err);
/* A poll that had no answer, or none of use: it is asked ever more seldom (RFC 8628, 3.5). */
void device_set_back(struct device *device);
int64_t device_wait_ms(const struct device *device);

#endif
