#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verify/verify.h"

/*
 * Verifications on a loop that a small server shares: what they say, and how they end when they are
 * told to. What they find out about relays is shown by tests/acceptance/test_verify.py.
 */

enum { HEARD_SIZE = 4096 };

static uv_loop_t loop;
static uv_tcp_t listener;
static uint16_t port;
static const char *greeting; /* NULL: silence */
static bool greets_once;
static char heard[HEARD_SIZE];
static size_t n_clients;

struct client {
    uv_tcp_t tcp;
    char in[1024];
};

static void free_client(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_write(uv_write_t *request, int status)
{
    free(request);
}

/* `text` is static. */
static void say(struct client *c, const char *text)
{
    uv_write_t *request = malloc(sizeof(*request));
    uv_buf_t buf = uv_buf_init((char *)text, (unsigned)strlen(text));
    cr_assert_not_null(request);
    cr_assert_eq(uv_write(request, (uv_stream_t *)&c->tcp, &buf, 1, on_write), 0);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct client *c = handle->data;
    *buf = uv_buf_init(c->in, sizeof(c->in) - 1);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, free_client);
        return;
    }
    c->in[n] = '\0';
    strncat(heard, c->in, sizeof(heard) - strlen(heard) - 1);
    if (strncmp(c->in, "EHLO", 4) == 0)
        say(c, "250-hi\r\n250 AUTH PLAIN EXTERNAL\r\n");
    else if (strncmp(c->in, "AUTH", 4) == 0)
        say(c, "235 2.7.0 in\r\n");
    else if (strncmp(c->in, "QUIT", 4) == 0)
        say(c, "221 bye\r\n");
}

static void on_client(uv_stream_t *stream, int status)
{
    struct client *c = calloc(1, sizeof(*c));
    cr_assert_not_null(c);
    uv_tcp_init(&loop, &c->tcp);
    c->tcp.data = c;
    cr_assert_eq(uv_accept(stream, (uv_stream_t *)&c->tcp), 0);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    n_clients++;
    if (greeting != NULL && (n_clients == 1 || !greets_once))
        say(c, greeting);
}

static void set_up(void)
{
    struct sockaddr_in address;
    int len = sizeof(address);
    cr_assert_eq(uv_loop_init(&loop), 0);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&loop, &listener);
    cr_assert_eq(uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&listener, 16, on_client), 0);
    cr_assert_eq(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &len), 0);
    port = ntohs(address.sin_port);
}

TestSuite(verify, .init = set_up, .timeout = 600);

static struct config_relay a_relay(void)
{
    return (struct config_relay){
        .name = "primary",
        .host = "127.0.0.1",
        .port = port,
        .tls = CONFIG_TLS_NONE,
        .tls_options = {.min_version = "1.2", .verify = 1},
        .auth = {.mechanism = "auto", .username = "alice", .password = "secret"},
        .hostname = "gw.example.com",
        .timeouts = {10000, 15000, 30000, 60000, 120000, 600000},
        .allow_plaintext_auth = 1,
    };
}

static struct verify_report report;
static int n_done;

static void on_done(void *arg, const struct verify_report *its)
{
    cr_expect_eq(arg, &n_done);
    report = *its;
    n_done++;
    uv_close((uv_handle_t *)&listener, NULL);
}

static struct verify *start(const struct config_relay *relay, bool no_login)
{
    const struct verify_options options = {.no_login = no_login};
    struct verify *verify = verify_start(&loop, relay, &options, on_done, &n_done);
    cr_assert_not_null(verify);
    cr_assert_eq(n_done, 0, "done before it returned");
    return verify;
}

