#ifndef POSTERN_RELAY_READY_H
#define POSTERN_RELAY_READY_H

/*
 * The deliveries that sessions pull from. High priority overtakes normal, normal overtakes low;
 * within a priority first in, first out. Nothing starves: of any READY_SHARE pulls in a row at
 * least one goes to each priority that waits all the while. No lock of its own: the relay's.
 */

#include <stddef.h>
#include <stdint.h>

#include "mail/mail.h"

enum { READY_SHARE = 8, READY_PRIORITIES = PRIORITY_LOW + 1 };

struct ready {
    size_t n; /* of all priorities */
    /* private */
    struct ready_lane {
        struct mail *first, **last;
    } lanes[READY_PRIORITIES];
    size_t turn;
    int64_t soonest_ms; /* nothing here expires before; clock_steady_ms() */
    int64_t looked_ms;  /* when all were looked through; clock_steady_ms() */
};

void ready_init(struct ready *ready);
void ready_append(struct ready *ready, struct mail *list);  /* takes the list */
void ready_put_back(struct ready *ready, struct mail *one); /* before all of its priority */
struct mail *ready_take(struct ready *ready);               /* the caller's; NULL: none */
struct mail *ready_take_all(struct ready *ready);           /* in the order of priority */
/*
 * Those that have expired, at most a second late. Costs nothing while none can have: only then is
 * the queue looked through, and not more than once a second.
 */
struct mail *ready_take_expired(struct ready *ready, int64_t now_ms);

#endif
