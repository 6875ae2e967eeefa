#include "tests/unit/support/http_peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 32, REQUEST_MAX = 64 * 1024 };

struct conn {
    struct http_peer *peer;
    pthread_t thread;
    int fd;
    SSL *tls;
    char request[REQUEST_MAX];
    size_t len;
};

struct http_peer {
    SSL_CTX *tls;
    int fd;
    uint16_t port;
    pthread_t thread;
    struct conn *conns[CONNECTIONS_MAX];
    atomic_uint n_conns, n_requests;
    atomic_ullong n_written;
};

static long pull(struct conn *c, char *to, size_t size)
{
    return c->tls != NULL ? SSL_read(c->tls, to, (int)size) : read(c->fd, to, size);
}

static bool say(struct conn *c, const char *data, size_t len)
{
    long n = c->tls != NULL ? SSL_write(c->tls, data, (int)len) : write(c->fd, data, len);
    if (n > 0)
        atomic_fetch_add(&c->peer->n_written, (unsigned long long)n);
    return n == (long)len;
}

static bool say_text(struct conn *c, const char *text)
{
    return say(c, text, strlen(text));
}

/* --- the answers: false ends the connection ------------------------------------------------ */

static bool echo(struct conn *c)
{
    char head[128];
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", c->len);
    return say_text(c, head) && say(c, c->request, c->len);
}

static bool redirect(struct conn *c)
{
    char text[128];
    snprintf(text, sizeof(text),
             "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%u/echo\r\n"
             "Content-Length: 0\r\n\r\n",
             c->peer->port);
    return say_text(c, text);
}

static bool gigabyte(struct conn *c)
{
    static const char zeros[16384];
    bool going = say_text(c, "HTTP/1.1 200 OK\r\n\r\n");
    for (size_t i = 0; going && i < (1u << 30) / sizeof(zeros); i++)
        going = say(c, zeros, sizeof(zeros));
    return false;
}

static bool headers(struct conn *c)
{
    bool going = say_text(c, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; going && i < 1000000; i++)
        going = say_text(c, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    return false;
}

static bool drip(struct conn *c)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    bool going = say_text(c, "HTTP/1.1 200 OK\r\n\r\n");
    for (int i = 0; going && i < 1000; i++) {
        nanosleep(&pause, NULL);
        going = say_text(c, "x");
    }
    return false;
}

/* Until the client closes. */
static bool silent(struct conn *c)
{
    char octet;
    while (pull(c, &octet, 1) > 0)
        ;
    return false;
}

static bool hang_up(struct conn *c)
{
    return false;
}

/* With what stands in the request's body. */
static bool retry_after(struct conn *c)
{
    char text[256];
    snprintf(text, sizeof(text),
             "HTTP/1.1 503 Later\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n",
             strstr(c->request, "\r\n\r\n") + 4);
    return say_text(c, text);
}

#define HTTP(status, more, body) "HTTP/1.1 " status "\r\n" more "\r\n" body

static const struct {
    const char *path;
    bool (*answer)(struct conn *c);
    const char *text; /* instead, and then the connection ends */
} answers[] = {
    {"/echo", echo, NULL},
    {"/redirect", redirect, NULL},
    {"/gigabyte", gigabyte, NULL},
    {"/headers", headers, NULL},
    {"/drip", drip, NULL},
    {"/retry-after", retry_after, NULL},
    {"/silent", silent, NULL},
    {"/hang-up", hang_up, NULL},
    {"/announced", NULL, HTTP("200 OK", "Content-Length: 1000000000\r\n", "x")},
    {"/truncated", NULL, HTTP("200 OK", "Content-Length: 100\r\n", "{\"access")},
    {"/cut-chunk", NULL, HTTP("200 OK", "Transfer-Encoding: chunked\r\n", "ff\r\n{\"access")},
    {"/html", NULL, HTTP("200 OK", "Content-Type: text/html\r\n", "<html>")},
    {"/429", NULL, HTTP("429 Too Many", "retry-after:  7 \r\nContent-Length: 0\r\n", "")},
    {"/503", NULL, HTTP("503 Later", "Retry-After: soon\r\nContent-Length: 0\r\n", "")},
    {"/early", NULL,
     HTTP("103 Early", "Retry-After: 9\r\n", "") HTTP("200 OK", "Content-Length: 0\r\n", "")},
    {"/cookie", NULL,
     HTTP("200 OK", "Set-Cookie: a=b\r\nContent-Length: 0\r\nConnection: close\r\n", "")},
    {"/garbage", NULL, "SSH-2.0-OpenSSH_9.2\r\n"},
};

