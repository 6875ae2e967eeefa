/* What is due in the store comes back into memory, as far as there is room. */

#include "base/clock.h"
#include "base/log.h"
#include "queue/internal.h"

enum { LOAD_MAX = 256 /* messages in one turn: submissions wait behind them */ };

/* The clock that the store's times are by: the wall clock, as far as calendar.c has followed it. */
int64_t schedule_now(const struct queue *queue)
{
    return clock_steady_ms() + queue->own.rows_ahead_ms;
}

/* --- memory ------------------------------------------------------------------------------- */

void hold(struct queue *queue, const struct mail *delivery)
{
    queue->own.held_bytes += mail_cost(delivery);
    metric_set(queue->held, (int64_t)queue->own.held_bytes);
}

void unhold(struct queue *queue, const struct mail *mail)
{
    queue->own.held_bytes -= mail_cost(mail);
    metric_set(queue->held, (int64_t)queue->own.held_bytes);
}

void let_go(struct queue *queue, struct mail *mail)
{
    unhold(queue, mail);
    claim_unref(mail->claim);
    mail_free(mail);
}

/* Whatever its size, a message goes when nothing else is held. */
bool has_room(const struct queue *queue, uint64_t cost)
{
    return queue->own.held_bytes == 0 ||
           queue->own.held_bytes + cost <= queue->settings.in_memory_bytes;
}

void want_at(struct queue *queue, int64_t due_ms)
{
    if (due_ms < queue->own.next_due_ms)
        queue->own.next_due_ms = due_ms;
}

/* --- loading ------------------------------------------------------------------------------ */

/* A quarter of the budget must be free, so that a full memory is refilled in batches. */
static bool has_room_to_load(const struct queue *queue)
{
    return has_room(queue, queue->settings.in_memory_bytes / 4);
}

static bool may_load(const struct queue *queue)
{
    return atomic_load(&queue->started) && !atomic_load(&queue->draining) &&
           !atomic_load(&queue->broken) && has_room_to_load(queue);
}

static bool load_wanted(const struct queue *queue)
{
    return may_load(queue) && queue->own.next_due_ms <= schedule_now(queue) &&
           queue->own.load_again_ms <= clock_mono_ms();
}

int64_t load_wake_ms(struct queue *queue)
{
    if (!may_load(queue) || queue->own.next_due_ms == INT64_MAX)
        return INT64_MAX;
    int64_t wake_ms = clock_mono_ms() + queue->own.next_due_ms - schedule_now(queue);
    return wake_ms > queue->own.load_again_ms ? wake_ms : queue->own.load_again_ms;
}

void load_gather(struct queue *queue, struct store_turn *turn)
{
    uint64_t budget = queue->settings.in_memory_bytes, held = queue->own.held_bytes;
    if (load_wanted(queue))
        turn->load =
            (struct store_load){.max_n = LOAD_MAX, .max_bytes = budget > held ? budget - held : 1};
}

void load_undo(struct queue *queue)
{
    queue->own.load_again_ms = clock_mono_ms() + TROUBLE_MS;
}

/* What it brought; when there is more is known now. */
static void take_loaded(struct queue *queue, const struct store_load *load, int64_t now_ms)
{
    queue->own.next_due_ms = load->next_due_ms;
    if (load->list == NULL && load->next_due_ms <= now_ms) /* "due", but not given: never to spin */
        queue->own.load_again_ms = clock_mono_ms() + TROUBLE_MS;
    for (struct mail *delivery = load->list, *next; delivery != NULL; delivery = next) {
        const struct submission *waiter = waiters_find(&queue->own.waiters, delivery->seq);
        next = delivery->next;
        if (waiter != NULL && waiter->claim != NULL)
            delivery->claim = claim_ref(waiter->claim);
        delivery->created_ms -= queue->own.rows_ahead_ms;
        delivery->expires_ms -= queue->own.rows_ahead_ms;
        hold(queue, delivery);
        LIST_APPEND(&queue->own.ready, delivery);
    }
}

void load_conclude(struct queue *queue, const struct store_turn *turn)
{
    for (size_t i = 0; i < turn->n_submissions; i++) {
        const struct store_submission *item = &turn->submissions[i];
        if (item->fault == NULL && item->result == STORE_SUBMIT_NEW && !item->claimed)
            want_at(queue, turn->now_ms); /* created before */
    }
    for (size_t i = 0; i < turn->n_outcomes; i++)
        if (turn->outcomes[i].fault == NULL)
            want_at(queue, turn->outcomes[i].due_ms);
    if (turn->load.fault != NULL) {
        turn_failed(queue, "messages not loaded yet", turn->load.fault);
        load_undo(queue);
    } else if (turn->load.max_n > 0) {
        take_loaded(queue, &turn->load, turn->now_ms);
    }
}
