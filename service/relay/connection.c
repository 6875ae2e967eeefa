#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "relay/batch.h"
#include "relay/bearer.h"
#include "relay/internal.h"

enum { OPENING_MAX = 8 * 1024 };

/* One connection, and the shipments on it. Lives from carrier_open() to on_closed(). */
struct carrier {
    struct berth *berth;
    struct session *session;
    struct identity *identity; /* a reference */
    struct bearer bearer;
    struct carrier *next, *prev;           /* of the berth's carriers */
    struct carrier *next_idle, *prev_idle; /* of the idle ones */
    bool opened, idle;
    int64_t opened_ms, idle_since_ms, departed_us;
    int64_t n_carried;       /* transactions the server answered to the end */
    size_t n_under_way;      /* shipments */
    struct shipment *spare;  /* those that are not */
    struct buffer opening;   /* what was said until the login was done; then: the last remark */
    struct bytes *opened_as; /* that, for the transcripts of what it carries; NULL: nothing */
};

/* --- lists -------------------------------------------------------------------------------- */

static void set_idle(struct carrier *c, bool idle)
{
    if (c->idle == idle)
        return;
    struct berth *berth = c->berth;
    c->idle = idle;
    if (idle) {
        c->idle_since_ms = clock_mono_ms();
        c->prev_idle = NULL;
        c->next_idle = berth->idle;
        if (berth->idle != NULL)
            berth->idle->prev_idle = c;
        berth->idle = c;
    } else {
        if (c->next_idle != NULL)
            c->next_idle->prev_idle = c->prev_idle;
        *(c->prev_idle != NULL ? &c->prev_idle->next_idle : &berth->idle) = c->next_idle;
    }
    pool_idle_changed(berth, idle);
}

static void unlink_carrier(struct carrier *c)
{
    if (c->next != NULL)
        c->next->prev = c->prev;
    *(c->prev != NULL ? &c->prev->next : &c->berth->carriers) = c->next;
}

static struct shipment *take_spare(struct carrier *c)
{
    struct shipment *spare = c->spare;
    if (spare == NULL)
        return shipment_new();
    c->spare = spare->next;
    return spare;
}

static void put_spare(struct carrier *c, struct shipment *shipment)
{
    shipment->next = c->spare;
    c->spare = shipment;
}

/* --- what is said ------------------------------------------------------------------------- */

static void on_said(void *arg, void *owner, char who, const char *text)
{
    struct carrier *c = arg;
    struct shipment *shipment = owner;
    if (shipment == NULL && c->opened)
        buffer_reset(&c->opening);
    buffer_printf(shipment != NULL ? &shipment->said : &c->opening, "%c: %s\n", who, text);
}

static void keep_transcript(struct carrier *c, struct shipment *shipment, bool good)
{
    struct relay *relay = c->berth->relay;
    if (!good) /* perhaps the connection's last words explain it */
        buffer_append(&shipment->said, c->opening.data, c->opening.len);
    if (relay->around.transcripts != NULL)
        transcripts_keep(relay->around.transcripts, shipment->delivery->id, relay->settings->name,
                         good, c->opened_as, shipment->said.data, shipment->said.len);
}

/* --- carrying ----------------------------------------------------------------------------- */

static int carry(struct carrier *c, struct delivery *delivery)
{
    struct error err;
    struct smtp_envelope envelope;
    struct shipment *shipment = take_spare(c);
    if (shipment == NULL || shipment_load(shipment, delivery, &envelope) < 0) {
        shipment_free(shipment);
        return -1;
    }
    c->n_under_way++;
    if (session_carry(c->session, &envelope, &err) == 0)
        return 0; /* `c` may be gone by now */
    c->n_under_way--;
    shipment_unload(shipment);
    put_spare(c, shipment);
    return -1;
}

void carrier_carry(struct carrier *c, struct delivery *delivery)
{
    struct relay *relay = c->berth->relay;
    set_idle(c, false);
    metric_add(relay->metrics.attempts, 1);
    if (carry(c, delivery) == 0)
        return;
    pool_not_sent(relay, 1, pool_n_carried(delivery), clock_mono_ms());
    queue_settle(relay->around.queue, delivery); /* no memory: its verdicts are still UNTRIED */
    set_idle(c, c->n_under_way == 0);
}

static bool worn_out(const struct carrier *c)
{
    if (pool_is_outdated(c->berth->relay, c->identity))
        return true;
    const struct config_relay *settings = c->berth->relay->settings;
    return (settings->connections.max_messages > 0 &&
            c->n_carried + (int64_t)c->n_under_way >= settings->connections.max_messages) ||
           (c->opened && settings->connections.lifetime_ms > 0 &&
            clock_mono_ms() - c->opened_ms >= settings->connections.lifetime_ms);
}

/* --- what the session says ---------------------------------------------------------------- */

