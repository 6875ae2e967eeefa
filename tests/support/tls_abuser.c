/*
 * An SMTP server that abuses what TLS allows, to see what the gateway puts up with:
 *
 *   tls_abuser CERTIFICATE KEY renegotiate      TLS 1.2; wants to renegotiate (RFC 5246, 7.4.1.1)
 *   tls_abuser CERTIFICATE KEY key-updates N    TLS 1.3; N key updates that ask for one in return
 *
 * It does so once, on its first connection, instead of answering MAIL at once. It prints its port,
 * then a line for all that is worth telling, and serves one connection after another until it is
 * ended.
 */

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct abuser {
    SSL_CTX *ctx;
    int n_updates; /* 0: it renegotiates */
    bool done, in_content;
};

static int give_up(const char *what)
{
    fprintf(stderr, "tls_abuser: %s\n", what);
    ERR_print_errors_fp(stderr);
    return 1;
}

static void tell(const char *what)
{
    puts(what);
    fflush(stdout);
}

static bool say(SSL *ssl, const char *line)
{
    return SSL_write(ssl, line, (int)strlen(line)) > 0;
}

/* False at the end of the connection. */
static bool hear(SSL *ssl, char *line, size_t size)
{
    size_t len = 0;
    while (len + 1 < size && SSL_read(ssl, line + len, 1) == 1)
        if (line[len++] == '\n') {
            line[len] = '\0';
            return true;
        }
    return false;
}

static void renegotiate(SSL *ssl)
{
    char nothing;
    SSL_renegotiate(ssl);
    SSL_do_handshake(ssl); /* sends the HelloRequest */
    int n = SSL_read(ssl, &nothing, 1);
    bool refused = n <= 0 && ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_NO_RENEGOTIATION;
    tell(refused ? "renegotiation refused" : "renegotiation not refused");
}

static void update_keys(SSL *ssl, int n)
{
    for (int i = 0; i < n; i++)
        if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(ssl) != 1) {
            tell("key updates refused");
            return;
        }
    tell("key updates sent");
}

/* False: the connection has ended. */
static bool answer(struct abuser *a, SSL *ssl, const char *line)
{
    static const char *const replies[][2] = {
        {"EHLO", "250 abuser.test\r\n"}, {"MAIL", "250 2.1.0 Ok\r\n"},
        {"RCPT", "250 2.1.5 Ok\r\n"},    {"DATA", "354 go\r\n"},
        {".\r\n", "250 2.0.0 Ok\r\n"},   {"QUIT", "221 bye\r\n"},
    };
    if (a->in_content && strcmp(line, ".\r\n") != 0)
        return true;
    if (strncmp(line, "MAIL", 4) == 0 && !a->done) {
        a->done = true;
        if (a->n_updates > 0)
            update_keys(ssl, a->n_updates);
        else
            renegotiate(ssl);
    }
    if (a->in_content)
        tell("message");
    a->in_content = strncmp(line, "DATA", 4) == 0;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        if (strncmp(line, replies[i][0], strlen(replies[i][0])) == 0)
            return say(ssl, replies[i][1]);
    return say(ssl, "502 5.5.1 no\r\n");
}

static void serve(struct abuser *a, int fd)
{
    char line[2048];
    a->in_content = false;
    SSL *ssl = SSL_new(a->ctx);
    ERR_clear_error();
    if (ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1 &&
        say(ssl, "220 abuser.test ESMTP\r\n"))
        while (hear(ssl, line, sizeof(line)) && answer(a, ssl, line))
            ;
    SSL_free(ssl);
    close(fd);
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return give_up("which certificate, key and abuse?");
    struct abuser abuser = {.ctx = SSL_CTX_new(TLS_server_method()),
                            .n_updates = argc > 4 ? atoi(argv[4]) : 0};
    signal(SIGPIPE, SIG_IGN);
    int version = abuser.n_updates > 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (abuser.ctx == NULL || SSL_CTX_set_min_proto_version(abuser.ctx, version) != 1 ||
        SSL_CTX_set_max_proto_version(abuser.ctx, version) != 1 ||
        SSL_CTX_use_certificate_chain_file(abuser.ctx, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(abuser.ctx, argv[2], SSL_FILETYPE_PEM) != 1)
        return give_up("TLS");
    int listener = listen_anywhere();
    if (listener < 0)
        return give_up("no port");
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
        serve(&abuser, fd);
    return give_up("accept");
}
