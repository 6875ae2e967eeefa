#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/support/tls_peer.h"

/* An authority, a server's certificate of it, and files in a folder of their own. */
struct fixture {
    char dir[64], ca[128], certificate[128], key[128];
    struct tls_identity authority, server;
};

static void fixture_init(struct fixture *f)
{
    snprintf(f->dir, sizeof(f->dir), "/tmp/postern-transport-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", f->dir);
    snprintf(f->certificate, sizeof(f->certificate), "%s/certificate.pem", f->dir);
    snprintf(f->key, sizeof(f->key), "%s/key.pem", f->dir);
    tls_identity_init(&f->authority, &(struct tls_identity_settings){.authority = true});
    tls_identity_init(&f->server,
                      &(struct tls_identity_settings){.issuer = &f->authority,
                                                      .names = "DNS:mx.example,IP:127.0.0.1"});
    tls_identity_write(&f->authority, f->ca, NULL);
}

static void fixture_clear(struct fixture *f)
{
    tls_identity_clear(&f->authority);
    tls_identity_clear(&f->server);
    unlink(f->ca);
    unlink(f->certificate);
    unlink(f->key);
    cr_assert_eq(rmdir(f->dir), 0);
}

static struct transport_tls_settings trusting(const struct fixture *f)
{
    return (struct transport_tls_settings){.ca_file = f->ca,
                                           .server_name = "mx.example",
                                           .verify = true,
                                           .min_version = TLS1_2_VERSION};
}

static struct transport_tls *context_of(const struct transport_tls_settings *settings)
{
    struct transport_tls *tls = NULL;
    struct error err = {0};
    cr_assert_eq(transport_tls_new(settings, &tls, &err), 0, "%s", err.detail);
    return tls;
}

/* What one handshake comes to: ERR_NONE if it is done. */
static enum error_code shake(const struct tls_server_settings *server,
                             const struct transport_tls_settings *client, struct error *why_out)
{
    struct tls_pair pair;
    SSL_CTX *ctx = tls_server_new(server);
    CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(client);
    tls_pair_open(&pair, ctx, tls);
    *why_out = pair.why;
    enum error_code code = pair.result > 0 ? ERR_NONE : pair.why.code;
    tls_pair_close(&pair);
    SSL_CTX_free(ctx);
    return code;
}

/* --- whom to trust ------------------------------------------------------------------------ */

