#include "smtp/certificate.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void append_name(char *to, size_t size, const unsigned char *name, int len)
{
    size_t used = strlen(to);
    if (len > 0 && memchr(name, '\0', (size_t)len) == NULL)
        snprintf(to + used, size - used, "%s%.*s", used > 0 ? ", " : "", len, (const char *)name);
}

static void append_ip(char *to, size_t size, const ASN1_OCTET_STRING *octets)
{
    char ip[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(octets);
    if ((len == 4 || len == 16) && inet_ntop(len == 4 ? AF_INET : AF_INET6,
                                             ASN1_STRING_get0_data(octets), ip, sizeof(ip)) != NULL)
        append_name(to, size, (const unsigned char *)ip, (int)strlen(ip));
}

static void certificate_names(const X509 *certificate, char *names_out, size_t size)
{
    names_out[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            append_name(names_out, size, ASN1_STRING_get0_data(name->d.dNSName),
                        ASN1_STRING_length(name->d.dNSName));
        else if (name->type == GEN_IPADD)
            append_ip(names_out, size, name->d.iPAddress);
    }
    GENERAL_NAMES_free(names);
}

static void name_line(const X509_NAME *name, char *to, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int len = 0;
    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE) >= 0)
        len = BIO_read(bio, to, (int)size - 1);
    to[len > 0 ? len : 0] = '\0';
    BIO_free(bio);
}

void certificate_subject(const X509 *certificate, char *subject_out, size_t size)
{
    name_line(X509_get_subject_name(certificate), subject_out, size);
}

void certificate_issuer(const X509 *certificate, char *issuer_out, size_t size)
{
    name_line(X509_get_issuer_name(certificate), issuer_out, size);
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

void certificate_pin(const X509 *certificate, char pin_out[CERTIFICATE_PIN_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    pin_out[0] = '\0';
    if (len <= 0)
        return;
    SHA256(der, (size_t)len, digest);
    OPENSSL_free(der);
    memcpy(pin_out, "sha256/", 7);
    EVP_EncodeBlock((unsigned char *)pin_out + 7, digest, sizeof(digest));
}

void certificate_describe(const X509 *certificate, struct transport_certificate *described_out)
{
    certificate_names(certificate, described_out->names, sizeof(described_out->names));
    name_line(X509_get_issuer_name(certificate), described_out->issuer,
              sizeof(described_out->issuer));
    certificate_pin(certificate, described_out->pin);
    described_out->not_before_s = seconds_of(X509_get0_notBefore(certificate));
    described_out->not_after_s = seconds_of(X509_get0_notAfter(certificate));
}
