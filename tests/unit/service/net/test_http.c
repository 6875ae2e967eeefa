#include "net/http.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/support/fake_dns.h"
#include "tests/unit/support/http_peer.h"
#include "tests/unit/support/tls_peer.h"

struct rig {
    uv_loop_t loop;
    struct http_client *client;
    struct http_peer *peer;
};

struct ask { /* one exchange, and what came of it */
    struct rig *rig;
    unsigned n_done;
    bool answered;
    int status;
    int64_t retry_after_ms;
    char body[8192];
    struct error err;
    struct http_exchange *to_cancel; /* when this one is done */
    bool frees;
};

static void rig_init(struct rig *rig, const struct http_settings *settings, SSL_CTX *tls)
{
    struct error err;
    *rig = (struct rig){.peer = http_peer_start(tls)};
    cr_assert_eq(uv_loop_init(&rig->loop), 0);
    cr_assert_eq(http_client_new(&rig->loop, settings, &rig->client, &err), 0);
}

/* No handle is left: the loop ends by itself and can be closed. */
static void rig_clear(struct rig *rig)
{
    http_client_free(rig->client);
    cr_expect_eq(uv_run(&rig->loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(uv_loop_close(&rig->loop), 0);
    http_peer_stop(rig->peer);
}

static void on_done(void *arg, const struct http_response *response, const struct error *err)
{
    struct ask *ask = arg;
    ask->n_done++;
    ask->answered = response != NULL;
    if (response == NULL) {
        ask->err = *err;
    } else {
        ask->status = response->status;
        ask->retry_after_ms = response->retry_after_ms;
        cr_assert_lt(response->body_len, sizeof(ask->body));
        memcpy(ask->body, response->body, response->body_len);
        ask->body[response->body_len] = '\0';
    }
    if (ask->to_cancel != NULL)
        http_cancel(ask->to_cancel);
    if (ask->frees) {
        http_client_free(ask->rig->client);
        ask->rig->client = NULL;
    }
}

static struct http_exchange *start_at(struct rig *rig, struct ask *ask, const char *url,
                                      const struct http_request *more)
{
    struct http_request request = *more;
    request.url = url;
    request.method = request.method != NULL ? request.method : "GET";
    request.timeout_ms = request.timeout_ms != 0 ? request.timeout_ms : 20000;
    request.response_max = request.response_max != 0 ? request.response_max : 4096;
    *ask = (struct ask){.rig = rig};
    return http_start(rig->client, &request, on_done, ask);
}

static struct http_exchange *start(struct rig *rig, struct ask *ask, const char *path,
                                   const struct http_request *more)
{
    char url[128];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_peer_port(rig->peer), path);
    struct http_exchange *exchange = start_at(rig, ask, url, more);
    cr_assert_not_null(exchange);
    return exchange;
}

static void run(struct rig *rig, const struct ask *ask)
{
    while (ask->n_done == 0)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static const struct http_settings none;
static const struct http_request plain;

/* --- what is sent -------------------------------------------------------------------------- */

Test(http, post)
{
    const struct http_header headers[] = {{"Authorization", "Basic czpz"}, {"X-Empty", ""}};
    const struct http_request request = {.method = "POST",
                                         .headers = headers,
                                         .n_headers = 2,
                                         .body = "a=b\0c",
                                         .body_len = 5,
                                         .once = true};
    struct rig rig;
    struct ask ask;
    rig_init(&rig, &none, NULL);
    start(&rig, &ask, "/echo?q=1", &request);
    cr_expect_eq(ask.n_done, 0, "not before the loop runs");
    run(&rig, &ask);
    cr_assert(ask.answered, "%s", ask.err.detail);
    cr_expect_eq(ask.status, 200);
    cr_expect_eq(ask.retry_after_ms, -1);
    const char *wanted[] = {"POST /echo?q=1 HTTP/1.1\r\n",
                            "\r\nAuthorization: Basic czpz\r\n",
                            "\r\nX-Empty:\r\n",
                            "\r\nUser-Agent: postern/" POSTERN_VERSION "\r\n",
                            "\r\nContent-Type: application/x-www-form-urlencoded\r\n",
                            "\r\nContent-Length: 5\r\n"};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        cr_expect_not_null(strstr(ask.body, wanted[i]), "%s in %s", wanted[i], ask.body);
    cr_expect_null(strstr(ask.body, "Accept-Encoding"), "no answer that unfolds: %s", ask.body);
    const char *body = strstr(ask.body, "\r\n\r\n");
    cr_assert_not_null(body);
    cr_expect_eq(memcmp(body + 4, "a=b\0c", 5), 0, "by its length");
    rig_clear(&rig);
}

/* The environment's proxy would get the request, a netrc file a password in it. */
Test(http, environment_is_not_asked)
{
    char folder[] = "/tmp/postern-http-XXXXXX", netrc[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(netrc, sizeof(netrc), "%s/.netrc", folder);
    FILE *f = fopen(netrc, "w");
    cr_assert_not_null(f);
    fputs("machine 127.0.0.1 login u password p\n", f);
    fclose(f);
    setenv("HOME", folder, 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    struct rig rig;
    struct ask ask;
    rig_init(&rig, &none, NULL);
    start(&rig, &ask, "/echo", &plain);
    run(&rig, &ask);
    cr_expect_eq(ask.status, 200, "%s", ask.err.detail);
    cr_expect_null(strstr(ask.body, "Authorization"), "%s", ask.body);
    rig_clear(&rig);
    unlink(netrc);
    rmdir(folder);
}

Test(http, no_cookies)
{
    struct rig rig;
    struct ask ask;
    rig_init(&rig, &none, NULL);
    start(&rig, &ask, "/cookie", &plain);
    run(&rig, &ask);
    start(&rig, &ask, "/echo", &plain);
    run(&rig, &ask);
    cr_expect_null(strstr(ask.body, "Cookie"), "%s", ask.body);
    rig_clear(&rig);
}

/* On a connection that was idle libcurl would send it once more. */
Test(http, once_is_once)
{
    const struct http_request twice = {.method = "POST"}, once = {.method = "POST", .once = true};
    struct rig rig;
    struct ask ask;
    rig_init(&rig, &none, NULL);
    start(&rig, &ask, "/echo", &twice);
    run(&rig, &ask);
    start(&rig, &ask, "/echo", &twice);
    run(&rig, &ask);
    cr_expect_eq(http_peer_connections(rig.peer), 1, "it is used again");
    start(&rig, &ask, "/hang-up", &once);
    run(&rig, &ask);
    cr_expect_eq(ask.err.code, ERR_CONNECTION_LOST, "%s", ask.err.detail);
    cr_expect_eq(http_peer_requests(rig.peer), 3);
    cr_expect_eq(http_peer_connections(rig.peer), 2);
    rig_clear(&rig);
}

/* --- what may be asked --------------------------------------------------------------------- */

/* PORT is one of ours. What is allowed goes to nobody: https to a proxy where nobody is, http to
 * loopback addresses. */
Test(http, urls)
{
    static const struct {
        const char *url;
        bool allowed;
    } rows[] = {
        {"https://login.microsoftonline.com/t/oauth2/v2.0/token", true},
        {"https://u:p@example.com/", true},
        {"http://127.0.0.1:PORT/", true},
        {"http://127.9.9.9:PORT/", true},
        {"http://[::1]:PORT/", true},
        {"http://LOCALHOST:PORT/", true},
        {"http://example.com/", false},
        {"http://128.0.0.1/", false},
        {"http://[::2]/", false},
        {"http://[::ffff:127.0.0.1]/", false},
        {"http://localhost.example.com/", false},
        {"http://127.0.0.1.example.com/", false},
        {"http://127.0.0.1@example.com/", false},
        {"http://example.com#@127.0.0.1/", false},
        /* where it connects to, by the same parser: */
        {"http://example.com\\@127.0.0.1:PORT/", true},
        {"ftp://127.0.0.1/", false},
        {"file:///etc/passwd", false},
        {"127.0.0.1/", false},
        {"https://", false},
        {"https://exam ple.com/", false},
        {"https://example.com/\r\nX: y", false},
        {"", false},
    };
    struct rig rig;
    rig_init(&rig, &(struct http_settings){.proxy = "socks5://127.0.0.1:1"}, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char url[128];
        struct ask ask;
        size_t n = (size_t)(strstr(rows[i].url, "PORT") - rows[i].url);
        if (strstr(rows[i].url, "PORT") != NULL)
            snprintf(url, sizeof(url), "%.*s%u%s", (int)n, rows[i].url, http_peer_port(rig.peer),
                     rows[i].url + n + 4);
        else
            snprintf(url, sizeof(url), "%s", rows[i].url);
        cr_assert_not_null(start_at(&rig, &ask, url, &plain));
        run(&rig, &ask);
        cr_expect_eq(ask.err.code != ERR_INVALID, rows[i].allowed, "%s: %s", url, ask.err.detail);
    }
    rig_clear(&rig);
}

Test(http, refused_later_not_at_once)
{
    const struct http_header split = {"X-A", "b\r\nX-B: c"}, spaced = {"X A", "b"},
                             nameless = {"", "b"};
    const struct {
        const char *url;
        struct http_request request;
    } rows[] = {
        {"http://example.com/s3cret", {0}},
        {"https://127.0.0.1:1/", {.headers = &split, .n_headers = 1}},
        {"https://127.0.0.1:1/", {.headers = &spaced, .n_headers = 1}},
        {"https://127.0.0.1:1/", {.headers = &nameless, .n_headers = 1}},
        {"https://127.0.0.1:1/", {.method = "PATCH"}},
    };
    enum { N = sizeof(rows) / sizeof(rows[0]) };
    struct rig rig;
    struct ask asks[N], last;
    rig_init(&rig, &none, NULL);
    for (size_t i = 0; i < N; i++)
        cr_assert_not_null(start_at(&rig, &asks[i], rows[i].url, &rows[i].request));
    http_cancel(start_at(&rig, &last, "ftp://x/", &plain));
    for (size_t i = 0; i < N; i++)
        cr_expect_eq(asks[i].n_done, 0);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < N; i++) {
        cr_expect_eq(asks[i].n_done, 1);
        cr_expect_eq(asks[i].err.code, ERR_INVALID, "%zu: %s", i, asks[i].err.detail);
        cr_expect_null(strstr(asks[i].err.detail, "s3cret"));
    }
    cr_expect_eq(last.n_done, 0);
    rig_clear(&rig);
}

/* --- what comes ---------------------------------------------------------------------------- */

Test(http, answers)
{
    static const struct {
        const char *path;
        int status; /* 0: none */
        enum error_code code;
        int64_t retry_after_ms;
        const char *body;
    } rows[] = {
        {"/redirect", 302, ERR_NONE, -1, ""}, /* and not followed */
        {"/html", 200, ERR_NONE, -1, "<html>"},
        {"/429", 429, ERR_NONE, 7000, ""},
        {"/503", 503, ERR_NONE, -1, ""},
        {"/early", 200, ERR_NONE, -1, ""},
        {"/truncated", 0, ERR_CONNECTION_LOST, 0, NULL},
        {"/cut-chunk", 0, ERR_CONNECTION_LOST, 0, NULL},
        {"/hang-up", 0, ERR_CONNECTION_LOST, 0, NULL},
        {"/garbage", 0, ERR_PROTOCOL, 0, NULL},
        {"/announced", 0, ERR_TOO_LARGE, 0, NULL},
        {"/gigabyte", 0, ERR_TOO_LARGE, 0, NULL},
        {"/headers", 0, ERR_TOO_LARGE, 0, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig rig;
        struct ask ask;
        rig_init(&rig, &none, NULL);
        start(&rig, &ask, rows[i].path, &plain);
        run(&rig, &ask);
        cr_expect_eq(ask.status, rows[i].status, "%s: %d", rows[i].path, ask.status);
        cr_expect_eq(ask.err.code, rows[i].code, "%s: %s: %s", rows[i].path,
                     error_word(ask.err.code), ask.err.detail);
        cr_expect_eq(ask.retry_after_ms, rows[i].retry_after_ms, "%s", rows[i].path);
        if (rows[i].body != NULL)
            cr_expect_str_eq(ask.body, rows[i].body, "%s", rows[i].path);
        cr_expect_eq(http_peer_requests(rig.peer), 1, "%s: once", rows[i].path);
        cr_expect_lt(http_peer_written(rig.peer), 64u << 20, "%s: it was cut off", rows[i].path);
        rig_clear(&rig);
    }
}

Test(http, too_slow)
{
    const struct http_request hurried = {.timeout_ms = 100};
    const char *paths[] = {"/drip", "/silent"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct rig rig;
        struct ask ask;
        rig_init(&rig, &none, NULL);
        start(&rig, &ask, paths[i], &hurried);
        run(&rig, &ask);
        cr_expect_eq(ask.err.code, ERR_TIMEOUT, "%s: %s", paths[i], ask.err.detail);
        rig_clear(&rig);
    }
}

Test(http, nobody_there)
{
    struct rig rig;
    struct ask ask;
    char url[64];
    rig_init(&rig, &none, NULL);
    struct http_peer *gone = http_peer_start(NULL);
    snprintf(url, sizeof(url), "http://localhost:%u/", http_peer_port(gone));
    http_peer_stop(gone);
    start_at(&rig, &ask, url, &plain);
    run(&rig, &ask);
    cr_expect_eq(ask.err.code, ERR_CONNECT_REFUSED, "%s", ask.err.detail);
    rig_clear(&rig);
}

Test(http, name_that_is_none)
{
    struct rig rig;
    struct ask ask;
    rig_init(&rig, &none, NULL);
    start_at(&rig, &ask, "https://fail.test/", &plain);
    run(&rig, &ask);
    cr_expect_eq(ask.err.code, ERR_DNS_FAILED, "%s", ask.err.detail);
    rig_clear(&rig);
}

/* A name is left to the proxy, and what it says is its fault, not the server's. */
Test(http, proxy)
{
    struct rig rig;
    struct ask ask;
    char proxy[64];
    struct http_peer *peer = http_peer_start(NULL);
    snprintf(proxy, sizeof(proxy), "http://user:s3cret@127.0.0.1:%u", http_peer_port(peer));
    rig_init(&rig, &(struct http_settings){.proxy = proxy}, NULL);
    start_at(&rig, &ask, "https://fail.test/", &plain);
    run(&rig, &ask);
    cr_expect_eq(ask.err.code, ERR_PROXY_FAILED, "%s: %s", error_word(ask.err.code),
                 ask.err.detail);
    cr_expect_null(strstr(ask.err.detail, "s3cret"));
    cr_expect_eq(http_peer_requests(peer), 1);
    cr_expect_eq(fake_dns_asked(), 0, "it is the proxy's to look up");
    start(&rig, &ask, "/echo", &plain);
    run(&rig, &ask);
    cr_expect_eq(ask.status, 200, "loopback is reached without it");
    cr_expect_eq(http_peer_requests(peer), 1);
    rig_clear(&rig);
    http_peer_stop(peer);
}

/* A SOCKS5 proxy (RFC 1928) that wants no login and refuses what it is asked. */
struct socks {
    int fd;
    char asked[64];
};

static void *refuse_once(void *arg)
{
    struct socks *socks = arg;
    char greeting[16];
    int fd = accept(socks->fd, NULL, NULL);
    cr_assert_gt(read(fd, greeting, sizeof(greeting)), 0);
    cr_assert_eq(write(fd, "\5\0", 2), 2);
    cr_assert_gt(read(fd, socks->asked, sizeof(socks->asked)), 0);
    cr_assert_eq(write(fd, "\5\2\0\1\0\0\0\0\0\0", 10), 10);
    close(fd);
    return NULL;
}

Test(http, socks_proxy)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    struct socks socks = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    pthread_t thread;
    struct rig rig;
    struct ask ask;
    char proxy[64];
    cr_assert_eq(bind(socks.fd, (struct sockaddr *)&at, len), 0);
    cr_assert_eq(listen(socks.fd, 1), 0);
    cr_assert_eq(getsockname(socks.fd, (struct sockaddr *)&at, &len), 0);
    cr_assert_eq(pthread_create(&thread, NULL, refuse_once, &socks), 0);
    snprintf(proxy, sizeof(proxy), "socks5://127.0.0.1:%u", ntohs(at.sin_port));
    rig_init(&rig, &(struct http_settings){.proxy = proxy}, NULL);
    start_at(&rig, &ask, "https://fail.test:44/", &plain);
    run(&rig, &ask);
    cr_expect_eq(ask.err.code, ERR_PROXY_FAILED, "%s: %s", error_word(ask.err.code),
                 ask.err.detail);
    pthread_join(thread, NULL);
    cr_expect_eq(memcmp(socks.asked, "\5\1\0\3\11fail.test\0\54", 16), 0, "the name is told");
    rig_clear(&rig);
    close(socks.fd);
}

/* Stopped between the request and the end of its time, with the answer in the socket. false: the
 * request did not get so far in time, or the answer was read before. */
static bool answered_while_stopped(int64_t timeout_ms)
{
    struct rig rig;
    struct ask ask;
    const struct http_request request = {.timeout_ms = timeout_ms};
    rig_init(&rig, &none, NULL);
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    start(&rig, &ask, "/html", &request);
    while (ask.n_done == 0 && http_peer_requests(rig.peer) == 0)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    while (ask.n_done == 0 && http_peer_written(rig.peer) == 0)
        poll(NULL, 0, 1);
    bool stopped = ask.n_done == 0 && clock_mono_ms() < deadline_ms;
    while (stopped && clock_mono_ms() <= deadline_ms)
        poll(NULL, 0, 1);
    run(&rig, &ask);
    if (stopped)
        cr_expect_str_eq(ask.body, "<html>", "%s", ask.err.detail);
    rig_clear(&rig);
    return stopped;
}

Test(http, what_came_before_the_deadline_counts)
{
    int64_t timeout_ms = 50;
    while (!answered_while_stopped(timeout_ms))
        timeout_ms += timeout_ms / 5;
}

static int64_t retry_after_of(const char *value)
{
    struct rig rig;
    struct ask ask;
    const struct http_request request = {
        .method = "POST", .body = value, .body_len = strlen(value)};
    rig_init(&rig, &none, NULL);
    start(&rig, &ask, "/retry-after", &request);
    run(&rig, &ask);
    cr_assert_eq(ask.status, 503, "%s: %s", value, ask.err.detail);
    rig_clear(&rig);
    return ask.retry_after_ms;
}

Test(http, retry_after)
{
    static const struct {
        const char *value;
        int64_t ms;
    } rows[] = {
        {"0", 0},
        {"120", 120000},
        {"86400", 86400000},
        {"86401", 86400000},
        {"99999999999999999999999999", 86400000},
        {"Thu, 01 Jan 1970 00:16:35 GMT", 0},
        {"Thu Jan  1 00:16:45 1970", 0},
        {"Fri, 31 Dec 2099 23:59:59 GMT", 86400000},
        {"", -1},
        {"soon", -1},
        {"-5", -1},
        {"1.5", -1},
        {"5 minutes", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(retry_after_of(rows[i].value), rows[i].ms, "%s", rows[i].value);
}

Test(http, retry_after_a_date_to_come)
{
    char value[64];
    time_t at = time(NULL) + 3600;
    struct tm tm;
    strftime(value, sizeof(value), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &tm));
    int64_t ms = retry_after_of(value);
    cr_expect_gt(ms, 0);
    cr_expect_leq(ms, 3600 * 1000);
}

/* --- TLS ----------------------------------------------------------------------------------- */

Test(http, certificates)
{
    static const struct {
        const char *names;
        long from_s, to_s;
        bool trusted;
        int version;
        enum error_code code;
    } rows[] = {
        {"IP:127.0.0.1", 0, 0, true, 0, ERR_NONE},
        {"IP:127.0.0.1", 0, 0, true, TLS1_2_VERSION, ERR_NONE},
        {"IP:127.0.0.1", 0, 0, true, TLS1_1_VERSION, ERR_TLS_FAILED},
        {"DNS:other.example", 0, 0, true, 0, ERR_CERTIFICATE_NAME_MISMATCH},
        {"IP:127.0.0.1", -7200, -3600, true, 0, ERR_CERTIFICATE_EXPIRED},
        {"IP:127.0.0.1", 3600, 7200, true, 0, ERR_CERTIFICATE_NOT_YET_VALID},
        {"IP:127.0.0.1", 0, 0, false, 0, ERR_CERTIFICATE_UNTRUSTED},
    };
    struct tls_identity authority;
    char ca_path[] = "/tmp/postern-http-ca-XXXXXX";
    close(mkstemp(ca_path));
    tls_identity_init(&authority, &(struct tls_identity_settings){.authority = true});
    tls_identity_write(&authority, ca_path, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_identity identity;
        tls_identity_init(&identity, &(struct tls_identity_settings){
                                         .issuer = rows[i].trusted ? &authority : NULL,
                                         .names = rows[i].names,
                                         .from_s = rows[i].from_s,
                                         .to_s = rows[i].to_s});
        SSL_CTX *tls = tls_server_new(
            &(struct tls_server_settings){.identity = &identity,
                                          .version = rows[i].version,
                                          .any_level = rows[i].version == TLS1_1_VERSION});
        struct rig rig;
        struct ask ask;
        char url[64];
        rig_init(&rig, &(struct http_settings){.ca_file = ca_path}, tls);
        snprintf(url, sizeof(url), "https://127.0.0.1:%u/echo", http_peer_port(rig.peer));
        start_at(&rig, &ask, url, &plain);
        run(&rig, &ask);
        cr_expect_eq(ask.answered, rows[i].code == ERR_NONE, "%zu", i);
        cr_expect_eq(ask.err.code, rows[i].code, "%zu: %s: %s", i, error_word(ask.err.code),
                     ask.err.detail);
        cr_expect_eq(http_peer_requests(rig.peer), rows[i].code == ERR_NONE, "nothing was told");
        rig_clear(&rig);
        SSL_CTX_free(tls);
        tls_identity_clear(&identity);
    }
    tls_identity_clear(&authority);
    unlink(ca_path);
}

Test(http, ca_file_that_is_none)
{
    struct rig rig;
    struct ask ask;
    rig_init(&rig, &(struct http_settings){.ca_file = "/nonexistent/ca.pem"}, NULL);
    char url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/echo", http_peer_port(rig.peer));
    start_at(&rig, &ask, url, &plain);
    run(&rig, &ask);
    cr_expect_eq(ask.err.code, ERR_CONFIG, "%s", ask.err.detail);
    rig_clear(&rig);
}

/* --- an early end -------------------------------------------------------------------------- */

static void run_a_little(struct rig *rig)
{
    while (http_peer_requests(rig->peer) == 0)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

Test(http, cancelled)
{
    struct rig rig;
    struct ask at_once, in_flight;
    rig_init(&rig, &none, NULL);
    http_cancel(start(&rig, &at_once, "/echo", &plain));
    struct http_exchange *exchange = start(&rig, &in_flight, "/silent", &plain);
    run_a_little(&rig);
    http_cancel(exchange);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    cr_expect_eq(at_once.n_done + in_flight.n_done, 0);
    rig_clear(&rig);
}

/* A lookup that hangs is in a thread of its own, and nobody waits for it. */
Test(http, ended_during_the_lookup)
{
    struct rig rig;
    struct ask cancelled, freed;
    rig_init(&rig, &none, NULL);
    struct http_exchange *exchange = start_at(&rig, &cancelled, "https://hang.test/", &plain);
    start_at(&rig, &freed, "https://hang.test/", &plain);
    while (fake_dns_asked() < 2)
        uv_run(&rig.loop, UV_RUN_ONCE);
    http_cancel(exchange);
    rig_clear(&rig);
    cr_expect_eq(cancelled.n_done, 0);
    cr_expect_eq(freed.err.code, ERR_CONNECTION_LOST);
    fake_dns_let_go();
}

Test(http, cancelled_by_another)
{
    struct rig rig;
    struct ask first, second;
    rig_init(&rig, &none, NULL);
    start(&rig, &first, "/html", &plain);
    first.to_cancel = start(&rig, &second, "/silent", &plain);
    run(&rig, &first);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    cr_expect_eq(first.n_done, 1);
    cr_expect_eq(second.n_done, 0);
    rig_clear(&rig);
}

Test(http, freed_in_flight)
{
    struct rig rig;
    struct ask asks[3];
    rig_init(&rig, &none, NULL);
    start(&rig, &asks[0], "/silent", &plain);
    start(&rig, &asks[1], "/drip", &plain);
    run_a_little(&rig);
    start(&rig, &asks[2], "/echo", &plain);
    http_client_free(rig.client);
    rig.client = NULL;
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(asks[i].n_done, 1, "before it returns");
        cr_expect_eq(asks[i].err.code, ERR_CONNECTION_LOST);
    }
    rig_clear(&rig);
}

Test(http, freed_by_an_answer)
{
    for (size_t i = 0; i < 2; i++) { /* an answer; a refusal of ours */
        struct rig rig;
        struct ask first, second;
        rig_init(&rig, &none, NULL);
        start(&rig, &second, "/silent", &plain);
        if (i == 0)
            start(&rig, &first, "/html", &plain);
        else
            start_at(&rig, &first, "ftp://x/", &plain);
        first.frees = true;
        run(&rig, &first);
        cr_expect_eq(second.n_done, 1);
        cr_expect_eq(second.err.code, ERR_CONNECTION_LOST);
        rig_clear(&rig);
    }
}

Test(http, many_at_once)
{
    enum { N = 20 };
    struct rig rig;
    struct ask asks[N];
    rig_init(&rig, &none, NULL);
    for (size_t i = 0; i < N; i++)
        start(&rig, &asks[i], "/echo", &plain);
    for (size_t i = 0; i < N; i++)
        run(&rig, &asks[i]);
    for (size_t i = 0; i < N; i++)
        cr_expect_eq(asks[i].status, 200, "%s", asks[i].err.detail);
    rig_clear(&rig);
}
