#include "smtp/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    /* Behind the handshake OpenSSL itself answers what the server says: KeyUpdate, HelloRequest,
     * tickets. Each costs us more than it costs the server, so there is an end to it. */
    IDLE_TALK_MAX = 64, /* handshake messages without an octet of data in between */
    EXPORTER_LEN = 32,  /* RFC 9266, 2 */
    FINISHED_MAX = 36,  /* TLS 1.2 has 12 */
};

struct transport {
    int fd;
    SSL *ssl; /* NULL: plain */
    int read_wants, write_wants;
    bool up;      /* the handshake is done */
    bool drained; /* see transport_drained() */
    unsigned n_idle_talk;
    struct transport_shown shown;
};

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown reason";
}

/* --- the connection ----------------------------------------------------------------------- */

static int connect_error(int errnum, struct error *err)
{
    return error_set(err,
                     errnum == ECONNREFUSED ? ERR_CONNECT_REFUSED
                     : errnum == ETIMEDOUT  ? ERR_CONNECT_TIMEOUT
                                            : ERR_CONNECT_FAILED,
                     "%s", strerror(errnum));
}

static socklen_t length_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

/* The port is chosen when the other end is known: one port then serves many destinations. */
static int bind_source(int fd, const struct sockaddr *source, struct error *err)
{
    char text[INET6_ADDRSTRLEN] = "";
    const void *octets = source->sa_family == AF_INET6
                             ? (const void *)&((const struct sockaddr_in6 *)source)->sin6_addr
                             : (const void *)&((const struct sockaddr_in *)source)->sin_addr;
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, source, length_of(source)) == 0)
        return 0;
    int errnum = errno;
    inet_ntop(source->sa_family, octets, text, sizeof(text));
    return error_set(err, ERR_CONNECT_FAILED, "source_address %s: %s", text, strerror(errnum));
}

static int begin_connect(int fd, const struct sockaddr *address, const struct sockaddr *source,
                         struct error *err)
{
    int on = 1; /* groups of commands leave at once; the dialogue does the gathering */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (source != NULL && bind_source(fd, source, err) < 0)
        return -1;
    if (connect(fd, address, length_of(address)) < 0 && errno != EINPROGRESS)
        return connect_error(errno, err);
    return 0;
}

int transport_connect(const struct sockaddr *address, const struct sockaddr *source,
                      struct transport **transport_out, struct error *err)
{
    struct transport *transport = calloc(1, sizeof(*transport));
    if (transport == NULL)
        return error_set(err, ERR_NOMEM, "connection");
    transport->write_wants = TRANSPORT_WRITE;
    transport->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = transport->fd >= 0 ? begin_connect(transport->fd, address, source, err)
                                : error_set(err, ERR_CONNECT_FAILED, "socket: %s", strerror(errno));
    if (rc < 0) {
        transport_free(transport);
        return -1;
    }
    *transport_out = transport;
    return 0;
}

void transport_free(struct transport *transport)
{
    if (transport == NULL)
        return;
    SSL_free(transport->ssl);
    transport_shown_clear(&transport->shown);
    if (transport->fd >= 0)
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
    transport->read_wants = TRANSPORT_READ;
    transport->write_wants = 0;
    return 0;
}

/* --- TLS ---------------------------------------------------------------------------------- */

static BIO_METHOD *socket_method; /* OpenSSL's own, but for the signal */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* OpenSSL calls write(), by which a peer that has left kills a process that forgot SIGPIPE. */
static int send_quietly(BIO *bio, const char *data, int len)
{
    int fd = -1;
    BIO_get_fd(bio, &fd);
    BIO_clear_retry_flags(bio);
    ssize_t n = send(fd, data, (size_t)len, MSG_NOSIGNAL);
    if (n <= 0 && BIO_sock_should_retry((int)n))
        BIO_set_retry_write(bio);
    return (int)n;
}

static void make_socket_method(void)
{
    const BIO_METHOD *plain = BIO_s_socket();
    socket_method = BIO_meth_new(BIO_TYPE_SOCKET, "socket without SIGPIPE");
    if (socket_method == NULL)
        return;
    BIO_meth_set_write(socket_method, send_quietly);
    BIO_meth_set_read(socket_method, BIO_meth_get_read(plain));
    BIO_meth_set_ctrl(socket_method, BIO_meth_get_ctrl(plain));
    BIO_meth_set_create(socket_method, BIO_meth_get_create(plain));
    BIO_meth_set_destroy(socket_method, BIO_meth_get_destroy(plain));
}

