/* Outcomes in a turn: what became of deliveries, recorded; what came back untouched, sent on. */

#include <string.h>

#include "base/clock.h"
#include "queue/internal.h"

/* --- before the transaction --------------------------------------------------------------- */

static void leave_flight(struct queue *queue, struct delivery *delivery)
{
    if (delivery->flight >= 0)
        flight_ledger_leave(queue->ledger, delivery->flight);
    delivery->flight = -1;
}

/* The client's wait is over, and no session has it any more: it must not go out again. */
static bool is_unwanted(struct queue *queue, const struct delivery *delivery)
{
    if (delivery->claim == NULL)
        return false;
    const struct submission *waiter = waiters_find(&queue->own.waiters, delivery->seq);
    return claim_is_withdrawn(delivery->claim) || waiter == NULL || waiter->intake.overdue;
}

/* Nothing became of it: no detour through the store. false: it must be recorded. */
static bool send_on(struct queue *queue, struct delivery *delivery)
{
    if (claim_is_withdrawn(delivery->claim)) { /* canceled when the wait ran out */
        let_go(queue, delivery);
        return true;
    }
    if (atomic_load(&queue->draining) || is_unwanted(queue, delivery) ||
        delivery->n_recipients == 0 || !verdicts_untouched(delivery, clock_steady_ms()))
        return false;
    leave_flight(queue, delivery);
    if (delivery->claim != NULL)
        claim_move(delivery->claim, CLAIM_DEPARTED, CLAIM_WAITING);
    LIST_APPEND(&queue->own.ready, delivery);
    return true;
}

void settle_sort(struct queue *queue, struct delivery_list *list)
{
    struct delivery *delivery = list->first;
    LIST_INIT(list);
    for (struct delivery *next; delivery != NULL; delivery = next) {
        next = delivery->next;
        if (!send_on(queue, delivery))
            LIST_APPEND(list, delivery);
    }
}

/* --- in the transaction ------------------------------------------------------------------- */

static int release(struct queue *queue, struct delivery *delivery, struct error *err)
{
    int64_t due_ms = delivery->created_ms + queue->own.rows_ahead_ms;
    delivery->n_ended = delivery->n_sent = 0;
    want_at(queue, due_ms);
    return queue->ops->release(queue->store, delivery->seq, due_ms, err);
}

static int settle(struct queue *queue, struct delivery *delivery, struct error *err)
{
    struct verdicts *verdicts = &queue->own.verdicts;
    int64_t now_ms = clock_steady_ms(), due_ms;
    if (delivery->n_recipients > 0 && verdicts_untouched(delivery, now_ms))
        return release(queue, delivery, err);
    if (verdicts_reserve(verdicts, delivery->n_recipients, err) < 0)
        return -1;
    verdicts_decide(delivery, &queue->settings, now_ms, verdicts);
    for (size_t i = 0; i < delivery->n_recipients; i++)
        if (verdicts->next_ms[i] > 0)
            verdicts->next_ms[i] += queue->own.rows_ahead_ms;
    const struct settlement settlement = {.delivery = delivery,
                                          .now_ms = schedule_now(queue),
                                          .status = verdicts->status,
                                          .next_ms = verdicts->next_ms,
                                          .keep_content = queue->settings.retain_content_ms > 0};
    if (queue->ops->settle(queue->store, &settlement, &due_ms, err) < 0)
        return -1;
    want_at(queue, due_ms);
    return 0;
}

/* What relays took, added up so that each costs one statement a transaction. */
struct tally {
    struct usage_record relays[8]; /* more at once are written in between */
    size_t n_relays;
};

static int write_tally(struct queue *queue, struct tally *tally, struct error *err)
{
    int64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < tally->n_relays; i++) {
        tally->relays[i].hour_ms = now_ms - now_ms % USAGE_HOUR_MS;
        if (queue->ops->add_usage(queue->store, &tally->relays[i], err) < 0)
            return -1;
    }
    tally->n_relays = 0;
    return 0;
}

static int count_usage(struct queue *queue, struct tally *tally, const struct delivery *delivery,
                       struct error *err)
{
    size_t i = 0;
    if (delivery->n_sent == 0)
        return 0;
    while (i < tally->n_relays && strcmp(tally->relays[i].relay, delivery->relay) != 0)
        i++;
    if (i == sizeof(tally->relays) / sizeof(tally->relays[0])) {
        if (write_tally(queue, tally, err) < 0)
            return -1;
        i = 0;
    }
    if (i == tally->n_relays)
        tally->relays[tally->n_relays++] = (struct usage_record){.relay = delivery->relay};
    tally->relays[i].n_messages++;
    tally->relays[i].n_recipients += (int64_t)delivery->n_sent;
    return 0;
}

int settle_all(struct queue *queue, struct delivery_list *list, size_t *n_out,
               struct delivery **failed_out, struct error *err)
{
    struct tally tally = {.n_relays = 0};
    for (struct delivery *delivery = list->first; delivery != NULL; delivery = delivery->next) {
        *failed_out = delivery;
        if (settle(queue, delivery, err) < 0 || count_usage(queue, &tally, delivery, err) < 0)
            return -1;
        ++*n_out;
    }
    *failed_out = NULL;
    return write_tally(queue, &tally, err);
}

/* --- after the commit --------------------------------------------------------------------- */

static void conclude(struct queue *queue, struct delivery *delivery)
{
    struct submission *waiter = waiters_take(&queue->own.waiters, delivery->seq);
    leave_flight(queue, delivery);
    if (delivery->claim != NULL)
        claim_move(delivery->claim, CLAIM_DEPARTED, CLAIM_WAITING);
    if (waiter != NULL) {
        waiter->intake.n_open -= delivery->n_ended;
        waiter->intake.n_sent += delivery->n_sent;
    }
    let_go(queue, delivery);
    if (waiter != NULL)
        wait_go_on(queue, waiter);
}

void settle_conclude(struct queue *queue, struct delivery_list *list)
{
    for (struct delivery *delivery = list->first, *next; delivery != NULL; delivery = next) {
        next = delivery->next;
        conclude(queue, delivery);
    }
    LIST_INIT(list);
}
