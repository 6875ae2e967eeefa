#include "relay/availability.h"

#include <assert.h>

#include "base/clock.h"

enum {
    PROBING_MS = 3 * 1000,        /* who has not let us in by then keeps us waiting */
    RATE_PATIENCE_MS = 10 * 1000, /* mail waits so long for its turn, rather than go elsewhere */
};

bool availability_open(const struct relay *relay, int64_t now_ms)
{
    assert(lock_held_by_me(&relay->lock));
    return !relay->paused && !relay->draining && !relay->aborting &&
           backoff_open(&relay->traffic, now_ms) &&
           rate_open_at(relay->messages, now_ms) <= now_ms &&
           rate_open_at(relay->recipients, now_ms) <= now_ms;
}

bool availability_good(const struct relay *relay, int64_t now_ms)
{
    assert(lock_held_by_me(&relay->lock));
    assert(relay->n_opening <= relay->n_connections);
    if (relay->paused || relay->draining || relay->down || !backoff_open(&relay->traffic, now_ms))
        return false;
    bool inside = relay->n_connections > relay->n_opening;
    if (!inside && !backoff_open(&relay->entry, now_ms))
        return false;
    if (!inside && relay->probing_ms > 0 && now_ms - relay->probing_ms > PROBING_MS)
        return false;
    return rate_open_at(relay->messages, now_ms) <= now_ms + RATE_PATIENCE_MS &&
           rate_open_at(relay->recipients, now_ms) <= now_ms + RATE_PATIENCE_MS;
}

void availability_announce(struct relay *relay)
{
    assert(!lock_held_by_me(&relay->lock));
    lock_take(&relay->lock);
    bool is_available = availability_good(relay, clock_mono_ms());
    bool changed = is_available != relay->was_available;
    relay->was_available = is_available;
    relay->wanted &= !is_available;
    lock_drop(&relay->lock);
    if (changed)
        relay->around.changed(relay->around.arg);
}
