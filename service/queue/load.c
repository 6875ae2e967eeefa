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

uint64_t delivery_cost(const struct delivery *delivery)
{
    return delivery->content->len + sizeof(*delivery) +
           delivery->n_recipients * sizeof(delivery->recipients[0]);
}

void hold(struct queue *queue, const struct delivery *delivery)
{
    queue->own.held_bytes += delivery_cost(delivery);
    metric_set(queue->held, (int64_t)queue->own.held_bytes);
}

void let_go(struct queue *queue, struct delivery *delivery)
{
    queue->own.held_bytes -= delivery_cost(delivery);
    metric_set(queue->held, (int64_t)queue->own.held_bytes);
    claim_unref(delivery->claim);
    delivery_free(delivery);
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

bool load_wanted(struct queue *queue)
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

int load_due(struct queue *queue, struct delivery_list *list, struct error *err)
{
    uint64_t budget = queue->settings.in_memory_bytes, held = queue->own.held_bytes;
    struct delivery *loaded = NULL;
    int64_t now_ms = schedule_now(queue);
    if (queue->ops->load(queue->store, now_ms, LOAD_MAX, budget > held ? budget - held : 1, &loaded,
                         err) < 0)
        return -1;
    bool none = loaded == NULL;
    for (struct delivery *next; loaded != NULL; loaded = next) {
        next = loaded->next;
        loaded->created_ms -= queue->own.rows_ahead_ms;
        loaded->expires_ms -= queue->own.rows_ahead_ms;
        LIST_APPEND(list, loaded);
        hold(queue, loaded);
    }
    if (queue->ops->next_due(queue->store, &queue->own.next_due_ms, err) < 0)
        return -1;
    if (none && queue->own.next_due_ms <= now_ms) /* "due", but not given: never to spin on that */
        queue->own.load_again_ms = clock_mono_ms() + TROUBLE_MS;
    return 0;
}

void load_undo(struct queue *queue, struct delivery_list *list)
{
    for (struct delivery *delivery = list->first, *next; delivery != NULL; delivery = next) {
        next = delivery->next;
        let_go(queue, delivery);
    }
    LIST_INIT(list);
    queue->own.next_due_ms = 0; /* not known: look */
}

void load_conclude(struct queue *queue, struct delivery_list *list)
{
    for (struct delivery *delivery = list->first; delivery != NULL; delivery = delivery->next) {
        const struct submission *waiter = waiters_find(&queue->own.waiters, delivery->seq);
        if (waiter != NULL && waiter->intake.claim != NULL)
            delivery->claim = claim_ref(waiter->intake.claim);
    }
    LIST_JOIN(&queue->own.ready, list);
}
