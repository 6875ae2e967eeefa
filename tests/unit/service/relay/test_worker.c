#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#include "relay/worker.h"

enum { JOBS = 50, ROUNDS = 200 };

struct counting_job {
    struct worker_job job;
    atomic_int n_runs;
    pthread_t thread;
};

static void count(struct worker_job *job, uv_loop_t *loop)
{
    struct counting_job *counting = (struct counting_job *)job;
    cr_assert_not_null(loop);
    counting->thread = pthread_self();
    atomic_fetch_add(&counting->n_runs, 1);
}

Test(worker, every_post_is_followed_by_a_run)
{
    struct workers *workers;
    struct error err;
    static struct counting_job jobs[JOBS];
    cr_assert_eq(workers_start(2, &workers, &err), 0);
    cr_assert_eq(workers_count(workers), 2);
    for (size_t i = 0; i < JOBS; i++)
        jobs[i].job.run = count;
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < JOBS; i++)
            workers_post(workers, i % 2, &jobs[i].job);
    workers_stop(workers); /* what was posted before still runs */
    for (size_t i = 0; i < JOBS; i++) {
        int n = atomic_load(&jobs[i].n_runs);
        cr_assert(n >= 1 && n <= ROUNDS, "%d runs", n);
        cr_assert_eq(jobs[i].thread == jobs[0].thread, i % 2 == 0);
    }
}

Test(worker, stops_with_nothing_to_do)
{
    struct workers *workers;
    struct error err;
    cr_assert_eq(workers_start(3, &workers, &err), 0);
    workers_stop(workers);
    workers_stop(NULL);
}
