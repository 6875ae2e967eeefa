#ifndef POSTERN_OAUTH_LOGIN_LOGIN_H
#define POSTERN_OAUTH_LOGIN_LOGIN_H

/*
 * The first refresh token of an oauth entry, with the help of a person: by a device code where the
 * provider gives mail to devices (RFC 8628), else by an authorization code with PKCE (RFC 6749,
 * 7636) that comes back over loopback (RFC 8252) or is pasted. It runs on a loop of its own until
 * that is done, failed, out of time or interrupted. It stores nothing and prints nothing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"

struct login_listener { /* what the person is to be told; called on the thread of login_run() */
    void (*device)(void *arg, const char *uri, const char *user_code); /* go there, type this */
    void (*visit)(void *arg, const char *url);                         /* open this */
    void (*waiting)(void *arg, int64_t left_s);                        /* about once a second */
    /* Something came that is no answer to this login: it goes on. */
    void (*ignored)(void *arg, const struct error *why);
    void *arg;
};

struct login_options {
    const char *user;         /* whom the person will log in as; NULL: they will say */
    bool by_code;             /* no device code, though there could be one */
    bool paste;               /* the browser is elsewhere: nothing comes back over loopback */
    int paste_fd;             /* what is pasted is read from there; -1: nothing is pasted */
    const char *redirect_uri; /* registered with the provider, for `paste`; NULL: loopback */
};

/*
 * `oauth` is filled in (provider_fill). 0 and a refresh token, malloc'd, the
 * caller's to wipe and free, or -1:
 *   ERR_CONFIG             the entry has no endpoint to go to
 *   ERR_TOKEN_REFUSED      the provider, or the person there, said no; or no refresh token came
 *   ERR_TOKEN_UNAVAILABLE  an endpoint is out of order
 *   ERR_TIMEOUT            nobody did what was asked
 *   ERR_DRAINING           SIGINT or SIGTERM
 *   ERR_INVALID            nothing of use was pasted
 * and those of http.h.
 */
int login_run(const struct config_oauth *oauth, const struct login_options *options,
              const struct login_listener *listener, char **refresh_token_out, struct error *err);

#endif
