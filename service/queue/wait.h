#ifndef POSTERN_QUEUE_WAIT_H
#define POSTERN_QUEUE_WAIT_H

/* Clients that wait for an outcome, by message. The queue's thread alone uses the table; a claim is
 * shared with whoever carries the message. */

#include <stdatomic.h>
#include <stdint.h>

#include "base/id.h"
#include "queue/queue.h"

enum claim_state { CLAIM_WAITING, CLAIM_DEPARTED, CLAIM_WITHDRAWN };

/* Decides, once, between sending a message and withdrawing it. Counted: the waiter's and the
 * delivery's. */
struct claim {
    atomic_uint refs;
    atomic_int state;
};

struct claim *claim_new(void);
struct claim *claim_ref(struct claim *claim);
void claim_unref(struct claim *claim); /* NULL is fine */
bool claim_move(struct claim *claim, enum claim_state from, enum claim_state to);

struct waiter {
    struct waiter *next;
    int64_t seq;
    char id[ID_SIZE];
    int64_t deadline_ms;       /* monotonic */
    bool overdue;              /* the wait is over, but a session has the message */
    struct claim *claim;       /* NULL: the store is durable, nothing is withdrawn */
    const char *api_key, *key; /* of the idempotency key to forget; NULL: none. Owned */
    queue_answer_fn *answer;
    void *arg;
};

struct waiters {
    struct waiter *buckets[1024];
    size_t n;
    int64_t next_deadline_ms; /* no waiter is due before */
};

void waiters_init(struct waiters *waiters);
void waiters_add(struct waiters *waiters, struct waiter *waiter);
struct waiter *waiters_find(struct waiters *waiters, int64_t seq);
struct waiter *waiters_take(struct waiters *waiters, int64_t seq); /* the caller's; NULL: none */
/* Those whose deadline has passed and that are not `overdue` yet, a list; they leave the table. */
struct waiter *waiters_take_due(struct waiters *waiters, int64_t now_ms);
void waiter_free(struct waiter *waiter);

#endif
