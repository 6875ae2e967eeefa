#include "relay/ready.h"

void ready_init(struct ready *ready)
{
    *ready = (struct ready){.last = &ready->first};
}

void ready_append(struct ready *ready, struct delivery *list)
{
    *ready->last = list;
    for (; list != NULL; list = list->next) {
        ready->n++;
        ready->last = &list->next;
    }
}

struct delivery *ready_take(struct ready *ready)
{
    struct delivery *first = ready->first;
    if (first == NULL)
        return NULL;
    ready->first = first->next;
    if (ready->first == NULL)
        ready->last = &ready->first;
    first->next = NULL;
    ready->n--;
    return first;
}

struct delivery *ready_take_all(struct ready *ready)
{
    struct delivery *all = ready->first;
    ready_init(ready);
    return all;
}

struct delivery *ready_take_expired(struct ready *ready, int64_t wall_ms)
{
    struct delivery *expired = NULL;
    struct delivery *all = ready_take_all(ready);
    for (struct delivery *next; all != NULL; all = next) {
        next = all->next;
        all->next = NULL;
        if (all->expires_ms > wall_ms) {
            ready_append(ready, all);
        } else {
            all->next = expired;
            expired = all;
        }
    }
    return expired;
}
