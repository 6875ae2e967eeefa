#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "smtp/session.h"
#include "tests/unit/support/fake_dns.h"

/* A session on a loop of its own, and a peer in a thread that says what is written for it. */

struct line {
    const char
        *after; /* said when this has come, and nothing of it was used before; NULL: at once */
    const char *text;
    size_t len;
    unsigned gap_us; /* an octet each */
};

#define SAY(after, text)                                                                           \
    {                                                                                              \
        after, text, sizeof(text) - 1, 0                                                           \
    }

struct peer {
    int listener;
    uint16_t port;
    pthread_t thread;
    const struct line *lines; /* ended by one without text */
    int fd;                   /* of who came; set before anything is said to them */
    char heard[4096];
    size_t n_heard;
};

static bool hear_until(struct peer *peer, int fd, const char *text, size_t *used)
{
    char *found;
    while ((found = memmem(peer->heard + *used, peer->n_heard - *used, text, strlen(text))) ==
           NULL) {
        ssize_t n = recv(fd, peer->heard + peer->n_heard, sizeof(peer->heard) - peer->n_heard, 0);
        if (n <= 0)
            return false;
        peer->n_heard += (size_t)n;
    }
    *used = (size_t)(found - peer->heard) + strlen(text);
    return true;
}

static bool say(int fd, const struct line *line)
{
    if (line->gap_us == 0)
        return send(fd, line->text, line->len, MSG_NOSIGNAL) == (ssize_t)line->len;
    for (size_t i = 0; i < line->len; i++) {
        if (send(fd, line->text + i, 1, MSG_NOSIGNAL) != 1)
            return false;
        usleep(line->gap_us);
    }
    return true;
}

static void *play(void *arg)
{
    struct peer *peer = arg;
    size_t used = 0;
    int fd = peer->fd = accept(peer->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    for (const struct line *line = peer->lines; line->text != NULL; line++)
        if ((line->after != NULL && !hear_until(peer, fd, line->after, &used)) || !say(fd, line))
            break;
    hear_until(peer, fd, "\377never\377", &used); /* until the other end leaves */
    close(fd);
    return NULL;
}

static void peer_start(struct peer *peer, const struct line *lines)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    memset(peer, 0, sizeof(*peer));
    peer->lines = lines;
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(peer->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(peer->listener, 4), 0);
    cr_assert_eq(getsockname(peer->listener, (struct sockaddr *)&address, &len), 0);
    peer->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&peer->thread, NULL, play, peer), 0);
}

static void peer_stop(struct peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR); /* wakes it if nobody came */
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}

enum answer { AT_ONCE, LATER, NEVER, THE_SERVER_S };

/* What an owner was told, as words: "dns tcp greeting ehlo ready closed". */
struct fixture {
    uv_loop_t loop;
    struct session *session;
    struct session_settings settings;
    char told[256], remarks[1024];
    bool quit_when_ready, had_transport, had_extensions;
    enum answer answer;    /* to what asks for a token */
    const char *tokens[2]; /* the first and the next; NULL: there is none */
    size_t n_tokens;
    uv_timer_t later[2]; /* one each */
    const struct peer *peer;
    enum smtp_step step;
    struct error why;
};

static void tell(struct fixture *f, const char *word)
{
    size_t len = strlen(f->told);
    snprintf(f->told + len, sizeof(f->told) - len, "%s%s", len > 0 ? " " : "", word);
}

static void on_ready(void *arg, struct session *session)
{
    struct fixture *f = arg;
    tell(f, "ready");
    if (f->quit_when_ready)
        session_quit(session);
}

static void on_result(void *arg, struct session *session, const struct smtp_result *result)
{
    tell(arg, "result");
}

static void on_closed(void *arg, struct session *session, enum smtp_step step,
                      const struct error *why)
{
    struct fixture *f = arg;
    tell(f, "closed");
    f->step = step;
    f->why = *why;
    f->had_transport = session_transport(session) != NULL;
    f->had_extensions = session_extensions(session) != NULL;
}

static void on_step(void *arg, struct session *session, enum smtp_step step, int64_t took_us)
{
    cr_expect_geq(took_us, 0);
    cr_expect_eq(session_transport(session) != NULL, step != SMTP_STEP_DNS);
    tell(arg, smtp_step_word(step));
}

