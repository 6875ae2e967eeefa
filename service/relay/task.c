#include "relay/task.h"

#include <assert.h>
#include <stddef.h>

#include "relay/state.h"

static void run(struct worker_job *job, uv_loop_t *loop)
{
    struct relay_task *task = (struct relay_task *)((char *)job - offsetof(struct relay_task, job));
    struct relay *relay = task->relay;
    lock_take(&relay->lock);
    bool aborting = relay->aborting;
    lock_drop(&relay->lock);
    if (aborting) {
        task->abort(task);
        return;
    }
    task->next = relay->slots[0].tasks;
    relay->slots[0].tasks = task;
    task->begin(task, loop);
}

int relay_task_post(struct relay *relay, struct relay_task *task, struct error *err)
{
    assert(task->begin != NULL && task->abort != NULL && relay->n_slots > 0);
    lock_take(&relay->lock);
    bool admitted = !relay->draining && !relay->aborting;
    relay->n_tasks += admitted;
    lock_drop(&relay->lock);
    if (!admitted)
        return error_set(err, ERR_DRAINING, "the gateway is shutting down");
    task->relay = relay;
    task->job = (struct worker_job){.run = run};
    workers_post(relay->around.workers, 0, &task->job);
    return 0;
}

void relay_task_end(struct relay_task *task)
{
    struct relay *relay = task->relay;
    struct relay_task **at = &relay->slots[0].tasks;
    while (*at != NULL && *at != task)
        at = &(*at)->next;
    if (*at != NULL) /* else it was aborted */
        *at = task->next;
    lock_take(&relay->lock);
    assert(relay->n_tasks > 0);
    relay->n_tasks--;
    lock_drop(&relay->lock);
}

void relay_tasks_abort(struct relay_slot *slot)
{
    while (slot->tasks != NULL) {
        struct relay_task *task = slot->tasks;
        slot->tasks = task->next;
        task->abort(task);
    }
}
