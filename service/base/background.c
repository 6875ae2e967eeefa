#include "base/background.h"

#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/thread.h"

struct background {
    const char *name;
    size_t max;
    struct lock lock; /* guards what follows; thread_start() may be called under it */
    struct {          /* those that wait */
        struct background_job *first, **end;
    } jobs;
    size_t n_waiting;
    unsigned holders; /* the owner, and the thread */
    bool running, ended;
};

struct background *background_new(const char *name, size_t max)
{
    struct background *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    b->name = name;
    b->max = max;
    lock_init(&b->lock);
    LIST_INIT(&b->jobs);
    b->holders = 1;
    return b;
}

static void let_go(struct background *b)
{
    lock_take(&b->lock);
    bool last = --b->holders == 0;
    lock_drop(&b->lock);
    if (!last)
        return;
    lock_clear(&b->lock);
    free(b);
}

/* NULL: it is over. */
static struct background_job *await_job(struct background *b)
{
    lock_take(&b->lock);
    while (b->jobs.first == NULL && !b->ended)
        lock_wait(&b->lock, INT64_MAX);
    struct background_job *job = b->jobs.first;
    if (job != NULL) {
        b->jobs.first = job->next;
        b->n_waiting--;
        if (b->jobs.first == NULL)
            LIST_INIT(&b->jobs);
    }
    lock_drop(&b->lock);
    return job;
}

static void run(void *arg)
{
    struct background *b = arg;
    struct background_job *job;
    while ((job = await_job(b)) != NULL)
        job->run(job);
    let_go(b);
}

static int have_thread(struct background *b)
{
    assert(lock_held_by_me(&b->lock));
    if (b->running)
        return 0;
    b->holders++;
    b->running = thread_start(b->name, run, b) == 0;
    if (!b->running)
        b->holders--;
    return b->running ? 0 : -1;
}

int background_post(struct background *b, struct background_job *job, struct error *err)
{
    lock_take(&b->lock);
    bool ended = b->ended, full = b->n_waiting >= b->max;
    bool taken = !ended && !full && have_thread(b) == 0;
    if (taken) {
        LIST_APPEND(&b->jobs, job);
        b->n_waiting++;
        lock_signal(&b->lock);
    }
    lock_drop(&b->lock);
    if (taken)
        return 0;
    return ended  ? error_set(err, ERR_DRAINING, "the gateway ends")
           : full ? error_set(err, ERR_THROTTLED, "%zu wait already", b->max)
                  : error_set(err, ERR_THROTTLED, "no thread is to be had");
}

void background_end(struct background *b)
{
    lock_take(&b->lock);
    struct background_job *left = b->jobs.first;
    b->ended = true;
    LIST_INIT(&b->jobs);
    b->n_waiting = 0;
    lock_signal(&b->lock);
    lock_drop(&b->lock);
    for (struct background_job *next; left != NULL; left = next) {
        next = left->next;
        left->drop(left);
    }
}

void background_free(struct background *b)
{
    if (b == NULL)
        return;
    background_end(b);
    let_go(b);
}
