#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "pool_rig.h"
#include "relay/slot.h"

/*
 * Connections to a small server on the test's own loop, which is the slot's too: when a slot is
 * called, and whether it is, is the test's to say.
 */

enum { PATIENCE_MS = 120000, TICK_MS = 250, CLIENTS_MAX = 16 };

static struct pool_rig rig;
static uv_loop_t loop;
static uv_tcp_t listener;
static uv_async_t call;
static uv_timer_t heartbeat; /* the loop never sleeps for long */
static bool ends;
static size_t n_tends;

/* What the server does. */
static struct server {
    const char *greeting; /* NULL: none, until hold is over */
    bool hold;            /* no answer to a content until server_let_go() */
    bool cuts_at_mail;    /* the next MAIL is answered by the end of the connection */
    bool cuts_at_dot;     /* ... and the next content */
    size_t n_clients, n_here;
    struct tally {
        size_t n_messages;
        bool said_quit;
    } tallies[CLIENTS_MAX];
} server;

struct client {
    uv_tcp_t tcp;
    size_t number;
    bool in_content;
    bool owes; /* the answer to a content; till then it does not hear what follows */
    size_t len;
    char in[16384];
    struct client *next;
};

static struct client *clients;

/* --- the server --------------------------------------------------------------------------- */

static void free_client(uv_handle_t *handle)
{
    free(handle->data);
}

static void hang_up(struct client *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    struct client **at = &clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    server.n_here--;
    uv_close((uv_handle_t *)&c->tcp, free_client);
}

static void say(struct client *c, const char *text)
{
    uv_buf_t buf = uv_buf_init((char *)text, (unsigned)strlen(text));
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1); /* so little always fits */
    cr_assert(n == (int)buf.len || n == UV_EPIPE || n == UV_ECONNRESET);
}

static void answer_content(struct client *c)
{
    c->in_content = false;
    if (server.cuts_at_dot) {
        server.cuts_at_dot = false;
        hang_up(c);
        return;
    }
    server.tallies[c->number].n_messages++;
    c->owes = server.hold;
    if (!c->owes)
        say(c, "250 2.0.0 kept\r\n");
}

static void take_line(struct client *c, const char *line)
{
    if (c->in_content) {
        if (strcmp(line, ".") == 0)
            answer_content(c);
    } else if (strncmp(line, "EHLO", 4) == 0) {
        say(c, "250-hi\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING\r\n");
    } else if (strncmp(line, "MAIL", 4) == 0 && server.cuts_at_mail) {
        server.cuts_at_mail = false;
        hang_up(c);
    } else if (strncmp(line, "DATA", 4) == 0) {
        c->in_content = true;
        say(c, "354 go\r\n");
    } else if (strncmp(line, "QUIT", 4) == 0) {
        server.tallies[c->number].said_quit = true;
        say(c, "221 bye\r\n");
        hang_up(c);
    } else {
        say(c, "250 ok\r\n");
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct client *c = handle->data;
    *buf = uv_buf_init(c->in + c->len, (unsigned)(sizeof(c->in) - c->len));
}

static void take_lines(struct client *c)
{
    char *end;
    while (!uv_is_closing((uv_handle_t *)&c->tcp) && !c->owes &&
           (end = memmem(c->in, c->len, "\r\n", 2)) != NULL) {
        *end = '\0';
        take_line(c, c->in);
        size_t used = (size_t)(end + 2 - c->in);
        memmove(c->in, c->in + used, c->len - used);
        c->len -= used;
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    if (n < 0) {
        hang_up(c);
        return;
    }
    c->len += (size_t)n;
    take_lines(c);
}

static void on_client(uv_stream_t *stream, int status)
{
    struct client *c = calloc(1, sizeof(*c));
    cr_assert_not_null(c);
    uv_tcp_init(&loop, &c->tcp);
    c->tcp.data = c;
    cr_assert_eq(uv_accept(stream, (uv_stream_t *)&c->tcp), 0);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    c->number = server.n_clients++;
    cr_assert_lt(c->number, CLIENTS_MAX);
    server.n_here++;
    c->next = clients;
    clients = c;
    if (server.greeting != NULL)
        say(c, server.greeting);
}

static void server_let_go(void)
{
    server.hold = false;
    for (struct client *c = clients, *next; c != NULL; c = next) {
        next = c->next;
        if (!c->owes)
            continue;
        c->owes = false;
        say(c, "250 2.0.0 kept\r\n");
        take_lines(c);
    }
}

static size_t n_owing(void)
{
    size_t n = 0;
    for (const struct client *c = clients; c != NULL; c = c->next)
        n += c->owes;
    return n;
}

static uint16_t server_start(void)
{
    struct sockaddr_in address;
    int len = sizeof(address);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&loop, &listener);
    cr_assert_eq(uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&listener, 16, on_client), 0);
    cr_assert_eq(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &len), 0);
    server.greeting = "220 hi\r\n";
    return ntohs(address.sin_port);
}

