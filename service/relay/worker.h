#ifndef POSTERN_RELAY_WORKER_H
#define POSTERN_RELAY_WORKER_H

/*
 * The threads that carry mail: each a libuv loop with its own SMTP sessions, of which nothing is
 * shared. Others reach a worker only by workers_post(): a function run soon on its loop.
 */

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/error.h"

struct workers;

/* What to run on a worker's loop; embedded in something of the caller's, which outlives the
 * workers. Posting one that still waits does nothing; once it runs it may be posted again. */
struct worker_job {
    struct worker_job *next;
    void (*run)(struct worker_job *job, uv_loop_t *loop);
    bool posted;
};

int workers_start(size_t n, struct workers **workers_out, struct error *err);
size_t workers_count(const struct workers *workers);
void workers_post(struct workers *workers, size_t worker, struct worker_job *job); /* any thread */

/* Waits for the threads to end, which they do when nothing is open on their loops any more: every
 * session and timer must have been told to close. No more posts. NULL is fine. */
void workers_stop(struct workers *workers);

#endif
