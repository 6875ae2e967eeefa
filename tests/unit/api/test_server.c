#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/sha.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api.h"
#include "api/server.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"

/* The server from outside, over unix sockets, with a real queue whose relay never delivers. */

enum { PATIENCE_MS = 120000, MAX_BODY = 64 * 1024, MAX_CONNECTIONS = 24 };

#define MESSAGE "{\"from\": \"a@example.com\", \"to\": \"b@example.net\", \"text\": \"x\"}"
#define MESSAGE_LEN "61"
#define JSON "Content-Type: application/json\r\n"
#define POST "POST /v1/messages HTTP/1.1\r\n"
#define SMUGGLED "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
#define LAST "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

struct server {
    char dir[32];
    char addresses[2][64];
    const char *listen[2];
    char store[64];
    struct config config;
    struct config_api_key key;
    struct queue *queue;
    struct api_context context;
    struct api *api;
};

static void hold(void *arg, struct mail *list)
{
    struct server *s = arg;
    for (struct mail *d = list, *next; d != NULL; d = next) {
        next = d->next;
        for (size_t i = 0; i < d->n_recipients; i++)
            d->recipients[i].verdict = DELIVERY_DEFERRED;
        queue_settle(s->queue, d);
    }
}

/* Everything but listening. */
static void prepare(struct server *s)
{
    static const int64_t retry_ms[] = {60000};
    struct error err;
    *s = (struct server){.dir = "/tmp/postern-server-XXXXXX"};
    cr_assert_not_null(mkdtemp(s->dir));
    for (size_t i = 0; i < 2; i++) {
        snprintf(s->addresses[i], sizeof(s->addresses[i]), "unix:%s/%zu", s->dir, i);
        s->listen[i] = s->addresses[i];
    }
    snprintf(s->store, sizeof(s->store), "sqlite:%s/queue.db", s->dir);
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    s->config.listen = (struct config_strings){s->listen, 2};
    s->config.http.max_body = MAX_BODY;
    s->config.http.memory = MAX_BODY + MAX_BODY / 2;
    s->config.http.max_connections = MAX_CONNECTIONS;
    s->config.http.header_ms = s->config.http.body_ms = s->config.http.idle_ms = 60000;
    s->config.queue.store = s->store;
    s->config.queue.max_age_ms = 3600000;
    const struct queue_settings settings = {.store = s->store,
                                            .retry_ms = retry_ms,
                                            .n_retry = 1,
                                            .max_age_ms = 3600000,
                                            .retain_record_ms = 3600000,
                                            .in_memory_bytes = 1 << 20,
                                            .ready = hold,
                                            .arg = s};
    cr_assert_eq(queue_open(&settings, &s->queue, &err), 0, "%s", err.detail);
    cr_assert_eq(queue_start(s->queue, &err), 0);
    s->context = (struct api_context){.config = &s->config, .queue = s->queue};
}

static void start(struct server *s)
{
    struct error err;
    cr_assert_eq(api_start(&s->context, &s->api, &err), 0, "%s", err.detail);
}

static void stop(struct server *s)
{
    char command[64];
    queue_drain(s->queue);
    api_stop(s->api);
    queue_free(s->queue);
    snprintf(command, sizeof(command), "rm -r %s", s->dir);
    cr_assert_eq(system(command), 0);
}

/* --- a client ----------------------------------------------------------------------------- */

