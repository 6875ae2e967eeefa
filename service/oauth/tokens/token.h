#ifndef POSTERN_OAUTH_TOKENS_TOKEN_H
#define POSTERN_OAUTH_TOKENS_TOKEN_H

/* An access token as its endpoint granted it (RFC 6749, 5.1). Immutable once made; counted, because
 * the cache may replace it while a login still uses it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct oauth_token;

/*
 * Read a token endpoint's answer with the HTTP status `status`; `now_ms` is clock_mono_ms() from
 * before it was asked. 0, a token the caller owns, and in `*refresh_out` a refresh token that came
 * with it (malloc'd, the caller's to wipe and free; NULL: none came); or -1 with both untouched and
 * in `err`:
 *   ERR_TOKEN_REFUSED      for the reason the endpoint gave (RFC 6749, 5.2): "WORD" or "WORD: ...",
 *                          WORD its `error`
 *   ERR_TOKEN_UNAVAILABLE  it is out of order: 5xx, 429, an `error` that says so, not JSON, no
 *                          usable bearer token, a redirect
 *   ERR_NOMEM
 * `expires_in` may be a numeric string; missing, below one and a word are 5 min; at most it is
 * 24 h.
 */
int oauth_token_parse(int status, const char *body, size_t len, int64_t now_ms,
                      struct oauth_token **token_out, char **refresh_out, struct error *err);
/* One that somebody else obtained. `lifetime_ms` from `now_ms` on. ERR_TOKEN_UNAVAILABLE if it
 * could not stand in a login (CR, LF, ...; RFC 6750, 2.1). */
int oauth_token_new(const char *secret, size_t len, int64_t now_ms, int64_t lifetime_ms,
                    struct oauth_token **token_out, struct error *err);
struct oauth_token *oauth_token_ref(struct oauth_token *token);
void oauth_token_unref(
    struct oauth_token *token); /* wipes the secret with the last; NULL is fine */
DEFINE_CLEANUP(struct oauth_token *, oauth_token_unref)

int64_t oauth_token_obtained_ms(const struct oauth_token *token);
int64_t oauth_token_expires_ms(const struct oauth_token *token); /* monotonic */
const char *oauth_token_secret(const struct oauth_token *token); /* borrowed; never logged */

#endif