/* --- the slot ---------------------------------------------------------------------------- */

static struct relay_slot *the_slot(void)
{
    return &rig.relay->slots[0];
}

static void on_call(uv_async_t *async)
{
    if (atomic_exchange(&pool_rig_calls[0], 0) > 0) {
        n_tends++;
        slot_tend(&the_slot()->job, &loop);
    }
}

/* The pool calls on another thread: here it is looked for. */
static void on_heartbeat(uv_timer_t *timer)
{
    if (!ends)
        on_call(&call);
}

static void set_up(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    pool_rig_init(&rig);
    rig.settings.port = server_start();
    rig.settings.connections.max = 1;
    uv_timer_init(&loop, &heartbeat);
    uv_timer_start(&heartbeat, on_heartbeat, 1, 1);
}

TestSuite(connection, .init = set_up, .timeout = 600);

/* All on one slot: the other's would need a loop of its own. */
static void open_rig(void)
{
    pool_rig_open(&rig);
    rig.relay->n_slots = 1;
}

static void turn_until(bool (*reached)(void))
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!reached() && clock_mono_ms() < until_ms)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert(reached(), "%zu came, %zu are here, %zu connections", server.n_clients, server.n_here,
              rig.relay->n_connections);
}

static bool nothing_is_open(void)
{
    return rig.relay->n_connections == 0 && clients == NULL;
}

static bool is_idle(void)
{
    return rig.relay->n_idle > 0 && rig.relay->n_idle == rig.relay->n_connections;
}

static bool nothing_waits(void)
{
    return rig.relay->ready.n == 0 && is_idle();
}

