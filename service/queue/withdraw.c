/*
 * Waits that run out. With a durable store the client is told that its message is safe. Otherwise
 * the message is withdrawn, unless a session has it: then the session's outcome decides, and what
 * that leaves open is canceled.
 */

#include "base/clock.h"
#include "base/log.h"
#include "queue/internal.h"

static int cancel_in(struct queue *queue, const struct submission *submission, struct error *err)
{
    const struct intake *intake = &submission->intake;
    if (queue->ops->cancel(queue->store, intake->seq, schedule_now(queue), err) < 0)
        return -1;
    if (submission->idempotency_key == NULL || intake->n_sent > 0)
        return 0;
    return queue->ops->forget(queue->store, submission->api_key, submission->idempotency_key, err);
}

static int cancel(struct queue *queue, const struct submission *submission, struct error *err)
{
    if (queue->ops->begin(queue->store, err) < 0)
        return -1;
    if (cancel_in(queue, submission, err) < 0 || queue->ops->commit(queue->store, err) < 0) {
        queue->ops->rollback(queue->store);
        return -1;
    }
    queue->own.uncounted = true;
    return 0;
}

/* Its claim is withdrawn already: no session will take it, whatever happens here. */
static void withdraw(struct queue *queue, struct submission *submission)
{
    struct intake *intake = &submission->intake;
    struct error err;
    if (cancel(queue, submission, &err) == 0) {
        reader_answer(queue->reader, submission, intake->n_sent > 0 ? QUEUE_DONE : QUEUE_WITHDRAWN);
        return;
    }
    turn_failed(queue, "withdrawal failed", &err);
    intake->overdue = false;
    queue->own.withdraw_again_ms = clock_mono_ms() + TROUBLE_MS;
    waiters_add(&queue->own.waiters, submission);
}

static bool can_withdraw(struct claim *claim)
{
    return claim_is_withdrawn(claim) || claim_move(claim, CLAIM_WAITING, CLAIM_WITHDRAWN);
}

static void run_out(struct queue *queue, struct submission *submission)
{
    struct intake *intake = &submission->intake;
    if (intake->claim == NULL) {
        reader_answer(queue->reader, submission, QUEUE_STORED);
    } else if (can_withdraw(intake->claim)) {
        withdraw(queue, submission);
    } else {
        intake->overdue = true;
        waiters_add(&queue->own.waiters, submission);
    }
}

void wait_go_on(struct queue *queue, struct submission *submission)
{
    if (submission->intake.n_open == 0)
        reader_answer(queue->reader, submission, QUEUE_DONE);
    else if (submission->intake.overdue)
        run_out(queue, submission);
    else
        waiters_add(&queue->own.waiters, submission);
}

void waits_end_due(struct queue *queue)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms < queue->own.withdraw_again_ms)
        return;
    /* Nobody waits for what will not be sent now. */
    struct submission *due = waiters_take_due(
        &queue->own.waiters, atomic_load(&queue->draining) ? INT64_MAX - 1 : now_ms);
    for (struct submission *next; due != NULL; due = next) {
        next = due->next;
        due->next = NULL;
        run_out(queue, due);
    }
}

int64_t waits_wake_ms(const struct queue *queue)
{
    const struct queue_own *own = &queue->own;
    int64_t next_ms = own->waiters.next_deadline_ms;
    if (next_ms == INT64_MAX)
        return INT64_MAX;
    if (atomic_load(&queue->draining) || next_ms < own->withdraw_again_ms)
        return own->withdraw_again_ms;
    return next_ms;
}

void waits_end_all(struct queue *queue)
{
    struct submission *all = waiters_take_all(&queue->own.waiters);
    for (struct submission *next; all != NULL; all = next) {
        next = all->next;
        all->next = NULL;
        reader_answer(queue->reader, all, queue->ops->durable ? QUEUE_STORED : QUEUE_WITHDRAWN);
    }
}