static bool attach(SSL *ssl, int fd)
{
    pthread_once(&once, make_socket_method);
    BIO *bio = socket_method != NULL ? BIO_new(socket_method) : NULL;
    if (bio == NULL)
        return false;
    BIO_set_fd(bio, fd, BIO_NOCLOSE);
    SSL_set_bio(ssl, bio, bio);
    return true;
}

/* Ends it from inside OpenSSL, which would go on reading such messages as long as they come. */
static void count_idle_talk(int outgoing, int version, int type, const void *data, size_t len,
                            SSL *ssl, void *arg)
{
    struct transport *transport = arg;
    if (transport->up && !outgoing && type == SSL3_RT_HANDSHAKE &&
        ++transport->n_idle_talk == IDLE_TALK_MAX)
        shutdown(transport->fd, SHUT_RDWR);
}

int transport_start_tls(struct transport *transport, struct transport_tls *tls, struct error *err)
{
    ERR_clear_error();
    transport->ssl = transport_tls_open(tls, &transport->shown);
    if (transport->ssl == NULL || !attach(transport->ssl, transport->fd))
        return error_set(err, ERR_NOMEM, "TLS: %s", openssl_reason());
    SSL_set_msg_callback(transport->ssl, count_idle_talk);
    SSL_set_msg_callback_arg(transport->ssl, transport);
    SSL_set_connect_state(transport->ssl);
    return 0;
}

/* "the certificate", if it is the server's own; else whose it is, of those above. */
static void name_refused(const struct transport *transport, char *out, size_t size)
{
    const struct transport_shown *shown = &transport->shown;
    char subject[200];
    snprintf(out, size, "the certificate");
    if (shown->refused == NULL || shown->certificate == NULL ||
        X509_cmp(shown->refused, shown->certificate) == 0)
        return;
    certificate_subject(shown->refused, subject, sizeof(subject));
    snprintf(out, size, "the certificate of %s, above the server's own,", subject);
}

static void format_day(const ASN1_TIME *time, char out[16])
{
    struct tm tm = {0};
    out[0] = '\0';
    if (time != NULL && ASN1_TIME_to_tm(time, &tm) == 1)
        strftime(out, 16, "%Y-%m-%d", &tm);
}

