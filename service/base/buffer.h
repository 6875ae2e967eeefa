#ifndef POSTERN_BASE_BUFFER_H
#define POSTERN_BASE_BUFFER_H

/*
 * Octets that grow up to a limit given at birth. A failed append leaves the content as it was and
 * is remembered in `failed`, so a writer may append many pieces and look once at the end.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct buffer {
    char *data; /* owned; not NUL-terminated */
    size_t len;
    size_t size;
    size_t limit; /* `len` never exceeds it */
    bool failed;  /* an append found no room or no memory */
    bool wiping;  /* set by whoever puts secrets into it: no copy of them is left behind */
};

void buffer_init(struct buffer *b, size_t limit); /* allocates nothing yet */
void buffer_clear(struct buffer *b);              /* frees; the buffer is empty and usable again */
DEFINE_CLEANUP_CLEAR(struct buffer, buffer_clear)

int buffer_append(struct buffer *b, const void *data, size_t len);
int buffer_append_str(struct buffer *b, const char *s);
int buffer_append_char(struct buffer *b, char c);
int buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for `len` more octets at the end, to be written by the caller and then counted by
 * buffer_grown(); NULL if there is none. */
char *buffer_reserve(struct buffer *b, size_t len);
void buffer_grown(struct buffer *b, size_t len);

void buffer_consume(struct buffer *b, size_t len); /* drop from the front */
void buffer_reset(struct buffer *b);               /* empty, memory kept, `failed` forgotten */

/* The content as a C string that the caller frees; NULL without memory or when `failed`. */
char *buffer_steal_str(struct buffer *b);

#endif