static void on_said(void *arg, void *owner, char who, const char *text)
{
    struct fixture *f = arg;
    size_t len = strlen(f->remarks);
    if (who == '*')
        snprintf(f->remarks + len, sizeof(f->remarks) - len, "%s\n", text);
}

static void give_token(struct fixture *f)
{
    static const struct error none = {.code = ERR_TOKEN_REFUSED, .detail = "invalid_grant"};
    char token[64], *copy = NULL;
    const char *next = f->tokens[f->n_tokens++];
    if (next != NULL) {
        snprintf(token, sizeof(token), "%s", next);
        copy = token;
    }
    session_token(f->session, copy, copy == NULL ? &none : NULL);
    explicit_bzero(token, sizeof(token)); /* it was copied */
}

static void on_later(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    uv_close((uv_handle_t *)timer, NULL);
    tell(f, "later");
    give_token(f);
}

static void on_token_wanted(void *arg, struct session *session, bool refused)
{
    struct fixture *f = arg;
    tell(f, refused ? "another" : "token");
    cr_assert_eq(refused, f->n_tokens == 1);
    f->session = session;
    if (f->answer == AT_ONCE)
        give_token(f);
    if (f->answer == THE_SERVER_S)
        cr_assert_eq(send(f->peer->fd, "421 bye\r\n", 9, MSG_NOSIGNAL), 9);
    if (f->answer != LATER)
        return;
    uv_timer_t *later = &f->later[f->n_tokens];
    uv_timer_init(&f->loop, later);
    later->data = f;
    uv_timer_start(later, on_later, 1, 0);
}

static void open_session(struct fixture *f)
{
    const struct session_owner owner = {.ready = on_ready,
                                        .result = on_result,
                                        .closed = on_closed,
                                        .step = on_step,
                                        .said = on_said,
                                        .token_wanted = on_token_wanted,
                                        .arg = f};
    f->session = session_open(&f->loop, &f->settings, &owner);
    cr_assert_not_null(f->session);
    cr_assert_str_eq(f->told, "");
}

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    uv_loop_init(&f->loop);
    f->quit_when_ready = true;
    f->settings = (struct session_settings){
        .host = "127.0.0.1",
        .connect_timeout_ms = 10000,
        .tls_timeout_ms = 10000,
        .smtp = {.hostname = "me.example",
                 .timeouts = {.greeting = 10000, .command = 10000, .data = 10000, .final = 10000}}};
}

static void fixture_clear(struct fixture *f)
{
    cr_assert_eq(uv_loop_close(&f->loop), 0);
}

static const struct line plain_server[] = {SAY(NULL, "220 hi\r\n"),
                                           SAY("EHLO", "250-hi\r\n250 SIZE 1\r\n"),
                                           SAY("QUIT", "221 bye\r\n"),
                                           {0}};

