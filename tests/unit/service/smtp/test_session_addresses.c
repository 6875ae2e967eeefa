/* A host of two addresses, of which the first is of no use; what is said to who refuses; and a
 * process that was frozen while the answer came. */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "smtp/addresses.h"
#include "smtp/session.h"
#include "tests/unit/support/fake_dns.h"

/* A server that greets whoever comes, and knows EHLO and QUIT. */
struct node {
    const char *greeting; /* NULL: says nothing; "": hangs up */
    const char *ehlo;
    int listener;
    pthread_t thread;
    int n_came;
    char heard[1024]; /* of the last */
};

static void answer(struct node *node, int fd)
{
    size_t len = 0;
    ssize_t n;
    bool said = false;
    while ((n = recv(fd, node->heard + len, sizeof(node->heard) - 1 - len, 0)) > 0) {
        len += (size_t)n;
        node->heard[len] = '\0';
        if (!said && strstr(node->heard, "EHLO") != NULL && node->ehlo != NULL) {
            said = true;
            send(fd, node->ehlo, strlen(node->ehlo), MSG_NOSIGNAL);
        }
        if (strstr(node->heard, "QUIT\r\n") != NULL) {
            send(fd, "221 bye\r\n", 9, MSG_NOSIGNAL);
            return;
        }
    }
}

static void *serve(void *arg)
{
    struct node *node = arg;
    for (int fd; (fd = accept(node->listener, NULL, NULL)) >= 0; close(fd)) {
        node->n_came++;
        memset(node->heard, 0, sizeof(node->heard));
        if (node->greeting != NULL && node->greeting[0] == '\0')
            continue;
        if (node->greeting != NULL)
            send(fd, node->greeting, strlen(node->greeting), MSG_NOSIGNAL);
        answer(node, fd);
    }
    return NULL;
}

static int listen_on(const char *address, uint16_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t len = sizeof(in);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, address, &in.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 8) < 0) {
        close(fd);
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&in, &len);
    *port = ntohs(in.sin_port);
    return fd;
}

/* Both at one port, which the system chose for the first. */
static uint16_t start_both(struct node nodes[2])
{
    for (int i = 0; i < 100; i++) {
        uint16_t port = 0;
        nodes[0].listener = listen_on("127.0.0.1", &port);
        nodes[1].listener = listen_on("127.0.0.2", &port);
        if (nodes[1].listener >= 0) {
            for (int k = 0; k < 2; k++)
                cr_assert_eq(pthread_create(&nodes[k].thread, NULL, serve, &nodes[k]), 0);
            return port;
        }
        close(nodes[0].listener);
    }
    cr_assert_fail("no port is free on both addresses");
    return 0;
}

static void stop(struct node *node)
{
    shutdown(node->listener, SHUT_RDWR);
    pthread_join(node->thread, NULL);
    close(node->listener);
}

struct outcome {
    uv_loop_t loop;
    struct session_settings settings;
    bool ready;
    enum smtp_step step;
    struct error why;
    bool closed;
};

static void on_ready(void *arg, struct session *session)
{
    struct outcome *o = arg;
    o->ready = true;
    session_quit(session);
}

static void on_result(void *arg, struct session *session, const struct smtp_result *result)
{
}

static void on_closed(void *arg, struct session *session, enum smtp_step step,
                      const struct error *why)
{
    struct outcome *o = arg;
    o->closed = true;
    o->step = step;
    o->why = *why;
}

static void outcome_init(struct outcome *o, const char *host, uint16_t port)
{
    *o = (struct outcome){
        .settings = {
            .host = host,
            .port = port,
            .connect_timeout_ms = 10000,
            .tls_timeout_ms = 10000,
            .smtp = {
                .timeouts = {.greeting = 2000, .command = 10000, .data = 10000, .final = 10000}}}};
    uv_loop_init(&o->loop);
}

static struct session *open_session(struct outcome *o)
{
    const struct session_owner owner = {
        .ready = on_ready, .result = on_result, .closed = on_closed, .arg = o};
    o->ready = o->closed = false;
    struct session *session = session_open(&o->loop, &o->settings, &owner);
    cr_assert_not_null(session);
    return session;
}

static void run(struct outcome *o)
{
    open_session(o);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    cr_assert(o->closed);
}

