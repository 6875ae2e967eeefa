/* What a token endpoint answers: a token that can stand in a login, for a while, or one error. The
 * first octet chooses the status. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oauth/tokens/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_MS = 1000 };

static void judge(const struct oauth_token *token)
{
    const char *secret = oauth_token_secret(token);
    int64_t lifetime_ms = oauth_token_expires_ms(token) - NOW_MS;
    if (secret[0] == '\0' || strpbrk(secret, "\r\n\x01 ") != NULL || strlen(secret) > 9216 ||
        lifetime_ms < 1000 || lifetime_ms > 86400000)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 400, 302, 503};
    if (size == 0)
        return 0;
    struct oauth_token *token = NULL;
    char *refresh = NULL;
    struct error err = {0};
    int rc = oauth_token_parse(statuses[data[0] % 4], (const char *)data + 1, size - 1, NOW_MS,
                               &token, &refresh, &err);
    if (rc == 0)
        judge(token);
    else if (token != NULL || refresh != NULL ||
             (err.code != ERR_TOKEN_REFUSED && err.code != ERR_TOKEN_UNAVAILABLE))
        abort();
    oauth_token_unref(token);
    free(refresh);
    return 0;
}
