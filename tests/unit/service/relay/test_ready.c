#include <criterion/criterion.h>

#include "relay/ready.h"

static struct delivery *items[4];

static void fill(void)
{
    for (size_t i = 0; i < 4; i++) {
        items[i] = calloc(1, sizeof *items[i]);
        cr_assert_not_null(items[i]);
    }
}

static void empty(void)
{
    for (size_t i = 0; i < 4; i++)
        free(items[i]);
}

TestSuite(ready, .init = fill, .fini = empty);

static struct delivery *chain(size_t from, size_t to)
{
    for (size_t i = from; i + 1 < to; i++)
        items[i]->next = items[i + 1];
    items[to - 1]->next = NULL;
    return items[from];
}

Test(ready, first_in_first_out)
{
    struct ready ready;
    ready_init(&ready);
    cr_assert_null(ready_take(&ready));
    ready_append(&ready, chain(0, 2));
    ready_append(&ready, NULL);
    ready_append(&ready, chain(2, 4));
    cr_assert_eq(ready.n, 4);
    for (size_t i = 0; i < 4; i++) {
        struct delivery *taken = ready_take(&ready);
        cr_assert_eq(taken, items[i]);
        cr_assert_null(taken->next);
    }
    cr_assert_eq(ready.n, 0);
    ready_append(&ready, chain(1, 2)); /* usable again after it ran empty */
    cr_assert_eq(ready_take(&ready), items[1]);
}

Test(ready, gives_up_what_expired_and_keeps_the_order)
{
    struct ready ready;
    ready_init(&ready);
    for (size_t i = 0; i < 4; i++)
        items[i]->expires_ms = i % 2 == 0 ? 10 : 30;
    ready_append(&ready, chain(0, 4));
    struct delivery *expired = ready_take_expired(&ready, 20);
    size_t n = 0;
    for (; expired != NULL; expired = expired->next, n++)
        cr_assert_eq(expired->expires_ms, 10);
    cr_assert_eq(n, 2);
    cr_assert_eq(ready.n, 2);
    cr_assert_eq(ready_take(&ready), items[1]);
    cr_assert_eq(ready_take(&ready), items[3]);
}
