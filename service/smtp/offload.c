#include "smtp/offload.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/thread.h"

enum { STACK_SIZE = 512 * 1024 }; /* less than a thread's usual 8 MiB */

/* What the thread has; freed by it if nobody waits any more, else by the loop's. */
struct offload_run {
    const struct offload_kind *kind;
    void *task;
    struct offload *waiting; /* NULL: forgotten */
    bool ended;
};

struct offload {
    uv_async_t wake;
    struct offload_run *run;
    void *owner;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `waiting` and `ended`;
nothing is taken under it */
static atomic_uint n_under_way;                          /* threads */

static void *run_task(void *arg)
{
    struct offload_run *run = arg;
    thread_name("login step");
    run->kind->work(run->task);
    pthread_mutex_lock(&lock);
    bool awaited = run->waiting != NULL;
    run->ended = true;
    if (awaited)
        uv_async_send(&run->waiting->wake); /* under the lock it cannot be forgotten meanwhile */
    pthread_mutex_unlock(&lock);
    if (!awaited) {
        run->kind->drop(run->task);
        free(run);
    }
    atomic_fetch_sub(&n_under_way, 1);
    return NULL;
}

static int start_thread(struct offload_run *run)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    atomic_fetch_add(&n_under_way, 1);
    int rc = pthread_create(&thread, &attr, run_task, run);
    pthread_attr_destroy(&attr);
    if (rc == 0)
        return 0;
    atomic_fetch_sub(&n_under_way, 1);
    return -1;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_wake(uv_async_t *wake)
{
    struct offload *offload = wake->data;
    struct offload_run *run = offload->run;
    pthread_mutex_lock(&lock); /* what the thread has done is seen from here on */
    assert(run->ended);
    pthread_mutex_unlock(&lock);
    uv_close((uv_handle_t *)wake, on_closed);
    run->kind->done(offload->owner, run->task);
    free(run);
}

static int start(struct offload *offload, const struct offload_kind *kind, void *task)
{
    struct offload_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return -1;
    *run = (struct offload_run){.kind = kind, .task = task, .waiting = offload};
    offload->run = run;
    if (start_thread(run) == 0)
        return 0;
    free(run);
    return -1;
}

struct offload *offload_start(uv_loop_t *loop, const struct offload_kind *kind, void *owner,
                              void *task)
{
    struct offload *offload = calloc(1, sizeof(*offload));
    if (offload == NULL)
        return NULL;
    if (uv_async_init(loop, &offload->wake, on_wake) < 0) {
        free(offload);
        return NULL;
    }
    offload->wake.data = offload;
    offload->owner = owner;
    if (start(offload, kind, task) == 0)
        return offload;
    uv_close((uv_handle_t *)&offload->wake, on_closed);
    return NULL;
}

void offload_abandon(struct offload *offload)
{
    struct offload_run *run = offload->run;
    pthread_mutex_lock(&lock);
    bool ended = run->ended; /* it has, but the loop has not heard of it yet */
    run->waiting = NULL;
    pthread_mutex_unlock(&lock);
    if (ended) {
        run->kind->drop(run->task);
        free(run);
    }
    uv_close((uv_handle_t *)&offload->wake, on_closed); /* nothing is told after that */
}

bool offloads_running(void)
{
    return atomic_load(&n_under_way) > 0;
}
