#include "relay/connection.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "relay/batch.h"
#include "relay/bearer.h"
#include "relay/breaker.h"
#include "relay/pool.h"

enum { OPENING_MAX = 8 * 1024 };

/* One connection, and the batches on it. Lives from connection_open() to on_closed(). */
struct connection {
    struct relay_slot *slot;
    struct session *session;
    struct identity *identity; /* a reference */
    struct bearer bearer;
    struct connection *next, *prev;           /* of the slot's connections */
    struct connection *next_idle, *prev_idle; /* of the idle ones */
    bool opened, idle;
    int64_t opened_ms, idle_since_ms, departed_us;
    int64_t n_carried;       /* transactions the server answered to the end */
    size_t n_under_way;      /* batches */
    struct batch *spare;     /* those that are not */
    struct buffer opening;   /* what was said until the login was done; then: the last remark */
    struct bytes *opened_as; /* that, for the transcripts of what it carries; NULL: nothing */
};

/* --- lists -------------------------------------------------------------------------------- */

static void set_idle(struct connection *c, bool idle)
{
    if (c->idle == idle)
        return;
    struct relay_slot *slot = c->slot;
    c->idle = idle;
    if (idle) {
        c->idle_since_ms = clock_mono_ms();
        c->prev_idle = NULL;
        c->next_idle = slot->idle;
        if (slot->idle != NULL)
            slot->idle->prev_idle = c;
        slot->idle = c;
    } else {
        if (c->next_idle != NULL)
            c->next_idle->prev_idle = c->prev_idle;
        *(c->prev_idle != NULL ? &c->prev_idle->next_idle : &slot->idle) = c->next_idle;
    }
    pool_idle_changed(slot, idle);
}

static void unlink_connection(struct connection *c)
{
    if (c->next != NULL)
        c->next->prev = c->prev;
    *(c->prev != NULL ? &c->prev->next : &c->slot->connections) = c->next;
}

static struct batch *take_spare(struct connection *c)
{
    struct batch *spare = c->spare;
    if (spare == NULL)
        return batch_new();
    c->spare = spare->next;
    return spare;
}

static void put_spare(struct connection *c, struct batch *batch)
{
    batch->next = c->spare;
    c->spare = batch;
}

/* --- what is said ------------------------------------------------------------------------- */

static void on_said(void *arg, void *owner, char who, const char *text)
{
    struct connection *c = arg;
    struct batch *batch = owner;
    if (batch == NULL && c->opened)
        buffer_reset(&c->opening);
    buffer_printf(batch != NULL ? &batch->said : &c->opening, "%c: %s\n", who, text);
}

static void keep_transcript(struct connection *c, struct batch *batch, bool good)
{
    struct relay *relay = c->slot->relay;
    if (!good) /* perhaps the connection's last words explain it */
        buffer_append(&batch->said, c->opening.data, c->opening.len);
    if (relay->around.transcripts != NULL)
        transcripts_keep(relay->around.transcripts, batch->delivery->id, relay->settings->name,
                         good, c->opened_as, batch->said.data, batch->said.len);
}

/* --- carrying ----------------------------------------------------------------------------- */

static int carry(struct connection *c, struct mail *delivery)
{
    struct error err;
    struct smtp_envelope envelope;
    struct batch *batch = take_spare(c);
    if (batch == NULL || batch_load(batch, delivery, &envelope) < 0) {
        batch_free(batch);
        return -1;
    }
    c->n_under_way++;
    if (session_carry(c->session, &envelope, &err) == 0)
        return 0; /* `c` may be gone by now */
    c->n_under_way--;
    batch_unload(batch);
    put_spare(c, batch);
    return -1;
}

void connection_carry(struct connection *c, struct mail *delivery)
{
    struct relay *relay = c->slot->relay;
    set_idle(c, false);
    metric_add(relay->metrics.attempts, 1);
    if (carry(c, delivery) == 0)
        return;
    pool_not_sent(relay, 1, pool_n_carried(delivery), clock_mono_ms());
    queue_settle(relay->around.queue, delivery); /* no memory: its verdicts are still UNTRIED */
    set_idle(c, c->n_under_way == 0);
}

static bool worn_out(const struct connection *c)
{
    if (pool_is_outdated(c->slot->relay, c->identity))
        return true;
    const struct config_relay *settings = c->slot->relay->settings;
    return (settings->connections.max_messages > 0 &&
            c->n_carried + (int64_t)c->n_under_way >= settings->connections.max_messages) ||
           (c->opened && settings->connections.lifetime_ms > 0 &&
            clock_mono_ms() - c->opened_ms >= settings->connections.lifetime_ms);
}

/* --- what the session says ---------------------------------------------------------------- */