static void finish(void)
{
    relay_abort(rig.relay);
    turn_until(nothing_is_open);
    ends = true;
    slot_tend(&the_slot()->job, &loop); /* its timer ends, whether it was called already or not */
    uv_close((uv_handle_t *)&heartbeat, NULL);
    uv_close((uv_handle_t *)&listener, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    pool_rig_clear(&rig);
}

/* One more, on its way to the relay. */
static void send_one(struct told *told)
{
    rig_send(&rig.mail, &(struct letter){0}, told);
    relay_push(rig.relay, rig_next(&rig.mail));
}

static size_t n_taken(void)
{
    size_t n = 0;
    for (size_t i = 0; i < server.n_clients; i++)
        n += server.tallies[i].n_messages;
    return n;
}

/* --- how long one is of use --------------------------------------------------------------- */

Test(connection, carries_one_after_the_other)
{
    struct told told;
    open_rig();
    for (size_t i = 1; i <= 3; i++) {
        send_one(&told);
        turn_until(nothing_waits);
        rig_await(&rig.mail, told.id, RECIPIENT_SENT);
        cr_assert_eq(server.tallies[0].n_messages, i);
    }
    cr_assert_eq(server.n_clients, 1);
    finish();
}

/* It lies idle when its time is over, and nobody has looked since. */
Test(connection, lifetime_is_judged_before_use)
{
    struct told told;
    rig.settings.connections.lifetime_ms = 3600 * 1000;
    open_rig();
    pool_rig_push(&rig, 1);
    turn_until(nothing_waits);
    send_one(&told);
    int64_t opened_by_ms = clock_mono_ms();
    rig.settings.connections.lifetime_ms = 1;
    while (clock_mono_ms() <= opened_by_ms)
        ;
    slot_tend(&the_slot()->job, &loop); /* its tick has not come in between */
    cr_assert_null(the_slot()->idle);
    cr_assert_eq(rig.relay->ready.n, 1);
    rig_await(&rig.mail, told.id, RECIPIENT_QUEUED);
    rig.settings.connections.lifetime_ms = 0;
    turn_until(nothing_waits);
    rig_await(&rig.mail, told.id, RECIPIENT_SENT);
    cr_assert_eq(server.n_clients, 2);
    cr_assert(server.tallies[0].said_quit);
    cr_assert_eq(server.tallies[0].n_messages, 1);
    cr_assert_eq(server.tallies[1].n_messages, 1);
    cr_assert_eq(rig.relay->failure.error.code, ERR_NONE);
    finish();
}

static bool all_taken(void)
{
    return n_taken() == 7 && rig.relay->ready.n == 0;
}

static void assert_at_most_two_each(void)
{
    for (size_t i = 0; i < server.n_clients; i++) {
        cr_assert_leq(server.tallies[i].n_messages, 2);
        cr_assert(server.tallies[i].n_messages < 2 || server.tallies[i].said_quit, "%zu", i);
    }
}

static bool nothing_waits_or_none_is_there(void)
{
    return rig.relay->ready.n == 0 && (rig.relay->n_connections == 0 || is_idle());
}

Test(connection, max_messages_is_judged_before_use)
{
    rig.settings.connections.max_messages = 2;
    open_rig();
    for (size_t i = 0; i < 7; i++) {
        pool_rig_push(&rig, 1);
        turn_until(nothing_waits_or_none_is_there);
    }
    assert_at_most_two_each();
    cr_assert_eq(n_taken(), 7);
    cr_assert_eq(server.n_clients, 4);
    finish();
}

Test(connection, max_messages_counts_what_is_under_way)
{
    rig.settings.connections.max_messages = 2; /* in a window of ten */
    open_rig();
    pool_rig_push(&rig, 7);
    turn_until(all_taken);
    turn_until(is_idle);
    assert_at_most_two_each();
    cr_assert_eq(server.n_clients, 4);
    finish();
}

Test(connection, idle_ones_leave_when_their_lifetime_ends)
{
    open_rig(); /* connections.idle: no bound */
    pool_rig_push(&rig, 1);
    turn_until(nothing_waits);
    rig.settings.connections.lifetime_ms = 1;
    turn_until(nothing_is_open);
    cr_assert(server.tallies[0].said_quit);
    cr_assert_eq(server.n_clients, 1);
    cr_assert_eq(rig.relay->failure.error.code, ERR_NONE);
    finish();
}

Test(connection, idle_ones_leave_when_they_were_idle_for_long)
{
    rig.settings.connections.idle_ms = 1;
    open_rig();
    pool_rig_push(&rig, 1);
    turn_until(nothing_is_open);
    cr_assert(server.tallies[0].said_quit);
    cr_assert_eq(server.tallies[0].n_messages, 1);
    finish();
}

/* --- connections that are lost ------------------------------------------------------------ */

Test(connection, what_was_sent_and_not_answered_is_in_doubt)
{
    struct told told;
    rig.settings.on_in_doubt = 1;
    open_rig();
    server.cuts_at_dot = true;
    send_one(&told);
    turn_until(nothing_is_open);
    rig_await(&rig.mail, told.id, RECIPIENT_IN_DOUBT);
    cr_assert_eq(rig_n_ready(&rig.mail), 0);
    finish();
}

static struct config_rate ten_an_hour = {10, 3600 * 1000};

/* The server left while we thought of the next message: nothing became of that. */
Test(connection, what_was_not_begun_goes_back_without_an_attempt)
{
    rig.settings.rate.messages = (struct config_rates){&ten_an_hour, 1};
    rig.settings.rate.recipients = (struct config_rates){&ten_an_hour, 1};
    open_rig();
    pool_rig_push(&rig, 1);
    turn_until(nothing_waits);
    server.cuts_at_mail = true;
    struct told told;
    send_one(&told);
    turn_until(nothing_is_open);
    struct mail *again = rig_next(&rig.mail);
    cr_assert_eq(again->recipients[0].attempts, 0);
    cr_assert_eq(again->flight, -1, "it is noted as under way no more");
    cr_assert_eq(pool_rig_used(&rig, "messages"), 1);
    cr_assert_eq(pool_rig_used(&rig, "recipients"), 1);
    cr_assert_eq(rig.relay->failure.error.code, ERR_NONE);
    relay_push(rig.relay, again);
    turn_until(nothing_waits);
    rig_await(&rig.mail, told.id, RECIPIENT_SENT);
    cr_assert_eq(server.n_clients, 2);
    finish();
}

static bool one_owes(void)
{
    return n_owing() == 1;
}

/* Those behind the first were not taken, whatever of them has gone out. */
Test(connection, each_of_a_window_gets_a_verdict)
{
    struct told told[5];
    rig.settings.on_in_doubt = 1;
    open_rig();
    server.hold = true;
    for (size_t i = 0; i < 5; i++)
        send_one(&told[i]);
    turn_until(one_owes);
    hang_up(clients);
    turn_until(nothing_is_open);
    rig_await(&rig.mail, told[0].id, RECIPIENT_IN_DOUBT);
    for (size_t i = 1; i < 5; i++) {
        struct told found;
        do
            rig_find(&rig.mail, told[i].id, &found);
        while (found.recipients[0].status == RECIPIENT_SENDING);
        cr_assert(found.recipients[0].status == RECIPIENT_QUEUED ||
                      found.recipients[0].status == RECIPIENT_DEFERRED,
                  "%zu: %s", i, found.message_status);
    }
    finish();
}

/* --- a ledger without room ---------------------------------------------------------------- */

static int64_t turned_until_ms;

static bool some_ticks_later(void)
{
    return clock_mono_ms() >= turned_until_ms;
}

Test(connection, waits_for_room_in_the_ledger_without_haste)
{
    rig.settings.rate.messages = (struct config_rates){&ten_an_hour, 1};
    open_rig();
    pool_rig_push(&rig, 1);
    turn_until(nothing_waits);
    pool_rig_fill_ledger(&rig);
    pool_rig_push(&rig, 3);
    n_tends = 0;
    int64_t begun_ms = clock_mono_ms();
    turned_until_ms = begun_ms + 4 * (int64_t)TICK_MS;
    turn_until(some_ticks_later);
    int64_t most =
        3 + 2 * ((clock_mono_ms() - begun_ms) / TICK_MS + 1); /* one a tick, and pushes */
    cr_assert_leq(n_tends, most, "the slot was called %zu times", n_tends);
    cr_assert_gt(n_tends, 0);
    cr_assert_eq(rig.relay->ready.n, 3);
    cr_assert_eq(pool_rig_used(&rig, "messages"), 1);
    pool_rig_empty_ledger(&rig);
    turn_until(nothing_waits); /* nothing but the clock tells that there is room */
    cr_assert_eq(n_taken(), 4);
    cr_assert_eq(server.n_clients, 1);
    finish();
}

/* --- caps --------------------------------------------------------------------------------- */

static bool has_two(void)
{
    return rig.relay->n_connections == 2;
}

Test(connection, a_cap_is_tried_again_after_a_while)
{
    rig.settings.connections.max = 2;
    rig.settings.window = 1;
    open_rig();
    rig.relay->cap = 1;
    rig.relay->cap_ms = clock_mono_ms();
    server.hold = true;
    pool_rig_push(&rig, 3);
    turn_until(one_owes);
    cr_assert_eq(rig.relay->n_connections, 1);
    rig.relay->cap_ms -= 60 * 1000;
    turn_until(has_two);
    cr_assert_eq(rig.relay->cap, 2);
    server_let_go();
    turn_until(nothing_waits);
    cr_assert_eq(n_taken(), 3);
    finish();
}

/* --- the end ------------------------------------------------------------------------------ */

static bool two_owe(void)
{
    return n_owing() == 2;
}

static bool one_is_under_way(void)
{
    return one_owes() && rig.relay->n_idle == 1;
}

static bool one_has_left(void)
{
    return rig.relay->n_connections == 1;
}

Test(connection, a_drain_lets_busy_ones_finish)
{
    struct told told;
    rig.settings.connections.max = 2;
    rig.settings.window = 1;
    open_rig();
    server.hold = true;
    pool_rig_push(&rig, 2);
    turn_until(two_owe);
    server_let_go();
    turn_until(nothing_waits);
    server.hold = true;
    send_one(&told);
    turn_until(one_is_under_way);
    relay_drain(rig.relay);
    turn_until(one_has_left);
    cr_assert_not(relay_at_rest(rig.relay));
    server_let_go();
    turn_until(nothing_is_open);
    rig_await(&rig.mail, told.id, RECIPIENT_SENT);
    cr_assert(relay_at_rest(rig.relay));
    cr_assert(server.tallies[0].said_quit && server.tallies[1].said_quit);
    finish();
}

static bool has_client(void)
{
    return clients != NULL;
}

Test(connection, a_drain_does_not_wait_for_who_does_not_greet)
{
    open_rig();
    server.greeting = NULL;
    pool_rig_push(&rig, 1);
    turn_until(has_client);
    relay_drain(rig.relay);
    turn_until(nothing_is_open);
    cr_assert_eq(rig_n_ready(&rig.mail), 1, "the queue has it");
    cr_assert_eq(rig.relay->failure.error.code, ERR_NONE);
    finish();
}

Test(connection, an_abort_leaves_in_doubt_what_is_under_way)
{
    struct told told;
    rig.settings.on_in_doubt = 1;
    open_rig();
    server.hold = true;
    send_one(&told);
    turn_until(one_owes);
    relay_abort(rig.relay);
    turn_until(nothing_is_open);
    rig_await(&rig.mail, told.id, RECIPIENT_IN_DOUBT);
    finish();
}