static int dial(const struct server *s, size_t listener)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, s->addresses[listener] + strlen("unix:"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static bool say(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* What comes until the server closes, or until `enough` stands in it (NULL: until it closes). The
 * caller frees. */
static char *hear(int fd, const char *enough)
{
    struct buffer got;
    buffer_init(&got, 8 << 20);
    buffer_append_char(&got, '\n');
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        char *to = buffer_reserve(&got, 4096);
        int ready = poll(&poll_fd, 1, PATIENCE_MS);
        cr_assert_eq(ready, 1, "silence after: %.*s", (int)got.len, got.data);
        ssize_t n = recv(fd, to, 4095, 0);
        if (n <= 0)
            break;
        buffer_grown(&got, (size_t)n);
        to[n] = '\0';
        if (enough != NULL && strstr(to, enough) != NULL)
            break;
    }
    char *text = buffer_steal_str(&got);
    cr_assert_not_null(text);
    return text;
}

static char *talk(const struct server *s, const char *data, size_t len)
{
    int fd = dial(s, 0);
    say(fd, data, len);
    char *got = hear(fd, NULL);
    close(fd);
    return got;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        n++;
    return n;
}

static int status_of(const char *got)
{
    const char *line = strstr(got, "HTTP/1.");
    return line != NULL ? atoi(line + strlen("HTTP/1.1 ")) : 0;
}

/* --- framing ------------------------------------------------------------------------------ */

static const struct {
    const char *name, *request;
    size_t len; /* 0: strlen() */
} smuggling[] = {
    {"both lengths", POST "Host: x\r\n" JSON "Content-Length: " MESSAGE_LEN
                          "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"both, the other way", POST "Host: x\r\n" JSON "Transfer-Encoding: chunked\r\n"
                                 "Content-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"two lengths",
     POST "Host: x\r\n" JSON "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" SMUGGLED},
    {"two lengths alike",
     POST "Host: x\r\n" JSON "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" SMUGGLED},
    {"a list of lengths", POST "Host: x\r\n" JSON "Content-Length: 0, 0\r\n\r\n" SMUGGLED},
    {"a signed length", POST "Host: x\r\n" JSON "Content-Length: +0\r\n\r\n" SMUGGLED},
    {"xchunked", POST "Host: x\r\n" JSON "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"gzip, chunked",
     POST "Host: x\r\n" JSON "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"two encodings", POST "Host: x\r\n" JSON "Transfer-Encoding: chunked\r\n"
                           "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"a space before the colon",
     POST "Host: x\r\n" JSON "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"a tab before the colon",
     POST "Host: x\r\n" JSON "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"an encoding in 1.0", "POST /v1/messages HTTP/1.0\r\nHost: x\r\n" JSON
                           "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"no Host", POST JSON "Content-Length: 0\r\n\r\n" SMUGGLED},
    {"two Hosts", "GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" SMUGGLED},
    {"a name with a space", "GET /livez HTTP/1.1\r\nHost: x\r\nA B: y\r\n\r\n" SMUGGLED},
    {"a CR in a value", "GET /livez HTTP/1.1\r\nHost: x\r\nA: y\rB: z\r\n\r\n" SMUGGLED},
    {"a NUL in a name", "GET /livez HTTP/1.1\r\nHost: x\r\nA\0: z\r\n\r\n" SMUGGLED,
     sizeof("GET /livez HTTP/1.1\r\nHost: x\r\nA\0: z\r\n\r\n" SMUGGLED) - 1},
    {"a folded encoding",
     POST "Host: x\r\n" JSON "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" SMUGGLED},
    {"a line without a colon", "GET /livez HTTP/1.1\r\nHost: x\r\nAB\r\n\r\n" SMUGGLED},
    {"a third word", "GET /livez HTTP/1.1 x\r\nHost: x\r\n\r\n" SMUGGLED},
    {"HTTP/0.9", "GET /livez\r\n\r\n" SMUGGLED},
};

Test(server, what_leaves_a_doubt_where_it_ends_is_refused_and_closed)
{
    struct server s;
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < sizeof(smuggling) / sizeof(smuggling[0]); i++) {
        const char *request = smuggling[i].request;
        char *got = talk(&s, request, smuggling[i].len > 0 ? smuggling[i].len : strlen(request));
        cr_expect_null(strstr(got, "HTTP/1.1 2"), "%s: %s", smuggling[i].name, got);
        cr_expect_eq(status_of(got), 400, "%s: %s", smuggling[i].name, got);
        free(got);
    }
    stop(&s);
}

Test(server, requests_behind_one_another_are_answered_in_order)
{
    struct server s;
    prepare(&s);
    start(&s);
    static const char requests[] =
        "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" POST "Host: x\r\n" JSON
        "Content-Length: " MESSAGE_LEN "\r\n\r\n" MESSAGE POST "Host: x\r\n" JSON
        "Transfer-Encoding: chunked\r\n\r\n3d;a=b\r\n" MESSAGE "\r\n0\r\nA: trailer\r\n\r\n"
        "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n" LAST;
    static const int statuses[] = {404, 200, 200, 202, 202, 200, 200};
    cr_assert_eq(sizeof(MESSAGE) - 1, 61);
    char *got = talk(&s, requests, sizeof(requests) - 1);
    const char *at = got;
    for (size_t i = 0; i < 7; i++) {
        at = strstr(at, "HTTP/1.1 ");
        cr_assert_not_null(at, "only %zu: %s", i, got);
        cr_expect_eq(status_of(at), statuses[i], "%zu: %s", i, at);
        at += 5;
    }
    cr_expect_eq(count(got, "{\"status\":\"ok\"}"), 3, "HEAD has no content: %s", got);
    free(got);
    stop(&s);
}

/* --- limits ------------------------------------------------------------------------------- */

static const struct {
    const char *name, *head, *fill, *tail;
    size_t n_fill;
    int status;
} limits[] = {
    {"a header at its limit", "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: ", "a",
     "\r\n\r\n", 16 * 1024 - 40, 200},
    {"a header over it", "GET /livez HTTP/1.1\r\nHost: x\r\nA: ", "a", "\r\n\r\n", 16 * 1024, 431},
    {"a header far over it", "GET /livez HTTP/1.1\r\nHost: x\r\nA: ", "a", "\r\n\r\n", 200000, 431},
    {"many fields", "GET /livez HTTP/1.1\r\nHost: x\r\n", "A: b\r\n", "\r\n", 3000, 431},
    {"a path at its limit", "GET /", "a", " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 8191,
     404},
    {"a path over it", "GET /", "a", " HTTP/1.1\r\nHost: x\r\n\r\n", 8192, 414},
    {"a query over it", "GET /livez?", "a", " HTTP/1.1\r\nHost: x\r\n\r\n", 8192, 414},
    {"a target far over it", "GET /", "a", " HTTP/1.1\r\nHost: x\r\n\r\n", 200000, 414},
    {"a chunked body over it", POST "Host: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n",
     "400\r\n................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "................................................................................."
     "....................................................\r\n",
     "0\r\n\r\n", 65, 413},
};

Test(server, sizes_are_limited)
{
    struct server s;
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct buffer request;
        buffer_init(&request, 1 << 20);
        buffer_append_str(&request, limits[i].head);
        for (size_t k = 0; k < limits[i].n_fill; k++)
            buffer_append_str(&request, limits[i].fill);
        buffer_append_str(&request, limits[i].tail);
        char *got = talk(&s, request.data, request.len);
        cr_expect_eq(status_of(got), limits[i].status, "%s: %.300s", limits[i].name, got);
        free(got);
        buffer_clear(&request);
    }
    stop(&s);
}

