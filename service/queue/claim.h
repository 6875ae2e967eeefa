#ifndef POSTERN_QUEUE_CLAIM_H
#define POSTERN_QUEUE_CLAIM_H

/*
 * Decides, once, between sending a message and withdrawing it: a session moves it from waiting to
 * departed before an octet goes out, the queue from waiting to withdrawn when the client's wait is
 * over. Counted: the waiting submission's and the delivery's. Any thread, no locks.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "base/cleanup.h"

enum claim_state { CLAIM_WAITING, CLAIM_DEPARTED, CLAIM_WITHDRAWN };

struct claim {
    atomic_uint refs;
    atomic_int state;
};

struct claim *claim_new(void); /* NULL without memory */
struct claim *claim_ref(struct claim *claim);
void claim_unref(struct claim *claim); /* NULL is fine */

/* false: it was not in state `from`. */
bool claim_move(struct claim *claim, enum claim_state from, enum claim_state to);
bool claim_is_withdrawn(const struct claim *claim); /* NULL never is */

#endif
