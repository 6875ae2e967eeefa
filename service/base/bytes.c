#include "base/bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes *bytes_new(size_t len)
{
    if (len > SIZE_MAX - sizeof(struct bytes))
        return NULL;
    struct bytes *bytes = malloc(sizeof(*bytes) + len);
    if (bytes == NULL)
        return NULL;
    atomic_init(&bytes->refs, 1);
    bytes->len = len;
    return bytes;
}

struct bytes *bytes_copy(const void *data, size_t len)
{
    struct bytes *bytes = bytes_new(len);
    if (bytes != NULL && len > 0)
        memcpy(bytes->data, data, len);
    return bytes;
}

void bytes_begin(struct buffer *b)
{
    if (buffer_reserve(b, sizeof(struct bytes)) != NULL)
        buffer_grown(b, sizeof(struct bytes));
}

struct bytes *bytes_end(struct buffer *b)
{
    if (b->failed || b->len < sizeof(struct bytes)) {
        buffer_clear(b);
        return NULL;
    }
    struct bytes *bytes = realloc(b->data, b->len);
    if (bytes == NULL) /* it could not be made smaller */
        bytes = (struct bytes *)b->data;
    atomic_init(&bytes->refs, 1);
    bytes->len = b->len - sizeof(struct bytes);
    buffer_init(b, b->limit);
    return bytes;
}

struct bytes *bytes_ref(struct bytes *bytes)
{
    atomic_fetch_add_explicit(&bytes->refs, 1, memory_order_relaxed);
    return bytes;
}

void bytes_unref(struct bytes *bytes)
{
    if (bytes != NULL && atomic_fetch_sub_explicit(&bytes->refs, 1, memory_order_acq_rel) == 1)
        free(bytes);
}

const char *bytes_behind_mark(const char *text, size_t *len)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t n = sizeof(mark) - 1;
    if (*len < n || memcmp(text, mark, n) != 0)
        return text;
    *len -= n;
    return text + n;
}

size_t bytes_len_without_line_end(const char *text, size_t len)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    return len;
}
