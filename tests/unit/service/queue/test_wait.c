#include "queue/wait.h"

#include <criterion/criterion.h>

static struct waiters waiters;

static struct submission *wait_for(struct submission *submission, int64_t seq, int64_t deadline_ms)
{
    *submission = (struct submission){.seq = seq, .deadline_ms = deadline_ms};
    waiters_add(&waiters, submission);
    return submission;
}

static size_t length(const struct submission *list)
{
    size_t n = 0;
    for (; list != NULL; list = list->next)
        n++;
    return n;
}

Test(wait, is_found_by_message)
{
    struct submission a, b, same_bucket;
    waiters_init(&waiters);
    cr_assert_eq(waiters.next_deadline_ms, INT64_MAX);
    wait_for(&a, 1, 100);
    wait_for(&b, 2, 50);
    wait_for(&same_bucket, 1 + WAIT_BUCKETS, 200);
    cr_assert_eq(waiters.n, 3);
    cr_assert_eq(waiters.next_deadline_ms, 50);
    cr_assert_eq(waiters_find(&waiters, 1), &a);
    cr_assert_eq(waiters_find(&waiters, 2), &b);
    cr_assert_eq(waiters_find(&waiters, 1 + WAIT_BUCKETS), &same_bucket);
    cr_assert_null(waiters_find(&waiters, 3));
    cr_assert_null(waiters_find(&waiters, 2 + WAIT_BUCKETS));
}

Test(wait, is_taken_once)
{
    struct submission a, b;
    waiters_init(&waiters);
    wait_for(&a, 7, 100);
    wait_for(&b, 7 + WAIT_BUCKETS, 100);
    cr_assert_eq(waiters_take(&waiters, 7), &a);
    cr_assert_null(a.next);
    cr_assert_null(waiters_take(&waiters, 7));
    cr_assert_eq(waiters_take(&waiters, 7 + WAIT_BUCKETS), &b);
    cr_assert_eq(waiters.n, 0);
    cr_assert_eq(waiters.next_deadline_ms, INT64_MAX);
}

Test(wait, ends_at_its_deadline)
{
    struct submission a, b, c;
    waiters_init(&waiters);
    wait_for(&a, 1, 100);
    wait_for(&b, 2, 200);
    wait_for(&c, 3, 100);
    cr_assert_null(waiters_take_due(&waiters, 99));
    cr_assert_eq(length(waiters_take_due(&waiters, 100)), 2);
    cr_assert_eq(waiters.n, 1);
    cr_assert_eq(waiters.next_deadline_ms, 200);
    cr_assert_eq(waiters_take_due(&waiters, 1000), &b);
    cr_assert_eq(waiters.next_deadline_ms, INT64_MAX);
}

Test(wait, of_an_overdue_one_ends_by_no_time)
{
    struct submission a;
    a = (struct submission){.seq = 1, .deadline_ms = 100, .overdue = true};
    waiters_init(&waiters);
    waiters_add(&waiters, &a);
    cr_assert_eq(waiters.next_deadline_ms, INT64_MAX);
    cr_assert_null(waiters_take_due(&waiters, INT64_MAX - 1));
    cr_assert_eq(waiters_find(&waiters, 1), &a);
    cr_assert_eq(waiters_take_all(&waiters), &a);
    cr_assert_null(waiters_take_all(&waiters));
}

Test(wait, all_can_be_taken)
{
    static struct submission many[3 * WAIT_BUCKETS];
    waiters_init(&waiters);
    for (size_t i = 0; i < 3 * WAIT_BUCKETS; i++)
        wait_for(&many[i], (int64_t)i + 1, 1000);
    cr_assert_eq(length(waiters_take_all(&waiters)), 3 * WAIT_BUCKETS);
    cr_assert_eq(waiters.n, 0);
    cr_assert_eq(waiters.next_deadline_ms, INT64_MAX);
}