static void on_result(void *arg, struct session *session, const struct smtp_result *result)
{
    struct connection *c = arg;
    struct relay *relay = c->slot->relay;
    struct batch *batch = result->owner;
    struct batch_news news;
    batch_judge(batch, relay, result, c->n_carried == 0, &news);
    keep_transcript(c, batch, news.reaction == NULL && result->recipients[0].reply.code / 100 == 2);
    bool end =
        news.reaction != NULL && breaker_refused(relay, news.step, news.reaction, news.reply);
    bool answered = !result->untouched && result->recipients[0].reply.code != 0;
    if (answered && news.reaction == NULL)
        breaker_succeeded(relay, news.any_sent);
    c->n_carried += answered;
    if (news.n_untried > 0)
        pool_not_sent(relay, news.none_tried, news.n_untried, batch->begun_us / 1000);

    struct mail *delivery = batch_unload(batch);
    put_spare(c, batch);
    c->n_under_way--;
    if (end || (c->n_under_way == 0 && !session_has_room(session))) /* it takes no more: MAILMAX */
        session_quit(session);
    queue_settle(relay->around.queue, delivery);
}

static void on_token_wanted(void *arg, struct session *session, bool refused)
{
    struct connection *c = arg;
    bearer_want(&c->bearer, session, refused);
}

static void greet_pool(struct connection *c)
{
    c->opened = true;
    c->opened_ms = clock_mono_ms();
    c->opened_as = bytes_copy(c->opening.data, c->opening.len);
    buffer_reset(&c->opening);
    metric_observe(c->slot->relay->metrics.login_seconds,
                   (double)(clock_mono_us() - c->departed_us) / 1e6);
    pool_opened(c->slot->relay);
}

/* As many as there is room for; the first may come before the pool hears that we are in, so that it
 * does not open another connection for what this one carries. */
static void on_ready(void *arg, struct session *session)
{
    struct connection *c = arg;
    struct relay *relay = c->slot->relay;
    struct mail *delivery = NULL;
    while (!worn_out(c) && session_has_room(session) &&
           (delivery = pool_pull(relay, c->n_under_way)) != NULL) {
        connection_carry(c, delivery);
        if (!c->opened)
            greet_pool(c);
    }
    if (!c->opened)
        greet_pool(c);
    if (c->n_under_way == 0 && worn_out(c))
        session_quit(session);
    else
        set_idle(c, c->n_under_way == 0);
}

static void on_closed(void *arg, struct session *session, enum smtp_step step,
                      const struct error *why)
{
    struct connection *c = arg;
    bool needed = !c->idle && step != SMTP_STEP_QUIT;
    set_idle(c, false);
    unlink_connection(c);
    bearer_end(&c->bearer);
    char *said = buffer_steal_str(&c->opening);
    const struct pool_ending ending = {
        .opened = c->opened,
        .harmless = c->n_carried > 0 || (c->opened && !needed),
        .step = step,
        .why = why,
        .transcript = c->opened ? NULL : said,
    };
    pool_closed(c->slot, &ending);
    free(said);
    identity_unref(c->identity);
    for (struct batch *next; c->spare != NULL; c->spare = next) {
        next = c->spare->next;
        batch_free(c->spare);
    }
    bytes_unref(c->opened_as);
    buffer_clear(&c->opening);
    free(c);
}

int connection_open(struct relay_slot *slot, uv_loop_t *loop)
{
    struct connection *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -1;
    c->slot = slot;
    c->departed_us = clock_mono_us();
    buffer_init(&c->opening, OPENING_MAX);
    c->bearer = (struct bearer){.loop = loop,
                                .cache = slot->relay->around.tokens,
                                .entry = (size_t)slot->relay->settings->auth.oauth_index,
                                .need_ms = slot->relay->settings->timeouts.command_ms};
    const struct session_owner owner = {.ready = on_ready,
                                        .result = on_result,
                                        .closed = on_closed,
                                        .said = on_said,
                                        .token_wanted = on_token_wanted,
                                        .distrust = &slot->relay->distrust,
                                        .arg = c};
    c->identity = pool_identity(slot->relay);
    c->session = session_open(loop, &c->identity->session, &owner);
    if (c->session == NULL) {
        identity_unref(c->identity);
        free(c);
        return -1;
    }
    c->next = slot->connections;
    if (c->next != NULL)
        c->next->prev = c;
    slot->connections = c;
    metric_add(slot->relay->metrics.connects, 1);
    return 0;
}

/* `c` may be gone then. */
static void quit_idle(struct connection *c)
{
    set_idle(c, false);
    session_quit(c->session);
}

struct connection *connection_idle(struct relay_slot *slot)
{
    while (slot->idle != NULL && (!session_has_room(slot->idle->session) || worn_out(slot->idle)))
        quit_idle(slot->idle);
    return slot->idle;
}

void connections_quit_idle(struct relay_slot *slot, int64_t before_ms)
{
    for (struct connection *c = slot->idle, *next; c != NULL; c = next) {
        next = c->next_idle;
        if (c->idle_since_ms <= before_ms || worn_out(c))
            quit_idle(c);
    }
}

void connections_quit_unused(struct relay_slot *slot)
{
    connections_quit_idle(slot, INT64_MAX);
    for (struct connection *c = slot->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (!c->opened)
            session_abort(c->session);
    }
}

void connections_abort(struct relay_slot *slot)
{
    for (struct connection *c = slot->connections, *next; c != NULL; c = next) {
        next = c->next; /* aborting one frees it, and no other */
        session_abort(c->session);
    }
}
