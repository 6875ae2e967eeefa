#ifndef POSTERN_OAUTH_TOKENS_GRANT_H
#define POSTERN_OAUTH_TOKENS_GRANT_H

/*
 * One request for a token, by the grant that is configured (RFC 6749; RFC 7523 for assertions):
 * from settings and the stored refresh token to an HTTP request. No I/O but reading the key,
 * service account, secret and token files, anew each time: whoever rotates them needs no restart.
 * Everything a provider wants is data in config/provider.c.
 */

#include "base/arena.h"
#include "config/config.h"
#include "net/http.h"
#include "oauth/tokens/form.h"
#include "oauth/tokens/token.h"

/*
 * The request for `oauth`. `refresh_token` is the newest one known (grant refresh_token; NULL: none
 * was ever obtained: ERR_TOKEN_REFUSED, "login" first word of the detail). `now_s` since 1970.
 * ERR_CONFIG: a file cannot be read, a key is of the wrong kind. ERR_NOMEM. Not for grant
 * token_file. The request's strings are in `arena`, which should be one that wipes.
 */
int grant_request(const struct config_oauth *oauth, const char *refresh_token, int64_t now_s,
                  struct arena *arena, struct http_request *request_out, struct error *err);

/*
 * Any other form of this client to one of the provider's endpoints: a device code, an authorization
 * code. What says who the client is goes along as it is configured (RFC 6749, 2.3). Strings of
 * `form` are copied.
 */
int grant_form_request(const struct config_oauth *oauth, const char *url, const struct form *form,
                       int64_t now_s, struct arena *arena, struct http_request *request_out,
                       struct error *err);

/* Grant token_file: the token in the file, white space around it left out. How long it lives
 * nobody says: it counts for 5 min from `now_ms` on, and then the file is read again.
 * ERR_TOKEN_UNAVAILABLE, ERR_NOMEM. */
int grant_read_file(const struct config_oauth *oauth, int64_t now_ms,
                    struct oauth_token **token_out, struct error *err);

#endif
