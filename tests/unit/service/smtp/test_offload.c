#include "smtp/offload.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

/* A task that waits until it is let through. */
struct task {
    sem_t may_end, dropped;
    pthread_t worker;
    uv_loop_t *told_on;
    bool done;
};

static void work(void *arg)
{
    struct task *task = arg;
    task->worker = pthread_self();
    sem_wait(&task->may_end);
}

static void done(void *owner, void *arg)
{
    struct task *task = arg;
    task->told_on = owner;
    task->done = true;
}

static void drop(void *arg)
{
    sem_post(&((struct task *)arg)->dropped);
}

static const struct offload_kind KIND = {work, done, drop};

static void begin(struct task *task, uv_loop_t *loop)
{
    *task = (struct task){.done = false};
    sem_init(&task->may_end, 0, 0);
    sem_init(&task->dropped, 0, 0);
    uv_loop_init(loop);
}

static void end(struct task *task, uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(loop), 0, "a handle is left");
    sem_destroy(&task->may_end);
    sem_destroy(&task->dropped);
}

Test(offload, is_told_on_the_loop)
{
    struct task task;
    uv_loop_t loop;
    begin(&task, &loop);
    cr_assert_not_null(offload_start(&loop, &KIND, &loop, &task));
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_not(task.done, "it is under way");
    sem_post(&task.may_end);
    end(&task, &loop);
    cr_expect(task.done);
    cr_expect_eq(task.told_on, &loop);
    cr_expect_not(pthread_equal(task.worker, pthread_self()));
    cr_expect_neq(sem_trywait(&task.dropped), 0);
}

/* The loop ends though the work goes on; what is left is dropped by whoever comes last. */
Test(offload, forgotten_under_way)
{
    struct task task;
    uv_loop_t loop;
    begin(&task, &loop);
    struct offload *offload = offload_start(&loop, &KIND, &loop, &task);
    cr_assert_not_null(offload);
    offload_abandon(offload);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0, "a handle is left");
    cr_expect_neq(sem_trywait(&task.dropped), 0, "the work has not ended");
    sem_post(&task.may_end);
    sem_wait(&task.dropped);
    cr_expect_not(task.done);
}

/* It has ended, but the loop has not heard of it: forgotten as well. */
Test(offload, forgotten_when_it_has_ended)
{
    struct task task;
    uv_loop_t loop;
    begin(&task, &loop);
    struct offload *offload = offload_start(&loop, &KIND, &loop, &task);
    cr_assert_not_null(offload);
    sem_post(&task.may_end);
    struct timespec ms = {.tv_nsec = 20 * 1000 * 1000}; /* either way of it must end the same */
    nanosleep(&ms, NULL);
    offload_abandon(offload);
    uv_run(&loop, UV_RUN_DEFAULT);
    sem_wait(&task.dropped);
    end(&task, &loop);
    cr_expect_not(task.done);
}
