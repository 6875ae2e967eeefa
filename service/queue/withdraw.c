/*
 * Waits that run out. With a durable store the client is told that its message is safe. Otherwise
 * the message is withdrawn, unless a session has it: then the session's outcome decides, and what
 * that leaves open is canceled.
 */

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/internal.h"

/* Its claim is withdrawn already: no session will take it, whatever becomes of the canceling. */
int withdraw_gather(struct queue *queue, struct store_turn *turn, struct error *err)
{
    size_t n = 0;
    if (clock_mono_ms() < queue->own.withdraw_again_ms)
        return 0;
    for (const struct submission *s = queue->own.unwanted.first; s != NULL; s = s->next)
        n++;
    turn->cancels = arena_alloc_array(turn->arena, n, sizeof(*turn->cancels));
    if (turn->cancels == NULL)
        return error_set(err, ERR_NOMEM, "turn");
    for (const struct submission *s = queue->own.unwanted.first; s != NULL; s = s->next)
        turn->cancels[turn->n_cancels++] = (struct store_cancel){
            .seq = s->seq,
            .api_key = s->api_key,
            .key = s->n_sent > 0 ? NULL : s->key,
        };
    return 0;
}

static void try_later(struct queue *queue, const struct error *err)
{
    turn_failed(queue, "withdrawal failed", err);
    queue->own.withdraw_again_ms = clock_mono_ms() + TROUBLE_MS;
}

void withdraw_undo(struct queue *queue, const struct error *err)
{
    if (queue->own.unwanted.first != NULL)
        try_later(queue, err);
}

void withdraw_conclude(struct queue *queue, const struct store_turn *turn)
{
    if (turn->n_cancels == 0)
        return;
    struct submission *list = queue->own.unwanted.first;
    LIST_INIT(&queue->own.unwanted);
    for (size_t i = 0; i < turn->n_cancels; i++) {
        struct submission *submission = list;
        assert(submission->seq == turn->cancels[i].seq);
        list = list->next;
        submission->next = NULL;
        if (turn->cancels[i].fault != NULL) {
            try_later(queue, turn->cancels[i].fault);
            LIST_APPEND(&queue->own.unwanted, submission);
            continue;
        }
        reader_answer(queue->reader, submission,
                      submission->n_sent > 0 ? QUEUE_DONE : QUEUE_WITHDRAWN);
    }
    assert(list == NULL);
}

static bool can_withdraw(struct claim *claim)
{
    return claim_is_withdrawn(claim) || claim_move(claim, CLAIM_WAITING, CLAIM_WITHDRAWN);
}

static void run_out(struct queue *queue, struct submission *submission)
{
    if (submission->claim == NULL) {
        reader_answer(queue->reader, submission, QUEUE_STORED);
    } else if (can_withdraw(submission->claim)) {
        LIST_APPEND(&queue->own.unwanted, submission);
    } else {
        submission->overdue = true;
        waiters_add(&queue->own.waiters, submission);
    }
}

void wait_go_on(struct queue *queue, struct submission *submission)
{
    if (submission->n_open == 0)
        reader_answer(queue->reader, submission, QUEUE_DONE);
    else if (submission->overdue)
        run_out(queue, submission);
    else
        waiters_add(&queue->own.waiters, submission);
}

void waits_end_due(struct queue *queue)
{
    int64_t now_ms = clock_mono_ms();
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
    if (own->unwanted.first != NULL && own->withdraw_again_ms < next_ms)
        next_ms = own->withdraw_again_ms;
    return own->waiters.next_deadline_ms != INT64_MAX && atomic_load(&queue->draining) ? 0
                                                                                       : next_ms;
}

void waits_end_all(struct queue *queue)
{
    struct submission *all = waiters_take_all(&queue->own.waiters);
    *queue->own.unwanted.end = all;
    all = queue->own.unwanted.first;
    LIST_INIT(&queue->own.unwanted);
    for (struct submission *next; all != NULL; all = next) {
        next = all->next;
        all->next = NULL;
        reader_answer(queue->reader, all, queue->ops->durable ? QUEUE_STORED : QUEUE_WITHDRAWN);
    }
}