static void on_result(void *arg, struct session *session, const struct smtp_result *result)
{
    struct carrier *c = arg;
    struct relay *relay = c->berth->relay;
    struct shipment *shipment = result->owner;
    struct shipment_news news;
    shipment_judge(shipment, relay, result, c->n_carried == 0, &news);
    keep_transcript(c, shipment,
                    news.reaction == NULL && result->recipients[0].reply.code / 100 == 2);
    bool end =
        news.reaction != NULL && trouble_by_reply(relay, news.step, news.reaction, news.reply);
    bool answered = !result->untouched && result->recipients[0].reply.code != 0;
    if (answered && news.reaction == NULL)
        trouble_none(relay, news.any_sent);
    c->n_carried += answered;
    if (news.n_untried > 0)
        pool_not_sent(relay, news.none_tried, news.n_untried, shipment->begun_us / 1000);

    struct delivery *delivery = shipment_unload(shipment);
    put_spare(c, shipment);
    c->n_under_way--;
    if (end || (c->n_under_way == 0 && !session_has_room(session))) /* it takes no more: MAILMAX */
        session_quit(session);
    queue_settle(relay->around.queue, delivery);
}

static void on_token_wanted(void *arg, struct session *session, bool refused)
{
    struct carrier *c = arg;
    bearer_want(&c->bearer, session, refused);
}

static void greet_pool(struct carrier *c)
{
    c->opened = true;
    c->opened_ms = clock_mono_ms();
    c->opened_as = bytes_copy(c->opening.data, c->opening.len);
    buffer_reset(&c->opening);
    metric_observe(c->berth->relay->metrics.login_seconds,
                   (double)(clock_mono_us() - c->departed_us) / 1e6);
    pool_opened(c->berth->relay);
}

/* As many as there is room for; the first may come before the pool hears that we are in, so that it
 * does not open another connection for what this one carries. */
static void on_ready(void *arg, struct session *session)
{
    struct carrier *c = arg;
    struct relay *relay = c->berth->relay;
    struct delivery *delivery = NULL;
    while (!worn_out(c) && session_has_room(session) &&
           (delivery = pool_pull(relay, c->n_under_way)) != NULL) {
        carrier_carry(c, delivery);
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
    struct carrier *c = arg;
    bool needed = !c->idle && step != SMTP_STEP_QUIT;
    set_idle(c, false);
    unlink_carrier(c);
    bearer_end(&c->bearer);
    char *said = buffer_steal_str(&c->opening);
    const struct pool_ending ending = {
        .opened = c->opened,
        .harmless = c->n_carried > 0 || (c->opened && !needed),
        .step = step,
        .why = why,
        .transcript = c->opened ? NULL : said,
    };
    pool_closed(c->berth, &ending);
    free(said);
    identity_unref(c->identity);
    for (struct shipment *next; c->spare != NULL; c->spare = next) {
        next = c->spare->next;
        shipment_free(c->spare);
    }
    bytes_unref(c->opened_as);
    buffer_clear(&c->opening);
    free(c);
}

int carrier_open(struct berth *berth, uv_loop_t *loop)
{
    struct carrier *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -1;
    c->berth = berth;
    c->departed_us = clock_mono_us();
    buffer_init(&c->opening, OPENING_MAX);
    c->bearer = (struct bearer){.loop = loop,
                                .cache = berth->relay->around.tokens,
                                .entry = (size_t)berth->relay->settings->auth.oauth_index,
                                .need_ms = berth->relay->settings->timeouts.command_ms};
    const struct session_owner owner = {.ready = on_ready,
                                        .result = on_result,
                                        .closed = on_closed,
                                        .said = on_said,
                                        .token_wanted = on_token_wanted,
                                        .distrust = &berth->relay->distrust,
                                        .arg = c};
    c->identity = pool_identity(berth->relay);
    c->session = session_open(loop, &c->identity->session, &owner);
    if (c->session == NULL) {
        identity_unref(c->identity);
        free(c);
        return -1;
    }
    c->next = berth->carriers;
    if (c->next != NULL)
        c->next->prev = c;
    berth->carriers = c;
    metric_add(berth->relay->metrics.connects, 1);
    return 0;
}

/* `c` may be gone then. */
static void quit_idle(struct carrier *c)
{
    set_idle(c, false);
    session_quit(c->session);
}

struct carrier *carrier_idle(struct berth *berth)
{
    while (berth->idle != NULL &&
           (!session_has_room(berth->idle->session) || worn_out(berth->idle)))
        quit_idle(berth->idle);
    return berth->idle;
}

void carriers_quit_idle(struct berth *berth, int64_t before_ms)
{
    for (struct carrier *c = berth->idle, *next; c != NULL; c = next) {
        next = c->next_idle;
        if (c->idle_since_ms <= before_ms || worn_out(c))
            quit_idle(c);
    }
}

void carriers_quit_unused(struct berth *berth)
{
    carriers_quit_idle(berth, INT64_MAX);
    for (struct carrier *c = berth->carriers, *next; c != NULL; c = next) {
        next = c->next;
        if (!c->opened)
            session_abort(c->session);
    }
}

void carriers_abort(struct berth *berth)
{
    for (struct carrier *c = berth->carriers, *next; c != NULL; c = next) {
        next = c->next; /* aborting one frees it, and no other */
        session_abort(c->session);
    }
}
