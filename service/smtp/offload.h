#ifndef POSTERN_SMTP_OFFLOAD_H
#define POSTERN_SMTP_OFFLOAD_H

/*
 * Something that may wait, done by a thread of its own: libuv's pool has few threads, and what one
 * relay waits for must not hold up another's. Who gives up does not end it (nothing can); it goes
 * on alone and cleans up behind itself.
 */

#include <stdbool.h>
#include <uv.h>

struct offload;

struct offload_kind {
    void (*work)(void *task);              /* on the thread */
    void (*done)(void *owner, void *task); /* on the loop's; the owner has the task back */
    void (*drop)(void *task);              /* instead of `done`, if it was forgotten; any thread */
};

/* `kind` is static; the task is the offload's until `done`. NULL: no memory, no thread, and the
 * task is still the caller's. */
struct offload *offload_start(uv_loop_t *loop, const struct offload_kind *kind, void *owner,
                              void *task);
void offload_abandon(struct offload *offload); /* before `done` was called; it never will be */

/* Is any thread still at it, forgotten or not? Then the process must end by _exit(): exit() would
 * take the libraries down that they are in. */
bool offloads_running(void);

#endif
