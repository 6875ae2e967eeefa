#ifndef POSTERN_RELAY_WORKER_H
#define POSTERN_RELAY_WORKER_H

/*
 * The threads that carry mail: each a libuv loop with its own SMTP sessions, of which nothing is
 * shared. Others reach a worker only by workers_run(): a function run soon on its loop.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct workers;

/* What to run on a worker's loop; embedded in something of the caller's. May be posted again once
 * it has begun to run; posting one that still waits does nothing. */
struct worker_job {
    struct worker_job *next;
    void (*run)(struct worker_job *job, uv_loop_t *loop);
    bool posted;
};

int workers_start(size_t n, struct workers **workers_out, struct error *err);
size_t workers_count(const struct workers *workers);
void workers_post(struct workers *workers, size_t worker, struct worker_job *job); /* any thread */

/* Ends the loops: each `closing` function given to workers_on_stop has run on its loop, open
 * sessions have been closed and their deliveries settled. Blocks until the threads are gone. */
void workers_stop(struct workers *workers);
void workers_free(struct workers *workers);

#endif