/* Each is answered without an octet of its body, and the connection closed. */
static const struct {
    const char *name, *request;
    int status;
    const char *header; /* in the answer; or NULL */
} refusals[] = {
    {"too large", POST "Host: x\r\n" JSON "Content-Length: 65537\r\n\r\n", 413, NULL},
    {"far too large", POST "Host: x\r\n" JSON "Content-Length: 18446744073709551615\r\n\r\n", 413,
     NULL},
    {"too large, expecting",
     POST "Host: x\r\n" JSON "Content-Length: 65537\r\nExpect: 100-continue\r\n\r\n", 413, NULL},
    {"no type", POST "Host: x\r\nContent-Length: 5\r\n\r\n", 415, NULL},
    {"another type", POST "Host: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n", 415,
     NULL},
    {"latin1",
     POST "Host: x\r\nContent-Type: application/json; charset=latin1\r\nContent-Length: 5\r\n\r\n",
     415, NULL},
    {"gzip", POST "Host: x\r\n" JSON "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", 415,
     NULL},
    {"no route", "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 404, NULL},
    {"no method", "PUT /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 405,
     "Allow: POST"},
    {"chunked, no method", "PATCH /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
     405, "Allow: GET, HEAD"},
};

Test(server, what_is_refused_by_its_header_need_not_be_sent)
{
    struct server s;
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        char *got = talk(&s, refusals[i].request, strlen(refusals[i].request));
        cr_expect_eq(status_of(got), refusals[i].status, "%s: %s", refusals[i].name, got);
        cr_expect_null(strstr(got, "100 Continue"), "%s", refusals[i].name);
        if (refusals[i].header != NULL)
            cr_expect_not_null(strstr(got, refusals[i].header), "%s: %s", refusals[i].name, got);
        free(got);
    }
    stop(&s);
}

