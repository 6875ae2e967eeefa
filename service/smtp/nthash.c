#include "smtp/nthash.h"

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* MD4 is kept out of OpenSSL's default context, so that nothing else can use it by mistake. Made
 * once, for the process's life. */
static EVP_MD *md4;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load_md4(void)
{
    static OSSL_LIB_CTX *context;
    context = OSSL_LIB_CTX_new();
    if (context != NULL && OSSL_PROVIDER_load(context, "legacy") != NULL)
        md4 = EVP_MD_fetch(context, "MD4", NULL);
}

static size_t put_unit(unsigned char *out, uint32_t unit)
{
    out[0] = unit & 0xff;
    out[1] = (unit >> 8) & 0xff;
    return 2;
}

/* UTF-16, little endian; `out` has room for two octets for each of `text`, which suffices. Returns
 * the octets, or -1 if `text` is not UTF-8. */
static long to_utf16(const char *text, size_t len, unsigned char *out)
{
    size_t n = 0;
    for (size_t at = 0, used; at < len; at += used) {
        uint32_t c;
        used = utf8_code_point(text + at, len - at, &c);
        if (used == 0)
            return -1;
        if (c < 0x10000) {
            n += put_unit(out + n, c);
        } else {
            n += put_unit(out + n, 0xd800 + ((c - 0x10000) >> 10));
            n += put_unit(out + n, 0xdc00 + ((c - 0x10000) & 0x3ff));
        }
    }
    return (long)n;
}

static int hash(const unsigned char *octets, size_t len, char hex_out[NTHASH_SIZE],
                struct error *err)
{
    unsigned char digest[NTHASH_OCTETS];
    pthread_once(&once, load_md4);
    if (md4 == NULL)
        return error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE,
                         "AUTH NTLM wants MD4, and OpenSSL's module \"legacy\" is not there");
    if (EVP_Digest(octets, len, digest, NULL, md4, NULL) != 1)
        return error_set(err, ERR_NOMEM, "AUTH NTLM");
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(hex_out + 2 * i, 3, "%02x", digest[i]);
    explicit_bzero(digest, sizeof(digest));
    return 0;
}

int nthash_of(const char *password, char hex_out[NTHASH_SIZE], struct error *err)
{
    size_t len = strlen(password);
    unsigned char *octets = malloc(2 * len + 1);
    if (octets == NULL)
        return error_set(err, ERR_NOMEM, "AUTH NTLM");
    long n = to_utf16(password, len, octets);
    int rc = n >= 0 ? hash(octets, (size_t)n, hex_out, err)
                    : error_set(err, ERR_AUTH_FAILED,
                                "AUTH NTLM cannot carry the characters of this password");
    explicit_bzero(octets, 2 * len + 1);
    free(octets);
    return rc;
}
