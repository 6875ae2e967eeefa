#include "oauth/tokens/jwt.h"

#include <criterion/criterion.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/service/oauth/tokens/keys.h"
#include "tests/unit/support/tls_peer.h"

/* RFC 7515, A.2.1 */
#define SIGNED_INPUT                                                                               \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmN" \
    "vbS9pc19yb290Ijp0cnVlfQ"

static EVP_PKEY *key_of(const char *pem)
{
    EVP_PKEY *key = NULL;
    struct error err;
    cr_assert_eq(jwt_parse_key(pem, "key", &key, &err), 0, "%s", err.detail);
    return key;
}

static size_t decode(const char *text, size_t len, unsigned char *to)
{
    char padded[4096];
    size_t n = 0;
    for (; n < len; n++)
        padded[n] = (char)(text[n] == '-' ? '+' : text[n] == '_' ? '/' : text[n]);
    size_t n_pads = (4 - n % 4) % 4;
    for (size_t i = 0; i < n_pads; i++)
        padded[n++] = '=';
    int got = EVP_DecodeBlock(to, (unsigned char *)padded, (int)n);
    cr_assert_geq(got, (int)n_pads);
    return (size_t)got - n_pads;
}

/* By OpenSSL's own verifying. */
static bool verifies(EVP_PKEY *key, bool pss, const char *octets, size_t len, const char *signature)
{
    unsigned char raw[1024], der[1024], *end = der;
    size_t n = decode(signature, strlen(signature), raw);
    EVP_PKEY_CTX *parameters = NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestVerifyInit(context, &parameters, EVP_sha256(), NULL, key), 1);
    if (EVP_PKEY_is_a(key, "EC")) {
        cr_assert_eq(n, 64);
        ECDSA_SIG *pair = ECDSA_SIG_new();
        ECDSA_SIG_set0(pair, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
        n = (size_t)i2d_ECDSA_SIG(pair, &end);
        ECDSA_SIG_free(pair);
    } else {
        memcpy(der, raw, n);
    }
    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST);
    }
    bool good = EVP_DigestVerify(context, der, n, (const unsigned char *)octets, len) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

/* The RFC's signatures, by what verifies ours. */
Test(oauth_jwt, signatures_of_rfc_7515)
{
    static const char es256_input[] =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl"
        "LmNvbS9pc19yb290Ijp0cnVlfQ";
    EVP_PKEY *rsa = key_of(rsa_pem), *p256 = key_of(p256_pem);
    cr_expect(verifies(rsa, false, SIGNED_INPUT, strlen(SIGNED_INPUT),
                       "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0"
                       "Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnby"
                       "TyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jz"
                       "DwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq"
                       "Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"));
    cr_expect(verifies(p256, false, es256_input, strlen(es256_input),
                       "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJ"
                       "qPP3-Kg6NU1Q"));
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);
}

/* A signature of it is another each time. Often, for halves with zeros in front. */
Test(oauth_jwt, es256_has_halves_of_full_length)
{
    EVP_PKEY *key = key_of(p256_pem);
    for (int i = 0; i < 1000; i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        json_auto_t *claims = json_pack("{s:i}", "exp", i);
        char *token = NULL;
        struct error err;
        cr_assert_eq(jwt_sign(&(struct jwt){.claims = claims}, key, arena, &token, &err), 0);
        const char *last = strrchr(token, '.');
        cr_assert_eq(strlen(last + 1), 86);
        cr_assert(verifies(key, false, token, (size_t)(last - token), last + 1), "%s", token);
    }
    EVP_PKEY_free(key);
}

