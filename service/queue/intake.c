/* Submissions in a turn: claimed or left in the store, committed with the others, answered. */

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "queue/internal.h"

/* Takes the submission. */
static void tell(struct submission *submission, const struct queue_answer *answer)
{
    struct intake *intake = &submission->intake;
    intake->answer(intake->arg, answer);
    claim_unref(intake->claim);
    submission_free(submission);
}

/* Takes the submission. */
static void refuse(struct queue *queue, struct submission *submission, const struct error *err)
{
    metric_add(queue->refused, 1);
    tell(submission, &(struct queue_answer){.kind = QUEUE_REFUSED, .err = err});
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
    return submission->content->len + RECORD + submission->n_recipients * RECIPIENT;
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

static struct delivery *delivery_of(const struct queue *queue, const struct submission *submission)
{
    const struct delivery_wishes wishes = submission_wishes(submission);
    struct delivery *delivery =
        delivery_new(submission->envelope_from, &wishes, submission->recipients,
                     submission->n_recipients, submission->content);
    if (delivery == NULL)
        return NULL;
    memcpy(delivery->id, submission->id, sizeof(delivery->id));
    delivery->smtputf8 = submission->smtputf8;
    delivery->created_ms = submission->created_ms - queue->own.rows_ahead_ms;
    delivery->expires_ms = submission->expires_ms - queue->own.rows_ahead_ms;
    return delivery;
}

/* To be delivered straight from memory; NULL: from the store, behind what is due there already, or
 * because memory is spoken for. */
static struct delivery *claim_delivery(struct queue *queue, const struct submission *submission)
{
    if (!atomic_load(&queue->started) || queue->own.next_due_ms <= schedule_now(queue))
        return NULL;
    struct delivery *delivery = delivery_of(queue, submission);
    if (delivery != NULL && !has_room(queue, delivery_cost(delivery)))
        delivery_free(TAKE(delivery));
    return delivery;
}

static void drop_delivery(struct queue *queue, struct intake *intake)
{
    if (intake->delivery != NULL)
        let_go(queue, TAKE(intake->delivery));
}

/* What can be withdrawn needs something to decide by. */
static int prepare_wait(struct queue *queue, struct submission *submission, struct error *err)
{
    struct intake *intake = &submission->intake;
    if (intake->deadline_ms == 0)
        return 0;
    intake->n_open = submission->n_recipients;
    if (!queue->ops->durable && intake->claim == NULL && (intake->claim = claim_new()) == NULL)
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
        s->intake.delivery = claim_delivery(queue, s);
        if (s->intake.delivery != NULL)
            hold(queue, s->intake.delivery);
        turn->submissions[turn->n_submissions++] =
            (struct store_submission){.submission = s, .claimed = s->intake.delivery != NULL};
    }
    return 0;
}

void intake_undo(struct queue *queue, struct submission_list *list)
{
    for (struct submission *s = list->first; s != NULL; s = s->next)
        drop_delivery(queue, &s->intake);
}

/* --- after the commit --------------------------------------------------------------------- */

static void admit(struct queue *queue, struct submission *submission, int64_t seq)
{
    struct intake *intake = &submission->intake;
    struct delivery *delivery = TAKE(intake->delivery);
    intake->seq = seq;
    metric_add(queue->accepted, 1);
    if (delivery != NULL) {
        delivery->seq = seq;
        delivery->claim = intake->claim != NULL ? claim_ref(intake->claim) : NULL;
        LIST_APPEND(&queue->own.ready, delivery);
    }
    if (intake->deadline_ms == 0) {
        tell(submission, &(struct queue_answer){.kind = QUEUE_STORED});
        return;
    }
    bytes_unref(TAKE(submission->content)); /* the wait needs it no more */
    waiters_add(&queue->own.waiters, submission);
}

static void conclude(struct queue *queue, struct submission *submission,
                     const struct store_submission *item)
{
    if (item->fault == NULL && item->result == STORE_SUBMIT_NEW) {
        admit(queue, submission, item->seq);
        return;
    }
    drop_delivery(queue, &submission->intake);
    if (item->fault != NULL) {
        refuse(queue, submission, item->fault);
        return;
    }
    static const enum queue_answer_kind kinds[] = {
        [STORE_SUBMIT_NEW] = QUEUE_STORED,
        [STORE_SUBMIT_REPLAY] = QUEUE_REPLAY,
        [STORE_SUBMIT_MISMATCH] = QUEUE_MISMATCH,
        [STORE_SUBMIT_IN_PROGRESS] = QUEUE_IN_PROGRESS,
    };
    tell(submission, &(struct queue_answer){.kind = kinds[item->result],
                                            .status = item->first_status,
                                            .body = item->first_body});
}

void intake_conclude(struct queue *queue, struct submission_list *list,
                     const struct store_turn *turn)
{
    size_t i = 0;
    for (struct submission *s = list->first, *next; s != NULL; s = next) {
        next = s->next;
        assert(turn->submissions[i].submission == s);
        conclude(queue, s, &turn->submissions[i++]);
    }
    LIST_INIT(list);
}
