#ifndef POSTERN_OAUTH_LOGIN_AUTHORIZATION_H
#define POSTERN_OAUTH_LOGIN_AUTHORIZATION_H

/*
 * An authorization code, without I/O (RFC 6749, 4.1): the address a person is sent to, and what
 * comes back from there. `state` ties the answer to this question, so that nobody slips in a code
 * of their own; the verifier of PKCE (RFC 7636, always S256) ties the code to this process, so that
 * whoever sees the code has no use for it.
 */

#include "base/arena.h"
#include "base/error.h"
#include "config/config.h"

enum {
    AUTHORIZATION_CODE_SIZE = 8192, /* Microsoft's have more than a thousand characters */
    AUTHORIZATION_VERIFIER_SIZE = 65,
};

struct authorization {
    char verifier[AUTHORIZATION_VERIFIER_SIZE]; /* secret until the code is exchanged */
    char state[33];
    char redirect_uri[512];
};

/* With new random values. ERR_INVALID: `redirect_uri` is too long. */
int authorization_init(struct authorization *a, const char *redirect_uri, struct error *err);

/* Where to send the person, the arena's. `user` is whom they will be asked to log in as, NULL:
 * anybody. ERR_NOMEM. */
int authorization_url(const struct authorization *a, const struct config_oauth *oauth,
                      const char *user, struct arena *arena, char **url_out, struct error *err);

/*
 * The query that a redirect brought: the code, or -1 with `code_out` untouched:
 *   ERR_INVALID        it does not answer this question (its `state` is another's), or it holds
 *                      neither code nor error: as if it had not come
 *   ERR_TOKEN_REFUSED  the provider's `error`, first word of the detail
 */
int authorization_read(const struct authorization *a, const char *query,
                       char code_out[AUTHORIZATION_CODE_SIZE], struct error *err);
/* The same of what a person pasted: the whole address they ended up at, or the code alone (whose
 * origin only the verifier vouches for). */
int authorization_read_pasted(const struct authorization *a, const char *line,
                              char code_out[AUTHORIZATION_CODE_SIZE], struct error *err);

#endif
