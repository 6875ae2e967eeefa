#include "base/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_FIRST = 256 };

void buffer_init(struct buffer *b, size_t limit)
{
    *b = (struct buffer){.limit = limit};
}

static void wipe(struct buffer *b)
{
    if (b->wiping && b->data != NULL)
        explicit_bzero(b->data, b->size);
}

void buffer_clear(struct buffer *b)
{
    bool wiping = b->wiping;
    wipe(b);
    free(b->data);
    buffer_init(b, b->limit);
    b->wiping = wiping;
}

/* realloc() would leave the old octets where they were. */
static char *grow(struct buffer *b, size_t size)
{
    char *data = b->wiping ? malloc(size) : realloc(b->data, size);
    if (data == NULL || !b->wiping)
        return data;
    if (b->len > 0)
        memcpy(data, b->data, b->len);
    wipe(b);
    free(b->data);
    return data;
}

char *buffer_reserve(struct buffer *b, size_t len)
{
    if (len > b->limit - b->len) {
        b->failed = true;
        return NULL;
    }
    if (b->len + len > b->size) {
        size_t size = b->size > 0 ? b->size : SIZE_FIRST;
        while (size < b->len + len)
            size *= 2;
        if (size > b->limit)
            size = b->limit;
        char *data = grow(b, size);
        if (data == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->size = size;
    }
    return b->data + b->len;
}

void buffer_grown(struct buffer *b, size_t len)
{
    assert(len <= b->size - b->len);
    b->len += len;
}

int buffer_append(struct buffer *b, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    char *to = buffer_reserve(b, len);
    if (to == NULL)
        return -1;
    memcpy(to, data, len);
    b->len += len;
    return 0;
}

int buffer_append_str(struct buffer *b, const char *s)
{
    return buffer_append(b, s, strlen(s));
}

int buffer_append_char(struct buffer *b, char c)
{
    return buffer_append(b, &c, 1);
}

int buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char small[256];
    int need = vsnprintf(small, sizeof(small), format, args);
    int rc = -1;
    if (need >= 0 && (size_t)need < sizeof(small)) {
        rc = buffer_append(b, small, (size_t)need);
    } else if (need >= 0) {
        char *big = malloc((size_t)need + 1);
        if (big != NULL) {
            vsnprintf(big, (size_t)need + 1, format, again);
            rc = buffer_append(b, big, (size_t)need);
        }
        free(big);
    }
    if (rc < 0)
        b->failed = true;
    va_end(again);
    va_end(args);
    return rc;
}

void buffer_consume(struct buffer *b, size_t len)
{
    assert(len <= b->len);
    b->len -= len;
    if (b->len > 0)
        memmove(b->data, b->data + len, b->len);
}

void buffer_reset(struct buffer *b)
{
    b->len = 0;
    b->failed = false;
}

char *buffer_steal_str(struct buffer *b)
{
    char *s = b->failed ? NULL : realloc(b->data, b->len + 1);
    if (s == NULL)
        return NULL;
    s[b->len] = '\0';
    buffer_init(b, b->limit);
    return s;
}
