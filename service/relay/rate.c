#include "relay/rate.h"

#include <stdbool.h>
#include <stdlib.h>

/*
 * A window of n slots moves over the time line by whole slots. What went in slot k may have gone at
 * its very end, so it counts until slot k + n is over: n + 1 slots are looked at, the current one
 * among them. Any stretch of the window's length touches no more than that, which is why it never
 * holds more than the limit.
 */
enum { SLOTS_MAX = 60, RING = SLOTS_MAX + 1 };

struct window {
    struct rate_limit limit;
    int64_t slot_ms, n_slots;
    int64_t newest;       /* number of the newest slot: none behind it holds anything */
    int64_t counts[RING]; /* of the RING slots up to the newest, by their number modulo RING */
};

struct rate {
    size_t n_windows, n_max;
    struct window windows[];
};

/* --- a window ----------------------------------------------------------------------------- */

static void open_window(struct window *w, struct rate_limit limit)
{
    int64_t slot_ms = (limit.per_ms + SLOTS_MAX - 1) / SLOTS_MAX;
    *w = (struct window){
        .limit = limit,
        .slot_ms = slot_ms,
        .n_slots = (limit.per_ms + slot_ms - 1) / slot_ms,
    };
}

/* Rounded down, also before the clock's zero. */
static int64_t slot_of(const struct window *w, int64_t at_ms)
{
    return at_ms / w->slot_ms - (at_ms % w->slot_ms < 0);
}

static size_t place(int64_t slot)
{
    return (size_t)((slot % RING + RING) % RING);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void advance(struct window *w, int64_t now_ms)
{
    int64_t slot = slot_of(w, now_ms);
    for (int64_t k = later(w->newest, slot - RING) + 1; k <= slot; k++)
        w->counts[place(k)] = 0;
    w->newest = later(w->newest, slot);
}

static int64_t oldest(const struct window *w, int64_t now_ms)
{
    return later(w->newest, slot_of(w, now_ms)) - w->n_slots;
}

static int64_t used(const struct window *w, int64_t now_ms)
{
    int64_t sum = 0;
    for (int64_t k = oldest(w, now_ms); k <= w->newest; k++)
        sum += w->counts[place(k)];
    return sum;
}

/* Does what went at `at_ms` still stand in the ring? */
static bool holds(const struct window *w, int64_t at_ms)
{
    int64_t slot = slot_of(w, at_ms);
    return slot <= w->newest && slot > w->newest - RING;
}

static int64_t room(const struct window *w, int64_t now_ms)
{
    return later(w->limit.n - used(w, now_ms), 0);
}

static int64_t open_at(const struct window *w, int64_t now_ms)
{
    int64_t over = used(w, now_ms) - w->limit.n; /* below 0: one may go */
    int64_t next = oldest(w, now_ms);            /* the slot whose count ends next */
    if (over < 0)
        return now_ms;
    while (over >= 0)
        over -= w->counts[place(next++)];
    return (next + w->n_slots) * w->slot_ms;
}

/* Take up to `n` off the slot of `at_ms`; returns how many that were. */
static int64_t lower(struct window *w, int64_t at_ms, int64_t n)
{
    if (!holds(w, at_ms))
        return 0; /* gone by itself */
    int64_t *count = &w->counts[place(slot_of(w, at_ms))];
    int64_t lowered = *count < n ? *count : n;
    *count -= lowered;
    return lowered;
}

/* --- all of them -------------------------------------------------------------------------- */

int rate_new(const struct rate_limit *limits, size_t n_limits, struct rate **rate_out,
             struct error *err)
{
    size_t n_max = n_limits + RATE_LEARNED_MAX;
    struct rate *rate = calloc(1, sizeof(*rate) + n_max * sizeof(rate->windows[0]));
    if (rate == NULL)
        return error_set(err, ERR_NOMEM, "%zu rates", n_limits);
    rate->n_max = n_max;
    rate->n_windows = n_limits;
    for (size_t i = 0; i < n_limits; i++)
        open_window(&rate->windows[i], limits[i]);
    *rate_out = rate;
    return 0;
}

void rate_free(struct rate *rate)
{
    free(rate);
}

int64_t rate_take(struct rate *rate, int64_t wanted, int64_t now_ms)
{
    int64_t granted = wanted;
    for (size_t i = 0; i < rate->n_windows; i++) {
        int64_t here = room(&rate->windows[i], now_ms);
        granted = here < granted ? here : granted;
    }
    for (size_t i = 0; i < rate->n_windows; i++) {
        struct window *w = &rate->windows[i];
        advance(w, now_ms);
        w->counts[place(w->newest)] += granted;
    }
    return granted;
}

/* Of the slot before first: there are the `n` if `taken_ms` is late; and if they are not, what is
 * left counts a slot longer than it must, never shorter. */
void rate_give_back(struct rate *rate, int64_t n, int64_t taken_ms)
{
    for (size_t i = 0; i < rate->n_windows; i++) {
        struct window *w = &rate->windows[i];
        int64_t before = lower(w, taken_ms - w->slot_ms, n);
        lower(w, taken_ms, n - before);
    }
}

int64_t rate_open_at(const struct rate *rate, int64_t now_ms)
{
    int64_t at_ms = now_ms;
    for (size_t i = 0; i < rate->n_windows; i++)
        at_ms = later(at_ms, open_at(&rate->windows[i], now_ms));
    return at_ms;
}

void rate_remember(struct rate *rate, int64_t n, int64_t then_ms, int64_t now_ms)
{
    for (size_t i = 0; i < rate->n_windows; i++) {
        struct window *w = &rate->windows[i];
        advance(w, now_ms);
        int64_t at_ms =
            then_ms < now_ms ? then_ms : now_ms; /* what a clock said may be in the future */
        if (holds(w, at_ms))
            w->counts[place(slot_of(w, at_ms))] += n;
    }
}

/* NULL: there is none, and no place for one. */
static struct window *window_of(struct rate *rate, struct rate_limit limit)
{
    for (size_t i = 0; i < rate->n_windows; i++)
        if (rate->windows[i].limit.per_ms == limit.per_ms)
            return &rate->windows[i];
    if (rate->n_windows == rate->n_max)
        return NULL;
    struct window *w = &rate->windows[rate->n_windows++];
    open_window(w, limit);
    return w;
}

void rate_learn(struct rate *rate, int64_t n, int64_t per_ms, int64_t now_ms)
{
    struct window *w = window_of(rate, (struct rate_limit){later(n, 1), per_ms});
    if (w == NULL)
        return;
    advance(w, now_ms);
    if (w->limit.n > later(n, 1))
        w->limit.n = later(n, 1);
    w->counts[place(w->newest)] += room(w, now_ms); /* it has just said that this is full */
}

size_t rate_n_limits(const struct rate *rate)
{
    return rate->n_windows;
}

struct rate_limit rate_limit_at(const struct rate *rate, size_t i)
{
    return rate->windows[i].limit;
}

int64_t rate_used(const struct rate *rate, size_t i, int64_t now_ms)
{
    return used(&rate->windows[i], now_ms);
}
