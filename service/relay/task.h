#ifndef POSTERN_RELAY_TASK_H
#define POSTERN_RELAY_TASK_H

/* Others' work on one of a relay's loops: a verify. The drain waits for it. */

#include "base/error.h"
#include "relay/worker.h"

struct relay;
struct relay_slot;

struct relay_task { /* embedded in something of the caller's, which owns it */
    void (*begin)(struct relay_task *task, uv_loop_t *loop);
    /* The relay is aborted: come to an end soon. May be called instead of `begin`. */
    void (*abort)(struct relay_task *task);
    struct relay *relay; /* this and the rest are the relay's own */
    struct worker_job job;
    struct relay_task *next;
};

/* One of the two functions is called soon, on the loop of the relay's first slot; relay_task_end()
 * must follow. -1, with nothing called: ERR_DRAINING. Any thread. */
int relay_task_post(struct relay *relay, struct relay_task *task, struct error *err);
/* On that loop. The task is the caller's again, the relay must not be touched any more. */
void relay_task_end(struct relay_task *task);

void relay_tasks_abort(struct relay_slot *slot); /* the relay's own, on the slot's loop */

#endif
