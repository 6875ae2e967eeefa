#ifndef POSTERN_OAUTH_GRANT_H
#define POSTERN_OAUTH_GRANT_H

/*
 * One request for a token, by the grant that is configured (RFC 6749; RFC 7523 for assertions):
 * from settings and the stored refresh token to an HTTP request. No I/O but reading the key,
 * service account and token files. Everything a provider wants is data in provider.c.
 */

#include "base/http.h"
#include "config/config.h"
#include "oauth/token.h"

/*
 * The request for `oauth`. `refresh_token` is the newest one known (grant refresh_token; NULL: none
 * was ever obtained: ERR_TOKEN_REFUSED, "login" first word of the detail). `now_s` since 1970.
 * ERR_CONFIG: a file cannot be read, a key is of the wrong kind. Not for grant token_file.
 * The request's strings are in `arena`, which wipes them.
 */
int grant_request(const struct config_oauth *oauth, const char *refresh_token, int64_t now_s,
                  struct arena *arena, struct http_request *request_out, struct error *err);

/* Grant token_file: the file's token. Its lifetime: 5 min from its modification on if nobody says
 * more; the file is read again when asked again. ERR_TOKEN_UNAVAILABLE. */
int grant_read_file(const struct config_oauth *oauth, int64_t now_ms,
                    struct oauth_token **token_out, struct error *err);

#endif
