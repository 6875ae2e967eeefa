#include "api/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

#include "api/problem.h"

/* All keys are compared, each in constant time. */
static const struct config_api_key *find_key(const struct config *config, const char *secret)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    const struct config_api_key *found = NULL;
    SHA256((const unsigned char *)secret, strlen(secret), digest);
    for (size_t i = 0; i < config->n_api_keys; i++)
        if (CRYPTO_memcmp(digest, config->api_keys[i].sha256, sizeof(digest)) == 0)
            found = &config->api_keys[i];
    return found;
}

bool auth_admit(struct api_request *request, unsigned scope)
{
    const struct config *config = request->context->config;
    if (scope == 0 || config->n_api_keys == 0)
        return true;
    const char *header = request->header(request, "Authorization");
    if (header != NULL && strncasecmp(header, "Bearer ", 7) == 0) /* 1*SP: RFC 9110, 11.4 */
        request->api_key = find_key(config, header + 7 + strspn(header + 7, " "));
    if (request->api_key == NULL) {
        problem_respond(request, PROBLEM_UNAUTHORIZED, NULL);
        return false;
    }
    if ((request->api_key->scopes & scope) == 0) {
        problem_respond(request, PROBLEM_FORBIDDEN, "The key does not have the scope for this.");
        return false;
    }
    return true;
}
