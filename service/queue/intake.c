/* Submissions in a turn: claimed or left in the store, committed with the others, answered. */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "queue/internal.h"

/* Takes the submission. `err` for QUEUE_REFUSED. */
static void intake_answer(struct queue *queue, struct submission *submission,
                          enum queue_answer_kind kind, const struct error *err)
{
    struct intake *intake = &submission->intake;
    const struct queue_answer answer = {
        .kind = kind, .status = intake->seen.status, .body = intake->seen.body, .err = err};
    if (kind == QUEUE_REFUSED)
        metric_add(queue->refused, 1);
    intake->answer(intake->arg, &answer);
    free(intake->seen.body);
    claim_unref(intake->claim);
    submission_free(submission);
}

void intake_refuse_all(struct queue *queue, struct submission_list *list, const struct error *err)
{
    for (struct submission *submission = list->first, *next; submission != NULL;
         submission = next) {
        next = submission->next;
        intake_answer(queue, submission, QUEUE_REFUSED, err);
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
        intake_answer(queue, submission, QUEUE_REFUSED, &err);
    }
}

/* --- in the transaction ------------------------------------------------------------------- */

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

static enum store_submitted submit(struct queue *queue, struct submission *submission,
                                   struct error *err)
{
    struct intake *intake = &submission->intake;
    if (prepare_wait(queue, submission, err) < 0)
        return STORE_SUBMIT_FAILED;
    intake->delivery = claim_delivery(queue, submission);
    if (intake->delivery != NULL)
        hold(queue, intake->delivery);
    intake->submitted = queue->ops->submit(queue->store, submission, intake->delivery != NULL,
                                           &intake->seq, &intake->seen, err);
    if (intake->submitted != STORE_SUBMIT_NEW)
        drop_delivery(queue, intake);
    else if (intake->delivery == NULL)
        want_at(queue, submission->created_ms);
    return intake->submitted;
}

int intake_submit_all(struct queue *queue, struct submission_list *list, size_t *n_out,
                      struct error *err)
{
    for (struct submission **at = &list->first; *at != NULL;) {
        struct submission *submission = *at;
        struct error why = {0};
        if (submit(queue, submission, &why) != STORE_SUBMIT_FAILED) {
            ++*n_out;
            at = &submission->next;
            continue;
        }
        if (why.code == ERR_STORE_BROKEN || why.code == ERR_STORE_FULL) { /* not it alone */
            *err = why;
            return -1;
        }
        *at = submission->next; /* it alone fails */
        if (*at == NULL)
            list->end = at;
        intake_answer(queue, submission, QUEUE_REFUSED, &why);
    }
    return 0;
}

void intake_undo(struct queue *queue, struct submission_list *list)
{
    for (struct submission *s = list->first; s != NULL; s = s->next) {
        drop_delivery(queue, &s->intake);
        free(s->intake.seen.body);
        s->intake.seen = (struct store_seen){0};
    }
}

/* --- after the commit --------------------------------------------------------------------- */

static void admit(struct queue *queue, struct submission *submission)
{
    struct intake *intake = &submission->intake;
    struct delivery *delivery = TAKE(intake->delivery);
    metric_add(queue->accepted, 1);
    if (delivery != NULL) {
        delivery->seq = intake->seq;
        delivery->claim = intake->claim != NULL ? claim_ref(intake->claim) : NULL;
        LIST_APPEND(&queue->own.ready, delivery);
    }
    if (intake->deadline_ms == 0) {
        intake_answer(queue, submission, QUEUE_STORED, NULL);
        return;
    }
    bytes_unref(TAKE(submission->content)); /* the wait needs it no more */
    waiters_add(&queue->own.waiters, submission);
}

static void conclude(struct queue *queue, struct submission *submission)
{
    switch (submission->intake.submitted) {
    case STORE_SUBMIT_NEW:
        admit(queue, submission);
        break;
    case STORE_SUBMIT_REPLAY:
        intake_answer(queue, submission, QUEUE_REPLAY, NULL);
        break;
    case STORE_SUBMIT_MISMATCH:
        intake_answer(queue, submission, QUEUE_MISMATCH, NULL);
        break;
    case STORE_SUBMIT_IN_PROGRESS:
        intake_answer(queue, submission, QUEUE_IN_PROGRESS, NULL);
        break;
    case STORE_SUBMIT_FAILED: /* answered when it failed */
        break;
    }
}

void intake_conclude(struct queue *queue, struct submission_list *list)
{
    for (struct submission *submission = list->first, *next; submission != NULL;
         submission = next) {
        next = submission->next;
        conclude(queue, submission);
    }
    LIST_INIT(list);
}
