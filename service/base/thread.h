#ifndef POSTERN_BASE_THREAD_H
#define POSTERN_BASE_THREAD_H

/*
 * Threads that wait for what may never come (a disk, another process's lock), so that no loop has
 * to. Nobody joins them: whoever started one shares what it works on with it, counted, and goes
 * when it must. Each has a name that tools show.
 */

#include <stdbool.h>
#include <stddef.h>

enum { THREAD_NAME_SIZE = 16 }; /* the kernel's bound, with the NUL */

/* Of the calling thread; shorter than THREAD_NAME_SIZE. */
void thread_name(const char *name);

/* `run(arg)` on a detached thread that takes no signals. -1: there is none to be had. `name` is a
 * literal. */
int thread_start(const char *name, void (*run)(void *arg), void *arg);
/* Whether any of them runs: then the process is to end by _exit(), which takes nothing away from
 * under them. */
bool threads_left(void);

#endif
