#ifndef POSTERN_RELAY_SLOT_H
#define POSTERN_RELAY_SLOT_H

/* What a relay has on one worker, and what that worker does for it. */

#include "relay/state.h"

/* The `run` of a slot's job: opens what was planned, gives mail to who is idle, watches the clock
 * while there is something to watch; after relay_drain() and relay_abort() ends what is to end. */
void slot_tend(struct worker_job *job, uv_loop_t *loop);

#endif
