#ifndef POSTERN_RELAY_RATE_H
#define POSTERN_RELAY_RATE_H

/*
 * How much a relay may be given in how long a time: sliding windows, each cut into slots, so that
 * no stretch of the window's length ever holds more than its limit. Pure arithmetic on `now_ms`.
 * Windows of an hour and more are kept over a restart: what they counted is told anew by
 * rate_remember().
 */

#include <stdint.h>

#include "base/error.h"

struct rate;

struct rate_limit {
    int64_t n, per_ms;
};

/* No limits at all are fine: everything is granted then. ERR_NOMEM. */
int rate_new(const struct rate_limit *limits, size_t n_limits, struct rate **rate_out,
             struct error *err);
void rate_free(struct rate *rate);

/* How many of `wanted` may go now; they count from here on. */
int64_t rate_take(struct rate *rate, int64_t wanted, int64_t now_ms);
/* They did not go after all. */
void rate_give_back(struct rate *rate, int64_t n, int64_t now_ms);
/* When at least one may go; `now_ms` if one may. */
int64_t rate_open_at(const struct rate *rate, int64_t now_ms);
/* `n` went at `then_ms`, before this process began. */
void rate_remember(struct rate *rate, int64_t n, int64_t then_ms, int64_t now_ms);
/* What the relay itself said: at most `n` in `per_ms` from now on; only ever lowers a limit. */
void rate_learn(struct rate *rate, int64_t n, int64_t per_ms, int64_t now_ms);

/* For status: limit `i` of those given to rate_new(), and what its window holds now. */
size_t rate_n_limits(const struct rate *rate);
struct rate_limit rate_limit_at(const struct rate *rate, size_t i);
int64_t rate_used(const struct rate *rate, size_t i, int64_t now_ms);

#endif