Test(server, without_a_key_no_body_is_read)
{
    struct server s;
    prepare(&s);
    s.key = (struct config_api_key){.name = "k", .scopes = SCOPE_SEND};
    SHA256((const unsigned char *)"secret", 6, s.key.sha256);
    s.config.api_keys = &s.key;
    s.config.n_api_keys = 1;
    start(&s);
    static const char without[] = POST "Host: x\r\n" JSON "Content-Length: 60000\r\n\r\n";
    static const char with[] =
        POST "Host: x\r\n" JSON "Authorization: Bearer secret\r\nConnection: close\r\n"
             "Content-Length: " MESSAGE_LEN "\r\n\r\n" MESSAGE;
    char *got = talk(&s, without, sizeof(without) - 1);
    cr_expect_eq(status_of(got), 401);
    cr_expect_not_null(strstr(got, "WWW-Authenticate: Bearer"));
    free(got);
    got = talk(&s, with, sizeof(with) - 1);
    cr_expect_eq(status_of(got), 202, "%s", got);
    free(got);
    stop(&s);
}

static const char whole[] =
    POST "Host: x\r\n" JSON "Content-Length: 65000\r\nExpect: 100-continue\r\n\r\n";

static int begin_body(const struct server *s)
{
    int fd = dial(s, 0);
    say(fd, whole, sizeof(whole) - 1);
    free(hear(fd, "100 Continue"));
    return fd;
}

static void send_blanks(int fd, size_t len)
{
    char blanks[1000];
    memset(blanks, ' ', sizeof(blanks));
    for (; len > 0; len -= len < sizeof(blanks) ? len : sizeof(blanks))
        say(fd, blanks, len < sizeof(blanks) ? len : sizeof(blanks));
}

/* Announces a whole body again and again, until the server answers the announcement so. */
static bool in_time_answers(const struct server *s, int status)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    bool answered = false;
    while (!answered && clock_mono_ms() < until_ms) {
        int fd = dial(s, 0);
        say(fd, whole, sizeof(whole) - 1);
        char *got = hear(fd, "HTTP/1.1");
        answered = status_of(got) == status;
        free(got);
        close(fd);
    }
    return answered;
}

Test(server, bodies_share_a_budget)
{
    struct server s;
    prepare(&s);
    start(&s);
    int one = begin_body(&s), other = begin_body(&s);
    send_blanks(one, 64999);
    cr_assert(in_time_answers(&s, 503), "none is begun once all octets of the one are there");
    send_blanks(other, 64999);
    char *got = hear(other, NULL);
    cr_expect_eq(status_of(got), 503, "%s", got);
    cr_expect_not_null(strstr(got, "Retry-After: "));
    cr_expect_not_null(strstr(got, "X-Request-Id: "));
    free(got);
    close(other);
    cr_assert(in_time_answers(&s, 503), "the one is there still");
    close(one); /* gives its part back, as soon as the server sees it */
    cr_expect(in_time_answers(&s, 100));
    stop(&s);
}

Test(server, a_body_that_is_announced_and_does_not_come_holds_nothing)
{
    static const char request[] = POST "Host: x\r\n" JSON "Connection: close\r\n"
                                       "Content-Length: " MESSAGE_LEN "\r\n\r\n" MESSAGE;
    int holders[MAX_CONNECTIONS / 2];
    struct server s;
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < MAX_CONNECTIONS / 2; i++)
        send_blanks(holders[i] = begin_body(&s), i % 2);
    char *got = talk(&s, request, sizeof(request) - 1);
    cr_expect_eq(status_of(got), 202, "%s", got);
    free(got);
    for (size_t i = 0; i < MAX_CONNECTIONS / 2; i++)
        close(holders[i]);
    stop(&s);
}