Test(transport, certificates)
{
    struct fixture f;
    fixture_init(&f);
    const struct tls_identity *ca = &f.authority;
    const struct {
        const char *name, *server_name;
        struct tls_identity_settings certificate;
        enum error_code code;
        const char *detail;
    } rows[] = {
        {"good", "mx.example", {.issuer = ca, .names = "DNS:mx.example"}, ERR_NONE, NULL},
        {"wildcard",
         "mx.example.org",
         {.issuer = ca, .names = "DNS:*.example.org"},
         ERR_NONE,
         NULL},
        {"wildcard over two labels",
         "a.mx.example.org",
         {.issuer = ca, .names = "DNS:*.example.org"},
         ERR_CERTIFICATE_NAME_MISMATCH,
         "*.example.org"},
        {"part of a label",
         "mx.example.org",
         {.issuer = ca, .names = "DNS:m*.example.org"},
         ERR_CERTIFICATE_NAME_MISMATCH,
         NULL},
        {"another name",
         "mx.example",
         {.issuer = ca, .names = "DNS:a.example,DNS:b.example"},
         ERR_CERTIFICATE_NAME_MISMATCH,
         "a.example, b.example"},
        {"a common name only",
         "Test server",
         {.issuer = ca},
         ERR_CERTIFICATE_NAME_MISMATCH,
         "no name at all"},
        {"address", "127.0.0.1", {.issuer = ca, .names = "IP:127.0.0.1"}, ERR_NONE, NULL},
        {"address as a name",
         "127.0.0.1",
         {.issuer = ca, .names = "DNS:127.0.0.1"},
         ERR_CERTIFICATE_NAME_MISMATCH,
         "127.0.0.1"},
        {"another address",
         "127.0.0.1",
         {.issuer = ca, .names = "IP:::1"},
         ERR_CERTIFICATE_NAME_MISMATCH,
         "::1"},
        {"expired",
         "m",
         {.issuer = ca, .names = "DNS:m", .from_s = -7200, .to_s = -3600},
         ERR_CERTIFICATE_EXPIRED,
         NULL},
        {"not yet",
         "m",
         {.issuer = ca, .names = "DNS:m", .from_s = 3600, .to_s = 7200},
         ERR_CERTIFICATE_NOT_YET_VALID,
         NULL},
        {"signed by itself", "m", {.names = "DNS:m"}, ERR_CERTIFICATE_UNTRUSTED, "self-signed"},
        {"RSA of 2048 bits",
         "m",
         {.issuer = ca, .names = "DNS:m", .rsa_bits = 2048},
         ERR_NONE,
         NULL},
        {"RSA of 1024 bits",
         "m",
         {.issuer = ca, .names = "DNS:m", .rsa_bits = 1024},
         ERR_CERTIFICATE_UNTRUSTED,
         "too weak"},
        {"signed with SHA-1",
         "m",
         {.issuer = ca, .names = "DNS:m", .sha1 = true},
         ERR_CERTIFICATE_UNTRUSTED,
         "too weak"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_identity server;
        struct error why = {0};
        struct transport_tls_settings settings = trusting(&f);
        settings.server_name = rows[i].server_name;
        tls_identity_init(&server, &rows[i].certificate);
        enum error_code code = shake(
            &(struct tls_server_settings){.identity = &server, .any_level = true}, &settings, &why);
        cr_expect_eq(code, rows[i].code, "%s: %s, %s", rows[i].name, error_word(code), why.detail);
        cr_expect(rows[i].detail == NULL || strstr(why.detail, rows[i].detail) != NULL, "%s: %s",
                  rows[i].name, why.detail);
        tls_identity_clear(&server);
    }
    fixture_clear(&f);
}

Test(transport, an_unknown_authority_is_not_trusted_but_can_be_ignored)
{
    struct fixture f;
    struct tls_identity stranger;
    struct error why;
    fixture_init(&f);
    tls_identity_init(&stranger, &(struct tls_identity_settings){.authority = true});
    tls_identity_write(&stranger, f.ca, NULL);
    const struct tls_server_settings server = {.identity = &f.server, .issuer = &f.authority};
    struct transport_tls_settings settings = trusting(&f);
    cr_assert_eq(shake(&server, &settings, &why), ERR_CERTIFICATE_UNTRUSTED);
    settings.verify = false;
    settings.server_name = "other.example";
    cr_assert_eq(shake(&server, &settings, &why), ERR_NONE);
    tls_identity_clear(&stranger);
    fixture_clear(&f);
}

static void pin_of(const struct tls_identity *identity, char pin_out[CERTIFICATE_PIN_SIZE])
{
    certificate_pin(identity->certificate, pin_out);
    cr_assert_eq(strncmp(pin_out, "sha256/", 7), 0);
    cr_assert_eq(strlen(pin_out), 7 + 44);
}

Test(transport, pins)
{
    struct fixture f;
    struct error why;
    char leaf[CERTIFICATE_PIN_SIZE], ca[CERTIFICATE_PIN_SIZE];
    const char *none = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    fixture_init(&f);
    pin_of(&f.server, leaf);
    pin_of(&f.authority, ca);
    const struct {
        const char *pins[3];
        bool verify;
        enum error_code code;
    } rows[] = {
        {{NULL}, true, ERR_NONE},
        {{leaf}, true, ERR_NONE},
        {{ca}, true, ERR_NONE},
        {{none, leaf}, true, ERR_NONE},
        {{none}, true, ERR_CERTIFICATE_UNTRUSTED},
        {{leaf}, false, ERR_NONE},
        {{none}, false, ERR_CERTIFICATE_UNTRUSTED},
        /* anybody can send this authority's certificate along with one of his own */
        {{ca}, false, ERR_CERTIFICATE_UNTRUSTED},
    };
    const struct tls_server_settings server = {.identity = &f.server, .issuer = &f.authority};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct transport_tls_settings settings = trusting(&f);
        settings.pins = rows[i].pins;
        settings.verify = rows[i].verify;
        enum error_code code = shake(&server, &settings, &why);
        cr_expect_eq(code, rows[i].code, "row %zu: %s", i, why.detail);
        cr_expect(code == ERR_NONE || strstr(why.detail, leaf) != NULL, "%s", why.detail);
    }
    fixture_clear(&f);
}

