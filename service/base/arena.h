#ifndef POSTERN_BASE_ARENA_H
#define POSTERN_BASE_ARENA_H

/* Memory that is freed all at once: one arena per HTTP request and per delivery attempt. */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct arena;

struct arena *arena_new(void); /* NULL without memory */
/* For secrets: what was in it is wiped before it is freed. */
struct arena *arena_new_wiping(void);
void arena_free(struct arena *arena);
DEFINE_CLEANUP(struct arena *, arena_free)

/* Everything from it is gone; it keeps a block for what comes next, and has not failed. */
void arena_reset(struct arena *arena);

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for anything; or NULL */
void *arena_alloc_array(struct arena *arena, size_t n, size_t size); /* NULL on overflow too */
char *arena_strdup(struct arena *arena, const char *s);
char *arena_strndup(struct arena *arena, const char *s, size_t len);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Once any of these gave NULL, for ever: so that who makes much may look once, at the end. */
bool arena_failed(const struct arena *arena);

#endif