static void run(struct fixture *f)
{
    open_session(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

Test(session, tells_each_step)
{
    struct fixture f;
    struct peer peer;
    char expected[64];
    fixture_init(&f);
    peer_start(&peer, plain_server);
    f.settings.port = peer.port;
    run(&f);
    cr_assert_str_eq(f.told, "dns tcp greeting ehlo ready closed");
    cr_assert_eq(f.why.code, ERR_NONE);
    cr_assert(f.had_transport && f.had_extensions);
    snprintf(expected, sizeof(expected), "connecting to 127.0.0.1 port %u\n", peer.port);
    cr_assert_str_eq(f.remarks, expected);
    peer_stop(&peer);
    fixture_clear(&f);
}

Test(session, says_where_it_failed)
{
    struct fixture f;
    struct peer peer;
    fixture_init(&f);
    peer_start(&peer, plain_server);
    f.settings.port = peer.port;
    peer_stop(&peer);
    run(&f);
    cr_assert_str_eq(f.told, "dns closed");
    cr_assert_eq(f.step, SMTP_STEP_TCP);
    cr_assert_eq(f.why.code, ERR_CONNECT_REFUSED);
    cr_assert_not(f.had_transport);
    cr_assert_not_null(strstr(f.remarks, "lost: 127.0.0.1 port "), "%s", f.remarks);
    fixture_clear(&f);

    fixture_init(&f);
    f.settings.host = "fail.test";
    run(&f);
    cr_assert_str_eq(f.told, "closed");
    cr_assert_eq(f.step, SMTP_STEP_DNS);
    cr_assert_eq(f.why.code, ERR_DNS_FAILED);
    fixture_clear(&f);
}

/* --- proxies ------------------------------------------------------------------------------ */

/* A proxy and the server behind it, in one. */
static void run_through(struct fixture *f, struct peer *peer, bool http, const struct line *lines)
{
    peer_start(peer, lines);
    f->settings.host = "mail.fail.test"; /* the proxy resolves it, we never do */
    f->settings.port = 587;
    f->settings.proxy = (struct session_proxy){
        .http = http, .host = "127.0.0.1", .port = peer->port, .user = "joe", .password = "geheim"};
    run(f);
    peer_stop(peer);
    cr_assert_null(strstr(f->remarks, "geheim"));
    cr_assert_null(strstr(f->why.detail, "geheim"));
}

#define SOCKS_HELLO SAY("\5\2\2", "\5\2"), SAY("geheim", "\1\0")
#define SOCKS_OPEN "\5\0\0\1\0\0\0\0\0\0"
#define SERVER_REST                                                                                \
    SAY("EHLO", "250 hi\r\n"), SAY("QUIT", "221 bye\r\n"),                                         \
    {                                                                                              \
        0                                                                                          \
    }

Test(session, through_a_socks_proxy)
{
    /* whose server greets in the segment that opens the way, or later */
    static const struct line at_once[] = {
        SOCKS_HELLO, SAY("mail.fail.test\2\113", SOCKS_OPEN "220 hi\r\n"), SERVER_REST};
    static const struct line later[] = {SOCKS_HELLO, SAY("mail.fail.test\2\113", SOCKS_OPEN),
                                        SAY(NULL, "220 hi\r\n"), SERVER_REST};
    const struct line *both[] = {at_once, later};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        struct peer peer;
        fixture_init(&f);
        run_through(&f, &peer, false, both[i]);
        cr_assert_str_eq(f.told, "dns tcp proxy greeting ehlo ready closed", "%s", f.why.detail);
        cr_assert_eq(f.why.code, ERR_NONE);
        cr_assert_not_null(strstr(f.remarks, "connecting to the proxy 127.0.0.1 port"));
        fixture_clear(&f);
    }
}

Test(session, through_an_http_proxy)
{
    static const struct line lines[] = {
        SAY("\r\n\r\n", "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n220 hi\r\n"), SERVER_REST};
    static const enum session_tls modes[] = {SESSION_TLS_NONE, SESSION_TLS_AUTO};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        struct peer peer;
        fixture_init(&f);
        f.settings.tls = modes[i];
        run_through(&f, &peer, true, lines);
        cr_assert_eq(strncmp(peer.heard, "CONNECT mail.fail.test:587 HTTP/1.1\r\n", 37), 0);
        if (modes[i] == SESSION_TLS_NONE)
            cr_assert_str_eq(f.told, "dns tcp proxy greeting ehlo ready closed", "%s",
                             f.why.detail);
        else /* a plain greeting: STARTTLS is wanted, and this one has none */
            cr_assert_eq(f.why.code, ERR_STARTTLS_NOT_OFFERED);
        fixture_clear(&f);
    }
}

/* faults 135 */
Test(session, what_a_proxy_says_before_tls_is_taken_for_no_reply)
{
    static const struct line lines[] = {
        SAY("\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n220 hi\r\n250 hi\r\n250 ok\r\n"), {0}};
    struct fixture f;
    struct peer peer;
    fixture_init(&f);
    const struct transport_tls_settings tls = {
        .server_name = "mail.example", .verify = true, .min_version = TLS1_2_VERSION};
    cr_assert_eq(transport_tls_new(&tls, &f.settings.tls_context, &f.why), 0);
    f.settings.tls = SESSION_TLS_IMPLICIT;
    run_through(&f, &peer, true, lines);
    cr_assert_str_eq(f.told, "dns tcp proxy closed");
    cr_assert_eq(f.step, SMTP_STEP_TLS);
    cr_assert_eq(f.why.code, ERR_TLS_ON_PLAIN_PORT);
    transport_tls_free(f.settings.tls_context);
    fixture_clear(&f);
}