Test(transport, pins_do_not_replace_the_rest)
{
    struct fixture f;
    struct error why;
    char leaf[CERTIFICATE_PIN_SIZE];
    fixture_init(&f);
    pin_of(&f.server, leaf);
    struct transport_tls_settings settings = trusting(&f);
    settings.pins = (const char *const[]){leaf, NULL};
    settings.server_name = "other.example";
    cr_assert_eq(shake(&(struct tls_server_settings){.identity = &f.server}, &settings, &why),
                 ERR_CERTIFICATE_NAME_MISMATCH);
    fixture_clear(&f);
}

Test(transport, versions)
{
    struct fixture f;
    struct error why;
    fixture_init(&f);
    const struct {
        int server, client_min;
        enum error_code code;
    } rows[] = {
        {TLS1_VERSION, TLS1_2_VERSION, ERR_TLS_VERSION},
        {TLS1_1_VERSION, TLS1_2_VERSION, ERR_TLS_VERSION},
        {TLS1_2_VERSION, TLS1_2_VERSION, ERR_NONE},
        {TLS1_3_VERSION, TLS1_2_VERSION, ERR_NONE},
        {TLS1_2_VERSION, TLS1_3_VERSION, ERR_TLS_VERSION},
        {TLS1_3_VERSION, TLS1_3_VERSION, ERR_NONE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct transport_tls_settings settings = trusting(&f);
        settings.min_version = rows[i].client_min;
        const struct tls_server_settings server = {
            .identity = &f.server, .version = rows[i].server, .any_level = true};
        enum error_code code = shake(&server, &settings, &why);
        cr_expect_eq(code, rows[i].code, "row %zu: %s, %s", i, error_word(code), why.detail);
    }
    fixture_clear(&f);
}

Test(transport, what_a_certificate_says)
{
    struct fixture f;
    struct tls_pair pair;
    struct transport_certificate shown;
    char pin[CERTIFICATE_PIN_SIZE];
    fixture_init(&f);
    pin_of(&f.server, pin);
    SSL_CTX *server = tls_server_new(&(struct tls_server_settings){.identity = &f.server});
    struct transport_tls_settings settings = trusting(&f);
    for (int good = 0; good < 2; good++) {
        settings.server_name = good ? "mx.example" : "other.example";
        CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
        tls_pair_open(&pair, server, tls);
        cr_assert_eq(pair.result, good ? 1 : -1);
        cr_assert(transport_certificate(pair.client, &shown));
        cr_assert_str_eq(shown.names, "mx.example, 127.0.0.1");
        cr_assert_str_eq(shown.issuer, "CN = Test CA");
        cr_assert_str_eq(shown.pin, pin);
        cr_assert_eq(shown.not_after_s - shown.not_before_s, 7200);
        tls_pair_close(&pair);
    }
    SSL_CTX_free(server);
    fixture_clear(&f);
}

/* --- resumption --------------------------------------------------------------------------- */

static bool resumes(SSL_CTX *server, struct transport_tls *tls)
{
    struct tls_pair pair;
    tls_pair_open(&pair, server, tls);
    cr_assert_eq(pair.result, 1, "%s", pair.why.detail);
    tls_pair_say(&pair, "220 hi\r\n");
    bool resumed = transport_resumed(pair.client);
    struct transport_certificate shown;
    cr_assert(transport_certificate(pair.client, &shown));
    cr_assert_str_eq(shown.names, "mx.example, 127.0.0.1");
    tls_pair_close(&pair);
    return resumed;
}

static void test_resumption(int version)
{
    struct fixture f;
    fixture_init(&f);
    SSL_CTX *server =
        tls_server_new(&(struct tls_server_settings){.identity = &f.server, .version = version});
    struct transport_tls_settings settings = trusting(&f);
    CLEANUP(transport_tls_free) struct transport_tls *one = context_of(&settings);
    CLEANUP(transport_tls_free) struct transport_tls *other = context_of(&settings);
    cr_assert_not(resumes(server, one));
    cr_assert(resumes(server, one));
    cr_assert_not(resumes(server, other), "a ticket went from one context to another");
    cr_assert(resumes(server, other));
    SSL_CTX_free(server);
    fixture_clear(&f);
}

Test(transport, resumes_within_a_context_only)
{
    test_resumption(TLS1_2_VERSION);
    test_resumption(TLS1_3_VERSION);
}

/* A chain whose pins are not met must leave no ticket by which to come in later. */
Test(transport, nothing_is_kept_of_a_server_that_was_refused)
{
    struct fixture f;
    struct tls_pair pair;
    fixture_init(&f);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *server = tls_server_new(
            &(struct tls_server_settings){.identity = &f.server, .version = version});
        struct transport_tls_settings settings = trusting(&f);
        settings.pins =
            (const char *const[]){"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL};
        CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
        for (int i = 0; i < 3; i++) {
            tls_pair_open(&pair, server, tls);
            cr_assert_eq(pair.result, -1);
            tls_pair_close(&pair);
        }
        SSL_CTX_free(server);
    }
    fixture_clear(&f);
}

Test(transport, an_expired_certificate_is_not_resumed)
{
    struct fixture f;
    struct tls_identity short_lived;
    struct tls_pair pair;
    fixture_init(&f);
    SSL_CTX *server = NULL;
    struct transport_tls_settings settings = trusting(&f);
    CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
    for (int life_s = 2;; life_s *= 4) { /* long enough for this machine to use it once */
        tls_identity_init(&short_lived, &(struct tls_identity_settings){.issuer = &f.authority,
                                                                        .names = "DNS:mx.example",
                                                                        .from_s = -60,
                                                                        .to_s = life_s});
        server = tls_server_new(&(struct tls_server_settings){.identity = &short_lived});
        tls_pair_open(&pair, server, tls);
        if (pair.result == 1 || pair.why.code != ERR_CERTIFICATE_EXPIRED || life_s > 60)
            break;
        tls_pair_close(&pair);
        tls_identity_clear(&short_lived);
        SSL_CTX_free(server);
    }
    cr_assert_eq(pair.result, 1, "%s", pair.why.detail);
    tls_pair_say(&pair, "220 hi\r\n");
    tls_pair_close(&pair);
    while (X509_cmp_current_time(X509_get0_notAfter(short_lived.certificate)) > 0)
        usleep(50000);
    tls_pair_open(&pair, server, tls);
    cr_assert_eq(pair.result, -1);
    cr_assert_eq(pair.why.code, ERR_CERTIFICATE_EXPIRED);
    tls_pair_close(&pair);
    tls_identity_clear(&short_lived);
    SSL_CTX_free(server);
    fixture_clear(&f);
}

/* --- files that change -------------------------------------------------------------------- */

Test(transport, a_changed_authority_counts_for_new_connections)
{
    struct fixture f;
    struct tls_identity stranger;
    struct tls_pair before, after;
    fixture_init(&f);
    tls_identity_init(&stranger, &(struct tls_identity_settings){.authority = true});
    SSL_CTX *server = tls_server_new(&(struct tls_server_settings){.identity = &f.server});
    struct transport_tls_settings settings = trusting(&f);
    CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
    cr_assert_not(resumes(server, tls));
    tls_pair_open(&before, server, tls);
    cr_assert(transport_resumed(before.client));

    tls_identity_write(&stranger, f.ca, NULL);
    transport_tls_look(tls);
    tls_pair_open(&after, server, tls);
    cr_assert_eq(after.result, -1, "the session of a chain that is not trusted any more was used");
    cr_assert_eq(after.why.code, ERR_CERTIFICATE_UNTRUSTED);
    tls_pair_close(&after);
    tls_pair_say(&before, "250 still here\r\n"); /* whose tickets are of no use now */
    tls_pair_close(&before);

    tls_identity_write(&f.authority, f.ca, NULL);
    transport_tls_look(tls);
    cr_assert_not(resumes(server, tls));
    cr_assert(resumes(server, tls));
    tls_identity_clear(&stranger);
    SSL_CTX_free(server);
    fixture_clear(&f);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

Test(transport, a_broken_file_changes_nothing)
{
    struct fixture f;
    fixture_init(&f);
    SSL_CTX *server = tls_server_new(&(struct tls_server_settings){.identity = &f.server});
    struct transport_tls_settings settings = trusting(&f);
    CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
    cr_assert_not(resumes(server, tls));
    write_text(f.ca, "nothing of the kind\n");
    transport_tls_look(tls);
    cr_assert(resumes(server, tls), "the old context is not in use any more");
    cr_assert_eq(unlink(f.ca), 0);
    transport_tls_look(tls);
    cr_assert(resumes(server, tls));
    SSL_CTX_free(server);
    fixture_clear(&f);
}

static void await_look(struct reloader *reloader)
{
    uint64_t kick = reloader_kick(reloader);
    while (!reloader_has_looked(reloader, kick))
        usleep(1000);
}

/* By a thread of its own; a connection only takes what that has loaded. */
Test(transport, the_reloader_looks_at_the_files)
{
    struct fixture f;
    fixture_init(&f);
    struct tls_pair pair;
    struct reloader *reloader;
    SSL_CTX *server = tls_server_new(&(struct tls_server_settings){.identity = &f.server});
    struct tls_identity stranger;
    tls_identity_init(&stranger, &(struct tls_identity_settings){.authority = true});
    cr_assert_eq(reloader_start(&reloader, NULL), 0);
    struct transport_tls_settings settings = trusting(&f);
    settings.reloader = reloader;
    CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
    tls_pair_open(&pair, server, tls);
    cr_assert_eq(pair.result, 1);
    tls_pair_close(&pair);
    tls_identity_write(&stranger, f.ca, NULL);
    await_look(reloader);
    tls_pair_open(&pair, server, tls);
    cr_assert_eq(pair.result, -1);
    tls_pair_close(&pair);
    tls_identity_write(&f.authority, f.ca, NULL);
    await_look(reloader);
    tls_pair_open(&pair, server, tls);
    cr_assert_eq(pair.result, 1);
    tls_pair_close(&pair);
    reloader_stop(reloader);
    tls_identity_clear(&stranger);
    SSL_CTX_free(server);
    fixture_clear(&f);
}

/* Neither is anything read for it, nor does it outlive what it was made like. */
Test(transport, one_like_another)
{
    struct fixture f;
    fixture_init(&f);
    struct tls_pair pair;
    SSL_CTX *server = tls_server_new(&(struct tls_server_settings){.identity = &f.server});
    struct transport_tls_settings settings = trusting(&f), like = trusting(&f);
    struct transport_tls *tls = context_of(&settings);
    cr_assert_eq(unlink(f.ca), 0);
    like.like = tls;
    CLEANUP(transport_tls_free) struct transport_tls *other = context_of(&like);
    like.server_name = "elsewhere.test";
    CLEANUP(transport_tls_free) struct transport_tls *wrong = context_of(&like);
    transport_tls_free(tls);
    tls_pair_open(&pair, server, other);
    cr_assert_eq(pair.result, 1, "%s", pair.why.detail);
    tls_pair_close(&pair);
    tls_pair_open(&pair, server, wrong);
    cr_assert_eq(pair.why.code, ERR_CERTIFICATE_NAME_MISMATCH);
    tls_pair_close(&pair);
    SSL_CTX_free(server);
    fixture_clear(&f);
}

/* The serial number of the certificate that the client shows; 0: none. */
static long shown_serial(SSL_CTX *server, struct transport_tls *tls)
{
    struct tls_pair pair;
    tls_pair_open(&pair, server, tls);
    cr_assert_eq(pair.result, 1, "%s", pair.why.detail);
    X509 *shown = SSL_get0_peer_certificate(pair.server);
    long serial = shown != NULL ? ASN1_INTEGER_get(X509_get0_serialNumber(shown)) : 0;
    tls_pair_close(&pair);
    return serial;
}

static int accept_any(X509_STORE_CTX *store, void *arg)
{
    return 1;
}

/* Renewed in two steps, as scripts do: in between the files do not fit together. */
Test(transport, a_renewed_client_certificate_is_shown)
{
    struct fixture f;
    struct tls_identity client[2];
    long serials[2];
    fixture_init(&f);
    for (int i = 0; i < 2; i++) {
        tls_identity_init(&client[i], &(struct tls_identity_settings){.issuer = &f.authority});
        serials[i] = ASN1_INTEGER_get(X509_get0_serialNumber(client[i].certificate));
    }
    SSL_CTX *server = tls_server_new(&(struct tls_server_settings){.identity = &f.server});
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(server, accept_any, NULL);
    struct transport_tls_settings settings = trusting(&f);
    settings.certificate = f.certificate;
    settings.key = f.key;
    tls_identity_write(&client[0], f.certificate, f.key);
    CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
    cr_assert_eq(shown_serial(server, tls), serials[0]);
    tls_identity_write(&client[1], f.certificate, NULL);
    transport_tls_look(tls);
    cr_assert_eq(shown_serial(server, tls), serials[0]);
    tls_identity_write(&client[1], NULL, f.key);
    transport_tls_look(tls);
    cr_assert_eq(shown_serial(server, tls), serials[1]);
    tls_identity_clear(&client[0]);
    tls_identity_clear(&client[1]);
    SSL_CTX_free(server);
    fixture_clear(&f);
}

Test(transport, files_that_cannot_be_loaded_are_named)
{
    struct fixture f;
    struct transport_tls *tls = NULL;
    struct error err;
    fixture_init(&f);
    struct transport_tls_settings settings = trusting(&f);
    settings.certificate = f.certificate;
    cr_assert_eq(transport_tls_new(&settings, &tls, &err), -1);
    cr_assert_eq(err.code, ERR_CONFIG);
    cr_assert_not_null(strstr(err.detail, f.certificate));
    tls_identity_write(&f.server, f.certificate, NULL); /* no key in it */
    cr_assert_eq(transport_tls_new(&settings, &tls, &err), -1);
    cr_assert_not_null(strstr(err.detail, "tls_options.key"));
    settings.certificate = NULL;
    settings.ca_file = f.key;
    cr_assert_eq(transport_tls_new(&settings, &tls, &err), -1);
    cr_assert_not_null(strstr(err.detail, "tls_options.ca_file"));
    transport_tls_free(NULL);
    fixture_clear(&f);
}

/* --- what a login is bound to ------------------------------------------------------------- */

static void expect_bindings(const struct tls_pair *pair, bool tls13)
{
    char exporter[TRANSPORT_BINDING_SIZE], unique[TRANSPORT_BINDING_SIZE], expected[64];
    unsigned char octets[64];
    transport_bindings(pair->client, exporter, unique);
    cr_assert_eq(SSL_export_keying_material(pair->server, octets, 32, "EXPORTER-Channel-Binding",
                                            24, (const unsigned char *)"", 0, 1),
                 1);
    EVP_EncodeBlock((unsigned char *)expected, octets, 32);
    cr_assert_str_eq(exporter, expected);
    bool resumed = SSL_session_reused(pair->server) == 1;
    size_t n = resumed ? SSL_get_finished(pair->server, octets, sizeof(octets))
                       : SSL_get_peer_finished(pair->server, octets, sizeof(octets));
    EVP_EncodeBlock((unsigned char *)expected, octets, (int)n);
    cr_assert_str_eq(unique, tls13 ? "" : expected);
}

Test(transport, bindings)
{
    struct fixture f;
    fixture_init(&f);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *server = tls_server_new(
            &(struct tls_server_settings){.identity = &f.server, .version = version});
        struct transport_tls_settings settings = trusting(&f);
        CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
        for (int resumed = 0; resumed < 2; resumed++) {
            struct tls_pair pair;
            tls_pair_open(&pair, server, tls);
            tls_pair_say(&pair, "220 hi\r\n");
            cr_assert_eq(transport_resumed(pair.client), resumed);
            expect_bindings(&pair, version == TLS1_3_VERSION);
            tls_pair_close(&pair);
        }
        SSL_CTX_free(server);
    }
    fixture_clear(&f);
}

Test(transport, no_binding_without_the_extended_master_secret)
{
    struct fixture f;
    struct tls_pair pair;
    char exporter[TRANSPORT_BINDING_SIZE] = "?", unique[TRANSPORT_BINDING_SIZE] = "?";
    fixture_init(&f);
    SSL_CTX *server = tls_server_new(&(struct tls_server_settings){
        .identity = &f.server, .version = TLS1_2_VERSION, .no_ems = true});
    struct transport_tls_settings settings = trusting(&f);
    CLEANUP(transport_tls_free) struct transport_tls *tls = context_of(&settings);
    tls_pair_open(&pair, server, tls);
    cr_assert_eq(pair.result, 1);
    transport_bindings(pair.client, exporter, unique);
    cr_assert_str_eq(exporter, "");
    cr_assert_str_eq(unique, "");
    tls_pair_close(&pair);
    SSL_CTX_free(server);
    fixture_clear(&f);
}

/* --- a server that misbehaves ------------------------------------------------------------- */

/* Reads until the connection ends or nothing comes any more; returns the last result. */
static ssize_t read_to_the_end(struct tls_pair *pair, char *in, size_t size)
{
    ssize_t n = 1;
    size_t len = 0;
    while (n > 0 && (n = transport_read(pair->client, in + len, size - 1 - len, &pair->why)) > 0)
        len += (size_t)n;
    in[len] = '\0';
    return n;
}

static void open_pair(struct fixture *f, int version, SSL_CTX **server_out,
                      struct transport_tls **tls_out, struct tls_pair *pair)
{
    fixture_init(f);
    *server_out =
        tls_server_new(&(struct tls_server_settings){.identity = &f->server, .version = version});
    const struct transport_tls_settings settings = trusting(f);
    *tls_out = context_of(&settings);
    tls_pair_open(pair, *server_out, *tls_out);
    cr_assert_eq(pair->result, 1, "%s", pair->why.detail);
}

static void close_pair(struct fixture *f, SSL_CTX *server, struct transport_tls *tls,
                       struct tls_pair *pair)
{
    tls_pair_close(pair);
    transport_tls_free(tls);
    SSL_CTX_free(server);
    fixture_clear(f);
}

/* faults 90: half a reply and then the end of the connection is no reply. */
Test(transport, an_end_without_close_notify_is_lost)
{
    struct fixture f;
    SSL_CTX *server;
    struct transport_tls *tls;
    struct tls_pair pair;
    char in[256];
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        open_pair(&f, version, &server, &tls, &pair);
        cr_assert_eq(SSL_write(pair.server, "250 o", 5), 5);
        shutdown(pair.server_fd, SHUT_WR);
        ssize_t n = 0;
        for (int i = 0; i < 1000 && n == 0; i++) {
            usleep(1000);
            n = read_to_the_end(&pair, in, sizeof(in));
        }
        cr_assert_eq(n, -1);
        cr_assert_eq(pair.why.code, ERR_CONNECTION_LOST);
        close_pair(&f, server, tls, &pair);
    }
}

