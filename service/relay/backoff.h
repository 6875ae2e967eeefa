#ifndef POSTERN_RELAY_BACKOFF_H
#define POSTERN_RELAY_BACKOFF_H

/*
 * How long to leave a relay alone that does not want us: pauses from 1 s doubling to 5 min (15 min
 * for refused logins), each ±20 %, then one probe; after a success a slow start. Pure arithmetic:
 * the clock and the dice are arguments.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 5 * 60 * 1000,
    BACKOFF_LOGIN_MAX_MS = 15 * 60 * 1000,
};

struct backoff {
    unsigned n_failures; /* in a row; above 0: only a probe may go */
    int64_t until_ms;    /* monotonic; no attempt before */
};

/*
 * Returns the pause that is left, in ms. `dice` is any random number. A failure during a pause adds
 * nothing to it: it is of an attempt from before, and ten connections that end at once are one
 * failure.
 */
int64_t backoff_failed(struct backoff *backoff, int64_t now_ms, bool login, uint32_t dice);
/* A pause that the relay or its documents name: at least so long, then one probe. */
void backoff_pause(struct backoff *backoff, int64_t now_ms, int64_t pause_ms);
void backoff_succeeded(struct backoff *backoff);
bool backoff_open(const struct backoff *backoff, int64_t now_ms); /* may an attempt be made? */

/*
 * Slow start: how many connections to have at most, when `n_open` have got through: twice as many
 * as `limit` once that many have; `max` is the most ever wanted. After an outage the limit is 1, so
 * the relay sees 1, 2, 4, ... of us.
 */
size_t backoff_widen(size_t limit, size_t n_open, size_t max);

#endif
