#include <criterion/criterion.h>

#include "relay/ready.h"

enum { N = 2000, NEVER_MS = 1000 * 1000 * 1000 };

/* In the order they are appended; `n_used` of them are in use. */
static struct mail *items[N];
static size_t n_used;
static struct ready ready;

static void fill(void)
{
    for (size_t i = 0; i < N; i++) {
        items[i] = calloc(1, sizeof *items[i]);
        cr_assert_not_null(items[i]);
        items[i]->expires_ms = NEVER_MS;
        items[i]->options.priority = PRIORITY_NORMAL;
    }
    ready_init(&ready);
}

static void empty(void)
{
    for (size_t i = 0; i < N; i++)
        free(items[i]);
}

TestSuite(ready, .init = fill, .fini = empty);

static struct mail *chain(size_t from, size_t to)
{
    for (size_t i = from; i + 1 < to; i++)
        items[i]->next = items[i + 1];
    items[to - 1]->next = NULL;
    return items[from];
}

static void add(enum mail_priority priority, int64_t expires_ms)
{
    struct mail *one = items[n_used++];
    one->options.priority = priority;
    one->expires_ms = expires_ms;
    one->next = NULL;
    ready_append(&ready, one);
}

Test(ready, first_in_first_out)
{
    cr_assert_null(ready_take(&ready));
    ready_append(&ready, chain(0, 2));
    ready_append(&ready, NULL);
    ready_append(&ready, chain(2, 4));
    cr_assert_eq(ready.n, 4);
    for (size_t i = 0; i < 4; i++) {
        struct mail *taken = ready_take(&ready);
        cr_assert_eq(taken, items[i]);
        cr_assert_null(taken->next);
    }
    cr_assert_eq(ready.n, 0);
    ready_append(&ready, chain(1, 2)); /* usable again after it ran empty */
    cr_assert_eq(ready_take(&ready), items[1]);
    cr_assert_null(ready_take(&ready));
}

/* One list may hold all priorities. */
Test(ready, high_overtakes_normal_overtakes_low)
{
    static const enum mail_priority priorities[] = {PRIORITY_LOW,  PRIORITY_NORMAL, PRIORITY_NORMAL,
                                                    PRIORITY_HIGH, PRIORITY_LOW,    PRIORITY_HIGH};
    static const size_t order[] = {3, 5, 1, 2, 0, 4};
    for (size_t i = 0; i < 6; i++)
        items[i]->options.priority = priorities[i];
    ready_append(&ready, chain(0, 6));
    for (size_t i = 0; i < 6; i++)
        cr_assert_eq(ready_take(&ready), items[order[i]], "pull %zu", i);
}

Test(ready, takes_all_in_the_order_of_priority)
{
    cr_assert_null(ready_take_all(&ready));
    add(PRIORITY_LOW, NEVER_MS);
    add(PRIORITY_HIGH, NEVER_MS);
    add(PRIORITY_LOW, NEVER_MS);
    struct mail *all = ready_take_all(&ready);
    cr_assert_eq(all, items[1]);
    cr_assert_eq(all->next, items[0]);
    cr_assert_eq(all->next->next, items[2]);
    cr_assert_null(all->next->next->next);
    cr_assert_eq(ready.n, 0);
    cr_assert_null(ready_take(&ready));
}