/* faults 91 */
Test(transport, a_flood_of_key_updates_ends_the_connection)
{
    struct fixture f;
    SSL_CTX *server;
    struct transport_tls *tls;
    struct tls_pair pair;
    char in[256];
    open_pair(&f, TLS1_3_VERSION, &server, &tls, &pair);
    ssize_t n = 0;
    for (int sent = 0; sent < 10000 && n >= 0; sent++) {
        cr_assert_eq(SSL_key_update(pair.server, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        cr_assert_eq(SSL_do_handshake(pair.server), 1);
        if (sent % 16 == 15)
            n = read_to_the_end(&pair, in, sizeof(in));
    }
    cr_assert_eq(n, -1);
    cr_assert_not_null(strstr(pair.why.detail, "nothing but TLS"), "%s", pair.why.detail);
    close_pair(&f, server, tls, &pair);
}

Test(transport, key_updates_among_data_are_fine)
{
    struct fixture f;
    SSL_CTX *server;
    struct transport_tls *tls;
    struct tls_pair pair;
    open_pair(&f, TLS1_3_VERSION, &server, &tls, &pair);
    for (int i = 0; i < 200; i++) {
        SSL_key_update(pair.server,
                       i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(pair.server);
        tls_pair_say(&pair, "250 ok\r\n");
        SSL_read(pair.server, (char[8]){0}, 8); /* the key update that answers */
    }
    close_pair(&f, server, tls, &pair);
}

Test(transport, renegotiation_is_refused)
{
    struct fixture f;
    SSL_CTX *server;
    struct transport_tls *tls;
    struct tls_pair pair;
    char in[256];
    open_pair(&f, TLS1_2_VERSION, &server, &tls, &pair);
    unsigned char before[64], after[64];
    size_t len = SSL_get_peer_finished(pair.server, before, sizeof(before));
    cr_assert_eq(SSL_renegotiate(pair.server), 1);
    for (int i = 0; i < 20; i++) {
        SSL_do_handshake(pair.server);
        usleep(1000);
        read_to_the_end(&pair, in, sizeof(in));
    }
    cr_assert_eq(SSL_get_peer_finished(pair.server, after, sizeof(after)), len);
    cr_assert_eq(memcmp(before, after, len), 0, "there was a second handshake");
    close_pair(&f, server, tls, &pair);
}

/* faults 130, though nobody ignores the signal here */
Test(transport, a_peer_that_left_raises_no_signal)
{
    struct fixture f;
    SSL_CTX *server;
    struct transport_tls *tls;
    struct tls_pair pair;
    signal(SIGPIPE, SIG_DFL);
    open_pair(&f, TLS1_3_VERSION, &server, &tls, &pair);
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(pair.server_fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    SSL_free(pair.server);
    pair.server = NULL;
    close(pair.server_fd);
    pair.server_fd = dup(0); /* for close_pair() */
    char out[1024] = {0};
    ssize_t n = 0;
    for (int i = 0; i < 1000 && n >= 0; i++) {
        n = transport_write(pair.client, out, sizeof(out), &pair.why);
        usleep(100);
    }
    cr_assert_eq(n, -1);
    cr_assert_eq(pair.why.code, ERR_CONNECTION_LOST);
    cr_assert_eq(transport_write(pair.client, out, sizeof(out), &pair.why), -1);
    close_pair(&f, server, tls, &pair);
}
