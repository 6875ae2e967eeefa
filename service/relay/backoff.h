#ifndef POSTERN_RELAY_BACKOFF_H
#define POSTERN_RELAY_BACKOFF_H

/*
 * How long to leave a relay alone that does not want us: pauses from 1 s doubling to 5 min (15 min
 * for refused logins), each ±20 %, then one probe; after a success a slow start. Pure arithmetic:
 * the clock and the dice are arguments.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 5 * 60 * 1000,
    BACKOFF_LOGIN_MAX_MS = 15 * 60 * 1000,
};

struct backoff {
    unsigned n_failures; /* in a row */
    int64_t until_ms;    /* monotonic; no attempt before */
};

/* Returns the pause, in ms. `dice` is any random number. */
int64_t backoff_failed(struct backoff *backoff, int64_t now_ms, bool login, uint32_t dice);
void backoff_succeeded(struct backoff *backoff);
/* A pause that is documented, or was asked for: at least so long, and up to a fifth more. */
int64_t backoff_pause(struct backoff *backoff, int64_t now_ms, int64_t pause_ms, uint32_t dice);
bool backoff_open(const struct backoff *backoff, int64_t now_ms); /* may an attempt be made? */

#endif