/* To the end: nothing of it is left on the loop. */
static void finish(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(n_done, 1);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

static void turn_until(bool (*reached)(void))
{
    while (!reached())
        uv_run(&loop, UV_RUN_ONCE);
}

static bool has_client(void)
{
    return n_clients > 0;
}

static bool has_second_client(void)
{
    return n_clients > 1;
}

static bool never_again(void)
{
    return n_done > 0;
}

Test(verify, logs_in_once)
{
    const struct config_relay relay = a_relay();
    greeting = "220 hi\r\n";
    start(&relay, false);
    finish();
    cr_expect(report.ok);
    cr_expect_eq(report.error.code, ERR_NONE);
    cr_expect_str_eq(report.extensions.auth, "PLAIN EXTERNAL");
    cr_expect_str_eq(heard, "EHLO gw.example.com\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nQUIT\r\n");
}

Test(verify, or_not_at_all)
{
    const struct config_relay relay = a_relay();
    greeting = "220 hi\r\n";
    start(&relay, true);
    finish();
    cr_expect(report.ok);
    cr_expect_str_eq(heard, "EHLO gw.example.com\r\nQUIT\r\n");
    cr_expect_str_eq(report.mechanism, "");
}

/* Nor by a mechanism that needs no user name. */
Test(verify, or_not_at_all_by_certificate)
{
    struct config_relay relay = a_relay();
    relay.auth.mechanism = "external";
    relay.auth.username = NULL;
    greeting = "220 hi\r\n";
    start(&relay, true);
    finish();
    cr_expect(report.ok);
    cr_expect_str_eq(heard, "EHLO gw.example.com\r\nQUIT\r\n");
}

/* Whether there could be a login is seen without one. */
Test(verify, or_not_at_all_where_there_is_none_for_us)
{
    static const struct {
        const char *mechanism;
        int allow_plaintext;
        enum error_code code;
        const char *said, *hint;
    } rows[] = {
        {"cram-md5", 1, ERR_AUTH_MECHANISM_UNAVAILABLE, "AUTH PLAIN EXTERNAL",
         "set auth.mechanism: auto"},
        {"auto", 0, ERR_AUTH_NEEDS_TLS, "AUTH PLAIN without TLS", "set tls: starttls"},
    };
    greeting = "220 hi\r\n";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i > 0)
            set_up();
        struct config_relay relay = a_relay();
        relay.auth.mechanism = rows[i].mechanism;
        relay.allow_plaintext_auth = rows[i].allow_plaintext;
        n_done = 0;
        start(&relay, true);
        finish();
        cr_expect_not(report.ok);
        cr_expect_eq(report.error.code, rows[i].code, "row %zu", i);
        cr_expect_str_eq(report.error.where, "ehlo");
        cr_expect_not_null(strstr(report.error.detail, rows[i].said), "%s", report.error.detail);
        cr_expect_eq(strncmp(report.hint, rows[i].hint, strlen(rows[i].hint)), 0, "%s",
                     report.hint);
        cr_expect_str_eq(report.steps[report.n_steps - 1].name, "ehlo");
        cr_expect_not(report.steps[report.n_steps - 1].ok);
    }
    cr_expect_null(strstr(heard, "AUTH"));
}

/* All is well up to the login, of which is known how it went. */
Test(verify, or_not_at_all_when_it_is_known_how_it_goes)
{
    const struct config_relay relay = a_relay();
    struct verify_options options = {.no_login = true};
    error_set(&options.known, ERR_AUTH_NEEDS_TLS, "538 5.7.11 encryption required");
    greeting = "220 hi\r\n";
    cr_assert_not_null(verify_start(&loop, &relay, &options, on_done, &n_done));
    finish();
    cr_expect_not(report.ok);
    cr_expect_eq(report.error.code, ERR_AUTH_NEEDS_TLS);
    cr_expect_str_eq(report.error.where, "auth");
    cr_expect_str_eq(report.error.detail, "538 5.7.11 encryption required");
    cr_expect_not_null(strstr(report.hint, "set tls: starttls"));
    cr_expect_null(strstr(heard, "AUTH"));
}

/* The report is told by the loop also when not even a session could be begun. */
Test(verify, cannot_begin)
{
    struct config_relay relay = a_relay();
    relay.tls = CONFIG_TLS_IMPLICIT;
    relay.tls_options.ca_file = "/nowhere/ca.pem";
    start(&relay, false);
    finish();
    cr_expect_not(report.ok);
    cr_expect_eq(report.error.code, ERR_CONFIG);
    cr_expect_eq(report.n_steps, 1);
    cr_expect_eq(n_clients, 0);
}

