#ifndef POSTERN_QUEUE_USAGE_H
#define POSTERN_QUEUE_USAGE_H

/*
 * How much each relay took, by the hour: what limits of an hour and more have to know after a
 * restart. A message counts if at least one of its recipients got a 2xx to the content, and so does
 * each such recipient; both when that is recorded.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/cleanup.h"

enum { USAGE_HOUR_MS = 3600 * 1000 };
#define USAGE_KEPT_MS (INT64_C(25) * USAGE_HOUR_MS)

struct usage_record {
    const char *relay;
    int64_t hour_ms; /* wall clock: when the hour began */
    int64_t n_messages, n_recipients;
};

struct usage_list {
    struct usage_record *items;
    size_t n_items;
    struct arena *arena; /* owns the items and their strings */
};

/* As arena_free() does: a list that was never filled is fine. */
static inline void usage_list_clear(struct usage_list *list)
{
    arena_free(list->arena);
    *list = (struct usage_list){0};
}
DEFINE_CLEANUP_CLEAR(struct usage_list, usage_list_clear)

#endif
