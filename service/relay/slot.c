#include "relay/slot.h"

#include <assert.h>

#include "base/clock.h"
#include "relay/availability.h"
#include "relay/breaker.h"
#include "relay/connection.h"
#include "relay/pool.h"
#include "relay/task.h"

enum {
    TICK_MS = 250,
    CAP_RAISE_MS = 60 * 1000, /* a cap that was learned is tried again by one, that often */
};

/* Is there still something that only the clock will tell? */
static bool has_to_watch(const struct relay_slot *slot)
{
    const struct relay *relay = slot->relay;
    assert(lock_held_by_me(&relay->lock));
    bool hoped_for = relay->wanted && !relay->paused; /* whoever resumes it posts the job */
    bool waits = relay->ready.n > 0 || hoped_for ||
                 relay->was_available != availability_good(relay, clock_mono_ms());
    return slot->connections != NULL || slot->explaining != NULL ||
           (waits && !relay->draining && !relay->aborting);
}

static void on_tick(uv_timer_t *tick)
{
    struct relay_slot *slot = tick->data;
    struct relay *relay = slot->relay;
    int64_t now_ms = clock_mono_ms();
    int64_t idle_ms = relay->settings->connections.idle_ms; /* 0: no bound */
    assert(slot->ticking);
    connections_quit_idle(slot, idle_ms > 0 ? now_ms - idle_ms : INT64_MIN);
    pool_renew_identity(relay);

    lock_take(&relay->lock);
    struct mail *expired = ready_take_expired(&relay->ready, clock_steady_ms());
    if (relay->cap < (size_t)relay->settings->connections.max &&
        now_ms - relay->cap_ms >= CAP_RAISE_MS) {
        relay->cap++;
        relay->cap_ms = now_ms;
    }
    lock_drop(&relay->lock);
    pool_give_back(relay, expired);

    availability_announce(relay);
    breaker_look_for_token(relay);
    breaker_explain(slot, tick->loop);
    pool_plan(relay);
    lock_take(&relay->lock);
    bool more = has_to_watch(slot);
    lock_drop(&relay->lock);
    if (!more) {
        uv_timer_stop(tick);
        slot->ticking = false;
    }
}

static void keep_ticking(struct relay_slot *slot, uv_loop_t *loop)
{
    if (!slot->has_tick) {
        uv_timer_init(loop, &slot->tick);
        slot->tick.data = slot;
        slot->has_tick = true;
    }
    if (!slot->ticking)
        uv_timer_start(&slot->tick, on_tick, TICK_MS, TICK_MS);
    slot->ticking = true;
}

static void stop(struct relay_slot *slot)
{
    connections_abort(slot);
    relay_tasks_abort(slot);
    if (slot->explaining != NULL)
        slot->relay->around.explainer->abort(slot->explaining);
    if (slot->has_tick && !uv_is_closing((uv_handle_t *)&slot->tick))
        uv_close((uv_handle_t *)&slot->tick, NULL);
}

void slot_tend(struct worker_job *job, uv_loop_t *loop)
{
    struct relay_slot *slot = (struct relay_slot *)job; /* its first member */
    struct relay *relay = slot->relay;
    lock_take(&relay->lock);
    size_t to_open = slot->to_open;
    slot->to_open = 0;
    bool draining = relay->draining, aborting = relay->aborting;
    lock_drop(&relay->lock);

    for (; to_open > 0; to_open--)
        if (connection_open(slot, loop) < 0) {
            struct error why;
            error_set(&why, ERR_NOMEM, "no memory for a connection");
            pool_closed(slot, &(struct pool_ending){.step = SMTP_STEP_TCP, .why = &why});
        }
    if (aborting) {
        stop(slot);
        return;
    }
    if (draining)
        connections_quit_unused(slot);
    struct connection *connection;
    struct mail *delivery;
    while ((connection = connection_idle(slot)) != NULL && (delivery = pool_pull(relay, 0)) != NULL)
        connection_carry(connection, delivery);
    keep_ticking(slot, loop);
}
