#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "sandbox/sandbox.h"

static struct sandbox *sandbox;

static void start(struct sandbox_settings settings)
{
    struct error err;
    if (settings.max_messages == 0)
        settings.max_messages = 100;
    if (settings.max_bytes == 0)
        settings.max_bytes = 1 << 20;
    cr_assert_eq(sandbox_start(&settings, &sandbox, &err), 0);
}

static void start_default(void)
{
    start((struct sandbox_settings){0});
}

static void stop(void)
{
    sandbox_stop(sandbox);
    sandbox = NULL;
}

/* --- a client ----------------------------------------------------------------------------- */

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(sandbox_port(sandbox)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 120};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text), "%s", text);
}

/* All that is said until `end` or the connection's end. */
static const char *hear_until(int fd, const char *end)
{
    static char heard[1 << 16];
    size_t len = 0;
    ssize_t n = 1;
    heard[0] = '\0';
    while (n > 0 && len < sizeof(heard) - 1 && (end == NULL || strstr(heard, end) == NULL)) {
        n = recv(fd, heard + len, sizeof(heard) - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
        heard[len] = '\0';
    }
    return heard;
}

/* All that is said until the server closes. */
static const char *hear(int fd)
{
    return hear_until(fd, NULL);
}

static int greeted(void)
{
    int fd = dial();
    hear_until(fd, "220 ");
    say(fd, "EHLO me\r\n");
    hear_until(fd, "250 ENHANCEDSTATUSCODES\r\n");
    return fd;
}

/* One mail on a connection of its own; the replies from MAIL on. */
static const char *send_mail(const char *to, const char *content)
{
    int fd = greeted();
    dprintf(fd, "MAIL FROM:<a@x>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\nQUIT\r\n", to, content);
    const char *replies = hear(fd);
    close(fd);
    return replies;
}

static size_t n_kept(void)
{
    json_t *list = sandbox_list(sandbox);
    size_t n = json_array_size(list);
    json_decref(list);
    return n;
}

/* --- tests -------------------------------------------------------------------------------- */

TestSuite(sandbox, .init = start_default, .fini = stop, .timeout = 600);

Test(sandbox, what_was_received_is_shown)
{
    static const char content[] =
        "Subject: =?utf-8?Q?=C3=A4?=\r\nMessage-ID: <1@x>\r\n\r\n..dot\r\n";
    static const char raw[] = "Subject: =?utf-8?Q?=C3=A4?=\r\nMessage-ID: <1@x>\r\n\r\n.dot\r\n";
    const char *replies = send_mail("b@y", content);
    cr_assert_not_null(strstr(replies, "\r\n250 2.0.0 "), "%s", replies);
    cr_assert_not_null(strstr(replies, "\r\n221 2.0.0 "), "%s", replies);
    send_mail("c@y", "Subject: 2\r\n\r\n");

    json_t *list = sandbox_list(sandbox);
    cr_assert_eq(json_array_size(list), 2);
    json_t *newest = json_array_get(list, 0), *first = json_array_get(list, 1);
    cr_assert_str_eq(json_string_value(json_object_get(newest, "subject")), "2");
    cr_assert_null(json_object_get(newest, "headers"));
    char *id = strdup(json_string_value(json_object_get(first, "id")));
    json_decref(list);

    json_t *mail = sandbox_get(sandbox, id);
    const char *from, *to, *subject, *text, *as_text, *at;
    json_int_t size;
    json_error_t why;
    int rc = json_unpack_ex(
        mail, &why, 0, "{s:s, s:{s:s, s:[s]}, s:s, s:s, s:s, s:I, s:[[s,s],[s,s]]}", "received_at",
        &at, "envelope", "from", &from, "to", &to, "subject", &subject, "text", &text, "raw",
        &as_text, "size", &size, "headers", &(const char *){0}, &(const char *){0},
        &(const char *){0}, &(const char *){0});
    cr_assert_eq(rc, 0, "%s", why.text);
    cr_assert_str_eq(from, "a@x");
    cr_assert_str_eq(to, "b@y");
    cr_assert_str_eq(subject, "\xc3\xa4");
    cr_assert_str_eq(text, ".dot\r\n");
    cr_assert_str_eq(as_text, raw);
    cr_assert_eq(size, (json_int_t)strlen(raw));
    json_decref(mail);

    size_t len;
    char *octets = sandbox_raw(sandbox, id, &len);
    cr_assert_eq(len, strlen(raw));
    cr_assert_eq(memcmp(octets, raw, len), 0);
    free(octets);

    cr_assert_eq(sandbox_delete_all(sandbox), 2);
    cr_assert_null(sandbox_get(sandbox, id));
    cr_assert_null(sandbox_raw(sandbox, id, &len));
    cr_assert_eq(n_kept(), 0);
    free(id);
}

Test(sandbox, what_is_not_text_has_no_raw_text)
{
    send_mail("b@y", "\r\n\xff\r\n");
    json_t *list = sandbox_list(sandbox);
    json_t *mail =
        sandbox_get(sandbox, json_string_value(json_object_get(json_array_get(list, 0), "id")));
    cr_assert(json_is_null(json_object_get(mail, "raw")));
    json_decref(mail);
    json_decref(list);
}

Test(sandbox, recipients_steer_it)
{
    static const struct {
        const char *to;
        const char *replies[4]; /* the last one of each try; "": none, it just closes */
        size_t kept;
    } rows[] = {
        {"ok@sandbox.test", {"250 2.0.0", "250 2.0.0"}, 2},
        {"bounce@sandbox.test", {"550 5.1.1", "550 5.1.1"}, 0},
        {"throttle@sandbox.test", {"432 4.3.2", "432 4.3.2"}, 0},
        {"defer@sandbox.test", {"451 4.3.0", "451 4.3.0", "250 2.0.0", "250 2.0.0"}, 2},
        {"drop@sandbox.test", {"", "250 2.0.0"}, 2},
        {"anybody@example.com", {"250 2.0.0"}, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t try = 0; try < 4 && rows[i].replies[try] != NULL; try++) {
            char content[100];
            snprintf(content, sizeof(content), "Message-ID: <%zu>\r\n\r\n", i);
            const char *replies = send_mail(rows[i].to, content), *wanted = rows[i].replies[try];
            if (wanted[0] != '\0')
                cr_assert_not_null(strstr(replies, wanted), "%s: %s", rows[i].to, replies);
            else
                cr_assert_str_eq(strstr(replies, "354 "),
                                 "354 End data with <CR><LF>.<CR><LF>\r\n");
        }
        cr_assert_eq(sandbox_delete_all(sandbox), rows[i].kept, "%s", rows[i].to);
    }
}

Test(sandbox, slow_takes_its_time_and_holds_nobody_else)
{
    int64_t begun_ms = clock_mono_ms();
    int fd = greeted();
    say(fd, "MAIL FROM:<a@x>\r\nRCPT TO:<slow@sandbox.test>\r\nDATA\r\n.\r\nQUIT\r\n");
    hear_until(fd, "354 ");
    cr_assert_not_null(strstr(send_mail("ok@sandbox.test", "\r\n"), "250 2.0.0"));
    /* In this order: a reply that came in time is no proof of a machine that is too slow. */
    bool is_quiet = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0;
    cr_assert(is_quiet || clock_mono_ms() - begun_ms >= 4900);
    cr_assert_not_null(strstr(hear(fd), "221 2.0.0"));
    cr_assert_geq(clock_mono_ms() - begun_ms, 4900);
    close(fd);
}

Test(sandbox, octet_by_octet)
{
    static const char all[] =
        "EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n..\r\n.\r\nQUIT\r\n";
    int fd = dial();
    for (size_t i = 0; i < strlen(all); i++)
        cr_assert_eq(send(fd, all + i, 1, MSG_NOSIGNAL), 1);
    cr_assert_not_null(strstr(hear(fd), "221 2.0.0"));
    close(fd);
    cr_assert_eq(n_kept(), 1);
}

/* More replies than any socket buffer holds, none of them read until all is sent. */
static void *send_noops(void *arg)
{
    static char noops[6 * 10000];
    for (size_t i = 0; i < sizeof(noops); i += 6)
        memcpy(noops + i, "NOOP\r\n", 6);
    for (size_t i = 0; i < 200; i++)
        cr_assert_eq(send(*(int *)arg, noops, sizeof(noops), MSG_NOSIGNAL), (ssize_t)sizeof(noops));
    say(*(int *)arg, "QUIT\r\n");
    return NULL;
}

Test(sandbox, a_client_that_does_not_listen)
{
    pthread_t thread;
    char block[1 << 16];
    size_t len = 0;
    int fd = greeted();
    pthread_create(&thread, NULL, send_noops, &fd);
    usleep(200 * 1000); /* so that buffers fill; the outcome does not depend on it */
    for (ssize_t n; (n = recv(fd, block, sizeof(block), 0)) > 0; len += (size_t)n)
        ;
    pthread_join(thread, NULL);
    cr_assert_eq(len, strlen("250 2.0.0 Ok\r\n") * 2000000 + strlen("221 2.0.0 Bye\r\n"));
    close(fd);
}

Test(sandbox, clients_come_and_go)
{
    for (int i = 0; i < 100; i++) { /* gone at any moment, some with data unread */
        int fd = i % 2 ? dial() : greeted();
        if (i % 3 == 0)
            say(fd, "EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nabc");
        close(fd);
    }
    cr_assert_eq(n_kept(), 0);
    cr_assert_not_null(strstr(send_mail("b@y", "\r\n"), "250 2.0.0"));
}

/* Looks while mail comes in. */
static void *look(void *arg)
{
    for (int i = 0; i < 200; i++) {
        json_t *list = sandbox_list(sandbox);
        json_t *newest = json_array_get(list, 0);
        if (newest != NULL)
            json_decref(sandbox_get(sandbox, json_string_value(json_object_get(newest, "id"))));
        json_decref(list);
        if (i % 50 == 49)
            sandbox_delete_all(sandbox);
    }
    return NULL;
}

Test(sandbox, any_thread_may_look)
{
    pthread_t thread;
    pthread_create(&thread, NULL, look, NULL);
    int fd = greeted();
    for (int i = 0; i < 2000; i++) {
        say(fd, "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n");
        hear_until(fd, "250 2.0.0 ");
    }
    pthread_join(thread, NULL);
    close(fd);
}

Test(sandbox, stops_with_clients_connected)
{
    int fds[] = {dial(), greeted(), greeted()};
    say(fds[1], "MAIL FROM:<a@x>\r\nRCPT TO:<slow@sandbox.test>\r\nDATA\r\n.\r\n");
    hear_until(fds[1], "354 ");
    say(fds[2], "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nabc");
    hear_until(fds[2], "354 ");
    stop();
    for (size_t i = 0; i < 3; i++) {
        hear(fds[i]);
        close(fds[i]);
    }
}

Test(sandbox_settings, too_many_connections, .timeout = 600)
{
    start((struct sandbox_settings){.max_clients = 2});
    int first = greeted(), second = greeted(), third = dial();
    cr_assert_str_eq(hear(third), "421 4.7.0 Too many connections\r\n");
    close(third);
    say(first, "QUIT\r\n");
    hear(first);
    close(first);
    cr_assert_not_null(strstr(send_mail("b@y", "\r\n"), "250 2.0.0"), "there is room again");
    close(second);
    stop();
}

Test(sandbox_settings, the_idle_are_told_to_go, .timeout = 600)
{
    start((struct sandbox_settings){.idle_ms = 50});
    int fd = dial();
    const char *heard = hear(fd);
    cr_assert_not_null(strstr(heard, "421 4.4.2 "), "%s", heard);
    close(fd);
    stop();
}

Test(sandbox_settings, the_newest_are_kept, .timeout = 600)
{
    start((struct sandbox_settings){.max_messages = 3});
    for (int i = 0; i < 5; i++)
        send_mail("b@y", "\r\n");
    cr_assert_eq(n_kept(), 3);
    stop();
}

Test(sandbox_settings, a_port_that_is_taken, .timeout = 600)
{
    start_default();
    struct sandbox *second = NULL;
    struct error err;
    const struct sandbox_settings settings = {.port = sandbox_port(sandbox), .max_messages = 1};
    cr_assert_eq(sandbox_start(&settings, &second, &err), -1);
    cr_assert_eq(err.code, ERR_IO);
    cr_assert_null(second);
    stop();
    sandbox_stop(NULL);
}
