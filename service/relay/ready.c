#include "relay/ready.h"

#include <assert.h>

enum { LOOK_EVERY_MS = 1000 };

static void lane_empty(struct ready_lane *lane)
{
    lane->first = NULL;
    lane->last = &lane->first;
}

static void lane_append(struct ready_lane *lane, struct mail *one)
{
    one->next = NULL;
    *lane->last = one;
    lane->last = &one->next;
}

static struct mail *lane_take(struct ready_lane *lane)
{
    struct mail *first = lane->first;
    lane->first = first->next;
    if (lane->first == NULL)
        lane->last = &lane->first;
    first->next = NULL;
    return first;
}

void ready_init(struct ready *ready)
{
    *ready = (struct ready){.soonest_ms = INT64_MAX, .looked_ms = INT64_MIN};
    for (size_t i = 0; i < READY_PRIORITIES; i++)
        lane_empty(&ready->lanes[i]);
}

static void append(struct ready *ready, struct mail *one)
{
    assert(one->options.priority <= PRIORITY_LOW);
    lane_append(&ready->lanes[one->options.priority], one);
    ready->n++;
    if (one->expires_ms < ready->soonest_ms)
        ready->soonest_ms = one->expires_ms;
}

void ready_append(struct ready *ready, struct mail *list)
{
    for (struct mail *next; list != NULL; list = next) {
        next = list->next;
        append(ready, list);
    }
}

void ready_put_back(struct ready *ready, struct mail *one)
{
    struct ready_lane *lane = &ready->lanes[one->options.priority];
    one->next = lane->first;
    if (lane->first == NULL)
        lane->last = &one->next;
    lane->first = one;
    ready->n++;
    if (one->expires_ms < ready->soonest_ms)
        ready->soonest_ms = one->expires_ms;
}

/* The first lane with something in it; but of each round of READY_SHARE turns the last ones belong
 * to one lane each. */
static struct ready_lane *next_lane(struct ready *ready)
{
    enum { FIRST_OWNED = READY_SHARE - READY_PRIORITIES };
    size_t turn = ready->turn++ % READY_SHARE;
    struct ready_lane *owner = &ready->lanes[turn > FIRST_OWNED ? turn - FIRST_OWNED : 0];
    if (owner->first != NULL)
        return owner;
    for (size_t i = 0; i < READY_PRIORITIES; i++)
        if (ready->lanes[i].first != NULL)
            return &ready->lanes[i];
    return NULL;
}

struct mail *ready_take(struct ready *ready)
{
    struct ready_lane *lane = next_lane(ready);
    if (lane == NULL)
        return NULL;
    ready->n--;
    return lane_take(lane);
}

struct mail *ready_take_all(struct ready *ready)
{
    struct mail *all = NULL, **last = &all;
    for (size_t i = 0; i < READY_PRIORITIES; i++)
        if (ready->lanes[i].first != NULL) {
            *last = ready->lanes[i].first;
            last = ready->lanes[i].last;
        }
    ready_init(ready);
    return all;
}

/* Moves what has expired from the lane to the list that ends at `*last`; returns the new end. */
static struct mail **sift(struct ready *ready, struct ready_lane *lane, int64_t now_ms,
                          struct mail **last)
{
    struct mail *one = lane->first;
    lane_empty(lane);
    for (struct mail *next; one != NULL; one = next) {
        next = one->next;
        ready->n--;
        if (one->expires_ms > now_ms) {
            append(ready, one);
            continue;
        }
        one->next = NULL;
        *last = one;
        last = &one->next;
    }
    return last;
}

/*
 * A heap would find them in order, but it needs memory, and a way back from each delivery to its
 * place in it. Most queues are empty long before the first of them expires; so it is enough to know
 * a time before which none does. When that one is taken it stays a lower bound.
 */
struct mail *ready_take_expired(struct ready *ready, int64_t now_ms)
{
    struct mail *expired = NULL, **last = &expired;
    bool lately = now_ms >= ready->looked_ms && now_ms - LOOK_EVERY_MS < ready->looked_ms;
    if (now_ms < ready->soonest_ms || lately)
        return NULL;
    ready->looked_ms = now_ms;
    ready->soonest_ms = INT64_MAX; /* append() finds it anew */
    for (size_t i = 0; i < READY_PRIORITIES; i++)
        last = sift(ready, &ready->lanes[i], now_ms, last);
    return expired;
}
