#ifndef POSTERN_BASE_BACKGROUND_H
#define POSTERN_BASE_BACKGROUND_H

/*
 * One thread for work that may wait long, one job behind the other, so that whoever wants it done
 * need not wait. The end does not wait for it either: what has not begun by then is dropped, and
 * the one that is under way is left to itself.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct background_job { /* embedded in something of the caller's that can be freed on any thread */
    struct background_job *next; /* the background's */
    /* One of the two is called, once. */
    void (*run)(struct background_job *job);  /* on its thread */
    void (*drop)(struct background_job *job); /* it will never run */
};

struct background;

/* The thread is started with the first job; `name` is a literal, as for thread_start(). At most
 * `max` jobs wait. NULL: no memory. */
struct background *background_new(const char *name, size_t max);
/* Any thread. -1, with nothing called: too many wait or no thread is to be had (ERR_THROTTLED), or
 * it has ended (ERR_DRAINING). */
int background_post(struct background *background, struct background_job *job, struct error *err);
/* Drops what waits and takes nothing more. */
void background_end(struct background *background);
/* After background_end(), or instead of it. NULL is fine. */
void background_free(struct background *background);

#endif
