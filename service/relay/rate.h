#ifndef POSTERN_RELAY_RATE_H
#define POSTERN_RELAY_RATE_H

/*
 * How much a relay may be given in how long a time: sliding windows, each cut into slots, so that
 * no stretch of the window's length ever holds more than its limit. The price of slots: what went
 * counts for up to a sixtieth of the window longer than it must. Pure arithmetic on `now_ms`, which
 * is of one clock and does not go back; then_ms and taken_ms are of the same. Windows of an hour
 * and more are kept over a restart: what they counted is told anew by rate_remember().
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct rate;

struct rate_limit {
    int64_t n, per_ms; /* both at least 1 */
};

/* No limits at all are fine: everything is granted then. ERR_NOMEM. */
int rate_new(const struct rate_limit *limits, size_t n_limits, struct rate **rate_out,
             struct error *err);
void rate_free(struct rate *rate); /* NULL is fine */
DEFINE_CLEANUP(struct rate *, rate_free)

/* How many of `wanted` may go now; they count from here on. */
int64_t rate_take(struct rate *rate, int64_t wanted, int64_t now_ms);
/* `n` of those that rate_take() granted at `taken_ms` did not go after all. It may be late by a
 * slot, but not early. */
void rate_give_back(struct rate *rate, int64_t n, int64_t taken_ms);
/* When at least one may go; `now_ms` if one may. */
int64_t rate_open_at(const struct rate *rate, int64_t now_ms);
/* `n` went at `then_ms`, before this process began (so it may be negative on its clock). */
void rate_remember(struct rate *rate, int64_t n, int64_t then_ms, int64_t now_ms);
/*
 * The relay itself said that `n` in `per_ms` were exceeded: no more than that from now on, and
 * nothing before `per_ms` are over. Only ever lowers a limit. A relay teaches one or two lengths
 * (RATE_LEARNED_MAX); of further ones it keeps no window.
 */
void rate_learn(struct rate *rate, int64_t n, int64_t per_ms, int64_t now_ms);

enum { RATE_LEARNED_MAX = 2 };

/* For status: the limits given to rate_new() in their order, then learned ones; and what the
 * window of each holds now. */
size_t rate_n_limits(const struct rate *rate);
struct rate_limit rate_limit_at(const struct rate *rate, size_t i);
int64_t rate_used(const struct rate *rate, size_t i, int64_t now_ms);

#endif