Test(verify, aborted_at_once)
{
    const struct config_relay relay = a_relay();
    verify_abort(start(&relay, false));
    finish();
    cr_expect_not(report.ok);
    cr_expect_eq(report.error.code, ERR_DRAINING);
    cr_expect_str_eq(report.hint, "");
}

Test(verify, aborted_while_it_waits_for_the_greeting)
{
    const struct config_relay relay = a_relay();
    struct verify *verify = start(&relay, false);
    turn_until(has_client);
    verify_abort(verify);
    finish();
    cr_expect_eq(report.error.code, ERR_DRAINING);
    cr_expect_str_eq(report.error.where, "greeting");
    cr_expect(report.steps[1].ok);
    cr_expect_not(report.steps[2].ok);
    cr_expect_str_eq(report.hint, "");
}

/* What was found out is told all the same. */
Test(verify, aborted_while_it_tries_what_may_mend_it)
{
    const struct config_relay relay = a_relay();
    greeting = "HTTP/1.1 400 Bad Request\r\n\r\n";
    greets_once = true;
    struct verify *verify = start(&relay, false);
    turn_until(has_second_client);
    cr_assert_eq(n_done, 0);
    verify_abort(verify);
    finish();
    cr_expect_eq(report.error.code, ERR_PROTOCOL);
    cr_expect_not_null(strstr(report.hint, "is not SMTP"));
    cr_expect_not(report.hint_proved);
}

/* Told again, it has nothing more to end. */
Test(verify, aborted_twice)
{
    const struct config_relay relay = a_relay();
    struct verify *verify = start(&relay, false);
    turn_until(has_client);
    verify_abort(verify);
    verify_abort(verify);
    turn_until(never_again);
    finish();
    cr_expect_eq(report.error.code, ERR_DRAINING);
}

/* It could send: whether the farewell is answered changes nothing. */
Test(verify, aborted_while_it_says_goodbye)
{
    const struct config_relay relay = a_relay();
    greeting = "220 hi\r\n";
    struct verify *verify = start(&relay, false);
    while (strstr(heard, "QUIT") == NULL)
        uv_run(&loop, UV_RUN_ONCE);
    if (n_done == 0)
        verify_abort(verify);
    finish();
    cr_expect(report.ok);
    cr_expect_eq(report.error.code, ERR_NONE);
}

Test(verify, on_a_loop_of_its_own)
{
    struct config_relay relay = a_relay();
    struct error err;
    uv_close((uv_handle_t *)&listener, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(verify_run(&relay, &(struct verify_options){0}, &report, &err), 0);
    cr_expect_eq(report.error.code, ERR_CONNECT_REFUSED); /* nobody listens any more */
    cr_expect_str_eq(report.error.where, "tcp");
    cr_expect_neq(report.hint[0], '\0');
}

/* --- a password in a file ----------------------------------------------------------------- */

static char password_file[64];

static void write_password(const char *text)
{
    FILE *file = fopen(password_file, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static void make_password_file(void)
{
    strcpy(password_file, "/tmp/postern-verify-XXXXXX");
    int fd = mkstemp(password_file);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_password_file(void)
{
    unlink(password_file);
}

TestSuite(verify_password_file, .init = make_password_file, .fini = remove_password_file,
          .timeout = 600);

static void log_in_with_file(const char *text, const char *wanted)
{
    set_up();
    struct config_relay relay = a_relay();
    relay.auth.password_file = password_file;
    greeting = "220 hi\r\n";
    write_password(text);
    start(&relay, false);
    finish();
    cr_expect(report.ok);
    cr_expect_not_null(strstr(heard, wanted), "%s", heard);
}

/* As its connections do, a verify logs in with what the file holds now. */
Test(verify_password_file, is_read_again)
{
    log_in_with_file("renewed\n", "AUTH PLAIN AGFsaWNlAHJlbmV3ZWQ=\r\n");
}

/* Empty for a moment, because it is being written. */
Test(verify_password_file, that_cannot_be_read_changes_nothing)
{
    log_in_with_file("", "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n");
}
