#include "relay/worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/thread.h"

struct worker {
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    bool running;
    struct lock lock; /* guards the three below, and `posted` and `next` of the jobs; nothing is
                         taken under it */
    struct worker_job *first, **last;
    bool stop;
};

struct workers {
    size_t n;
    struct worker items[];
};

/* Up to `size` jobs, taken off the list: one may be posted anew while it runs. */
static size_t take_jobs(struct worker *worker, struct worker_job **jobs, size_t size, bool *stop)
{
    size_t n = 0;
    lock_take(&worker->lock);
    while (worker->first != NULL && n < size) {
        jobs[n] = worker->first;
        worker->first = jobs[n]->next;
        jobs[n++]->posted = false;
    }
    if (worker->first == NULL)
        worker->last = &worker->first;
    *stop = worker->stop;
    lock_drop(&worker->lock);
    return n;
}

static void on_wake(uv_async_t *wake)
{
    struct worker *worker = wake->data;
    struct worker_job *jobs[16];
    bool stop;
    size_t n;
    while ((n = take_jobs(worker, jobs, sizeof(jobs) / sizeof(jobs[0]), &stop)) > 0)
        for (size_t i = 0; i < n; i++)
            jobs[i]->run(jobs[i], &worker->loop);
    if (stop)
        uv_close((uv_handle_t *)wake, NULL);
}

static void *run_loop(void *arg)
{
    struct worker *worker = arg;
    thread_name("worker");
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int worker_start(struct worker *worker, struct error *err)
{
    lock_init(&worker->lock);
    worker->last = &worker->first;
    int rc = uv_loop_init(&worker->loop);
    if (rc < 0)
        return error_set(err, ERR_IO, "event loop: %s", uv_strerror(rc));
    rc = uv_async_init(&worker->loop, &worker->wake, on_wake);
    if (rc < 0) {
        uv_loop_close(&worker->loop);
        return error_set(err, ERR_IO, "event loop: %s", uv_strerror(rc));
    }
    worker->wake.data = worker;
    worker->running = pthread_create(&worker->thread, NULL, run_loop, worker) == 0;
    if (worker->running)
        return 0;
    uv_close((uv_handle_t *)&worker->wake, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    uv_loop_close(&worker->loop);
    return error_set(err, ERR_IO, "no thread to be had for a worker");
}

int workers_start(size_t n, struct workers **workers_out, struct error *err)
{
    struct workers *workers = calloc(1, sizeof(*workers) + n * sizeof(workers->items[0]));
    if (workers == NULL)
        return error_set(err, ERR_NOMEM, "workers");
    for (; workers->n < n; workers->n++)
        if (worker_start(&workers->items[workers->n], err) < 0) {
            workers_stop(workers);
            return -1;
        }
    *workers_out = workers;
    return 0;
}

size_t workers_count(const struct workers *workers)
{
    return workers->n;
}

void workers_post(struct workers *workers, size_t index, struct worker_job *job)
{
    struct worker *worker = &workers->items[index];
    lock_take(&worker->lock);
    bool wake = !job->posted;
    if (wake) {
        job->posted = true;
        job->next = NULL;
        *worker->last = job;
        worker->last = &job->next;
    }
    lock_drop(&worker->lock);
    if (wake)
        uv_async_send(&worker->wake);
}

void workers_stop(struct workers *workers)
{
    if (workers == NULL)
        return;
    for (size_t i = 0; i < workers->n; i++) {
        struct worker *worker = &workers->items[i];
        lock_take(&worker->lock);
        worker->stop = true;
        lock_drop(&worker->lock);
        uv_async_send(&worker->wake);
    }
    for (size_t i = 0; i < workers->n; i++) {
        pthread_join(workers->items[i].thread, NULL);
        uv_loop_close(&workers->items[i].loop);
        lock_clear(&workers->items[i].lock);
    }
    free(workers);
}