/* --- clients that still send -------------------------------------------------------------- */

/* All of `len` octets go out before anything is read, as most clients do it. */
static char *talk_blindly(const struct server *s, const char *head, const char *fill, size_t len)
{
    int fd = dial(s, 0);
    bool sent = say(fd, head, strlen(head));
    size_t n = strlen(fill);
    for (size_t i = 0; i < len && sent; i += n)
        sent = say(fd, fill, n);
    cr_expect(sent, "%s", head);
    char *got = hear(fd, NULL);
    close(fd);
    return got;
}

Test(server, who_is_refused_while_it_sends_sees_the_answer)
{
    static const char chunk[] = "20\r\n................................\r\n";
    static const struct {
        const char *head, *fill;
        size_t len;
        int status;
    } rows[] = {
        {POST "Host: x\r\nContent-Type: text/plain\r\nContent-Length: 65000\r\n\r\n",
         "0123456789abcdef0123456789abcdef", 64992, 415},
        {POST "Host: x\r\n" JSON "Content-Length: 120000\r\n\r\n",
         "0123456789abcdef0123456789abcdef", 120000, 413},
        {"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, 80000,
         404},
        {POST "Host: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n", chunk, 120000, 413},
        {POST "Host: x\r\n" JSON "Content-Length: 1x\r\n\r\n", "0123456789abcdef", 100000, 400},
        {POST "Host: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "0123456789abcdef",
         100000, 400},
    };
    struct server s;
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < 5 * sizeof(rows) / sizeof(rows[0]); i++) {
        size_t k = i % (sizeof(rows) / sizeof(rows[0]));
        char *got = talk_blindly(&s, rows[k].head, rows[k].fill, rows[k].len);
        cr_expect_eq(status_of(got), rows[k].status, "%s: %s", rows[k].head, got);
        cr_expect_not_null(strstr(got, "Connection: close"), "%s", got);
        free(got);
    }
    stop(&s);
}

/* --- what the library answers itself -------------------------------------------------------- */

static const struct {
    const char *name, *request;
    size_t n_fill; /* octets put behind it */
    int status;
} stranger[] = {
    {"a negative length", POST "Host: x\r\nX-Request-Id: mine\r\nContent-Length: -1\r\n\r\n", 0,
     400},
    {"a signed length", POST "Host: x\r\nX-Request-Id: mine\r\nContent-Length: +5\r\n\r\nhello", 0,
     400},
    {"a length of letters",
     POST "Host: x\r\nX-Request-Id: mine\r\nContent-Length: five\r\n\r\nhello", 0, 400},
    {"an empty length", POST "Host: x\r\nX-Request-Id: mine\r\nContent-Length:\r\n\r\n", 0, 400},
    {"two in one", POST "Host: x\r\nX-Request-Id: mine\r\nContent-Length: 5, 5\r\n\r\nhello", 0,
     400},
    {"23 digits",
     POST "Host: x\r\nX-Request-Id: mine\r\nContent-Length: 99999999999999999999999\r\n\r\n", 0,
     413},
    {"no colon", POST "Host: x\r\nX-Request-Id: mine\r\nA\r\nB: c\r\n\r\n", 0, 400},
    {"a second request",
     "GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 4.0\r\n\r\n", 0, 400},
    {"a header that does not fit", POST "X-Request-Id: mine\r\nHost: x\r\nA: ", 200000, 431},
    {"no chunk",
     POST "Host: x\r\n" JSON "X-Request-Id: mine\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", 0,
     400},
    {"a chunk that does not end",
     POST "Host: x\r\n" JSON "X-Request-Id: mine\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
     0, 400},
    {"a chunk too large",
     POST "Host: x\r\n" JSON
          "X-Request-Id: mine\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
     0, 413},
};

