#include "smtp/owed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void move_down(struct smtp_owed_queue *queue)
{
    memmove(queue->items, queue->items + queue->head,
            (queue->tail - queue->head) * sizeof(*queue->items));
    queue->sent -= queue->head;
    queue->tail -= queue->head;
    queue->head = 0;
}

int smtp_owed_reserve(struct smtp_owed_queue *queue, size_t n)
{
    if (queue->size - queue->tail >= n)
        return 0;
    if (queue->head > 0)
        move_down(queue);
    if (queue->size - queue->tail >= n)
        return 0;
    struct smtp_owed *items = reallocarray(queue->items, queue->tail + n, sizeof(*items));
    if (items == NULL)
        return -1;
    queue->items = items;
    queue->size = queue->tail + n;
    return 0;
}

void smtp_owed_clear(struct smtp_owed_queue *queue)
{
    free(queue->items);
    *queue = (struct smtp_owed_queue){0};
}

static struct smtp_owed owed_for(const struct smtp_command *command, struct smtp_tx *tx,
                                 size_t rcpt)
{
    if (tx != NULL)
        tx->n_owed++;
    return (struct smtp_owed){command, tx, rcpt, .begins = SMTP_UNSENT, .ends = SMTP_UNSENT};
}

void smtp_owed_ask(struct smtp_owed_queue *queue, const struct smtp_command *command,
                   struct smtp_tx *tx, size_t rcpt)
{
    if (queue->tail == queue->size)
        move_down(queue); /* a handler's own entry has left the queue */
    assert(queue->tail < queue->size);
    queue->items[queue->tail++] = owed_for(command, tx, rcpt);
}

void smtp_owed_ask_first(struct smtp_owed_queue *queue, const struct smtp_command *command,
                         struct smtp_tx *tx)
{
    assert(queue->head > 0 && queue->sent == queue->head);
    queue->sent = --queue->head;
    queue->items[queue->head] = owed_for(command, tx, 0);
}

struct smtp_owed *smtp_owed_ask_next(struct smtp_owed_queue *queue,
                                     const struct smtp_command *command)
{
    if (queue->tail == queue->size)
        move_down(queue);
    assert(queue->tail < queue->size);
    struct smtp_owed *place = &queue->items[queue->sent];
    memmove(place + 1, place, (queue->tail - queue->sent) * sizeof(*place));
    queue->tail++;
    *place = owed_for(command, NULL, 0);
    return place;
}

void smtp_owed_forget_unsent(struct smtp_owed_queue *queue, struct smtp_tx *tx)
{
    size_t kept = queue->sent;
    for (size_t i = queue->sent; i < queue->tail; i++) {
        if (queue->items[i].tx == tx && queue->items[i].begins == SMTP_UNSENT)
            tx->n_owed--;
        else
            queue->items[kept++] = queue->items[i];
    }
    queue->tail = kept;
}

bool smtp_owed_none(const struct smtp_owed_queue *queue)
{
    return queue->head == queue->tail;
}

const struct smtp_owed *smtp_owed_first(const struct smtp_owed_queue *queue)
{
    return smtp_owed_none(queue) ? NULL : &queue->items[queue->head];
}

const struct smtp_owed *smtp_owed_last_of(const struct smtp_owed_queue *queue,
                                          const struct smtp_tx *tx)
{
    for (size_t i = queue->tail; i-- > queue->head;)
        if (queue->items[i].tx == tx)
            return &queue->items[i];
    return NULL;
}

struct smtp_owed smtp_owed_take(struct smtp_owed_queue *queue)
{
    assert(!smtp_owed_none(queue));
    struct smtp_owed owed = queue->items[queue->head++];
    if (queue->sent < queue->head)
        queue->sent = queue->head; /* a content that was refused before its end */
    return owed;
}

void smtp_owed_put_back(struct smtp_owed_queue *queue)
{
    assert(queue->head > 0);
    queue->head--;
}

struct smtp_owed *smtp_owed_sendable(struct smtp_owed_queue *queue, bool pipelining)
{
    if (queue->sent == queue->tail)
        return NULL;
    struct smtp_owed *next = &queue->items[queue->sent];
    if (queue->sent == queue->head || next->begins != SMTP_UNSENT)
        return next;
    return pipelining && !next[-1].command->ends_group && !next->command->waits ? next : NULL;
}

void smtp_owed_was_sent(struct smtp_owed_queue *queue, uint64_t ends)
{
    queue->items[queue->sent++].ends = ends;
}

enum smtp_arrival smtp_owed_arrival(const struct smtp_owed_queue *queue, uint64_t written)
{
    const struct smtp_owed *first = smtp_owed_first(queue);
    if (first == NULL)
        return SMTP_ARRIVAL_UNASKED;
    if (first->ends <= written)
        return SMTP_ARRIVAL_DUE;
    bool content_begun = first->command->step == SMTP_STEP_CONTENT && first->begins < written;
    return content_begun ? SMTP_ARRIVAL_EARLY : SMTP_ARRIVAL_UNASKED;
}
