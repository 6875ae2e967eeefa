#ifndef POSTERN_BASE_BYTES_H
#define POSTERN_BASE_BYTES_H

/*
 * Immutable octets shared between threads: a message's content on its way from the composer
 * through the queue to a session. Counted, because the queue may drop a message while a session
 * still sends it.
 */

#include <stdatomic.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/cleanup.h"

struct bytes {
    atomic_uint refs;
    size_t len;
    char data[];
};

struct bytes *bytes_new(size_t len); /* uninitialised; fill before sharing; NULL without memory */
struct bytes *bytes_copy(const void *data, size_t len);
/* To write them piece by piece without a copy at the end: begin in an empty buffer (its limit
 * counts sizeof(struct bytes) too), append, end. NULL if the buffer failed; the buffer is empty
 * again. */
void bytes_begin(struct buffer *b);
struct bytes *bytes_end(struct buffer *b);
struct bytes *bytes_ref(struct bytes *bytes);
/* Where a text begins behind the byte order mark that some editors and servers put before UTF-8;
 * `*len` shrinks with it. */
const char *bytes_behind_mark(const char *text, size_t *len);
/* How long a text is without the line ends behind it, which are nobody's intention. */
size_t bytes_len_without_line_end(const char *text, size_t len);
void bytes_unref(struct bytes *bytes); /* NULL is fine */
DEFINE_CLEANUP(struct bytes *, bytes_unref)

#endif