static void assert_ours(const char *name, const char *got, int status)
{
    cr_expect_eq(count(got, "\r\n\r\n"), 1, "%s: %s", name, got);
    cr_expect_eq(status_of(got), status, "%s: %s", name, got);
    cr_expect_eq(count(got, "X-Request-Id: "), 1, "%s: %s", name, got);
    cr_expect_eq(count(got, "Content-Type: application/problem+json\r\n"), 1, "%s: %s", name, got);
    cr_expect_eq(count(got, "Date: "), 1, "%s: %s", name, got);
    cr_expect_eq(count(got, "Connection: close\r\n"), 1, "%s: %s", name, got);
    const char *length = strstr(got, "Content-Length: "), *body = strstr(got, "\r\n\r\n");
    cr_assert(length != NULL && body != NULL, "%s: %s", name, got);
    cr_expect_eq(strlen(body + 4), strtoul(length + 16, NULL, 10), "%s: %s", name, got);
}

Test(server, what_cannot_be_read_is_a_problem_like_any_other)
{
    struct server s;
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < sizeof(stranger) / sizeof(stranger[0]); i++) {
        struct buffer request;
        buffer_init(&request, 1 << 20);
        buffer_append_str(&request, stranger[i].request);
        for (size_t k = 0; k < stranger[i].n_fill; k++)
            buffer_append_char(&request, 'a');
        char *got = talk(&s, request.data, request.len);
        assert_ours(stranger[i].name, got, stranger[i].status);
        cr_expect_not_null(strstr(got, "X-Request-Id: mine\r\n"), "%s: %s", stranger[i].name, got);
        free(got);

        buffer_reset(&request); /* and behind another, in one piece and in two */
        buffer_append_str(&request, SMUGGLED);
        buffer_append_str(&request, stranger[i].request);
        for (size_t k = 0; k < stranger[i].n_fill; k++)
            buffer_append_char(&request, 'a');
        for (size_t two = 0; two < 2; two++) {
            int fd = dial(&s, 0);
            size_t first = two ? strlen(SMUGGLED) : 0;
            char *before = NULL;
            say(fd, request.data, first);
            if (two)
                before = hear(fd, "{\"status\":\"ok\"}");
            say(fd, request.data + first, request.len - first);
            got = hear(fd, NULL);
            const char *second = two ? got : strstr(got, "{\"status\":\"ok\"}");
            cr_assert_not_null(second, "%s: %s", stranger[i].name, got);
            assert_ours(stranger[i].name, second, stranger[i].status);
            free(before);
            free(got);
            close(fd);
        }
        buffer_clear(&request);
    }
    static const char later[] = "GET /livez HTTP/2.0\r\nHost: x\r\n\r\n";
    char *got = talk(&s, later, sizeof(later) - 1);
    assert_ours("HTTP/2", got, 505);
    free(got);
    stop(&s);
}

/* Whoever is complained of is answered, and nobody else: many at once, each an octet at a time. */
Test(server, a_complaint_is_of_the_right_connection)
{
    enum { N = MAX_CONNECTIONS };
    static const char good[] = LAST, bad[] = "GET /livez HTTP/1.1\r\nHost: x\r\nbad\r\n\r\n.......";
    struct server s;
    int fds[N];
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < N; i++)
        fds[i] = dial(&s, i % 2);
    for (size_t k = 0; k < sizeof(good) - 1 || k < sizeof(bad) - 1; k++)
        for (size_t i = 0; i < N; i++)
            if (k < (i % 3 ? sizeof(good) : sizeof(bad)) - 1)
                say(fds[i], &(i % 3 ? good : bad)[k], 1);
    for (size_t i = 0; i < N; i++) {
        char *got = hear(fds[i], NULL);
        cr_expect_eq(status_of(got), i % 3 ? 200 : 400, "%zu: %s", i, got);
        cr_expect_eq(count(got, "HTTP/1.1 "), 1, "%zu: %s", i, got);
        free(got);
        close(fds[i]);
    }
    stop(&s);
}

