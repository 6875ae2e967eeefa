#ifndef POSTERN_QUEUE_VERDICT_H
#define POSTERN_QUEUE_VERDICT_H

/* From what a session reports to what is recorded, and when the rest is tried again. */

#include <stddef.h>
#include <stdint.h>

#include "mail/mail.h"
#include "queue/queue.h"

/* Nothing became of any recipient, and none has expired at `now_ms`. */
bool verdicts_untouched(const struct mail *delivery, int64_t now_ms);

/*
 * `status` and `next_ms` have a place for each recipient. RECIPIENT_QUEUED: nothing became of it.
 * `next_ms` is by clock_steady_ms(); 0: final, held, or at once. Counts into the delivery's
 * `n_ended` and `n_sent`, and gives those that expired untried a reply which says so.
 */
void verdicts_decide(struct mail *delivery, const struct queue_settings *settings, int64_t now_ms,
                     enum recipient_status *status, int64_t *next_ms);

#endif
