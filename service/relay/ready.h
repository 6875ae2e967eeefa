#ifndef POSTERN_RELAY_READY_H
#define POSTERN_RELAY_READY_H

/* The deliveries that sessions pull from, first in, first out. No lock of its own: the relay's. */

#include <stddef.h>
#include <stdint.h>

#include "queue/delivery.h"

struct ready {
    struct delivery *first, **last;
    size_t n;
};

void ready_init(struct ready *ready);
void ready_append(struct ready *ready, struct delivery *list); /* takes the list */
struct delivery *ready_take(struct ready *ready);              /* the caller's; NULL: none */
struct delivery *ready_take_all(struct ready *ready);
struct delivery *ready_take_expired(struct ready *ready, int64_t wall_ms);

#endif
