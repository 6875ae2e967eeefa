#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "smtp/session.h"
#include "tests/unit/support/tls_peer.h"

/*
 * A login that is bound to its TLS connection, seen by a server that knows what it must be bound
 * to. The server refuses it then: it is the binding alone that is looked at.
 */

struct server {
    SSL_CTX *ctx;
    int listener, fd;
    uint16_t port;
    bool starttls;
    pthread_t thread;
    SSL *ssl;
    char line[1024];             /* the last that came */
    char binding[256], own[256]; /* base64: what the client said, and what it should be */
};

static void say(struct server *s, const char *text)
{
    if (s->ssl != NULL)
        SSL_write(s->ssl, text, (int)strlen(text));
    else
        send(s->fd, text, strlen(text), MSG_NOSIGNAL);
}

static void hear(struct server *s)
{
    size_t len = 0;
    char c = '\0';
    while (c != '\n' && len < sizeof(s->line) - 1 &&
           (s->ssl != NULL ? SSL_read(s->ssl, &c, 1) : recv(s->fd, &c, 1, 0)) == 1)
        if (c != '\r' && c != '\n')
            s->line[len++] = c;
    s->line[len] = '\0';
}

static void start_tls(struct server *s)
{
    s->ssl = SSL_new(s->ctx);
    SSL_set_fd(s->ssl, s->fd);
    SSL_accept(s->ssl);
}

/* What stands in base64 at the end of the last line, in plain. */
static void decode(const struct server *s, char *out, size_t size)
{
    const char *coded = strrchr(s->line, ' ') != NULL ? strrchr(s->line, ' ') + 1 : s->line;
    size_t len = strlen(coded);
    memset(out, 0, size);
    if (len / 4 * 3 < size)
        EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)coded, (int)len);
}

/* RFC 5802, 5.1: "c=" is the header and what the login is bound to, in base64. */
static void take_binding(struct server *s, const char *final)
{
    const char *c = strstr(final, "c=");
    if (c != NULL)
        snprintf(s->binding, sizeof(s->binding), "%.*s", (int)strcspn(c + 2, ","), c + 2);
}

static void compute_own(struct server *s)
{
    static const char header[] = "p=tls-exporter,,";
    unsigned char own[sizeof(header) - 1 + 32];
    memcpy(own, header, sizeof(header) - 1);
    SSL_export_keying_material(s->ssl, own + sizeof(header) - 1, 32, "EXPORTER-Channel-Binding", 24,
                               (const unsigned char *)"", 0, 1);
    EVP_EncodeBlock((unsigned char *)s->own, own, sizeof(own));
}

static void challenge(struct server *s)
{
    char first[256], text[512], coded[700], reply[720];
    decode(s, first, sizeof(first)); /* "p=tls-exporter,,n=joe,r=NONCE" */
    const char *nonce = strstr(first, "r=");
    snprintf(text, sizeof(text), "%sxyz,s=c2FsdHNhbHQ=,i=4096", nonce != NULL ? nonce : "r=");
    EVP_EncodeBlock((unsigned char *)coded, (const unsigned char *)text, (int)strlen(text));
    snprintf(reply, sizeof(reply), "334 %s\r\n", coded);
    say(s, reply);
}

static void log_in(struct server *s)
{
    char final[512];
    hear(s); /* EHLO */
    say(s, "250-hi\r\n250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256\r\n");
    hear(s); /* AUTH */
    challenge(s);
    hear(s);
    decode(s, final, sizeof(final));
    take_binding(s, final);
    compute_own(s);
    say(s, "535 5.7.8 no\r\n");
}

static void *serve(void *arg)
{
    struct server *s = arg;
    s->fd = accept(s->listener, NULL, NULL);
    if (!s->starttls)
        start_tls(s);
    say(s, "220 hi\r\n");
    if (s->starttls) {
        hear(s); /* EHLO */
        say(s, "250-hi\r\n250 STARTTLS\r\n");
        hear(s); /* STARTTLS */
        say(s, "220 go\r\n");
        start_tls(s);
    }
    log_in(s);
    hear(s); /* until it leaves */
    SSL_free(s->ssl);
    close(s->fd);
    return NULL;
}

static void server_start(struct server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(s->listener, 1), 0);
    cr_assert_eq(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void on_ready(void *arg, struct session *session)
{
}

static void on_result(void *arg, struct session *session, const struct smtp_result *result)
{
}

static void on_closed(void *arg, struct session *session, enum smtp_step step,
                      const struct error *why)
{
    *(struct error *)arg = *why;
}

static void run_session(uint16_t port, enum session_tls mode, struct transport_tls *tls,
                        struct error *why_out)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    const struct session_settings settings = {
        .host = "127.0.0.1",
        .port = port,
        .tls = mode,
        .tls_context = tls,
        .connect_timeout_ms = 10000,
        .tls_timeout_ms = 10000,
        .smtp = {.hostname = "me.example",
                 .credentials = {.mechanism = "auto",
                                 .user = "joe",
                                 .password = "a-secret",
                                 .host = "mx.example"},
                 .timeouts = {.greeting = 10000, .command = 10000, .data = 10000, .final = 10000}}};
    const struct session_owner owner = {
        .ready = on_ready, .result = on_result, .closed = on_closed, .arg = why_out};
    cr_assert_not_null(session_open(&loop, &settings, &owner));
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

static void test_login(enum session_tls mode, int version)
{
    struct tls_identity identity;
    struct error why = {0};
    struct transport_tls *tls;
    tls_identity_init(&identity, &(struct tls_identity_settings){.names = "DNS:mx.example"});
    const struct transport_tls_settings settings = {
        .server_name = "mx.example", .verify = false, .min_version = TLS1_2_VERSION};
    cr_assert_eq(transport_tls_new(&settings, &tls, &why), 0);
    struct server server = {.ctx = tls_server_new(&(struct tls_server_settings){
                                .identity = &identity, .version = version}),
                            .starttls = mode == SESSION_TLS_STARTTLS};
    server_start(&server);
    run_session(server.port, mode, tls, &why);
    pthread_join(server.thread, NULL);
    close(server.listener);
    cr_assert_eq(why.code, ERR_AUTH_FAILED, "%s", why.detail);
    cr_assert_str_neq(server.own, "");
    cr_assert_str_eq(server.binding, server.own);
    transport_tls_free(tls);
    SSL_CTX_free(server.ctx);
    tls_identity_clear(&identity);
}

Test(binding, of_a_login_behind_implicit_tls)
{
    test_login(SESSION_TLS_IMPLICIT, TLS1_3_VERSION);
    test_login(SESSION_TLS_IMPLICIT, TLS1_2_VERSION);
}

Test(binding, of_a_login_behind_starttls)
{
    test_login(SESSION_TLS_STARTTLS, TLS1_3_VERSION);
}
