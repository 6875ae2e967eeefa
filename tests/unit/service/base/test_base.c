#include <criterion/criterion.h>
#include <malloc.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"

Test(buffer, keeps_its_limit)
{
    struct buffer b;
    buffer_init(&b, 10);
    cr_assert_eq(buffer_append(&b, "12345678", 8), 0);
    cr_assert_eq(buffer_append(&b, "abc", 3), -1);
    cr_assert(b.failed);
    cr_assert_eq(b.len, 8);
    cr_assert_eq(buffer_append(&b, "ab", 2), 0);
    cr_assert_eq(memcmp(b.data, "12345678ab", 10), 0);
    cr_assert_null(buffer_steal_str(&b), "a buffer that failed is no string");
    buffer_clear(&b);
}

Test(buffer, prints_long_and_short)
{
    struct buffer b;
    char wanted[701];
    buffer_init(&b, 4096);
    buffer_printf(&b, "%d-", 7);
    buffer_printf(&b, "%0700d", 0);
    memset(wanted, '0', 700);
    wanted[700] = '\0';
    char *s = buffer_steal_str(&b);
    cr_assert_str_eq(s + 2, wanted);
    cr_assert_eq(b.len, 0);
    free(s);
}

Test(buffer, consumes_from_the_front)
{
    struct buffer b;
    buffer_init(&b, 100);
    buffer_append_str(&b, "hello world");
    buffer_consume(&b, 6);
    cr_assert_eq(b.len, 5);
    cr_assert_eq(memcmp(b.data, "world", 5), 0);
    buffer_clear(&b);
}

Test(arena, gives_zeroed_memory_of_any_size)
{
    struct arena *arena = arena_new();
    for (size_t size = 1; size < 100000; size *= 3) {
        char *p = arena_alloc(arena, size);
        cr_assert_eq((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 'x', size);
    }
    cr_assert_null(arena_alloc(arena, SIZE_MAX - 8));
    cr_assert_null(arena_alloc_array(arena, SIZE_MAX / 2, 3));
    cr_assert_str_eq(arena_printf(arena, "%s-%d", "a", 5), "a-5");
    arena_free(arena);
}

Test(arena, remembers_what_it_could_not_give)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    cr_expect_not_null(arena_alloc(arena, 1));
    cr_expect(!arena_failed(arena));
    cr_expect_null(arena_alloc_array(arena, SIZE_MAX / 2, 3));
    cr_expect(arena_failed(arena));
    cr_expect_not_null(arena_strdup(arena, "a"));
    cr_expect(arena_failed(arena));
}

Test(arena, is_as_new_after_a_reset)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    arena_reset(arena); /* nothing was asked for yet */
    cr_expect_null(arena_alloc_array(arena, SIZE_MAX / 2, 3));
    for (size_t i = 0; i < 1000; i++)
        memset(arena_alloc(arena, 100), 'x', 100);
    arena_reset(arena);
    cr_expect(!arena_failed(arena));
    for (size_t i = 0; i < 1000; i++) {
        const char *p = arena_alloc(arena, 100);
        for (size_t at = 0; at < 100; at++)
            cr_assert_eq(p[at], 0, "what was there is not seen again");
    }
    cr_expect(!arena_failed(arena));
}

Test(arena, keeps_a_block_for_what_comes_next)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    const void *first = arena_alloc(arena, 100);
    for (size_t i = 0; i < 10; i++) {
        arena_reset(arena);
        cr_assert_eq(arena_alloc(arena, 100), first);
    }
}

Test(arena, does_not_keep_what_is_unusually_large)
{
    const size_t large = 8 << 20;
    CLEANUP(arena_free) struct arena *arena = arena_new();
    memset(arena_alloc(arena, large), 'x', large);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    arena_reset(arena);
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
#if !defined(__SANITIZE_ADDRESS__) /* which has an allocator of its own */
    cr_expect_geq(before - after, large);
#else
    cr_expect_eq(before, after);
#endif
    cr_assert_str_eq(arena_strdup(arena, "a"), "a");
}

Test(arena, wipes_what_a_reset_keeps)
{
    static const char secret[] = "hunter2";
    CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
    const char *kept = arena_strdup(arena, secret);
    arena_reset(arena);
    for (size_t i = 0; i < sizeof(secret); i++) /* the block is still the arena's */
        cr_assert_eq(kept[i], '\0');
    cr_assert_eq(arena_strdup(arena, secret), kept);
    memset(arena_alloc(arena, 100000), 'x', 100000);
    arena_reset(arena);
    cr_assert_str_eq(arena_strdup(arena, secret), secret);
}

Test(error, is_harmless_to_a_terminal)
{
    struct error err;
    cr_assert_eq(error_set(&err, ERR_PROTOCOL, "peer said %s", "\x1b[2J\r\nx"), -1);
    cr_assert_str_eq(err.detail, "peer said  [2J  x");
    cr_assert_str_eq(error_word(ERR_CERTIFICATE_NAME_MISMATCH), "certificate_name_mismatch");
    cr_assert_eq(error_set(NULL, ERR_PROTOCOL, "x"), -1);
}

Test(error, list_counts_beyond_what_it_keeps)
{
    struct error_list list = {0};
    for (int i = 0; i < 100; i++)
        error_list_add(&list, "/to", "fault %d", i);
    cr_assert_eq(list.n_items, ERROR_LIST_MAX);
    cr_assert_eq(list.n_total, 100);
    cr_assert_str_eq(list.items[63].detail, "fault 63");
    error_list_clear(&list);
    cr_assert_eq(list.n_total, 0);
}

Test(id, ids_are_valid_distinct_and_sort_by_time)
{
    char a[ID_SIZE], b[ID_SIZE], c[ID_SIZE];
    id_new(1000, a);
    id_new(1000, b);
    id_new(1001, c);
    cr_assert(id_valid(a) && id_valid(b) && id_valid(c));
    cr_assert_str_neq(a, b);
    cr_assert_lt(strcmp(a, c), 0);
    cr_assert_lt(strcmp(b, c), 0);
    cr_assert_not(id_valid("01K"));
    cr_assert_not(id_valid("0123456789ABCDEFGHJKMNPQRI"), "I is not of the alphabet");
}

Test(clock, formats_rfc3339)
{
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(1795435200123, text);
    cr_assert_str_eq(text, "2026-11-23T12:00:00.123Z");
}

Test(bytes, are_counted)
{
    struct bytes *bytes = bytes_copy("abc", 3);
    cr_assert_eq(bytes_ref(bytes), bytes);
    bytes_unref(bytes);
    cr_assert_eq(memcmp(bytes->data, "abc", 3), 0);
    bytes_unref(bytes);
    bytes_unref(NULL);
}
