#include "tests/unit/support/tls_peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- certificates ------------------------------------------------------------------------- */

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    cr_assert_not_null(extension, "%s", value);
    cr_assert_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

void tls_identity_init(struct tls_identity *identity, const struct tls_identity_settings *settings)
{
    static long serial = 1;
    bool given = settings->from_s != 0 || settings->to_s != 0;
    X509 *certificate = X509_new();
    identity->certificate = certificate;
    identity->key = settings->rsa_bits != 0
                        ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)settings->rsa_bits)
                        : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    const struct tls_identity *issuer = settings->issuer != NULL ? settings->issuer : identity;
    cr_assert(certificate != NULL && identity->key != NULL);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), given ? settings->from_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), given ? settings->to_s : 3600);
    X509_set_pubkey(certificate, identity->key);
    X509_NAME_add_entry_by_txt(
        X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
        (const unsigned char *)(settings->authority ? "Test CA" : "Test server"), -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer->certificate));
    add_extension(certificate, NID_basic_constraints,
                  settings->authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (settings->names != NULL)
        add_extension(certificate, NID_subject_alt_name, settings->names);
    cr_assert_gt(X509_sign(certificate, issuer->key, settings->sha1 ? EVP_sha1() : EVP_sha256()),
                 0);
}

void tls_identity_clear(struct tls_identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
}

void tls_identity_write(const struct tls_identity *identity, const char *certificate_path,
                        const char *key_path)
{
    FILE *file = certificate_path != NULL ? fopen(certificate_path, "w") : NULL;
    if (file != NULL) {
        cr_assert_eq(PEM_write_X509(file, identity->certificate), 1);
        cr_assert_eq(fclose(file), 0);
    }
    file = key_path != NULL ? fopen(key_path, "w") : NULL;
    if (file != NULL) {
        cr_assert_eq(PEM_write_PrivateKey(file, identity->key, NULL, NULL, 0, NULL, NULL), 1);
        cr_assert_eq(fclose(file), 0);
    }
}

/* --- the server --------------------------------------------------------------------------- */

SSL_CTX *tls_server_new(const struct tls_server_settings *settings)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    cr_assert_not_null(ctx);
    if (settings->any_level) {
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
    }
    SSL_CTX_set_min_proto_version(ctx, settings->version);
    SSL_CTX_set_max_proto_version(ctx, settings->version);
    if (settings->no_ems)
        SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    cr_assert_eq(SSL_CTX_use_certificate(ctx, settings->identity->certificate), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, settings->identity->key), 1);
    if (settings->issuer != NULL)
        cr_assert_eq(SSL_CTX_add1_chain_cert(ctx, settings->issuer->certificate), 1);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
    return ctx;
}

static int listen_somewhere(struct sockaddr_in *address)
{
    socklen_t len = sizeof(*address);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

static void connect_pair(struct tls_pair *pair)
{
    struct sockaddr_in address;
    int listener = listen_somewhere(&address);
    cr_assert_eq(transport_connect((struct sockaddr *)&address, NULL, &pair->client, &pair->why),
                 0);
    pair->server_fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    cr_assert_geq(pair->server_fd, 0);
    cr_assert_eq(transport_connected(pair->client, &pair->why), 0);
}

/* Both ends share a thread: each waits a moment at most for the other's octets to come over. */
static void wait_a_moment(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    poll(&poll_fd, 1, 5);
}

void tls_pair_open(struct tls_pair *pair, SSL_CTX *server, struct transport_tls *tls)
{
    memset(pair, 0, sizeof(*pair));
    connect_pair(pair);
    pair->server = SSL_new(server);
    SSL_set_fd(pair->server, pair->server_fd);
    SSL_set_accept_state(pair->server);
    cr_assert_eq(transport_start_tls(pair->client, tls, &pair->why), 0, "%s", pair->why.detail);
    for (int i = 0; i < 1000 && pair->result == 0; i++) {
        pair->result = transport_handshake(pair->client, &pair->why);
        wait_a_moment(pair->server_fd);
        SSL_do_handshake(pair->server);
        if (pair->result == 0)
            wait_a_moment(transport_fd(pair->client));
    }
    for (int i = 0; i < 1000 && pair->result > 0 && !SSL_is_init_finished(pair->server); i++) {
        wait_a_moment(pair->server_fd);
        SSL_do_handshake(pair->server);
    }
    cr_assert_neq(pair->result, 0, "the handshake does not end");
}

void tls_pair_close(struct tls_pair *pair)
{
    transport_hang_up(pair->client); /* else OpenSSL takes the session for a broken one */
    transport_free(pair->client);
    SSL_free(pair->server);
    close(pair->server_fd);
}

void tls_pair_say(struct tls_pair *pair, const char *text)
{
    char in[256] = "";
    size_t len = 0;
    cr_assert_eq(SSL_write(pair->server, text, (int)strlen(text)), (int)strlen(text));
    for (int i = 0; i < 1000 && len < strlen(text); i++) {
        wait_a_moment(transport_fd(pair->client));
        ssize_t n = transport_read(pair->client, in + len, sizeof(in) - len, &pair->why);
        cr_assert_geq(n, 0, "%s", pair->why.detail);
        len += (size_t)n;
    }
    cr_assert_eq(memcmp(in, text, strlen(text)), 0);
}