/* --- deadlines ---------------------------------------------------------------------------- */

/* An octet at a time, for ever. How it ends: true if the server closed. */
static bool drip(int fd, int every_ms)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < until_ms) {
        char c;
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (!say(fd, "a", 1))
            return true;
        if (poll(&poll_fd, 1, every_ms) > 0 && recv(fd, &c, 1, 0) <= 0)
            return true;
    }
    return false;
}

static void assert_cut_off(const struct server *s, const char *begin)
{
    int fd = dial(s, 0);
    say(fd, begin, strlen(begin));
    cr_expect(drip(fd, 20), "%s", begin);
    close(fd);
    char *got = talk(s, LAST, sizeof(LAST) - 1);
    cr_expect_eq(status_of(got), 200);
    free(got);
}

/* What is thrown away has an end, in octets and in time. */
Test(server, who_sends_for_ever_is_cut_off)
{
    static const char head[] =
        POST "Host: x\r\nContent-Type: text/plain\r\nContent-Length: 99999999999\r\n\r\n";
    struct server s;
    prepare(&s);
    start(&s);
    int fd = dial(&s, 0);
    size_t n = 0;
    say(fd, head, sizeof(head) - 1);
    while (n < 64 * MAX_BODY && say(fd, head, sizeof(head) - 1))
        n += sizeof(head) - 1;
    cr_expect_lt(n, (size_t)64 * MAX_BODY);
    close(fd);
    stop(&s);

    prepare(&s);
    s.config.http.body_ms = 300;
    start(&s);
    assert_cut_off(&s, head);
    stop(&s);
}

Test(server, a_header_that_drips_is_cut_off)
{
    struct server s;
    prepare(&s);
    s.config.http.header_ms = 200;
    start(&s);
    assert_cut_off(&s, "");
    assert_cut_off(&s, "GET /livez HTTP/1.1\r\nHost: x\r\nA: ");
    stop(&s);
}

Test(server, a_body_that_drips_is_cut_off)
{
    struct server s;
    prepare(&s);
    s.config.http.body_ms = 200;
    start(&s);
    assert_cut_off(&s, POST "Host: x\r\n" JSON "Content-Length: 60000\r\n\r\n");
    assert_cut_off(&s, POST "Host: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\nffff\r\n");
    stop(&s);
}

Test(server, a_second_header_that_drips_is_cut_off)
{
    struct server s;
    prepare(&s);
    s.config.http.header_ms = s.config.http.idle_ms = 150;
    start(&s);
    assert_cut_off(&s, SMUGGLED "GET /livez HTTP/1.1\r\nHost: x\r\nA: ");
    stop(&s);
}

/* A client that waits for an outcome is late by no deadline. */
Test(server, waiting_for_an_outcome_has_no_deadline)
{
    struct server s;
    prepare(&s);
    s.config.http.body_ms = s.config.http.header_ms = s.config.http.idle_ms = 200;
    start(&s);
    static const char request[] = POST
        "Host: x\r\n" JSON "Prefer: wait=1\r\nConnection: close\r\nContent-Length: " MESSAGE_LEN
        "\r\n\r\n" MESSAGE;
    char *got = talk(&s, request, sizeof(request) - 1);
    cr_expect_eq(status_of(got), 202, "%s", got);
    cr_expect_not_null(strstr(got, "\"status\":\"deferred\""));
    free(got);
    stop(&s);
}

/* --- connections -------------------------------------------------------------------------- */

Test(server, one_full_listener_leaves_the_other)
{
    struct server s;
    int fds[MAX_CONNECTIONS + 8];
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < MAX_CONNECTIONS + 8; i++)
        fds[i] = dial(&s, 0);
    int fd = dial(&s, 1);
    say(fd, LAST, sizeof(LAST) - 1);
    char *got = hear(fd, NULL);
    cr_expect_eq(status_of(got), 200);
    free(got);
    close(fd);
    for (size_t i = 0; i < MAX_CONNECTIONS + 8; i++)
        close(fds[i]);
    got = talk(&s, LAST, sizeof(LAST) - 1); /* there is room again */
    cr_expect_eq(status_of(got), 200);
    free(got);
    stop(&s);
}

