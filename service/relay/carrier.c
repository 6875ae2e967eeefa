#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/outcome.h"
#include "relay/pool.h"

/* One connection, and the delivery it carries. Lives from carrier_open() to on_closed(). */
struct carrier {
    struct berth *berth;
    struct session *session;
    struct carrier *next, *prev;           /* of the berth's carriers */
    struct carrier *next_idle, *prev_idle; /* of the idle ones */
    bool opened, idle;
    int64_t opened_ms, idle_since_ms, departed_us, begun_us;
    int64_t n_carried;         /* transactions the server answered to the end */
    struct delivery *delivery; /* owned while a transaction is under way */
    const char **addresses;    /* of the envelope; grown as needed */
    size_t addresses_size;
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

/* --- a transaction ------------------------------------------------------------------------ */

static int carry(struct carrier *c, struct delivery *delivery)
{
    struct error err;
    if (delivery->n_recipients > c->addresses_size) {
        const char **addresses =
            realloc(c->addresses, delivery->n_recipients * sizeof(*c->addresses));
        if (addresses == NULL)
            return -1;
        c->addresses = addresses;
        c->addresses_size = delivery->n_recipients;
    }
    for (size_t i = 0; i < delivery->n_recipients; i++)
        c->addresses[i] = delivery->recipients[i].address;

    const struct smtp_envelope envelope = {
        .sender = delivery->sender,
        .recipients = c->addresses,
        .n_recipients = delivery->n_recipients,
        .content = delivery->content->data,
        .content_len = delivery->content->len,
        .smtputf8 = delivery->smtputf8,
        .require_tls = delivery->wishes.require_tls,
        .dsn = {.notify = delivery->wishes.dsn_notify,
                .ret = delivery->wishes.dsn_ret,
                .envid = delivery->wishes.dsn_envid},
        .owner = c,
    };
    c->delivery = delivery;
    c->begun_us = clock_mono_us();
    if (session_carry(c->session, &envelope, &err) == 0)
        return 0; /* `c` may be gone by now */
    c->delivery = NULL;
    return -1;
}

void carrier_carry(struct carrier *c, struct delivery *delivery)
{
    struct queue *queue = c->berth->relay->queue;
    set_idle(c, false);
    metric_add(c->berth->relay->metrics.attempts, 1);
    if (carry(c, delivery) < 0) {
        queue_settle(queue, delivery); /* no memory: its verdicts are still UNTRIED */
        set_idle(c, true);
    }
}

static void count_reply(struct relay *relay, const struct reply_record *reply)
{
    int class = reply->code / 100;
    if (class >= 2 && class <= 5)
        metric_add(relay->metrics.replies[class], 1);
}

static void log_outcome(const struct relay *relay, const struct delivery *delivery,
                        const struct delivery_recipient *recipient, enum smtp_step step)
{
    static const struct {
        const char *msg;
        enum log_level level;
    } of_verdict[] = {
        [DELIVERY_UNTRIED] = {"recipient again", LOG_LEVEL_DEBUG},
        [DELIVERY_SENT] = {"recipient sent", LOG_LEVEL_INFO},
        [DELIVERY_DEFERRED] = {"recipient deferred", LOG_LEVEL_INFO},
        [DELIVERY_FAILED] = {"recipient failed", LOG_LEVEL_WARN},
        [DELIVERY_IN_DOUBT] = {"recipient in doubt", LOG_LEVEL_WARN},
    };
    const struct reply_record *reply = &recipient->reply;
    char id[4 + ID_SIZE], text[sizeof(reply->text) + 24];
    snprintf(id, sizeof(id), "msg_%s", delivery->id);
    snprintf(text, sizeof(text), "%d %s%s%s", reply->code, reply->enhanced,
             reply->enhanced[0] != '\0' ? " " : "", reply->text);
    LOG_AT(of_verdict[recipient->verdict].level, of_verdict[recipient->verdict].msg,
           LOG_STR("message", id), LOG_STR("relay", relay->settings->name),
           LOG_STR("recipient", recipient->address), LOG_STR("step", smtp_step_word(step)),
           LOG_STR("reply", reply->code != 0 ? text : NULL));
}

static struct metric *counter_of(const struct relay_metrics *metrics, enum delivery_verdict verdict)
{
    switch (verdict) {
    case DELIVERY_UNTRIED:
        return metrics->untried;
    case DELIVERY_SENT:
        return metrics->sent;
    case DELIVERY_DEFERRED:
        return metrics->deferred;
    case DELIVERY_FAILED:
        return metrics->failed;
    case DELIVERY_IN_DOUBT:
        return metrics->in_doubt;
    }
    return NULL;
}

static bool any_accepted(const struct smtp_result *result)
{
    for (size_t i = 0; i < result->n_recipients; i++)
        if (result->recipients[i].step > SMTP_STEP_RCPT)
            return true;
    return false;
}

/* Fill in the verdicts; returns the reply that is of the relay rather than the message, or NULL. */
static const struct reply_record *judge(struct relay *relay, struct delivery *delivery,
                                        const struct smtp_result *result)
{
    const struct reply_record *trouble = NULL;
    bool some_accepted = any_accepted(result);
    for (size_t i = 0; i < result->n_recipients; i++) {
        struct delivery_recipient *recipient = &delivery->recipients[i];
        struct outcome outcome = outcome_of(&result->recipients[i], result, some_accepted);
        recipient->verdict = outcome.verdict;
        recipient->reply = result->recipients[i].reply;
        if (outcome.relay_trouble)
            trouble = &recipient->reply;
        count_reply(relay, &recipient->reply);
        metric_add(counter_of(&relay->metrics, outcome.verdict), 1);
        if (outcome.verdict == DELIVERY_SENT)
            metric_observe(relay->metrics.latency_seconds,
                           (double)(clock_wall_ms() - delivery->created_ms) / 1000);
        log_outcome(relay, delivery, recipient, result->recipients[i].step);
    }
    return trouble;
}

/* --- what the session says ---------------------------------------------------------------- */

static void on_result(void *arg, struct session *session, const struct smtp_result *result)
{
    struct carrier *c = arg;
    struct relay *relay = c->berth->relay;
    struct delivery *delivery = TAKE(c->delivery);
    const struct reply_record *trouble = judge(relay, delivery, result);
    if (!result->untouched)
        metric_observe(relay->metrics.transaction_seconds,
                       (double)(clock_mono_us() - c->begun_us) / 1e6);
    if (!result->untouched && result->recipients[0].reply.code != 0)
        c->n_carried++;
    pool_traffic_result(relay, trouble != NULL, trouble);
    if (trouble != NULL)
        session_quit(session);
    queue_settle(relay->queue, delivery);
}

static bool worn_out(const struct carrier *c)
{
    const struct config_relay *settings = c->berth->relay->settings;
    return (settings->connections.max_messages > 0 &&
            c->n_carried >= settings->connections.max_messages) ||
           (settings->connections.lifetime_ms > 0 &&
            clock_mono_ms() - c->opened_ms >= settings->connections.lifetime_ms);
}

static void greet_pool(struct carrier *c)
{
    c->opened = true;
    metric_observe(c->berth->relay->metrics.login_seconds,
                   (double)(clock_mono_us() - c->departed_us) / 1e6);
    pool_opened(c->berth->relay);
}

static void on_ready(void *arg, struct session *session)
{
    struct carrier *c = arg;
    bool spent = c->opened && worn_out(c);
    struct delivery *delivery = spent ? NULL : pool_pull(c->berth->relay);
    if (!c->opened) /* after the pull: the pool must not open another for what this one carries */
        greet_pool(c);
    set_idle(c, delivery == NULL && !spent);
    if (spent)
        session_quit(session);
    else if (delivery != NULL)
        carrier_carry(c, delivery);
}

static void on_closed(void *arg, struct session *session, enum smtp_step step,
                      const struct error *why)
{
    struct carrier *c = arg;
    set_idle(c, false);
    unlink_carrier(c);
    pool_closed(c->berth, c->opened, c->n_carried > 0, step, why);
    free(c->addresses);
    free(c);
}

int carrier_open(struct berth *berth, uv_loop_t *loop)
{
    struct carrier *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -1;
    c->berth = berth;
    c->opened_ms = clock_mono_ms();
    c->departed_us = clock_mono_us();
    const struct session_owner owner = {
        .ready = on_ready, .result = on_result, .closed = on_closed, .arg = c};
    c->session = session_open(loop, &berth->relay->session, &owner);
    if (c->session == NULL) {
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

void carriers_quit_idle(struct berth *berth, int64_t before_ms)
{
    for (struct carrier *c = berth->idle, *next; c != NULL; c = next) {
        next = c->next_idle;
        if (c->idle_since_ms > before_ms)
            continue;
        set_idle(c, false);
        session_quit(c->session);
    }
}

void carriers_abort(struct berth *berth)
{
    for (struct carrier *c = berth->carriers, *next; c != NULL; c = next) {
        next = c->next; /* aborting one frees it, and no other */
        session_abort(c->session);
    }
}
