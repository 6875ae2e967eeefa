#include "smtp/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct transport_tls {
    SSL_CTX *ctx;
    char *server_name;
    bool name_is_ip;
    pthread_mutex_t lock; /* guards `session`: sessions of several workers end handshakes at once */
    SSL_SESSION *session; /* the newest ticket; owned */
};

struct transport {
    int fd;
    SSL *ssl; /* NULL: plain */
    int wants;
    char certificate_names[256]; /* of a leaf that was refused */
};

/* --- the context -------------------------------------------------------------------------- */

static int tls_index = -1;       /* SSL_CTX -> struct transport_tls */
static int transport_index = -1; /* SSL -> struct transport */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_indices(void)
{
    tls_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    transport_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown reason";
}

/* A ticket goes back only to the relay, trust and identity it came from: it lives in this context,
 * and a context is made for exactly one of each. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct transport_tls *tls = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tls_index);
    pthread_mutex_lock(&tls->lock);
    SSL_SESSION *old = tls->session;
    tls->session = session;
    pthread_mutex_unlock(&tls->lock);
    SSL_SESSION_free(old);
    return 1; /* the reference is ours now */
}

static void append_name(char *to, size_t size, const unsigned char *name, int len)
{
    size_t used = strlen(to);
    if (len > 0 && memchr(name, '\0', (size_t)len) == NULL)
        snprintf(to + used, size - used, "%s%.*s", used > 0 ? ", " : "", len, (const char *)name);
}

/* What the certificate is for, so that the sentence about a mismatch can say it. */
static void describe_names(X509 *leaf, char *to, size_t size)
{
    to[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char ip[INET6_ADDRSTRLEN] = "";
        if (name->type == GEN_DNS)
            append_name(to, size, ASN1_STRING_get0_data(name->d.dNSName),
                        ASN1_STRING_length(name->d.dNSName));
        else if (name->type == GEN_IPADD)
            inet_ntop(ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6,
                      ASN1_STRING_get0_data(name->d.iPAddress), ip, sizeof(ip));
        append_name(to, size, (const unsigned char *)ip, (int)strlen(ip));
    }
    GENERAL_NAMES_free(names);
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
    if (!ok && X509_STORE_CTX_get_error_depth(store) == 0) {
        SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        struct transport *transport = SSL_get_ex_data(ssl, transport_index);
        describe_names(X509_STORE_CTX_get_current_cert(store), transport->certificate_names,
                       sizeof(transport->certificate_names));
    }
    return ok;
}

static int load_files(SSL_CTX *ctx, const struct transport_tls_settings *settings,
                      struct error *err)
{
    if (settings->ca_file != NULL) {
        if (SSL_CTX_load_verify_file(ctx, settings->ca_file) != 1)
            return error_set(err, ERR_CONFIG, "tls_options.ca_file %s: %s", settings->ca_file,
                             openssl_reason());
    } else if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
        return error_set(err, ERR_CONFIG, "the system's certificate authorities: %s",
                         openssl_reason());
    }
    if (settings->certificate == NULL)
        return 0;
    const char *key = settings->key != NULL ? settings->key : settings->certificate;
    if (SSL_CTX_use_certificate_chain_file(ctx, settings->certificate) != 1)
        return error_set(err, ERR_CONFIG, "tls_options.certificate %s: %s", settings->certificate,
                         openssl_reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return error_set(err, ERR_CONFIG, "tls_options.key %s: %s", key, openssl_reason());
    return 0;
}

static bool is_ip(const char *name)
{
    unsigned char octets[16];
    return inet_pton(AF_INET, name, octets) == 1 || inet_pton(AF_INET6, name, octets) == 1;
}