/* What a busy relay sees: six of high priority, one each of the others, again and again. */
Test(ready, shares_while_all_priorities_wait)
{
    size_t taken[READY_PRIORITIES] = {0};
    for (size_t i = 0; i < 1800; i++)
        add((enum mail_priority)(i % READY_PRIORITIES), NEVER_MS);
    for (size_t i = 0; i < 80; i++)
        taken[ready_take(&ready)->options.priority]++;
    cr_assert_eq(taken[PRIORITY_HIGH], 60);
    cr_assert_eq(taken[PRIORITY_NORMAL], 10);
    cr_assert_eq(taken[PRIORITY_LOW], 10);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Whatever arrives and expires in between. */
static void starve_nobody(uint32_t seed)
{
    unsigned waited[READY_PRIORITIES] = {0}; /* pulls in a row that went to others */
    for (size_t pull = 0; n_used < N - 4; pull++) {
        for (uint32_t n = next_random(&seed) % 4; n > 0; n--)
            add((enum mail_priority)(next_random(&seed) % READY_PRIORITIES),
                next_random(&seed) % 50 == 0 ? (int64_t)(pull * 500) : NEVER_MS);
        ready_take_expired(&ready, (int64_t)(pull * 500));
        bool waits[READY_PRIORITIES];
        for (size_t i = 0; i < READY_PRIORITIES; i++)
            waits[i] = ready.lanes[i].first != NULL;
        struct mail *taken = ready_take(&ready);
        for (size_t i = 0; i < READY_PRIORITIES; i++) {
            bool went = taken != NULL && taken->options.priority == i;
            waited[i] = waits[i] && !went ? waited[i] + 1 : 0;
            cr_assert_lt(waited[i], READY_SHARE, "priority %zu, pull %zu", i, pull);
        }
    }
}

Test(ready, starves_nobody)
{
    for (uint32_t seed = 0; seed < 20; seed++) {
        n_used = 0;
        ready_init(&ready);
        starve_nobody(seed);
    }
}

static size_t count(const struct mail *list)
{
    size_t n = 0;
    for (; list != NULL; list = list->next)
        n++;
    return n;
}

Test(ready, gives_up_what_expired_and_keeps_the_order)
{
    static const enum mail_priority priorities[] = {PRIORITY_NORMAL, PRIORITY_HIGH};
    for (size_t i = 0; i < 8; i++)
        add(priorities[i / 4], i % 2 == 0 ? 10 : 30);
    struct mail *expired = ready_take_expired(&ready, 20);
    cr_assert_eq(count(expired), 4);
    cr_assert_eq(expired, items[4]);
    cr_assert_eq(expired->next, items[6]);
    cr_assert_eq(expired->next->next, items[0]);
    cr_assert_eq(expired->next->next->next, items[2]);
    cr_assert_eq(ready.n, 4);
    static const size_t left[] = {5, 7, 1, 3};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(ready_take(&ready), items[left[i]]);
    cr_assert_eq(ready.n, 0);
}

Test(ready, expires_at_its_time_and_not_before)
{
    add(PRIORITY_NORMAL, 5000);
    cr_assert_null(ready_take_expired(&ready, 4999));
    cr_assert_eq(ready_take_expired(&ready, 5000), items[0]);
    cr_assert_null(ready_take_expired(&ready, 100000));
}

Test(ready, looks_through_all_once_a_second_at_most)
{
    add(PRIORITY_NORMAL, 5000);
    add(PRIORITY_LOW, 5100);
    add(PRIORITY_NORMAL, 7000);
    cr_assert_eq(count(ready_take_expired(&ready, 5000)), 1);
    cr_assert_null(ready_take_expired(&ready, 5999), "not so soon again");
    cr_assert_eq(ready_take_expired(&ready, 6000), items[1]);
    cr_assert_eq(ready.soonest_ms, 7000, "and not at all until then");
    cr_assert_eq(ready_take_expired(&ready, 7000), items[2]);
}

/* The one that would have expired first is gone: the others are found all the same. */
Test(ready, finds_them_after_the_first_was_taken)
{
    add(PRIORITY_HIGH, 1000);
    add(PRIORITY_NORMAL, 2000);
    cr_assert_eq(ready_take(&ready), items[0]);
    cr_assert_null(ready_take_expired(&ready, 1500));
    cr_assert_eq(ready_take_expired(&ready, 2500), items[1]);
}

/* ... also when the clock was set back. */
Test(ready, bears_a_clock_that_is_set_back)
{
    add(PRIORITY_NORMAL, 10000);
    cr_assert_not_null(ready_take_expired(&ready, 10000));
    add(PRIORITY_NORMAL, 2000);
    cr_assert_eq(ready_take_expired(&ready, 3000), items[1]);
}

Test(ready, what_is_put_back_comes_first_of_its_kind)
{
    for (size_t i = 0; i < 3; i++)
        add(PRIORITY_LOW, NEVER_MS);
    struct mail *taken = ready_take(&ready);
    ready_put_back(&ready, taken);
    cr_assert_eq(ready.n, 3);
    cr_assert_eq(ready_take(&ready), taken);
    while (ready_take(&ready) != NULL)
        ;
    taken->expires_ms = 5;
    ready_put_back(&ready, taken); /* into an empty lane */
    add(PRIORITY_LOW, NEVER_MS);
    cr_assert_eq(ready_take_expired(&ready, 5), taken, "it expires where it is");
    cr_assert_eq(ready.n, 1);
    cr_assert_not_null(ready_take(&ready));
    cr_assert_null(ready_take(&ready));
}
