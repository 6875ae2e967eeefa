#include "oauth/tokens/jwt.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"

enum {
    RSA_BITS_MIN = 2048, /* RFC 7518, 3.3 */
    P256_OCTETS = 32,    /* of each half of a signature (RFC 7518, 3.4) */
};

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free)
DEFINE_CLEANUP(X509 *, X509_free)

/* --- keys ---------------------------------------------------------------------------------- */

/* Else OpenSSL would ask on the terminal. `arg`: a bool, whether it was wanted. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    *(bool *)arg = true;
    return -1;
}

static bool is_p256(EVP_PKEY *key)
{
    char curve[64];
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve),
                                          NULL) == 1 &&
           (strcmp(curve, "prime256v1") == 0 || strcmp(curve, "P-256") == 0);
}

static bool is_fit(EVP_PKEY *key)
{
    return is_p256(key) || (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN);
}

static int read_key(BIO *bio, const char *name, EVP_PKEY **key_out, struct error *err)
{
    bool locked = false;
    CLEANUP(EVP_PKEY_free)
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &locked);
    ERR_clear_error();
    if (locked)
        return error_set(err, ERR_CONFIG, "%s: the key has a passphrase: write it without", name);
    if (key == NULL)
        return error_set(err, ERR_CONFIG, "%s: no private key in PEM", name);
    if (!is_fit(key))
        return error_set(err, ERR_CONFIG,
                         "%s: a key of the wrong kind: RSA of at least %d bits, or P-256", name,
                         RSA_BITS_MIN);
    *key_out = TAKE(key);
    return 0;
}

static int open_file(const char *path, BIO **bio_out, struct error *err)
{
    errno = 0;
    BIO *bio = BIO_new_file(path, "rb");
    int errnum = errno;
    ERR_clear_error();
    if (bio == NULL)
        return error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errnum));
    *bio_out = bio;
    return 0;
}

int jwt_read_key(const char *path, EVP_PKEY **key_out, struct error *err)
{
    CLEANUP(BIO_free_all) BIO *bio = NULL;
    if (open_file(path, &bio, err) < 0)
        return -1;
    return read_key(bio, path, key_out, err);
}

int jwt_parse_key(const char *pem, const char *name, EVP_PKEY **key_out, struct error *err)
{
    CLEANUP(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);
    if (bio == NULL)
        return error_set(err, ERR_NOMEM, "%s", name);
    return read_key(bio, name, key_out, err);
}

/* --- certificates -------------------------------------------------------------------------- */

int jwt_read_thumbprint(const char *path, char thumbprint_out[JWT_THUMBPRINT_SIZE],
                        struct error *err)
{
    CLEANUP(BIO_free_all) BIO *bio = NULL;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    bool locked;
    if (open_file(path, &bio, err) < 0)
        return -1;
    CLEANUP(X509_free) X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, &locked);
    ERR_clear_error();
    if (certificate == NULL)
        return error_set(err, ERR_CONFIG, "%s: no certificate in PEM", path);
    if (X509_digest(certificate, EVP_sha256(), digest, NULL) != 1)
        return error_set(err, ERR_NOMEM, "%s", path);
    encode_base64url(digest, sizeof(digest), thumbprint_out);
    return 0;
}

/* --- signing ------------------------------------------------------------------------------- */

static int begin(EVP_MD_CTX *context, EVP_PKEY *key, bool pss)
{
    EVP_PKEY_CTX *parameters = NULL; /* the context's */
    if (EVP_DigestSignInit(context, &parameters, EVP_sha256(), NULL, key) != 1)
        return -1;
    if (!pss || !EVP_PKEY_is_a(key, "RSA"))
        return 0;
    return EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
                   EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1
               ? 0
               : -1;
}

/* OpenSSL's is a DER sequence of R and S, RFC 7518's (3.4) is R and S at their full length. */
static int raw_of_der(unsigned char *signature, size_t *len)
{
    const unsigned char *der = signature;
    CLEANUP(ECDSA_SIG_free) ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)*len);
    if (pair == NULL || *len < 2 * P256_OCTETS)
        return -1;
    *len = 2 * P256_OCTETS;
    return BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, P256_OCTETS) == P256_OCTETS &&
                   BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + P256_OCTETS, P256_OCTETS) ==
                       P256_OCTETS
               ? 0
               : -1;
}

static int sign(const char *octets, size_t len, EVP_PKEY *key, bool pss, struct arena *arena,
                char **signature_out, struct error *err)
{
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t n = (size_t)EVP_PKEY_get_size(key);
    n = n > 2 * P256_OCTETS ? n : 2 * P256_OCTETS;
    unsigned char *signature = arena_alloc(arena, n);
    char *text = arena_alloc(arena, ENCODE_BASE64URL_SIZE(n));
    if (context == NULL || signature == NULL || text == NULL)
        return error_set(err, ERR_NOMEM, "signature");
    if (begin(context, key, pss) < 0 ||
        EVP_DigestSign(context, signature, &n, (const unsigned char *)octets, len) != 1 ||
        (EVP_PKEY_is_a(key, "EC") && raw_of_der(signature, &n) < 0)) {
        ERR_clear_error();
        return error_set(err, ERR_INTERNAL, "OpenSSL did not sign");
    }
    encode_base64url(signature, n, text);
    *signature_out = text;
    return 0;
}

static const char *algorithm(EVP_PKEY *key, bool pss)
{
    if (EVP_PKEY_is_a(key, "EC"))
        return "ES256";
    return pss ? "PS256" : "RS256";
}

static char *encode_json(const json_t *json, struct arena *arena)
{
    char *text = json_dumps(json, JSON_COMPACT);
    char *encoded = text != NULL ? arena_alloc(arena, ENCODE_BASE64URL_SIZE(strlen(text))) : NULL;
    if (encoded != NULL)
        encode_base64url(text, strlen(text), encoded);
    free(text);
    return encoded;
}

static char *encode_header(const struct jwt *jwt, EVP_PKEY *key, struct arena *arena)
{
    json_auto_t *header = json_pack("{s:s, s:s, s:s*, s:s*}", "alg", algorithm(key, jwt->pss),
                                    "typ", "JWT", "kid", jwt->key_id, "x5t#S256", jwt->thumbprint);
    return header != NULL ? encode_json(header, arena) : NULL;
}

int jwt_sign(const struct jwt *jwt, EVP_PKEY *key, struct arena *arena, char **token_out,
             struct error *err)
{
    const char *header = encode_header(jwt, key, arena);
    const char *payload = encode_json(jwt->claims, arena);
    if (header == NULL || payload == NULL)
        return error_set(err, ERR_NOMEM, "assertion");
    const char *octets = arena_printf(arena, "%s.%s", header, payload);
    char *signature = NULL;
    if (octets == NULL)
        return error_set(err, ERR_NOMEM, "assertion");
    if (sign(octets, strlen(octets), key, jwt->pss, arena, &signature, err) < 0)
        return -1;
    char *token = arena_printf(arena, "%s.%s", octets, signature);
    if (token == NULL)
        return error_set(err, ERR_NOMEM, "assertion");
    *token_out = token;
    return 0;
}