Test(server, requests_have_an_id)
{
    static const struct {
        const char *id;
        bool kept;
    } rows[] = {
        {"abc.DEF_1-2", true}, {"a b", false}, {"a,b", false}, {"", false}, {"\xc3\xb6", false},
    };
    struct server s;
    prepare(&s);
    start(&s);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char request[256], wanted[64];
        snprintf(request, sizeof(request),
                 "GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n",
                 rows[i].id);
        snprintf(wanted, sizeof(wanted), "X-Request-Id: %s\r\n", rows[i].id);
        char *got = talk(&s, request, strlen(request));
        cr_expect_eq(status_of(got), 200);
        cr_expect_eq(count(got, "X-Request-Id: "), 1);
        cr_expect_eq(strstr(got, wanted) != NULL, rows[i].kept, "%s: %s", rows[i].id, got);
        free(got);
    }
    stop(&s);
}

static void *drain(void *arg)
{
    struct server *s = arg;
    queue_drain(s->queue);
    api_stop(s->api);
    return NULL;
}

Test(server, who_waits_is_answered_when_it_ends)
{
    struct server s;
    pthread_t thread;
    prepare(&s);
    start(&s);
    static const char request[] = POST
        "Host: x\r\n" JSON "Prefer: wait=300\r\nContent-Length: " MESSAGE_LEN "\r\n\r\n" MESSAGE;
    static const char next[] =
        POST "Host: x\r\n" JSON "Content-Length: " MESSAGE_LEN "\r\n\r\n" MESSAGE;
    int idle = dial(&s, 0), fd = dial(&s, 0);
    say(fd, request, sizeof(request) - 1);
    say(fd, next, sizeof(next) - 1); /* on the same connection: too late for it */
    while (queue_stats(s.queue).n_queued + queue_stats(s.queue).n_deferred == 0)
        poll(NULL, 0, 5);
    cr_assert_eq(pthread_create(&thread, NULL, drain, &s), 0);
    char *got = hear(fd, NULL);
    pthread_join(thread, NULL);
    cr_expect_eq(status_of(got), 202, "%s", got);
    cr_expect_eq(count(got, " 202 "), 1, "%s", got);
    free(got);
    close(fd);
    close(idle);
    s.api = NULL;
    stop(&s);
}

/* --- listening ---------------------------------------------------------------------------- */

Test(server, a_unix_socket_is_the_groups_and_nobody_takes_it)
{
    struct server s, other;
    struct stat st;
    struct error err;
    prepare(&s);
    const char *path = s.addresses[0] + strlen("unix:");
    int stale = server_listen(s.addresses[0], &err);
    close(stale); /* what a process that was killed leaves */
    cr_assert_eq(stat(path, &st), 0);
    start(&s);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0660);

    prepare(&other);
    other.listen[0] = s.addresses[0];
    cr_assert_eq(api_start(&other.context, &other.api, &err), -1);
    cr_assert_eq(err.code, ERR_IO);
    cr_assert_not_null(strstr(err.detail, "in use"), "%s", err.detail);
    char *got = talk(&s, LAST, sizeof(LAST) - 1); /* it is there still */
    cr_assert_eq(status_of(got), 200);
    free(got);
    stop(&s);
    cr_assert_eq(stat(path, &st), -1);
    stop(&other);
}

Test(server, addresses_to_listen_on)
{
    static const char *const bad[] = {
        "",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:http8080",
        "127.0.0.1:99999",
        "unix:",
        "[::1]",
        "unix:/nonexistent/socket",
        "nonexistent.invalid:80",
        "unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
        "23456789012345678901234567890123456789",
    };
    struct error err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err = (struct error){0};
        cr_expect_eq(server_listen(bad[i], &err), -1, "%s", bad[i]);
        cr_expect_eq(err.code, ERR_CONFIG, "%s", bad[i]);
    }
    int fd = server_listen("127.0.0.1:0", &err);
    cr_expect_geq(fd, 0, "%s", err.detail);
    close(fd);
}