Test(session, proxies_that_fail)
{
    static const struct {
        bool http;
        const struct line lines[4];
        const char *detail;
    } rows[] = {
        {true, {SAY("\r\n\r\n", "HTTP/1.1 407 Login first\r\n\r\n"), {0}}, "407 Login first"},
        {true, {SAY("\r\n\r\n", "220 smtp.example\r\n"), {0}}, "does not answer in HTTP"},
        {false, {SAY("\5", "\5\377"), {0}}, "neither this login nor none"},
        {false, {SAY("\5", "\5\2"), SAY("geheim", "\1\1"), {0}}, "refused the user name"},
        {false, {SOCKS_HELLO, SAY("mail", "\5\5\0\1"), {0}}, "was refused by the host"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        struct peer peer;
        fixture_init(&f);
        run_through(&f, &peer, rows[i].http, rows[i].lines);
        cr_expect_str_eq(f.told, "dns tcp closed");
        cr_expect_eq(f.step, SMTP_STEP_PROXY);
        cr_expect_eq(f.why.code, ERR_PROXY_FAILED);
        cr_expect_not_null(strstr(f.why.detail, rows[i].detail), "%s", f.why.detail);
        fixture_clear(&f);
    }
}

Test(session, a_proxy_that_is_not_there)
{
    struct fixture f;
    struct peer peer;
    fixture_init(&f);
    peer_start(&peer, plain_server);
    peer_stop(&peer);
    f.settings.host = "127.0.0.1";
    f.settings.proxy = (struct session_proxy){.host = "127.0.0.1", .port = peer.port};
    run(&f);
    cr_assert_eq(f.step, SMTP_STEP_TCP);
    cr_assert_eq(f.why.code, ERR_PROXY_FAILED);
    cr_assert_not_null(strstr(f.why.detail, "the proxy: 127.0.0.1 port "), "%s", f.why.detail);
    fixture_clear(&f);
}

/* --- deadlines ---------------------------------------------------------------------------- */

/* What trickles in puts no deadline off. */
Test(session, a_proxy_that_drips_ends_at_the_deadline)
{
    static const struct line lines[] = {
        {"\r\n\r\n", "HTTP/1.1 200 OK, but all in good time, an octet after the other\r\n\r\n", 64,
         50000},
        {0}};
    struct fixture f;
    struct peer peer;
    fixture_init(&f);
    f.settings.connect_timeout_ms = 300;
    run_through(&f, &peer, true, lines);
    cr_assert_eq(f.step, SMTP_STEP_PROXY);
    cr_assert_eq(f.why.code, ERR_PROXY_FAILED);
    cr_assert_not_null(strstr(f.why.detail, "in time"), "%s", f.why.detail);
    fixture_clear(&f);
}

Test(session, a_handshake_that_drips_ends_at_the_deadline)
{
    /* the head of a record that is never whole */
    static const struct line lines[] = {
        {"\26\3", "\26\3\3\100\0abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", 57, 50000},
        {0}};
    struct fixture f;
    struct peer peer;
    fixture_init(&f);
    const struct transport_tls_settings tls = {
        .server_name = "mail.example", .verify = true, .min_version = TLS1_2_VERSION};
    cr_assert_eq(transport_tls_new(&tls, &f.settings.tls_context, &f.why), 0);
    peer_start(&peer, lines);
    f.settings.tls = SESSION_TLS_IMPLICIT;
    f.settings.port = peer.port;
    f.settings.tls_timeout_ms = 300;
    run(&f);
    peer_stop(&peer);
    cr_assert_str_eq(f.told, "dns tcp closed");
    cr_assert_eq(f.why.code, ERR_TLS_TIMEOUT);
    transport_tls_free(f.settings.tls_context);
    fixture_clear(&f);
}

/* --- tokens ------------------------------------------------------------------------------- */

#define BEARER_EHLO SAY(NULL, "220 hi\r\n"), SAY("EHLO", "250-hi\r\n250 AUTH XOAUTH2\r\n")
/* user=u, and either token */
#define AUTH_FIRST "AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIGZpcnN0LXRva2VuAQE=\r\n"
#define AUTH_SECOND "AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHNlY29uZC10b2tlbgEB\r\n"

static void bearer_init(struct fixture *f, enum answer answer, const char *first,
                        const char *second)
{
    fixture_init(f);
    f->settings.smtp.allow_plaintext_auth = true;
    f->settings.smtp.credentials = (struct sasl_credentials){.user = "u", .bearer = true};
    f->answer = answer;
    f->tokens[0] = first;
    f->tokens[1] = second;
}

static void run_with(struct fixture *f, const struct line *lines)
{
    struct peer peer;
    peer_start(&peer, lines);
    f->settings.port = peer.port;
    f->peer = &peer;
    run(f);
    peer_stop(&peer);
    cr_expect_null(strstr(f->remarks, "-token"), "%s", f->remarks);
    cr_expect_null(strstr(f->why.detail, "-token"), "%s", f->why.detail);
}

Test(session, a_token_comes_at_once_or_later)
{
    static const struct line lines[] = {
        BEARER_EHLO, SAY(AUTH_FIRST, "235 in\r\n"), SAY("QUIT", "221 bye\r\n"), {0}};
    struct fixture f;
    bearer_init(&f, AT_ONCE, "first-token", NULL);
    run_with(&f, lines);
    cr_assert_str_eq(f.told, "dns tcp greeting ehlo token auth ready closed");
    cr_assert_eq(f.why.code, ERR_NONE, "%s", f.why.detail);
    fixture_clear(&f);

    bearer_init(&f, LATER, "first-token", NULL);
    run_with(&f, lines);
    cr_assert_str_eq(f.told, "dns tcp greeting ehlo token later auth ready closed");
    cr_assert_eq(f.why.code, ERR_NONE, "%s", f.why.detail);
    fixture_clear(&f);
}

/* faults 100 */
Test(session, a_refused_token_is_replaced_once)
{
    static const struct line taken[] = {BEARER_EHLO,
                                        SAY(AUTH_FIRST, "334 e30=\r\n"),
                                        SAY("\r\n", "535 5.7.8 no\r\n"),
                                        SAY(AUTH_SECOND, "235 in\r\n"),
                                        SAY("QUIT", "221 bye\r\n"),
                                        {0}};
    static const struct line refused[] = {BEARER_EHLO,
                                          SAY(AUTH_FIRST, "535 5.7.3 no\r\n"),
                                          SAY(AUTH_SECOND, "535 5.7.3 still not\r\n"),
                                          {0}};
    for (enum answer answer = AT_ONCE; answer <= LATER; answer++) {
        const char *later = answer == LATER ? " later" : "";
        char expected[128];
        struct fixture f;
        bearer_init(&f, answer, "first-token", "second-token");
        run_with(&f, taken);
        snprintf(expected, sizeof(expected),
                 "dns tcp greeting ehlo token%s another%s auth ready closed", later, later);
        cr_expect_str_eq(f.told, expected);
        cr_expect_eq(f.why.code, ERR_NONE, "%s", f.why.detail);
        fixture_clear(&f);

        bearer_init(&f, answer, "first-token", "second-token");
        run_with(&f, refused);
        snprintf(expected, sizeof(expected), "dns tcp greeting ehlo token%s another%s closed",
                 later, later);
        cr_expect_str_eq(f.told, expected);
        cr_expect_eq(f.step, SMTP_STEP_AUTH);
        cr_expect_eq(f.why.code, ERR_AUTH_FAILED);
        cr_expect_str_eq(f.why.detail, "535 5.7.3 still not");
        fixture_clear(&f);
    }
}

Test(session, without_a_token_it_ends_at_auth)
{
    static const struct line lines[] = {BEARER_EHLO, {0}};
    static const struct {
        const char *token;
        enum error_code code;
    } rows[] = {{NULL, ERR_TOKEN_REFUSED}, {"first-token\r\nRSET", ERR_AUTH_FAILED}};
    for (size_t i = 0; i < 2; i++)
        for (enum answer answer = AT_ONCE; answer <= LATER; answer++) {
            struct fixture f;
            bearer_init(&f, answer, rows[i].token, NULL);
            run_with(&f, lines);
            cr_expect_str_eq(f.told, answer == LATER ? "dns tcp greeting ehlo token later closed"
                                                     : "dns tcp greeting ehlo token closed");
            cr_expect_eq(f.step, SMTP_STEP_AUTH);
            cr_expect_eq(f.why.code, rows[i].code, "%s", f.why.detail);
            fixture_clear(&f);
        }
}

Test(session, a_token_that_does_not_come_is_not_waited_for)
{
    static const struct line lines[] = {BEARER_EHLO, {0}};
    struct fixture f;
    bearer_init(&f, NEVER, NULL, NULL);
    f.settings.smtp.timeouts.command = 200;
    run_with(&f, lines);
    cr_assert_str_eq(f.told, "dns tcp greeting ehlo token closed");
    cr_assert_eq(f.step, SMTP_STEP_AUTH);
    cr_assert_eq(f.why.code, ERR_TOKEN_UNAVAILABLE, "%s", f.why.detail);
    fixture_clear(&f);
}

/* The server has waited long enough: what it says ends the session, and no token is needed. */
Test(session, the_server_leaves_while_a_token_is_waited_for)
{
    static const struct line lines[] = {BEARER_EHLO, {0}};
    struct fixture f;
    bearer_init(&f, THE_SERVER_S, NULL, NULL);
    run_with(&f, lines);
    cr_assert_str_eq(f.told, "dns tcp greeting ehlo token closed");
    cr_assert_eq(f.step, SMTP_STEP_AUTH);
    cr_assert_eq(f.why.code, ERR_RELAY_CLOSING, "%s", f.why.detail);
    fixture_clear(&f);
}

static void on_closed_with_a_token(void *arg, struct session *session, enum smtp_step step,
                                   const struct error *why)
{
    on_closed(arg, session, step, why);
    session_token(session, "first-token", NULL);
}

/* It had it ready, too late. */
Test(session, a_token_for_a_session_that_is_closed_is_let_be)
{
    static const struct line lines[] = {BEARER_EHLO, {0}};
    struct fixture f;
    struct peer peer;
    bearer_init(&f, NEVER, NULL, NULL);
    f.settings.smtp.timeouts.command = 200;
    const struct session_owner owner = {.ready = on_ready,
                                        .result = on_result,
                                        .closed = on_closed_with_a_token,
                                        .token_wanted = on_token_wanted,
                                        .arg = &f};
    peer_start(&peer, lines);
    f.settings.port = peer.port;
    f.session = session_open(&f.loop, &f.settings, &owner);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    peer_stop(&peer);
    cr_assert_str_eq(f.told, "token closed");
    fixture_clear(&f);
}

static void give_up_instead(void *arg, struct session *session, bool refused)
{
    tell(arg, "token");
    session_abort(session);
}

Test(session, can_be_given_up_when_a_token_is_wanted)
{
    static const struct line lines[] = {BEARER_EHLO, {0}};
    void (*const wanted[])(void *, struct session *, bool) = {give_up_instead, NULL};
    static const enum error_code codes[] = {ERR_CONNECTION_LOST, ERR_TOKEN_UNAVAILABLE};
    for (size_t i = 0; i < 2; i++) { /* NULL: there is nobody to ask */
        struct fixture f;
        struct peer peer;
        bearer_init(&f, NEVER, NULL, NULL);
        const struct session_owner owner = {.ready = on_ready,
                                            .result = on_result,
                                            .closed = on_closed,
                                            .token_wanted = wanted[i],
                                            .arg = &f};
        peer_start(&peer, lines);
        f.settings.port = peer.port;
        f.session = session_open(&f.loop, &f.settings, &owner);
        uv_run(&f.loop, UV_RUN_DEFAULT);
        peer_stop(&peer);
        cr_expect_str_eq(f.told, i == 0 ? "token closed" : "closed");
        cr_expect_eq(f.step, SMTP_STEP_AUTH);
        cr_expect_eq(f.why.code, codes[i], "%s", f.why.detail);
        fixture_clear(&f);
    }
}

/* --- giving up ---------------------------------------------------------------------------- */

Test(session, can_be_given_up_on_its_way)
{
    static const char *const hosts[] = {"hang.test", "127.0.0.1", "fail.test"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        for (int quit = 0; quit < 2; quit++) {
            struct fixture f;
            fixture_init(&f);
            f.settings.host = hosts[i];
            f.settings.port = 1;
            open_session(&f);
            if (quit)
                session_quit(f.session);
            else
                session_abort(f.session);
            cr_assert_str_eq(f.told, "closed");
            cr_assert_eq(f.why.code, ERR_CONNECTION_LOST);
            uv_run(&f.loop, UV_RUN_DEFAULT);
            cr_assert_str_eq(f.told, "closed");
            fixture_clear(&f);
        }
    fake_dns_let_go();
}

/* Nobody listens: nothing is told, and nothing breaks. */
Test(session, an_owner_may_have_no_ear)
{
    struct fixture f;
    struct peer peer;
    fixture_init(&f);
    peer_start(&peer, plain_server);
    f.settings.port = peer.port;
    const struct session_owner owner = {
        .ready = on_ready, .result = on_result, .closed = on_closed, .arg = &f};
    f.session = session_open(&f.loop, &f.settings, &owner);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    cr_assert_str_eq(f.told, "ready closed");
    peer_stop(&peer);
    fixture_clear(&f);
}