Test(oauth_jwt, whole)
{
    static const struct {
        const char *pem;
        bool pss;
        const char *key_id, *thumbprint, *header;
    } rows[] = {
        {rsa_pem, false, NULL, NULL, "{\"alg\":\"RS256\",\"typ\":\"JWT\"}"},
        {rsa_pem, true, NULL, "abc", "{\"alg\":\"PS256\",\"typ\":\"JWT\",\"x5t#S256\":\"abc\"}"},
        {p256_pem, true, "k\"1", NULL, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"k\\\"1\"}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        json_auto_t *claims = json_pack("{s:s, s:i}", "iss", "joe", "exp", 7);
        EVP_PKEY *key = key_of(rows[i].pem);
        const struct jwt jwt = {.claims = claims,
                                .key_id = rows[i].key_id,
                                .thumbprint = rows[i].thumbprint,
                                .pss = rows[i].pss};
        char *token = NULL;
        struct error err;
        unsigned char text[512];
        cr_assert_eq(jwt_sign(&jwt, key, arena, &token, &err), 0);
        const char *dot = strchr(token, '.'), *last = strrchr(token, '.');
        text[decode(token, (size_t)(dot - token), text)] = '\0';
        cr_expect_str_eq((char *)text, rows[i].header);
        text[decode(dot + 1, (size_t)(last - dot - 1), text)] = '\0';
        cr_expect_str_eq((char *)text, "{\"iss\":\"joe\",\"exp\":7}");
        cr_expect(verifies(key, rows[i].pss && EVP_PKEY_is_a(key, "RSA"), token,
                           (size_t)(last - token), last + 1),
                  "%zu", i);
        EVP_PKEY_free(key);
    }
}

/* --- keys ---------------------------------------------------------------------------------- */

static char *pem_of(EVP_PKEY *key, const char *passphrase)
{
    char *text;
    BIO *bio = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_PrivateKey(bio, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                                          NULL, 0, NULL, (void *)passphrase),
                 1);
    size_t len = (size_t)BIO_get_mem_data(bio, &text);
    char *copy = strndup(text, len);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return copy;
}

Test(oauth_jwt, keys_of_the_wrong_kind)
{
    const struct {
        char *pem;
        const char *why;
    } rows[] = {
        {pem_of(EVP_RSA_gen(1024), NULL), "key: a key of the wrong kind"},
        {pem_of(EVP_EC_gen("P-384"), NULL), "key: a key of the wrong kind"},
        {pem_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL), "key: a key of the wrong kind"},
        {pem_of(EVP_EC_gen("P-256"), "secret"), "key: the key has a passphrase"},
        {strdup(""), "key: no private key in PEM"},
        {strdup("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
         "key: no private key in PEM"},
        {strdup("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
         "key: no private key in PEM"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_PKEY *key = NULL;
        struct error err = {0};
        cr_expect_lt(jwt_parse_key(rows[i].pem, "key", &key, &err), 0);
        cr_expect_eq(err.code, ERR_CONFIG);
        cr_expect_not_null(strstr(err.detail, rows[i].why), "%zu: %s", i, err.detail);
        cr_expect_null(key);
        cr_expect_eq(ERR_peek_error(), 0, "OpenSSL's queue is left empty");
        free(rows[i].pem);
    }
}

Test(oauth_jwt, missing_files)
{
    EVP_PKEY *key = NULL;
    char thumbprint[JWT_THUMBPRINT_SIZE];
    struct error err = {0};
    cr_expect_lt(jwt_read_key("/nonexistent/key.pem", &key, &err), 0);
    cr_expect_str_eq(err.detail, "/nonexistent/key.pem: No such file or directory");
    cr_expect_lt(jwt_read_thumbprint("/nonexistent/c.pem", thumbprint, &err), 0);
    cr_expect_eq(err.code, ERR_CONFIG);
    cr_expect_lt(jwt_read_thumbprint("/dev/null", thumbprint, &err), 0);
    cr_expect_str_eq(err.detail, "/dev/null: no certificate in PEM");
}

Test(oauth_jwt, thumbprint)
{
    struct tls_identity identity;
    char certificate_path[] = "/tmp/postern-jwt-c-XXXXXX", key_path[] = "/tmp/postern-jwt-k-XXXXXX";
    char thumbprint[JWT_THUMBPRINT_SIZE];
    unsigned char digest[EVP_MAX_MD_SIZE], decoded[64];
    unsigned len = 0;
    EVP_PKEY *key = NULL;
    struct error err = {0};
    close(mkstemp(certificate_path));
    close(mkstemp(key_path));
    tls_identity_init(&identity, &(struct tls_identity_settings){.names = "DNS:a.example"});
    tls_identity_write(&identity, certificate_path, key_path);
    cr_assert_eq(jwt_read_thumbprint(certificate_path, thumbprint, &err), 0, "%s", err.detail);
    X509_digest(identity.certificate, EVP_sha256(), digest, &len);
    cr_expect_eq(decode(thumbprint, strlen(thumbprint), decoded), len);
    cr_expect_eq(memcmp(decoded, digest, len), 0);
    cr_assert_eq(jwt_read_key(key_path, &key, &err), 0, "%s", err.detail);
    cr_expect_eq(EVP_PKEY_eq(key, identity.key), 1);
    EVP_PKEY_free(key);
    tls_identity_clear(&identity);
    unlink(certificate_path);
    unlink(key_path);
}
