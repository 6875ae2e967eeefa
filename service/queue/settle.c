/* Outcomes in a turn: what became of deliveries, recorded; what came back untouched, sent on. */

#include <assert.h>

#include "base/clock.h"
#include "queue/internal.h"

/* --- before the transaction --------------------------------------------------------------- */

static void leave_flight(struct queue *queue, struct mail *delivery)
{
    if (delivery->flight >= 0)
        flight_ledger_leave(queue->ledger, delivery->flight);
    delivery->flight = -1;
}

/* The client's wait is over, and no session has it any more: it must not go out again. */
static bool is_unwanted(struct queue *queue, const struct mail *delivery)
{
    if (delivery->claim == NULL)
        return false;
    const struct submission *waiter = waiters_find(&queue->own.waiters, delivery->seq);
    return claim_is_withdrawn(delivery->claim) || waiter == NULL || waiter->overdue;
}

/* Nothing became of it: no detour through the store. false: it must be recorded. */
static bool send_on(struct queue *queue, struct mail *delivery)
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

void settle_sort(struct queue *queue, struct mail_list *list)
{
    struct mail *delivery = list->first;
    LIST_INIT(list);
    for (struct mail *next; delivery != NULL; delivery = next) {
        next = delivery->next;
        if (!send_on(queue, delivery))
            LIST_APPEND(list, delivery);
    }
}

/* --- into the turn ------------------------------------------------------------------------ */

static int decide(struct queue *queue, struct mail *delivery, struct arena *arena,
                  struct store_outcome *outcome, struct error *err)
{
    int64_t now_ms = clock_steady_ms(), ahead_ms = queue->own.rows_ahead_ms;
    size_t n = delivery->n_recipients;
    outcome->mail = delivery;
    if (n > 0 && verdicts_untouched(delivery, now_ms)) {
        delivery->n_ended = delivery->n_sent = 0;
        outcome->due_ms = delivery->created_ms + ahead_ms;
        return 0;
    }
    enum recipient_status *status = arena_alloc_array(arena, n, sizeof(*status));
    int64_t *next_ms = arena_alloc_array(arena, n, sizeof(*next_ms));
    if (status == NULL || next_ms == NULL)
        return error_set(err, ERR_NOMEM, "outcome of %zu recipients", n);
    verdicts_decide(delivery, &queue->settings, now_ms, status, next_ms);
    for (size_t i = 0; i < n; i++)
        if (next_ms[i] > 0)
            next_ms[i] += ahead_ms;
    outcome->status = status;
    outcome->next_ms = next_ms;
    return 0;
}

int settle_gather(struct queue *queue, const struct mail_list *list, struct store_turn *turn,
                  struct error *err)
{
    size_t n = 0;
    for (const struct mail *delivery = list->first; delivery != NULL; delivery = delivery->next)
        n++;
    turn->outcomes = arena_alloc_array(turn->arena, n, sizeof(*turn->outcomes));
    if (turn->outcomes == NULL)
        return error_set(err, ERR_NOMEM, "turn");
    for (struct mail *delivery = list->first; delivery != NULL; delivery = delivery->next)
        if (decide(queue, delivery, turn->arena, &turn->outcomes[turn->n_outcomes++], err) < 0)
            return -1;
    return 0;
}

/* --- after the commit --------------------------------------------------------------------- */

static void conclude(struct queue *queue, struct mail *delivery)
{
    struct submission *waiter = waiters_take(&queue->own.waiters, delivery->seq);
    leave_flight(queue, delivery);
    if (delivery->claim != NULL)
        claim_move(delivery->claim, CLAIM_DEPARTED, CLAIM_WAITING);
    if (waiter != NULL) {
        waiter->n_open -= delivery->n_ended;
        waiter->n_sent += delivery->n_sent;
    }
    let_go(queue, delivery);
    if (waiter != NULL)
        wait_go_on(queue, waiter);
}

bool settle_conclude(struct queue *queue, struct mail_list *list, const struct store_turn *turn)
{
    size_t i = 0;
    bool all = true;
    for (struct mail *delivery = list->first, *next; delivery != NULL; delivery = next) {
        const struct store_outcome *outcome = &turn->outcomes[i++];
        next = delivery->next;
        assert(outcome->mail == delivery);
        if (outcome->fault == NULL) {
            conclude(queue, delivery);
            continue;
        }
        turn_failed(queue, "outcome not recorded yet", outcome->fault);
        LIST_APPEND(&queue->own.kept.outcomes, delivery);
        all = false;
    }
    LIST_INIT(list);
    return all;
}
