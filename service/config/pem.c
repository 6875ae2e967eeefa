#include "config/pem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

enum {
    FILE_MAX = 16 << 20,
    SECURITY_LEVEL = 2, /* as of the connections: smtp/transport_tls.c */
};

/* --- what it may be instead ----------------------------------------------------------------- */

static int read_file(const char *path, struct buffer *out, struct error *err)
{
    char chunk[4096];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno));
    errno = 0;
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), file)) > 0 && !out->failed;)
        buffer_append(out, chunk, n);
    int errnum = ferror(file) != 0 ? errno : 0;
    fclose(file);
    explicit_bzero(chunk, sizeof(chunk));
    if (errnum != 0)
        return error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errnum));
    return out->failed ? error_set(err, ERR_CONFIG, "%s is larger than %d octets", path, FILE_MAX)
                       : 0;
}

static void wipe(struct buffer *text)
{
    if (text->data != NULL)
        explicit_bzero(text->data, text->size);
    buffer_clear(text);
}

static bool has(const struct buffer *text, const char *words)
{
    return text->len > 0 && memmem(text->data, text->len, words, strlen(words)) != NULL;
}

/* Not PEM, but what PEM would hold; the command that makes PEM of it. NULL: not that either. */
static const char *in_binary(const struct buffer *text)
{
    const unsigned char *at = (const unsigned char *)text->data, *p;
    long len = (long)text->len;
    const char *is = NULL;
    if (len == 0 || at[0] != 0x30)
        return NULL;
    X509 *certificate = d2i_X509(NULL, (p = at, &p), len);
    PKCS7 *pkcs7 = certificate == NULL ? d2i_PKCS7(NULL, (p = at, &p), len) : NULL;
    PKCS12 *pkcs12 =
        certificate == NULL && pkcs7 == NULL ? d2i_PKCS12(NULL, (p = at, &p), len) : NULL;
    EVP_PKEY *key = certificate == NULL && pkcs7 == NULL && pkcs12 == NULL
                        ? d2i_AutoPrivateKey(NULL, (p = at, &p), len)
                        : NULL;
    if (certificate != NULL)
        is = "is DER, not PEM: openssl x509 -inform der -in FILE -out FILE.pem";
    else if (pkcs7 != NULL)
        is = "is PKCS#7, not PEM: openssl pkcs7 -inform der -print_certs -in FILE -out FILE.pem";
    else if (pkcs12 != NULL)
        is = "is PKCS#12, not PEM: openssl pkcs12 -in FILE -nodes -out FILE.pem";
    else if (key != NULL)
        is = "is a key in DER, not PEM: openssl pkey -inform der -in FILE -out FILE.pem";
    X509_free(certificate);
    PKCS7_free(pkcs7);
    PKCS12_free(pkcs12);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return is;
}

/* Which of its certificates cannot be read, counted from 1; 0: all can. */
static size_t broken_entry(const struct buffer *text)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    const char *at = text->data, *end = at + text->len;
    for (size_t n = 1; (at = memmem(at, (size_t)(end - at), begin, strlen(begin))) != NULL; n++) {
        BIO *bio = BIO_new_mem_buf(at, (int)(end - at));
        X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
        if (certificate == NULL)
            return n;
        X509_free(certificate);
        at += strlen(begin);
    }
    return 0;
}

enum wanted { CERTIFICATES, KEY };

/* `reason` is OpenSSL's word, for what nobody has a better one. */
static int explain(const char *path, enum wanted wanted, const char *reason, struct error *err)
{
    struct buffer text;
    const char *is = NULL;
    buffer_init(&text, FILE_MAX);
    if (read_file(path, &text, err) < 0) {
        wipe(&text);
        return -1;
    }
    size_t broken = wanted == CERTIFICATES && text.len > 0 ? broken_entry(&text) : 0;
    bool has_key = has(&text, "PRIVATE KEY-----"), has_certificate = has(&text, "CERTIFICATE-----");
    if (text.len == 0)
        is = "is empty";
    else if (!has(&text, "-----BEGIN "))
        is = in_binary(&text) != NULL ? in_binary(&text) : "is not PEM";
    else if (has(&text, "BEGIN PKCS7"))
        is = "is PKCS#7: openssl pkcs7 -print_certs -in FILE -out FILE.pem";
    else if (wanted == CERTIFICATES && has(&text, "CERTIFICATE REQUEST-----"))
        is = "holds a request for a certificate, not the certificate";
    else if (wanted == CERTIFICATES && has_key && !has_certificate)
        is = "holds a private key, not a certificate";
    else if (wanted == KEY && has(&text, "ENCRYPTED"))
        is = "is encrypted, and there is nobody to ask for its passphrase: openssl pkey -in FILE "
             "-out FILE.key";
    else if (wanted == KEY && !has_key && has_certificate)
        is = "holds a certificate, not a private key";
    wipe(&text);
    if (is != NULL)
        return error_set(err, ERR_CONFIG, "%s %s", path, is);
    if (broken > 0)
        return error_set(err, ERR_CONFIG, "%s: certificate number %zu in it cannot be read", path,
                         broken);
    return error_set(err, ERR_CONFIG, "%s: %s", path, reason);
}

/* --- as it will be loaded ------------------------------------------------------------------ */

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown reason";
}

static int no_passphrase(char *text, int size, int writing, void *arg)
{
    return -1;
}

static SSL_CTX *new_context(struct error *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL) {
        error_set(err, ERR_NOMEM, "TLS context");
        return NULL;
    }
    if (SSL_CTX_get_security_level(ctx) < SECURITY_LEVEL)
        SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    return ctx;
}

int config_pem_authorities(const char *path, struct error *err)
{
    SSL_CTX *ctx = new_context(err);
    if (ctx == NULL)
        return -1;
    int rc = SSL_CTX_load_verify_file(ctx, path) == 1
                 ? 0
                 : explain(path, CERTIFICATES, openssl_reason(), err);
    SSL_CTX_free(ctx);
    return rc;
}

int config_pem_certificate(const char *path, struct error *err)
{
    SSL_CTX *ctx = new_context(err);
    if (ctx == NULL)
        return -1;
    int rc = SSL_CTX_use_certificate_chain_file(ctx, path) == 1
                 ? 0
                 : explain(path, CERTIFICATES, openssl_reason(), err);
    SSL_CTX_free(ctx);
    return rc;
}

int config_pem_key(const char *path, const char *certificate, struct error *err)
{
    SSL_CTX *ctx = new_context(err);
    if (ctx == NULL)
        return -1;
    bool known = certificate != NULL && SSL_CTX_use_certificate_chain_file(ctx, certificate) == 1;
    int rc = 0;
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1)
        rc = 0;
    else if (known && ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_X509)
        rc = error_set(err, ERR_CONFIG, "%s is not the key of %s", path, certificate);
    else
        rc = explain(path, KEY, openssl_reason(), err);
    SSL_CTX_free(ctx);
    return rc;
}