static bool lacks_issuer(long verdict)
{
    return verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
           verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
           verdict == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

/* What is wrong with it is best seen by its issuer; diagnosis.c knows these words. */
static int untrusted_error(const struct transport *transport, long verdict, struct error *err)
{
    const struct transport_shown *shown = &transport->shown;
    char which[256], issuer[200] = "";
    name_refused(transport, which, sizeof(which));
    if (shown->refused != NULL)
        certificate_issuer(shown->refused, issuer, sizeof(issuer));
    if (lacks_issuer(verdict) && shown->n_sent == 1)
        return error_set(err, ERR_CERTIFICATE_UNTRUSTED,
                         "%s: its issuer is %s, whose certificate the server does not send",
                         X509_verify_cert_error_string(verdict), issuer);
    return error_set(err, ERR_CERTIFICATE_UNTRUSTED, "%s: %s is issued by %s",
                     X509_verify_cert_error_string(verdict), which, issuer);
}

static int certificate_error(const struct transport *transport, long verdict, struct error *err)
{
    const X509 *refused = transport->shown.refused;
    char which[256], day[16];
    struct transport_certificate shown = {0};
    transport_certificate(transport, &shown);
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return error_set(err, ERR_CERTIFICATE_NAME_MISMATCH, "the certificate is for: %s",
                         shown.names[0] != '\0' ? shown.names : "no name at all");
    case X509_V_ERR_CERT_HAS_EXPIRED:
        name_refused(transport, which, sizeof(which));
        format_day(refused != NULL ? X509_get0_notAfter(refused) : NULL, day);
        return error_set(err, ERR_CERTIFICATE_EXPIRED, "%s has expired: it was good until %s",
                         which, day);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        name_refused(transport, which, sizeof(which));
        format_day(refused != NULL ? X509_get0_notBefore(refused) : NULL, day);
        return error_set(err, ERR_CERTIFICATE_NOT_YET_VALID,
                         "%s is not valid yet: it is good from %s on", which, day);
    case X509_V_ERR_APPLICATION_VERIFICATION:
        return error_set(err, ERR_CERTIFICATE_UNTRUSTED,
                         "the certificate's key is %s, and no tls_options.pins is met", shown.pin);
    default:
        return untrusted_error(transport, verdict, err);
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
static int ssl_trouble(struct transport *transport, int ret, int *wants_out, struct error *err)
{
    int errnum = errno;
    if (transport->n_idle_talk >= IDLE_TALK_MAX)
        return error_set(err, ERR_CONNECTION_LOST, "the server talks of nothing but TLS itself");
    switch (SSL_get_error(transport->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        *wants_out = TRANSPORT_READ;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        *wants_out = TRANSPORT_WRITE;
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
    transport->read_wants = TRANSPORT_READ;
    transport->write_wants = 0;
    if (ret == 1) {
        transport->up = true;
        return 1;
    }
    if (SSL_get_error(transport->ssl, ret) == SSL_ERROR_SSL &&
        ERR_GET_REASON(ERR_peek_last_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return handshake_error(transport, err);
    return ssl_trouble(transport, ret, &transport->read_wants, err);
}

/* --- moving octets ------------------------------------------------------------------------ */

static ssize_t tls_read(struct transport *transport, char *buf, size_t size, struct error *err)
{
    size_t n = 0;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_read_ex(transport->ssl, buf, size, &n);
    if (ret != 1)
        return ssl_trouble(transport, ret, &transport->read_wants, err);
    transport->n_idle_talk = 0;
    return (ssize_t)n;
}

ssize_t transport_read(struct transport *transport, char *buf, size_t size, struct error *err)
{
    transport->read_wants = TRANSPORT_READ;
    if (transport->ssl != NULL)
        return tls_read(transport, buf, size, err);
    ssize_t n = recv(transport->fd, buf, size, 0);
    transport->drained = n > 0 && (size_t)n < size;
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
    return ret == 1 ? (ssize_t)n : ssl_trouble(transport, ret, &transport->write_wants, err);
}

ssize_t transport_write(struct transport *transport, const char *data, size_t len,
                        struct error *err)
{
    transport->write_wants = 0;
    if (transport->ssl != NULL)
        return tls_write(transport, data, len, err);
    ssize_t n = send(transport->fd, data, len, MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    transport->write_wants = TRANSPORT_WRITE;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    return error_set(err, ERR_CONNECTION_LOST, "%s", strerror(errno));
}

int transport_wants(const struct transport *transport)
{
    return transport->read_wants | transport->write_wants;
}

bool transport_pending(const struct transport *transport)
{
    return transport->ssl != NULL && SSL_pending(transport->ssl) > 0;
}

bool transport_drained(const struct transport *transport)
{
    return transport->ssl == NULL && transport->drained;
}

void transport_hang_up(struct transport *transport)
{
    if (transport->ssl != NULL && SSL_is_init_finished(transport->ssl)) {
        ERR_clear_error();
        SSL_shutdown(transport->ssl);
    }
    shutdown(transport->fd, SHUT_RDWR);
}

const char *transport_tls_version(const struct transport *transport)
{
    return transport->ssl != NULL ? SSL_get_version(transport->ssl) : NULL;
}

/* --- who is there ------------------------------------------------------------------------- */

bool transport_certificate(const struct transport *transport,
                           struct transport_certificate *certificate_out)
{
    X509 *shown = transport->shown.certificate;
    if (shown == NULL && transport->ssl != NULL) /* resumed: it was shown to an earlier one */
        shown = SSL_get0_peer_certificate(transport->ssl);
    if (shown == NULL)
        return false;
    certificate_describe(shown, certificate_out);
    return true;
}

bool transport_resumed(const struct transport *transport)
{
    return transport->ssl != NULL && SSL_session_reused(transport->ssl) == 1;
}

/* The first Finished of the handshake: ours, or the server's if it resumed (RFC 5929, 3.1). */
static size_t first_finished(SSL *ssl, unsigned char *octets, size_t size)
{
    size_t n = SSL_session_reused(ssl) ? SSL_get_peer_finished(ssl, octets, size)
                                       : SSL_get_finished(ssl, octets, size);
    return n <= size ? n : 0;
}

void transport_bindings(const struct transport *transport,
                        char exporter_out[TRANSPORT_BINDING_SIZE],
                        char unique_out[TRANSPORT_BINDING_SIZE])
{
    static const char label[] = "EXPORTER-Channel-Binding";
    unsigned char exporter[EXPORTER_LEN], finished[FINISHED_MAX];
    SSL *ssl = transport->ssl;
    exporter_out[0] = unique_out[0] = '\0';
    bool tls13 = ssl != NULL && SSL_version(ssl) >= TLS1_3_VERSION;
    if (ssl == NULL || !transport->up || (!tls13 && SSL_get_extms_support(ssl) != 1))
        return;
    if (SSL_export_keying_material(ssl, exporter, sizeof(exporter), label, sizeof(label) - 1,
                                   (const unsigned char *)"", 0, 1) == 1)
        EVP_EncodeBlock((unsigned char *)exporter_out, exporter, sizeof(exporter));
    if (!tls13)
        EVP_EncodeBlock((unsigned char *)unique_out, finished,
                        (int)first_finished(ssl, finished, sizeof(finished)));
}
