#include "relay/pool.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "relay/connect.h"

enum { TICK_MS = 250 };

/* --- how many connections ----------------------------------------------------------------- */

/* How many connections may be opened right now; under the lock. */
static size_t openable(const struct relay *relay, int64_t now_ms)
{
    if (relay->draining || relay->aborting || !backoff_open(&relay->entry, now_ms) ||
        !backoff_open(&relay->traffic, now_ms))
        return 0;
    if (relay->entry.n_failures > 0) /* one probe, beyond what the relay is known to bear */
        return relay->n_opening == 0 ? 1 : 0;
    return relay->n_connections < relay->limit ? relay->limit - relay->n_connections : 0;
}

static struct berth *emptiest(struct relay *relay)
{
    struct berth *best = &relay->berths[0];
    for (size_t i = 1; i < relay->n_berths; i++)
        if (relay->berths[i].n_connections < best->n_connections)
            best = &relay->berths[i];
    return best;
}

/* Which berths to call, as bits; under the lock. */
static uint64_t plan(struct relay *relay)
{
    int64_t now_ms = clock_mono_ms();
    size_t wanted = relay->ready.n;
    uint64_t wake = 0;
    if (backoff_open(&relay->traffic, now_ms))
        for (size_t i = 0; i < relay->n_berths && wanted > 0; i++)
            if (relay->berths[i].n_idle > 0) {
                wake |= UINT64_C(1) << i;
                wanted -= relay->berths[i].n_idle < wanted ? relay->berths[i].n_idle : wanted;
            }

    /* Those already opening will each take one. */
    wanted -= relay->n_opening < wanted ? relay->n_opening : wanted;
    for (size_t n = openable(relay, now_ms); n > 0 && wanted > 0; n--, wanted--) {
        struct berth *berth = emptiest(relay);
        berth->to_open++;
        berth->n_connections++;
        relay->n_connections++;
        relay->n_opening++;
        wake |= UINT64_C(1) << berth->worker;
    }
    if (wake == 0 && relay->ready.n > 0 && relay->n_connections == 0)
        wake = 1; /* somebody must watch the clock */
    return wake;
}

static void wake_berths(struct relay *relay, uint64_t wake)
{
    for (size_t i = 0; i < relay->n_berths; i++)
        if (wake & UINT64_C(1) << i)
            workers_post(relay->workers, i, &relay->berths[i].job);
}

void pool_plan(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    uint64_t wake = plan(relay);
    pthread_mutex_unlock(&relay->lock);
    wake_berths(relay, wake);
}

static struct delivery *take_ready(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    bool wanted = !relay->draining && backoff_open(&relay->traffic, clock_mono_ms());
    struct delivery *delivery = wanted ? ready_take(&relay->ready) : NULL;
    pthread_mutex_unlock(&relay->lock);
    return delivery;
}

struct delivery *pool_pull(struct relay *relay)
{
    struct delivery *delivery;
    while ((delivery = take_ready(relay)) != NULL) {
        delivery->relay = relay->settings->name;
        delivery->hold_in_doubt = relay->settings->on_in_doubt == 1;
        if (queue_depart(relay->queue, delivery))
            return delivery;
        queue_settle(relay->queue, delivery); /* withdrawn: its verdicts are still UNTRIED */
    }
    return NULL;
}

/* --- what carriers report ----------------------------------------------------------------- */

void pool_idle_changed(struct berth *berth, bool idle)
{
    struct relay *relay = berth->relay;
    pthread_mutex_lock(&relay->lock);
    relay->n_idle += idle ? 1 : (size_t)-1;
    berth->n_idle += idle ? 1 : (size_t)-1;
    /* What arrived between the last pull and now saw nobody idle; nor did the end of it all. */
    bool missed = idle && (relay->draining ||
                           (relay->ready.n > 0 && backoff_open(&relay->traffic, clock_mono_ms())));
    pthread_mutex_unlock(&relay->lock);
    metric_add(relay->metrics.idle, idle ? 1 : -1);
    if (missed)
        workers_post(relay->workers, berth->worker, &berth->job);
}

void pool_opened(struct relay *relay)
{
    size_t max = (size_t)relay->settings->connections.max;
    pthread_mutex_lock(&relay->lock);
    relay->n_opening--;
    relay->tried = true;
    bool was_down = relay->down;
    relay->down = false;
    relay->limit = relay->limit * 2 < max ? relay->limit * 2 : max;
    backoff_succeeded(&relay->entry);
    if (was_down)
        relay->last_error = (struct error){0};
    uint64_t wake = plan(relay);
    pthread_mutex_unlock(&relay->lock);
    metric_add(relay->metrics.open, 1);
    if (was_down)
        log_info("relay up", LOG_STR("relay", relay->settings->name));
    wake_berths(relay, wake);
}

static void log_trouble(const struct relay *relay, enum smtp_step step, const struct error *why,
                        int64_t pause_ms)
{
    char hint[DIAGNOSIS_HINT_SIZE];
    struct diagnosis_context context;
    connect_diagnosis(relay->settings, &context);
    diagnosis_hint(why, &context, hint, sizeof(hint));
    log_warn("relay trouble", LOG_STR("relay", relay->settings->name),
             LOG_STR("step", smtp_step_word(step)), LOG_STR("code", error_word(why->code)),
             LOG_STR("detail", why->detail), LOG_STR("hint", hint[0] != '\0' ? hint : NULL),
             LOG_INT("pause_ms", pause_ms));
}

