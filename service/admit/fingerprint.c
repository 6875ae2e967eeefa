#include "admit/fingerprint.h"

#include <openssl/evp.h>

#include "base/json_canonical.h"

static void hash(void *arg, const char *text, size_t len)
{
    EVP_DigestUpdate(arg, text, len);
}

bool fingerprint_json(struct arena *arena, const struct json_value *request,
                      uint8_t out[STORE_FINGERPRINT_SIZE])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                json_canonical(arena, request, hash, context) &&
                EVP_DigestFinal_ex(context, out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return good;
}
