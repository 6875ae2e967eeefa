#include "config/pem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/support/tls_peer.h"

/* Files as people have them, made by the openssl command from a certificate and its key. */

static char dir[] = "/tmp/postern-pem-XXXXXX";

/* `command` in the folder. */
static void run(const char *command)
{
    char whole[1024];
    snprintf(whole, sizeof(whole), "cd %s && (%s) 2>/dev/null", dir, command);
    cr_assert_eq(system(whole), 0, "%s", command);
}

static void write_identity(const char *stem, const struct tls_identity_settings *settings)
{
    char certificate[64], key[64];
    struct tls_identity identity;
    snprintf(certificate, sizeof(certificate), "%s/%s.pem", dir, stem);
    snprintf(key, sizeof(key), "%s/%s.key", dir, stem);
    tls_identity_init(&identity, settings);
    tls_identity_write(&identity, certificate, key);
    tls_identity_clear(&identity);
}

static void make_files(void)
{
    cr_assert_not_null(mkdtemp(dir));
    write_identity("a", &(struct tls_identity_settings){.authority = true});
    write_identity("b", &(struct tls_identity_settings){.authority = true});
    write_identity("small", &(struct tls_identity_settings){.rsa_bits = 1024});
    run("cat a.pem b.pem > bundle.pem");
    run("cat a.pem a.key > both.pem");
    run("openssl x509 -in a.pem -outform der -out a.der");
    run("openssl pkey -in a.key -outform der -out key.der");
    run("openssl crl2pkcs7 -nocrl -certfile bundle.pem -out a.p7b");
    run("openssl crl2pkcs7 -nocrl -certfile bundle.pem -outform der -out p7.der");
    run("openssl pkcs12 -export -in a.pem -inkey a.key -passout pass:x -out a.p12");
    run("openssl pkey -in a.key -aes128 -passout pass:x -out locked.key");
    run("openssl req -new -key a.key -subj /CN=x -out request.pem");
    run("sed '3s/[A-Za-z]/!/g' b.pem > broken.pem");
    run("cat a.pem broken.pem > half.pem");
    run(": > empty.pem; echo hello > text.pem");
    run("{ printf '\\357\\273\\277'; cat a.pem; } > bom.pem");
}

static void remove_files(void)
{
    run("rm -f *");
    cr_assert_eq(rmdir(dir), 0);
}

TestSuite(pem, .init = make_files, .fini = remove_files);

static int authorities(const char *path, const char *other, struct error *err)
{
    return config_pem_authorities(path, err);
}

static int certificate(const char *path, const char *other, struct error *err)
{
    return config_pem_certificate(path, err);
}

typedef int load_fn(const char *path, const char *other, struct error *err);

static const struct {
    load_fn *load;
    const char *file, *other;
    const char *why; /* NULL: it is taken */
} rows[] = {
    {authorities, "a.pem", NULL, NULL},
    {authorities, "bundle.pem", NULL, NULL},
    {authorities, "both.pem", NULL, NULL},
    {authorities, "small.pem", NULL, NULL},
    {authorities, "none.pem", NULL, "No such file or directory"},
    {authorities, "empty.pem", NULL, "is empty"},
    {authorities, "text.pem", NULL, "is not PEM"},
    {authorities, "a.der", NULL, "is DER, not PEM: openssl x509 -inform der"},
    {authorities, "a.p7b", NULL, "is PKCS#7: openssl pkcs7 -print_certs"},
    {authorities, "p7.der", NULL, "is PKCS#7, not PEM: openssl pkcs7 -inform der"},
    {authorities, "a.p12", NULL, "is PKCS#12, not PEM"},
    {authorities, "a.key", NULL, "holds a private key, not a certificate"},
    {authorities, "request.pem", NULL, "holds a request"},
    {authorities, "half.pem", NULL, "certificate number 2 in it cannot be read"},
    {authorities, "broken.pem", NULL, "certificate number 1 in it cannot be read"},
    {authorities, "bom.pem", NULL, NULL},
    {certificate, "a.pem", NULL, NULL},
    {certificate, "bundle.pem", NULL, NULL},
    {certificate, "both.pem", NULL, NULL},
    {certificate, "a.key", NULL, "holds a private key"},
    {certificate, "a.der", NULL, "is DER"},
    {certificate, "half.pem", NULL, "certificate number 2"},
    {certificate, "small.pem", NULL, "key too small"},
    {certificate, "none.pem", NULL, "No such file"},
    {config_pem_key, "a.key", "a.pem", NULL},
    {config_pem_key, "both.pem", "both.pem", NULL},
    {config_pem_key, "a.key", NULL, NULL},
    {config_pem_key, "b.key", "a.pem", "b.key is not the key of "},
    {config_pem_key, "a.pem", "a.pem", "holds a certificate, not a private key"},
    {config_pem_key, "locked.key", "a.pem", "is encrypted"},
    {config_pem_key, "key.der", "a.pem", "is a key in DER"},
    {config_pem_key, "a.p12", "a.pem", "is PKCS#12"},
    {config_pem_key, "empty.pem", "a.pem", "is empty"},
    {config_pem_key, "none.key", "a.pem", "No such file"},
};

Test(pem, what_can_be_used_and_what_else_it_is)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[128], other[128];
        struct error err = {0};
        snprintf(path, sizeof(path), "%s/%s", dir, rows[i].file);
        snprintf(other, sizeof(other), "%s/%s", dir, rows[i].other != NULL ? rows[i].other : "");
        int rc = rows[i].load(path, rows[i].other != NULL ? other : NULL, &err);
        if (rows[i].why == NULL) {
            cr_expect_eq(rc, 0, "%s: %s", rows[i].file, err.detail);
            continue;
        }
        cr_expect_eq(rc, -1, "%s is taken", rows[i].file);
        cr_expect_eq(err.code, ERR_CONFIG);
        cr_expect_eq(strncmp(err.detail, path, strlen(path)), 0, "%s", err.detail);
        cr_expect_not_null(strstr(err.detail, rows[i].why), "%s: %s", rows[i].file, err.detail);
    }
}