int transport_tls_new(const struct transport_tls_settings *settings, struct transport_tls **tls_out,
                      struct error *err)
{
    pthread_once(&once, make_indices);
    ERR_clear_error();
    struct transport_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return error_set(err, ERR_NOMEM, "TLS context");
    pthread_mutex_init(&tls->lock, NULL);
    tls->ctx = SSL_CTX_new(TLS_client_method());
    tls->server_name = strdup(settings->server_name);
    if (tls->ctx == NULL || tls->server_name == NULL) {
        transport_tls_free(tls);
        return error_set(err, ERR_NOMEM, "TLS context");
    }
    tls->name_is_ip = is_ip(settings->server_name);
    SSL_CTX_set_ex_data(tls->ctx, tls_index, tls);
    SSL_CTX_set_min_proto_version(tls->ctx, settings->min_version);
    SSL_CTX_set_options(tls->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(tls->ctx, settings->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, on_verify);
    SSL_CTX_set_session_cache_mode(tls->ctx,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(tls->ctx, keep_session);
    if (load_files(tls->ctx, settings, err) < 0) {
        transport_tls_free(tls);
        return -1;
    }
    *tls_out = tls;
    return 0;
}

void transport_tls_free(struct transport_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_SESSION_free(tls->session);
    SSL_CTX_free(tls->ctx);
    pthread_mutex_destroy(&tls->lock);
    free(tls->server_name);
    free(tls);
}

/* --- the connection ----------------------------------------------------------------------- */

static int connect_error(int errnum, struct error *err)
{
    return error_set(err,
                     errnum == ECONNREFUSED ? ERR_CONNECT_REFUSED
                     : errnum == ETIMEDOUT  ? ERR_CONNECT_TIMEOUT
                                            : ERR_CONNECT_FAILED,
                     "connect: %s", strerror(errnum));
}

int transport_connect(const struct sockaddr *address, socklen_t address_len,
                      struct transport **transport_out, struct error *err)
{
    struct transport *transport = calloc(1, sizeof(*transport));
    if (transport == NULL)
        return error_set(err, ERR_NOMEM, "connection");
    transport->wants = TRANSPORT_WRITE;
    transport->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (transport->fd < 0) {
        free(transport);
        return error_set(err, ERR_CONNECT_FAILED, "socket: %s", strerror(errno));
    }
    int on = 1; /* groups of commands leave at once; the dialogue does the gathering */
    setsockopt(transport->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(transport->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (connect(transport->fd, address, address_len) < 0 && errno != EINPROGRESS) {
        int errnum = errno;
        transport_free(transport);
        return connect_error(errnum, err);
    }
    *transport_out = transport;
    return 0;
}

void transport_free(struct transport *transport)
{
    if (transport == NULL)
        return;
    SSL_free(transport->ssl);
    close(transport->fd);
    free(transport);
}

int transport_fd(const struct transport *transport)
{
    return transport->fd;
}

int transport_connected(struct transport *transport, struct error *err)
{
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    getsockopt(transport->fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
    if (errnum != 0)
        return connect_error(errnum, err);
    transport->wants = TRANSPORT_READ;
    return 0;
}

/* --- TLS ---------------------------------------------------------------------------------- */

static int set_expected_name(SSL *ssl, const struct transport_tls *tls)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    /* RFC 9525, 6.3: the subjectAltName alone counts, a wildcard is a whole leftmost label */
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (tls->name_is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(param, tls->server_name);
    return X509_VERIFY_PARAM_set1_host(param, tls->server_name, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, tls->server_name) == 1;
}

int transport_start_tls(struct transport *transport, struct transport_tls *tls, struct error *err)
{
    ERR_clear_error();
    transport->ssl = SSL_new(tls->ctx);
    if (transport->ssl == NULL || SSL_set_fd(transport->ssl, transport->fd) != 1 ||
        SSL_set_ex_data(transport->ssl, transport_index, transport) != 1 ||
        set_expected_name(transport->ssl, tls) != 1)
        return error_set(err, ERR_NOMEM, "TLS: %s", openssl_reason());

    pthread_mutex_lock(&tls->lock);
    if (tls->session != NULL && SSL_SESSION_is_resumable(tls->session))
        SSL_set_session(transport->ssl, tls->session);
    pthread_mutex_unlock(&tls->lock);
    SSL_set_connect_state(transport->ssl);
    return 0;
}

static int certificate_error(const struct transport *transport, long verdict, struct error *err)
{
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return error_set(err, ERR_CERTIFICATE_NAME_MISMATCH, "the certificate is for: %s",
                         transport->certificate_names[0] != '\0' ? transport->certificate_names
                                                                 : "no name at all");
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return error_set(err, ERR_CERTIFICATE_EXPIRED, "the certificate has expired");
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return error_set(err, ERR_CERTIFICATE_NOT_YET_VALID, "the certificate is not valid yet");
    default:
        return error_set(err, ERR_CERTIFICATE_UNTRUSTED, "%s",
                         X509_verify_cert_error_string(verdict));
    }
}

static int handshake_error(const struct transport *transport, struct error *err)
{
    long verdict = SSL_get_verify_result(transport->ssl);
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    if (verdict != X509_V_OK && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return certificate_error(transport, verdict, err);
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER: /* what OpenSSL says of any octets that are no TLS record */
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return error_set(err, ERR_TLS_ON_PLAIN_PORT,
                         "the server answered the TLS ClientHello in plain text");
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
        return error_set(err, ERR_TLS_VERSION, "no TLS version in common: %s", openssl_reason());
    default:
        return error_set(err, ERR_TLS_FAILED, "TLS handshake: %s", openssl_reason());
    }
}

/* What an SSL_ call that did not succeed means: 0 would block, -1 the connection is gone. */
static int ssl_trouble(struct transport *transport, int ret, struct error *err)
{
    int errnum = errno;
    switch (SSL_get_error(transport->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        transport->wants = TRANSPORT_READ;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        transport->wants = TRANSPORT_WRITE;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return error_set(err, ERR_CONNECTION_LOST, "the server ended the TLS connection");
    case SSL_ERROR_SYSCALL:
        return error_set(err, ERR_CONNECTION_LOST, "%s",
                         errnum != 0 ? strerror(errnum) : "the server closed the connection");
    default:
        /* A cut without close_notify comes here too: it might be an attacker's (RFC 8446, 6.1). */
        return error_set(err, ERR_CONNECTION_LOST, "TLS: %s", openssl_reason());
    }
}

int transport_handshake(struct transport *transport, struct error *err)
{
    ERR_clear_error();
    errno = 0;
    int ret = SSL_do_handshake(transport->ssl);
    if (ret == 1) {
        transport->wants = TRANSPORT_READ;
        return 1;
    }
    if (SSL_get_error(transport->ssl, ret) == SSL_ERROR_SSL &&
        ERR_GET_REASON(ERR_peek_last_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return handshake_error(transport, err);
    return ssl_trouble(transport, ret, err);
}

/* --- moving octets ------------------------------------------------------------------------ */

static ssize_t tls_read(struct transport *transport, char *buf, size_t size, struct error *err)
{
    size_t n = 0;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_read_ex(transport->ssl, buf, size, &n);
    return ret == 1 ? (ssize_t)n : ssl_trouble(transport, ret, err);
}

ssize_t transport_read(struct transport *transport, char *buf, size_t size, struct error *err)
{
    transport->wants = TRANSPORT_READ;
    if (transport->ssl != NULL)
        return tls_read(transport, buf, size, err);
    ssize_t n = recv(transport->fd, buf, size, 0);
    if (n > 0)
        return n;
    if (n == 0)
        return error_set(err, ERR_CONNECTION_LOST, "the server closed the connection");
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    return error_set(err, ERR_CONNECTION_LOST, "%s", strerror(errno));
}

static ssize_t tls_write(struct transport *transport, const char *data, size_t len,
                         struct error *err)
{
    size_t n = 0;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_write_ex(transport->ssl, data, len, &n);
    return ret == 1 ? (ssize_t)n : ssl_trouble(transport, ret, err);
}

ssize_t transport_write(struct transport *transport, const char *data, size_t len,
                        struct error *err)
{
    transport->wants = TRANSPORT_WRITE;
    if (transport->ssl != NULL)
        return tls_write(transport, data, len, err);
    ssize_t n = send(transport->fd, data, len, MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    return error_set(err, ERR_CONNECTION_LOST, "%s", strerror(errno));
}

int transport_wants(const struct transport *transport)
{
    return transport->wants;
}

bool transport_pending(const struct transport *transport)
{
    return transport->ssl != NULL && SSL_pending(transport->ssl) > 0;
}

void transport_shutdown_tls(struct transport *transport)
{
    if (transport->ssl == NULL || !SSL_is_init_finished(transport->ssl))
        return;
    ERR_clear_error();
    SSL_shutdown(transport->ssl);
}

const char *transport_tls_version(const struct transport *transport)
{
    return transport->ssl != NULL ? SSL_get_version(transport->ssl) : NULL;
}

/* --- who is there ------------------------------------------------------------------------- */

static void name_line(const X509_NAME *name, char *to, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int len = 0;
    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE) >= 0)
        len = BIO_read(bio, to, (int)size - 1);
    to[len > 0 ? len : 0] = '\0';
    BIO_free(bio);
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* RFC 7469, 2.4: of the key, so that it outlives the certificate. */
static void describe_key(const X509 *certificate, char pin_out[64])
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

bool transport_certificate(const struct transport *transport,
                           struct transport_certificate *certificate_out)
{
    X509 *shown = transport->ssl != NULL ? SSL_get0_peer_certificate(transport->ssl) : NULL;
    if (shown == NULL)
        return false;
    describe_names(shown, certificate_out->names, sizeof(certificate_out->names));
    name_line(X509_get_issuer_name(shown), certificate_out->issuer,
              sizeof(certificate_out->issuer));
    describe_key(shown, certificate_out->pin);
    certificate_out->not_before_s = seconds_of(X509_get0_notBefore(shown));
    certificate_out->not_after_s = seconds_of(X509_get0_notAfter(shown));
    return true;
}

bool transport_resumed(const struct transport *transport)
{
    return transport->ssl != NULL && SSL_session_reused(transport->ssl) == 1;
}
