#include "smtp/offload.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/thread.h"

enum { STACK_SIZE = 512 * 1024 }; /* less than a thread's usual 8 MiB */

/* What the thread has; freed by it if nobody waits any more, else by the loop's. */
struct journey {
    const struct errand_kind *kind;
    void *task;
    struct errand *waiting; /* NULL: forgotten */
    bool ended;
};

struct errand {
    uv_async_t wake;
    struct journey *journey;
    void *owner;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `waiting` and `ended` */
static atomic_uint n_under_way;                          /* threads */

static void *travel(void *arg)
{
    struct journey *j = arg;
    thread_name("login step");
    j->kind->work(j->task);
    pthread_mutex_lock(&lock);
    bool awaited = j->waiting != NULL;
    j->ended = true;
    if (awaited)
        uv_async_send(&j->waiting->wake); /* under the lock it cannot be forgotten meanwhile */
    pthread_mutex_unlock(&lock);
    if (!awaited) {
        j->kind->drop(j->task);
        free(j);
    }
    atomic_fetch_sub(&n_under_way, 1);
    return NULL;
}

static int start_thread(struct journey *journey)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    atomic_fetch_add(&n_under_way, 1);
    int rc = pthread_create(&thread, &attr, travel, journey);
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
    struct errand *errand = wake->data;
    struct journey *journey = errand->journey;
    pthread_mutex_lock(&lock); /* what the thread has done is seen from here on */
    assert(journey->ended);
    pthread_mutex_unlock(&lock);
    uv_close((uv_handle_t *)wake, on_closed);
    journey->kind->done(errand->owner, journey->task);
    free(journey);
}

static int start(struct errand *errand, const struct errand_kind *kind, void *task)
{
    struct journey *journey = calloc(1, sizeof(*journey));
    if (journey == NULL)
        return -1;
    *journey = (struct journey){.kind = kind, .task = task, .waiting = errand};
    errand->journey = journey;
    if (start_thread(journey) == 0)
        return 0;
    free(journey);
    return -1;
}

struct errand *errand_run(uv_loop_t *loop, const struct errand_kind *kind, void *owner, void *task)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    if (errand == NULL)
        return NULL;
    if (uv_async_init(loop, &errand->wake, on_wake) < 0) {
        free(errand);
        return NULL;
    }
    errand->wake.data = errand;
    errand->owner = owner;
    if (start(errand, kind, task) == 0)
        return errand;
    uv_close((uv_handle_t *)&errand->wake, on_closed);
    return NULL;
}

void errand_forget(struct errand *errand)
{
    struct journey *journey = errand->journey;
    pthread_mutex_lock(&lock);
    bool ended = journey->ended; /* it has, but the loop has not heard of it yet */
    journey->waiting = NULL;
    pthread_mutex_unlock(&lock);
    if (ended) {
        journey->kind->drop(journey->task);
        free(journey);
    }
    uv_close((uv_handle_t *)&errand->wake, on_closed); /* nothing is told after that */
}

bool errands_under_way(void)
{
    return atomic_load(&n_under_way) > 0;
}
