/* What is handed out, once, and in which order. */

#include <criterion/criterion.h>
#include <string.h>

#include "store_rig.h"

static const struct letter plain = {0};

/* --- claims ------------------------------------------------------------------------------- */

STORE_TEST(store_load, hands_out_once)
{
    bed_keep(&plain, false, NULL);
    bed_keep(&plain, true, NULL); /* whoever submitted it has it */
    cr_assert_eq(bed_next_due(), T0);
    struct mail *delivery = bed_load(T0, 10, SIZE_MAX);
    cr_assert_null(delivery->next);
    cr_assert_null(bed_load(T0, 10, SIZE_MAX));
    bed_drop(delivery);
}

/* An outcome of nothing. */
STORE_TEST(store_load, takes_a_claim_back)
{
    bed_keep(&plain, false, NULL);
    struct mail *delivery = bed_load(T0, 10, SIZE_MAX);
    struct store_outcome outcome = {.mail = delivery, .due_ms = T0 + 5};
    struct store_turn turn = bed_turn(T0 + 1);
    turn.outcomes = &outcome;
    turn.n_outcomes = 1;
    bed_commit(&turn);
    bed_check_status(delivery->id, "queued");
    bed_drop(delivery);
    cr_assert_eq(bed_next_due(), T0 + 5);
    cr_assert_null(bed_load(T0 + 4, 10, SIZE_MAX), "not yet");
    delivery = bed_load(T0 + 5, 10, SIZE_MAX);
    cr_assert_eq(delivery->recipients[0].attempts, 0);
    cr_assert_eq(bed_drop(delivery), 1);
}

STORE_TEST(store_load, hands_out_no_more_than_wanted)
{
    for (size_t i = 0; i < 5; i++)
        bed_keep(&(struct letter){.size = 1000}, false, NULL);
    cr_assert_eq(bed_drop(bed_load(T0, 2, SIZE_MAX)), 2);
    cr_assert_leq(bed_drop(bed_load(T0, 10, 1500)), 2);
    cr_assert_geq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 1);
    cr_assert_null(bed_load(T0, 10, SIZE_MAX));
}

STORE_TEST(store_load, says_when_the_next_is_due)
{
    struct store_turn turn = bed_turn(T0);
    bed_keep(&(struct letter){.age_ms = -300, .priority = PRIORITY_LOW}, false, NULL);
    bed_keep(&(struct letter){.age_ms = -700, .priority = PRIORITY_HIGH}, false, NULL);
    bed_keep(&plain, false, NULL);
    turn.load = (struct store_load){.max_n = 10, .max_bytes = SIZE_MAX};
    bed_commit(&turn);
    cr_assert_eq(turn.load.next_due_ms, T0 + 300, "of what is not handed out");
    cr_assert_eq(bed_drop(turn.load.list), 1);
}

/* What nobody could hand out again would be stuck until the next start. */
STORE_TEST(store_load, claims_nothing_in_a_turn_that_fails)
{
    struct store_turn turn = bed_turn(T0);
    bed_keep(&plain, false, NULL);
    turn.load = (struct store_load){.max_n = 10, .max_bytes = SIZE_MAX};
    bed_break();
    cr_assert_eq(bed.ops->commit(bed.store, &turn, &bed.err), -1);
    cr_assert_null(turn.load.list);
    bed_mend();
    cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 1);
}

/* --- priorities --------------------------------------------------------------------------- */

/* Of each four the last is the oldest of all, here a low one; in batches of any size. */
static void hand_out_by_priority(size_t a_time)
{
    char order[16] = "";
    size_t n = 0;
    for (int i = 0; i < 4; i++)
        bed_keep(&(struct letter){.priority = PRIORITY_LOW, .age_ms = 3000 - i}, false, NULL);
    for (int i = 0; i < 3; i++)
        bed_keep(&(struct letter){.priority = PRIORITY_NORMAL, .age_ms = 2000 - i}, false, NULL);
    for (int i = 0; i < 6; i++)
        bed_keep(&(struct letter){.priority = PRIORITY_HIGH, .age_ms = 1000 - i}, false, NULL);
    cr_assert_eq(bed_next_due(), T0 - 3000);
    for (struct mail *list; (list = bed_load(T0, a_time, SIZE_MAX)) != NULL; bed_drop(list))
        for (const struct mail *d = list; d != NULL; d = d->next)
            order[n++] = "HNL"[d->options.priority];
    cr_assert_str_eq(order, "HHHLHHHLNNNLL");
    cr_assert_eq(bed_next_due(), INT64_MAX);
}

STORE_TEST(store_load, hands_out_by_priority_at_once)
{
    hand_out_by_priority(100);
}

STORE_TEST(store_load, hands_out_by_priority_one_by_one)
{
    hand_out_by_priority(1);
}

STORE_TEST(store_load, hands_out_the_oldest_due_first)
{
    char first[ID_SIZE], second[ID_SIZE];
    bed_keep(&(struct letter){.age_ms = 1}, false, second);
    bed_keep(&(struct letter){.age_ms = 2}, false, first);
    struct mail *list = bed_load(T0, 10, SIZE_MAX);
    cr_assert_str_eq(list->id, first);
    cr_assert_str_eq(list->next->id, second);
    bed_drop(list);
}

/* However much high mail comes in. */
STORE_TEST(store_load, starves_nothing)
{
    char low[ID_SIZE];
    bool came = false;
    bed_keep(&(struct letter){.priority = PRIORITY_LOW, .age_ms = 10}, false, low);
    for (size_t i = 0; i < 8 && !came; i++) {
        bed_keep(&(struct letter){.priority = PRIORITY_HIGH}, false, NULL);
        struct mail *delivery = bed_load(T0, 1, SIZE_MAX);
        came = strcmp(delivery->id, low) == 0;
        bed_drop(delivery);
    }
    cr_assert(came);
}
