/* Submissions in a turn: claimed or left in the store, committed with the others, answered. */

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "queue/internal.h"

/* Takes the submission. */
static void refuse(struct queue *queue, struct submission *submission, const struct error *err)
{
    metric_add(queue->refused, 1);
    submission_answer(submission, &(struct queue_answer){.kind = QUEUE_REFUSED, .err = err});
}

void intake_refuse_all(struct queue *queue, struct submission_list *list, const struct error *err)
{
    for (struct submission *submission = list->first, *next; submission != NULL;
         submission = next) {
        next = submission->next;
        refuse(queue, submission, err);
    }
    LIST_INIT(list);
}

/* Its content, and what record, recipients, their events and the indexes take. */
uint64_t submission_cost(const struct submission *submission)
{
    enum { RECORD = 8192, RECIPIENT = 512 };
    const struct mail *mail = submission->mail;
    return mail->content->len + RECORD + mail->n_recipients * RECIPIENT;
}

void intake_refuse_unfit(struct queue *queue, struct submission_list *list)
{
    struct error err;
    uint64_t taken = 0;
    for (struct submission **at = &list->first; *at != NULL;) {
        struct submission *submission = *at;
        uint64_t cost = submission_cost(submission);
        if (queue->ops->has_room(queue->store, taken + cost)) {
            taken += cost;
            at = &submission->next;
            continue;
        }
        *at = submission->next;
        if (*at == NULL)
            list->end = at;
        error_set(&err, ERR_STORE_FULL, "too little space is left on the store's disk");
        refuse(queue, submission, &err);
    }
}

/* --- into the turn ------------------------------------------------------------------------ */

/* Can it be delivered straight from memory? Else from the store: behind what is due there already,
 * or because memory is spoken for. */
static bool can_claim(struct queue *queue, const struct mail *mail)
{
    return atomic_load(&queue->started) && queue->own.next_due_ms > schedule_now(queue) &&
           has_room(queue, mail_cost(mail));
}

/* What can be withdrawn needs something to decide by. */
static int prepare_wait(struct queue *queue, struct submission *submission, struct error *err)
{
    if (submission->deadline_ms == 0)
        return 0;
    submission->n_open = submission->mail->n_recipients;
    if (!queue->ops->durable && submission->claim == NULL &&
        (submission->claim = claim_new()) == NULL)
        return error_set(err, ERR_NOMEM, "claim");
    return 0;
}

int intake_gather(struct queue *queue, struct submission_list *list, struct store_turn *turn,
                  struct error *err)
{
    size_t n = 0;
    for (const struct submission *s = list->first; s != NULL; s = s->next)
        n++;
    turn->submissions = arena_alloc_array(turn->arena, n, sizeof(*turn->submissions));
    if (turn->submissions == NULL)
        return error_set(err, ERR_NOMEM, "turn");
    for (struct submission *s = list->first; s != NULL; s = s->next) {
        if (prepare_wait(queue, s, err) < 0)
            return -1;
        bool claimed = can_claim(queue, s->mail);
        if (claimed)
            hold(queue, s->mail);
        turn->submissions[turn->n_submissions++] = (struct store_submission){
            .mail = s->mail,
            .claimed = claimed,
            .key = s->key,
            .fingerprint = s->fingerprint,
            .answer_status = s->answer_status,
            .answer_body = s->answer_body,
        };
    }
    return 0;
}

void intake_undo(struct queue *queue, const struct store_turn *turn)
{
    for (size_t i = 0; i < turn->n_submissions; i++)
        if (turn->submissions[i].claimed)
            unhold(queue, turn->submissions[i].mail);
}

/* --- after the commit --------------------------------------------------------------------- */

/* What is claimed goes out as it is; its times are those that no clock can move from here on. */
static void go_out(struct queue *queue, struct submission *submission)
{
    struct mail *mail = TAKE(submission->mail);
    mail->created_ms -= queue->own.rows_ahead_ms;
    mail->expires_ms -= queue->own.rows_ahead_ms;
    mail->claim = submission->claim != NULL ? claim_ref(submission->claim) : NULL;
    LIST_APPEND(&queue->own.ready, mail);
}

static void admit(struct queue *queue, struct submission *submission, bool claimed)
{
    metric_add(queue->accepted, 1);
    if (claimed)
        go_out(queue, submission);
    if (submission->deadline_ms == 0) {
        submission_answer(submission, &(struct queue_answer){.kind = QUEUE_STORED});
        return;
    }
    mail_free(TAKE(submission->mail)); /* the wait needs it no more */
    waiters_add(&queue->own.waiters, submission);
}

static void conclude(struct queue *queue, struct submission *submission,
                     const struct store_submission *item)
{
    static const enum queue_answer_kind kinds[] = {
        [STORE_SUBMIT_NEW] = QUEUE_STORED,
        [STORE_SUBMIT_REPLAY] = QUEUE_REPLAY,
        [STORE_SUBMIT_MISMATCH] = QUEUE_MISMATCH,
        [STORE_SUBMIT_IN_PROGRESS] = QUEUE_IN_PROGRESS,
    };
    if (item->fault == NULL && item->result == STORE_SUBMIT_NEW) {
        submission->seq = submission->mail->seq = item->seq;
        admit(queue, submission, item->claimed);
        return;
    }
    if (item->claimed)
        unhold(queue, item->mail);
    if (item->fault != NULL) {
        turn_failed(queue, "message not kept", item->fault); /* a store that breaks is found out */
        refuse(queue, submission, item->fault);
    } else {
        submission_answer(submission, &(struct queue_answer){.kind = kinds[item->result],
                                                             .status = item->first_status,
                                                             .body = item->first_body});
    }
}

void intake_conclude(struct queue *queue, struct submission_list *list,
                     const struct store_turn *turn)
{
    size_t i = 0;
    for (struct submission *s = list->first, *next; s != NULL; s = next) {
        next = s->next;
        assert(turn->submissions[i].mail == s->mail);
        conclude(queue, s, &turn->submissions[i++]);
    }
    LIST_INIT(list);
}
