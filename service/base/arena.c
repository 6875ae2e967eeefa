#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 4096, KEPT_MAX = 64 * 1024 };

struct block {
    struct block *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

struct arena {
    struct block *blocks; /* the newest first, which alone has room; never NULL */
    bool wiping, failed;
};

/* Behind the arena itself, in the same piece of memory, stands its first block. */
#define FIRST_AT                                                                                   \
    ((sizeof(struct arena) + alignof(struct block) - 1) / alignof(struct block) *                  \
     alignof(struct block))

static struct block *first_of(const struct arena *arena)
{
    return (struct block *)((char *)arena + FIRST_AT);
}

static struct block *block_new(size_t size)
{
    struct block *block = malloc(sizeof(*block) + size);
    if (block != NULL)
        *block = (struct block){.size = size};
    return block;
}

struct arena *arena_new(void)
{
    struct arena *arena = malloc(FIRST_AT + sizeof(struct block) + BLOCK_SIZE);
    if (arena == NULL)
        return NULL;
    *arena = (struct arena){.blocks = first_of(arena)};
    *arena->blocks = (struct block){.size = BLOCK_SIZE};
    return arena;
}

struct arena *arena_new_wiping(void)
{
    struct arena *arena = arena_new();
    if (arena != NULL)
        arena->wiping = true;
    return arena;
}

static void blocks_free(const struct arena *arena, struct block *block)
{
    for (struct block *next; block != NULL; block = next) {
        next = block->next;
        if (arena->wiping)
            explicit_bzero(block->data, block->used);
        block->used = 0;
        if (block != first_of(arena))
            free(block);
    }
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    blocks_free(arena, arena->blocks);
    free(arena);
}

/* The newest block stays, unless it was made for something unusually large. */
void arena_reset(struct arena *arena)
{
    struct block *first = first_of(arena), *kept = arena->blocks;
    arena->failed = false;
    if (kept == first || kept->size > KEPT_MAX) {
        blocks_free(arena, kept);
        arena->blocks = first;
        return;
    }
    blocks_free(arena, kept->next);
    kept->next = first;
    if (arena->wiping)
        explicit_bzero(kept->data, kept->used);
    kept->used = 0;
}

bool arena_failed(const struct arena *arena)
{
    return arena->failed;
}

static void *fail(struct arena *arena)
{
    arena->failed = true;
    return NULL;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size > SIZE_MAX - sizeof(struct block) - align)
        return fail(arena);
    size = (size + align - 1) / align * align;

    struct block *block = arena->blocks;
    if (block->size - block->used < size) {
        block = block_new(size > BLOCK_SIZE ? size : BLOCK_SIZE);
        if (block == NULL)
            return fail(arena);
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *p = block->data + block->used;
    block->used += size;
    return memset(p, 0, size);
}

void *arena_alloc_array(struct arena *arena, size_t n, size_t size)
{
    if (size != 0 && n > SIZE_MAX / size)
        return fail(arena);
    return arena_alloc(arena, n * size);
}

char *arena_strndup(struct arena *arena, const char *s, size_t len)
{
    char *copy = arena_alloc(arena, len + 1);
    if (copy != NULL && len > 0)
        memcpy(copy, s, len);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *s)
{
    return arena_strndup(arena, s, strlen(s));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    char *s = need < 0 ? NULL : arena_alloc(arena, (size_t)need + 1);
    if (s != NULL)
        vsnprintf(s, (size_t)need + 1, format, again);
    va_end(again);
    va_end(args);
    return s;
}