static bool answer(struct conn *c)
{
    const char *path = strchr(c->request, ' ') + 1;
    size_t len = strcspn(path, " ?");
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (strlen(answers[i].path) == len && memcmp(answers[i].path, path, len) == 0)
            return answers[i].answer != NULL ? answers[i].answer(c)
                                             : say_text(c, answers[i].text) && false;
    return say_text(c, HTTP("404 Not Found", "Content-Length: 0\r\n", ""));
}

/* --- the connection ------------------------------------------------------------------------ */

static size_t body_len(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");
    return field != NULL ? strtoul(field + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

static bool take_request(struct conn *c)
{
    c->len = 0;
    for (;;) {
        c->request[c->len] = '\0';
        const char *end = strstr(c->request, "\r\n\r\n");
        if (end != NULL && c->len >= (size_t)(end + 4 - c->request) + body_len(c->request))
            return true;
        long n = pull(c, c->request + c->len, sizeof(c->request) - 1 - c->len);
        if (n <= 0)
            return false;
        c->len += (size_t)n;
    }
}

static void *serve(void *arg)
{
    struct conn *c = arg;
    bool going = true;
    if (c->peer->tls != NULL) {
        c->tls = SSL_new(c->peer->tls);
        SSL_set_fd(c->tls, c->fd);
        going = SSL_accept(c->tls) == 1;
    }
    while (going && take_request(c)) {
        atomic_fetch_add(&c->peer->n_requests, 1);
        going = answer(c);
    }
    if (c->tls != NULL)
        SSL_shutdown(c->tls);
    SSL_free(c->tls);
    close(c->fd);
    return NULL;
}

static void *listen_on(void *arg)
{
    struct http_peer *peer = arg;
    int fd;
    while ((fd = accept(peer->fd, NULL, NULL)) >= 0) {
        struct conn *c = calloc(1, sizeof(*c));
        cr_assert(c != NULL && atomic_load(&peer->n_conns) < CONNECTIONS_MAX);
        c->peer = peer;
        c->fd = fd;
        peer->conns[atomic_fetch_add(&peer->n_conns, 1)] = c;
        cr_assert_eq(pthread_create(&c->thread, NULL, serve, c), 0);
    }
    return NULL;
}

struct http_peer *http_peer_start(SSL_CTX *tls)
{
    struct http_peer *peer = calloc(1, sizeof(*peer));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    cr_assert_not_null(peer);
    peer->tls = tls;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(peer->fd, (struct sockaddr *)&at, len), 0);
    cr_assert_eq(listen(peer->fd, CONNECTIONS_MAX), 0);
    cr_assert_eq(getsockname(peer->fd, (struct sockaddr *)&at, &len), 0);
    peer->port = ntohs(at.sin_port);
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(pthread_create(&peer->thread, NULL, listen_on, peer), 0);
    return peer;
}

void http_peer_stop(struct http_peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->fd);
    for (size_t i = 0; i < atomic_load(&peer->n_conns); i++) {
        pthread_join(peer->conns[i]->thread, NULL);
        free(peer->conns[i]);
    }
    free(peer);
}

uint16_t http_peer_port(const struct http_peer *peer)
{
    return peer->port;
}

unsigned http_peer_connections(const struct http_peer *peer)
{
    return atomic_load(&peer->n_conns);
}

unsigned http_peer_requests(const struct http_peer *peer)
{
    return atomic_load(&peer->n_requests);
}

uint64_t http_peer_written(const struct http_peer *peer)
{
    return atomic_load(&peer->n_written);
}
