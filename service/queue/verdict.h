#ifndef POSTERN_QUEUE_VERDICT_H
#define POSTERN_QUEUE_VERDICT_H

/* From what a session reports to what is recorded, and when the rest is tried again. Pure. */

#include <stdbool.h>

#include "queue/delivery.h"
#include "queue/queue.h"

struct verdicts {
    enum recipient_status *status; /* per recipient; RECIPIENT_QUEUED: nothing became of it */
    int64_t *next_ms;              /* per recipient; 0: final, or held */
    size_t n_untried;
};

/* `status` and `next_ms` have room for the delivery's recipients. */
void verdicts_decide(struct delivery *delivery, const struct queue_settings *settings,
                     int64_t now_ms, struct verdicts *verdicts);

#endif
