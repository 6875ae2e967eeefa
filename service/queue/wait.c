#include "queue/wait.h"

#include <stdlib.h>

struct claim *claim_new(void)
{
    struct claim *claim = malloc(sizeof(*claim));
    if (claim != NULL) {
        atomic_init(&claim->refs, 1);
        atomic_init(&claim->state, CLAIM_WAITING);
    }
    return claim;
}

struct claim *claim_ref(struct claim *claim)
{
    atomic_fetch_add(&claim->refs, 1);
    return claim;
}

void claim_unref(struct claim *claim)
{
    if (claim != NULL && atomic_fetch_sub(&claim->refs, 1) == 1)
        free(claim);
}

bool claim_move(struct claim *claim, enum claim_state from, enum claim_state to)
{
    int expected = (int)from;
    return atomic_compare_exchange_strong(&claim->state, &expected, (int)to);
}

static struct waiter **bucket_of(struct waiters *waiters, int64_t seq)
{
    return &waiters->buckets[(uint64_t)seq % (sizeof(waiters->buckets) / sizeof(void *))];
}

void waiters_init(struct waiters *waiters)
{
    *waiters = (struct waiters){.next_deadline_ms = INT64_MAX};
}

void waiters_add(struct waiters *waiters, struct waiter *waiter)
{
    struct waiter **bucket = bucket_of(waiters, waiter->seq);
    waiter->next = *bucket;
    *bucket = waiter;
    waiters->n++;
    if (!waiter->overdue && waiter->deadline_ms < waiters->next_deadline_ms)
        waiters->next_deadline_ms = waiter->deadline_ms;
}

struct waiter *waiters_find(struct waiters *waiters, int64_t seq)
{
    struct waiter *waiter = *bucket_of(waiters, seq);
    while (waiter != NULL && waiter->seq != seq)
        waiter = waiter->next;
    return waiter;
}

struct waiter *waiters_take(struct waiters *waiters, int64_t seq)
{
    for (struct waiter **at = bucket_of(waiters, seq); *at != NULL; at = &(*at)->next)
        if ((*at)->seq == seq) {
            struct waiter *waiter = *at;
            *at = waiter->next;
            waiter->next = NULL;
            waiters->n--;
            return waiter;
        }
    return NULL;
}

struct waiter *waiters_take_due(struct waiters *waiters, int64_t now_ms)
{
    struct waiter *due = NULL;
    if (now_ms < waiters->next_deadline_ms)
        return NULL;
    waiters->next_deadline_ms = INT64_MAX;
    for (size_t i = 0; i < sizeof(waiters->buckets) / sizeof(void *); i++)
        for (struct waiter **at = &waiters->buckets[i]; *at != NULL;) {
            struct waiter *waiter = *at;
            if (!waiter->overdue && waiter->deadline_ms <= now_ms) {
                *at = waiter->next;
                waiter->next = due;
                due = waiter;
                waiters->n--;
                continue;
            }
            if (!waiter->overdue && waiter->deadline_ms < waiters->next_deadline_ms)
                waiters->next_deadline_ms = waiter->deadline_ms;
            at = &waiter->next;
        }
    return due;
}

void waiter_free(struct waiter *waiter)
{
    if (waiter == NULL)
        return;
    claim_unref(waiter->claim);
    free((char *)waiter->api_key);
    free((char *)waiter->key);
    free(waiter);
}