static const char GOOD[] = "220 mx.test ready\r\n", OFFER[] = "250 mx.test\r\n";

Test(session_addresses, the_next_serves_where_the_first_is_of_no_use)
{
    static const struct {
        const char *greeting, *ehlo;
    } rows[] = {
        {"421 4.7.0 Try again later\r\n", NULL},
        {"554 5.7.1 no service for you\r\n", NULL},
        {"", NULL},
        {"HTTP/1.1 400 Bad Request\r\n", NULL},
        {"220 mx\r\n", "421 4.3.2 going down\r\n"},
        {"220 mx\r\n", "550 5.7.1 not you\r\n"},
        {NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct node nodes[2] = {{.greeting = rows[i].greeting, .ehlo = rows[i].ehlo},
                                {.greeting = GOOD, .ehlo = OFFER}};
        struct outcome o;
        uint16_t port = start_both(nodes);
        fake_dns_set("two.test", "127.0.0.1 127.0.0.2");
        outcome_init(&o, "two.test", port);
        struct addresses *addresses = o.settings.addresses = addresses_new();
        run(&o);
        cr_expect(o.ready, "row %zu: %s", i, o.why.detail);
        cr_expect_eq(o.why.code, ERR_NONE);
        run(&o); /* it is remembered */
        cr_expect(o.ready, "row %zu: %s", i, o.why.detail);
        stop(&nodes[0]);
        stop(&nodes[1]);
        cr_expect_eq(nodes[0].n_came, 1, "row %zu", i);
        cr_expect_eq(nodes[1].n_came, 2, "row %zu", i);
        cr_expect_not_null(strstr(nodes[1].heard, "EHLO [127.0.0."), "%s", nodes[1].heard);
        addresses_free(addresses);
        cr_assert_eq(uv_loop_close(&o.loop), 0);
    }
}

Test(session_addresses, where_none_serves_the_last_tells_why_and_the_oldest_is_next)
{
    struct node nodes[2] = {{.greeting = "421 4.7.0 one\r\n"}, {.greeting = "554 5.7.1 two\r\n"}};
    struct outcome o;
    uint16_t port = start_both(nodes);
    fake_dns_set("two.test", "127.0.0.1 127.0.0.2");
    outcome_init(&o, "two.test", port);
    struct addresses *addresses = o.settings.addresses = addresses_new();
    run(&o);
    cr_expect_not(o.ready);
    cr_expect_eq(o.step, SMTP_STEP_GREETING);
    cr_expect_str_eq(o.why.detail, "554 5.7.1 two");
    run(&o); /* the first again, and then the second */
    cr_expect_str_eq(o.why.detail, "554 5.7.1 two");
    stop(&nodes[0]);
    stop(&nodes[1]);
    cr_expect_eq(nodes[0].n_came, 2);
    cr_expect_eq(nodes[1].n_came, 2);
    addresses_free(addresses);
    cr_assert_eq(uv_loop_close(&o.loop), 0);
}

Test(session_addresses, quit_is_said_to_who_refuses)
{
    static const struct {
        const char *greeting, *ehlo;
        bool starttls, login;
        enum error_code code;
    } rows[] = {
        {"554 5.7.1 no\r\n", NULL, false, false, ERR_RELAY_REFUSED},
        {"220 mx\r\n", "554 5.7.1 no\r\n", false, false, ERR_RELAY_REFUSED},
        {"220 mx\r\n", "250 mx\r\n", true, false, ERR_STARTTLS_NOT_OFFERED},
        {"220 mx\r\n", "250 mx\r\n", false, true, ERR_AUTH_MECHANISM_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct node node = {.greeting = rows[i].greeting, .ehlo = rows[i].ehlo};
        struct outcome o;
        uint16_t port = 0;
        node.listener = listen_on("127.0.0.1", &port);
        cr_assert_eq(pthread_create(&node.thread, NULL, serve, &node), 0);
        outcome_init(&o, "127.0.0.1", port);
        o.settings.tls = rows[i].starttls ? SESSION_TLS_STARTTLS : SESSION_TLS_NONE;
        if (rows[i].login)
            o.settings.smtp.credentials =
                (struct sasl_credentials){.mechanism = "auto", .user = "u", .password = "p"};
        o.settings.smtp.allow_plaintext_auth = true;
        run(&o);
        stop(&node);
        cr_expect_eq(o.why.code, rows[i].code, "row %zu: %s", i, o.why.detail);
        const char *quit = strstr(node.heard, "QUIT\r\n");
        cr_expect(quit != NULL && quit[6] == '\0', "row %zu: %s", i, node.heard);
        cr_assert_eq(uv_loop_close(&o.loop), 0);
    }
}

Test(session_addresses, no_quit_to_what_cannot_be_read)
{
    struct node node = {.greeting = "HTTP/1.1 400 Bad Request\r\n"};
    struct outcome o;
    uint16_t port = 0;
    node.listener = listen_on("127.0.0.1", &port);
    cr_assert_eq(pthread_create(&node.thread, NULL, serve, &node), 0);
    outcome_init(&o, "127.0.0.1", port);
    run(&o);
    stop(&node);
    cr_expect_eq(o.why.code, ERR_PROTOCOL);
    cr_expect_str_eq(node.heard, "");
    cr_assert_eq(uv_loop_close(&o.loop), 0);
}

/* --- a freeze ----------------------------------------------------------------------------- */

/* The loop stands still, as it does while the process is stopped: what is said meanwhile lies in
 * the socket, and the deadline passes. */
static void say_and_freeze(int fd, const char *text, int64_t until_ms)
{
    int unsent = 1;
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    while (unsent > 0) /* until it is there */
        cr_assert_eq(ioctl(fd, SIOCOUTQ, &unsent), 0);
    while (clock_mono_ms() <= until_ms)
        usleep(1000);
}

static void run_until_heard(struct outcome *o, int fd, const char *word)
{
    char heard[512] = "";
    size_t len = 0;
    while (strstr(heard, word) == NULL) {
        uv_run(&o->loop, UV_RUN_NOWAIT);
        ssize_t n = recv(fd, heard + len, sizeof(heard) - 1 - len, MSG_DONTWAIT);
        cr_assert(n != 0 && !o->closed, "%s", o->why.detail);
        len += n > 0 ? (size_t)n : 0;
        heard[len] = '\0';
    }
}

Test(session_addresses, an_answer_that_lies_in_the_socket_counts_however_late_it_is_read)
{
    struct outcome o;
    uint16_t port = 0;
    int fd, listener = listen_on("127.0.0.1", &port);
    enum { COMMAND_MS = 1000 };
    outcome_init(&o, "127.0.0.1", port);
    o.settings.smtp.timeouts.greeting = o.settings.smtp.timeouts.command = COMMAND_MS;
    fcntl(listener, F_SETFL, O_NONBLOCK);
    open_session(&o);
    do {
        uv_run(&o.loop, UV_RUN_NOWAIT);
        fd = accept(listener, NULL, NULL);
    } while (fd < 0 && !o.closed);
    say_and_freeze(fd, GOOD, clock_mono_ms() + COMMAND_MS);
    run_until_heard(&o, fd, "EHLO");
    say_and_freeze(fd, OFFER, clock_mono_ms() + COMMAND_MS);
    run_until_heard(&o, fd, "QUIT");
    cr_expect(o.ready);
    say_and_freeze(fd, "221 bye\r\n", clock_mono_ms() + COMMAND_MS);
    uv_run(&o.loop, UV_RUN_DEFAULT);
    cr_expect(o.closed && o.why.code == ERR_NONE, "%s", o.why.detail);
    close(fd);
    close(listener);
    cr_assert_eq(uv_loop_close(&o.loop), 0);
}

/* ... and where nothing lies there, it is over. */
Test(session_addresses, silence_is_still_silence)
{
    struct node node = {.greeting = GOOD};
    struct outcome o;
    uint16_t port = 0;
    node.listener = listen_on("127.0.0.1", &port);
    cr_assert_eq(pthread_create(&node.thread, NULL, serve, &node), 0);
    outcome_init(&o, "127.0.0.1", port);
    o.settings.smtp.timeouts.command = 50;
    run(&o);
    stop(&node);
    cr_expect_eq(o.why.code, ERR_TIMEOUT);
    cr_expect_eq(o.step, SMTP_STEP_EHLO);
    cr_assert_eq(uv_loop_close(&o.loop), 0);
}
