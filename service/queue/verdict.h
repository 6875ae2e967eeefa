#ifndef POSTERN_QUEUE_VERDICT_H
#define POSTERN_QUEUE_VERDICT_H

/* From what a session reports to what is recorded, and when the rest is tried again. */

#include <stddef.h>
#include <stdint.h>

#include "queue/delivery.h"
#include "queue/queue.h"

/* Zero-initialised is empty; the arrays grow with the widest delivery seen. */
struct verdicts {
    enum recipient_status *status; /* per recipient; RECIPIENT_QUEUED: nothing became of it */
    int64_t *next_ms;              /* per recipient, wall clock; 0: final, held, or at once */
    size_t size;
};

int verdicts_reserve(struct verdicts *verdicts, size_t n_recipients, struct error *err);
void verdicts_clear(struct verdicts *verdicts);

/* Nothing became of any recipient, and none has expired at `now_ms`. */
bool verdicts_untouched(const struct delivery *delivery, int64_t now_ms);

/*
 * Room must have been reserved. Counts into the delivery's `n_ended` and `n_sent`, and gives those
 * that expired untried a reply which says so.
 */
void verdicts_decide(struct delivery *delivery, const struct queue_settings *settings,
                     int64_t now_ms, struct verdicts *verdicts);

#endif
