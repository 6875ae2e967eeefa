#ifndef POSTERN_QUEUE_WAIT_H
#define POSTERN_QUEUE_WAIT_H

/* Submissions whose clients wait for the outcome, by message. Owns them; of the queue's thread
 * alone. Nothing is allocated: they are chained through `next`. */

#include <stddef.h>
#include <stdint.h>

#include "queue/submission.h"

enum { WAIT_BUCKETS = 1024 };

struct waiters {
    struct submission *buckets[WAIT_BUCKETS];
    size_t n;
    int64_t next_deadline_ms; /* monotonic; no waiter is due before. INT64_MAX: none at all */
};

void waiters_init(struct waiters *waiters);
/* Takes it; by its intake's seq and deadline. */
void waiters_add(struct waiters *waiters, struct submission *submission);
struct submission *waiters_find(const struct waiters *waiters, int64_t seq); /* NULL: none */
struct submission *waiters_take(struct waiters *waiters, int64_t seq); /* the caller's, or NULL */
/* Those whose deadline has passed and that are not `overdue` yet: a list, the caller's. */
struct submission *waiters_take_due(struct waiters *waiters, int64_t now_ms);
struct submission *waiters_take_all(struct waiters *waiters);

#endif