/* A refusal while others are connected teaches how many the relay bears; else it is down. */
static int64_t entry_failed(struct relay *relay, const struct error *why)
{
    uint32_t dice;
    id_random(&dice, sizeof(dice));
    size_t live = relay->n_connections - relay->n_opening;
    relay->limit = live > 0 ? live : 1;
    relay->down = live == 0;
    relay->last_error = *why;
    relay->last_error_ms = clock_wall_ms();
    return backoff_failed(&relay->entry, clock_mono_ms(), why->code == ERR_AUTH_FAILED, dice);
}

void pool_closed(struct berth *berth, bool opened, bool carried, enum smtp_step step,
                 const struct error *why)
{
    struct relay *relay = berth->relay;
    int64_t pause_ms = 0;
    pthread_mutex_lock(&relay->lock);
    relay->n_connections--;
    berth->n_connections--;
    if (!opened)
        relay->n_opening--;
    relay->tried = true;
    /* One that has carried mail and then ends is the ordinary course of things. */
    bool trouble = !relay->aborting && !relay->draining && why->code != ERR_NONE && !carried;
    if (trouble)
        pause_ms = entry_failed(relay, why);
    uint64_t wake = plan(relay);
    pthread_mutex_unlock(&relay->lock);

    metric_add(opened ? relay->metrics.open : relay->metrics.connect_failures, opened ? -1 : 1);
    if (trouble)
        log_trouble(relay, step, why, pause_ms);
    else if (why->code != ERR_NONE)
        log_debug("connection ended", LOG_STR("relay", relay->settings->name),
                  LOG_STR("step", smtp_step_word(step)), LOG_STR("code", error_word(why->code)),
                  LOG_STR("detail", why->detail));
    wake_berths(relay, wake);
}

void pool_traffic_result(struct relay *relay, bool trouble, const struct reply_record *reply)
{
    struct error why;
    int64_t pause_ms = 0;
    pthread_mutex_lock(&relay->lock);
    if (trouble) {
        uint32_t dice;
        id_random(&dice, sizeof(dice));
        error_set(&why, ERR_THROTTLED, "%d %s %s", reply->code, reply->enhanced, reply->text);
        relay->last_error = why;
        relay->last_error_ms = clock_wall_ms();
        pause_ms = backoff_failed(&relay->traffic, clock_mono_ms(), false, dice);
    } else if (relay->traffic.n_failures > 0 && backoff_open(&relay->traffic, clock_mono_ms())) {
        backoff_succeeded(&relay->traffic);
    }
    pthread_mutex_unlock(&relay->lock);
    if (trouble)
        log_trouble(relay, SMTP_STEP_MAIL, &why, pause_ms);
}

/* --- on the worker's thread --------------------------------------------------------------- */

static void settle_expired(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    struct delivery *expired = ready_take_expired(&relay->ready, clock_wall_ms());
    pthread_mutex_unlock(&relay->lock);
    for (struct delivery *next; expired != NULL; expired = next) {
        next = expired->next;
        expired->next = NULL;
        queue_settle(relay->queue, expired); /* UNTRIED and expired: the queue fails them */
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct berth *berth = tick->data;
    struct relay *relay = berth->relay;
    if (relay->settings->connections.idle_ms > 0) /* 0: no bound */
        carriers_quit_idle(berth, clock_mono_ms() - relay->settings->connections.idle_ms);
    settle_expired(relay);
    pool_plan(relay);
    pthread_mutex_lock(&relay->lock);
    bool more = berth->carriers != NULL || (relay->ready.n > 0 && !relay->draining);
    pthread_mutex_unlock(&relay->lock);
    if (!more) {
        uv_timer_stop(tick);
        berth->ticking = false;
    }
}

static void keep_ticking(struct berth *berth, uv_loop_t *loop)
{
    if (!berth->has_tick) {
        uv_timer_init(loop, &berth->tick);
        berth->tick.data = berth;
        berth->has_tick = true;
    }
    if (!berth->ticking)
        uv_timer_start(&berth->tick, on_tick, TICK_MS, TICK_MS);
    berth->ticking = true;
}

static void stop_berth(struct berth *berth)
{
    carriers_abort(berth);
    if (berth->has_tick && !uv_is_closing((uv_handle_t *)&berth->tick))
        uv_close((uv_handle_t *)&berth->tick, NULL);
}

void berth_tend(struct worker_job *job, uv_loop_t *loop)
{
    struct berth *berth = (struct berth *)job; /* its first member */
    struct relay *relay = berth->relay;
    pthread_mutex_lock(&relay->lock);
    size_t to_open = berth->to_open;
    berth->to_open = 0;
    bool draining = relay->draining, aborting = relay->aborting;
    pthread_mutex_unlock(&relay->lock);

    for (; to_open > 0; to_open--)
        if (carrier_open(berth, loop) < 0) {
            struct error why;
            error_set(&why, ERR_NOMEM, "no memory for a connection");
            pool_closed(berth, false, false, SMTP_STEP_TCP, &why);
        }
    if (aborting) {
        stop_berth(berth);
        return;
    }
    if (draining)
        carriers_quit_idle(berth, INT64_MAX);
    struct delivery *delivery;
    while (berth->idle != NULL && (delivery = pool_pull(relay)) != NULL)
        carrier_carry(berth->idle, delivery);
    keep_ticking(berth, loop);
}
