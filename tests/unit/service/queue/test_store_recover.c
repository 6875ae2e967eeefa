/* What a start finds, and a clock that was set. */

#include <criterion/criterion.h>

#include "store_rig.h"

static const struct letter plain = {0};

/* --- a clock that was set ----------------------------------------------------------------- */

static void check_times(const char *id, int64_t created_ms, int64_t next_ms)
{
    CLEANUP(mail_free) struct mail *record = bed_find(id);
    cr_assert_eq(record->created_ms, created_ms, "%ld", (long)record->created_ms);
    cr_assert_eq(record->recipients[0].next_attempt_ms, next_ms, "%ld",
                 (long)record->recipients[0].next_attempt_ms);
}

STORE_TEST(store_recover, moves_times_with_the_clock)
{
    static const enum recipient_status deferred[] = {RECIPIENT_DEFERRED, RECIPIENT_IN_DOUBT};
    static const int64_t next_ms[] = {T0 + 500, 0}; /* the second is held */
    static const int64_t by_ms[] = {1600000000000, -700, 86400000, -1600086399300};
    char early[ID_SIZE], id[ID_SIZE];
    int64_t at_ms = T0;
    bed_keep(&(struct letter){.age_ms = 999, .priority = PRIORITY_LOW}, false, early);
    bed_keep(&(struct letter){.age_ms = 10, .priority = PRIORITY_HIGH}, false, id);
    bed_settle(bed_load(T0, 1, 1), deferred, next_ms);
    for (size_t i = 0; i < sizeof(by_ms) / sizeof(by_ms[0]); i++) {
        cr_assert_eq(bed.ops->shift(bed.store, at_ms - 10, at_ms - 10, by_ms[i], &bed.err), 0, "%s",
                     bed.err.detail);
        at_ms += by_ms[i];
        check_times(id, at_ms - 10, at_ms + 500);
        check_times(early, T0 - 999, 0);
    }
    bed_drop(bed_load(T0, 1, 1)); /* the early one */
    cr_assert_eq(bed_next_due(), at_ms + 500);
    struct mail *delivery = bed_load(at_ms + 500, 1, 1);
    cr_assert_eq(delivery->n_recipients, 1, "what is held stays held");
    cr_assert_eq(delivery->expires_ms, at_ms + 3600000);
    bed_drop(delivery);
}

STORE_TEST(store_recover, forgets_dates_that_cannot_be)
{
    char old[ID_SIZE], right[ID_SIZE], future[ID_SIZE], ended[ID_SIZE];
    bed_keep(&(struct letter){.age_ms = 900}, false, ended);
    bed_end(bed_load(T0, 1, 1), T0 + 1, false);
    bed_keep(&(struct letter){.age_ms = 800}, false, old);
    bed_keep(&(struct letter){.age_ms = 100}, false, right);
    bed_keep(&(struct letter){.age_ms = -700000}, false, future);
    cr_assert_eq(bed.ops->redate(bed.store, T0 - 500, T0 + 500, T0 + 1, &bed.err), 0);
    check_times(ended, T0 - 900, 0);
    check_times(old, T0 + 1, 0);
    check_times(right, T0 - 100, 0);
    check_times(future, T0 + 1, 0);
    cr_assert_eq(bed_drop(bed_load(T0 + 1, 10, SIZE_MAX)), 3);
}

/* --- all or nothing ----------------------------------------------------------------------- */

STORE_TEST(store_recover, changes_nothing_if_it_fails)
{
    char id[ID_SIZE];
    const struct flight flight = {.seq = bed_keep(&plain, true, id)};
    bed_break();
    cr_assert_eq(bed.ops->recover(bed.store, &flight, 1, T0 + 10, T0, &bed.err), -1);
    cr_assert_eq(bed.ops->shift(bed.store, 0, INT64_MAX, 1000, &bed.err), -1);
    cr_assert_eq(bed.ops->redate(bed.store, T0 + 1, T0 + 2, T0 + 10, &bed.err), -1);
    bed_mend();
    check_times(id, T0, 0);
    bed_check_status(id, "queued");
    cr_assert_eq(bed_stats().n_queued, 2);
    cr_assert_null(bed_load(INT64_MAX - 1, 10, SIZE_MAX), "the claim stands");
    bed_recover(&flight, 1, T0 + 10); /* and it can be tried again */
    bed_check_status(id, "in_doubt");
    cr_assert_eq(bed_stats().n_in_doubt, 2);
}

/* --- starting again ----------------------------------------------------------------------- */

STORE_TEST(store_recover, releases_claims_and_doubts_what_flew)
{
    char idle[ID_SIZE], flying[ID_SIZE];
    bed_keep(&(struct letter){.key = "k", .waits = true}, true, idle);
    int64_t seq = bed_keep(&plain, true, flying);
    bed_recover(&(const struct flight){.seq = seq}, 1, T0 + 70);
    bed_check_status(idle, "queued");
    bed_check_status(flying, "in_doubt");
    struct store_submission again = bed_submit(&(struct letter){.key = "k"});
    cr_assert_eq(again.result, STORE_SUBMIT_REPLAY);
    cr_assert_eq(again.first_status, 202, "its client is gone");
    struct mail *delivery = bed_load(T0 + 69, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, idle);
    cr_assert_eq(bed_drop(delivery), 1);
    cr_assert_eq(bed_drop(bed_load(T0 + 70, 10, SIZE_MAX)), 1);
}

STORE_TEST(store_recover, holds_what_was_with_a_relay_that_holds)
{
    char held[ID_SIZE], again[ID_SIZE];
    const struct flight flights[] = {{.seq = bed_keep(&plain, true, held), .hold = true},
                                     {.seq = bed_keep(&plain, true, again)}};
    bed_recover(flights, 2, T0 + 10);
    bed_check_status(held, "in_doubt");
    bed_check_status(again, "in_doubt");
    struct mail *delivery = bed_load(INT64_MAX - 1, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, again);
    cr_assert_eq(bed_drop(delivery), 1);
}

STORE_TEST(store_recover, holds_all_that_was_claimed_if_told_to)
{
    char claimed[ID_SIZE], stored[ID_SIZE];
    bed_keep(&plain, true, claimed);
    bed_keep(&plain, false, stored);
    bed_recover(NULL, STORE_ALL_CLAIMED, 0);
    bed_check_status(claimed, "in_doubt");
    struct mail *delivery = bed_load(INT64_MAX - 1, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, stored);
    cr_assert_eq(bed_drop(delivery), 1);
}

/* What one relay holds is not let go by a crash while another had the rest of the message. */
STORE_TEST(store_recover, holds_on_what_was_held_before)
{
    static const enum recipient_status status[] = {RECIPIENT_IN_DOUBT, RECIPIENT_QUEUED};
    static const int64_t next_ms[] = {0, 0};
    char id[ID_SIZE];
    int64_t seq = bed_keep(&plain, false, id);
    struct mail *delivery = bed_load(T0, 1, SIZE_MAX);
    delivery->recipients[0].verdict = DELIVERY_IN_DOUBT;
    bed_settle(delivery, status, next_ms);
    bed_drop(bed_load(T0 + 1, 1, SIZE_MAX));
    bed_recover(&(const struct flight){.seq = seq}, 1, T0 + 10);
    struct mail *record = bed_find(id);
    cr_assert_eq(record->recipients[0].attempts, 1);
    cr_assert_eq(record->recipients[1].attempts, 1);
    mail_free(record);
    delivery = bed_load(T0 + 10, 1, SIZE_MAX);
    cr_assert_eq(delivery->n_recipients, 1);
    cr_assert_eq(delivery->recipients[0].index, 1);
    bed_drop(delivery);
}

/* Its outcome was committed before the process died, and its slot not cleared yet. */
STORE_TEST(store_recover, leaves_what_has_ended)
{
    char id[ID_SIZE];
    int64_t seq = bed_keep(&plain, false, id);
    bed_end(bed_load(T0, 1, SIZE_MAX), T0 + 1, true);
    bed_recover(&(const struct flight){.seq = seq}, 1, T0 + 10);
    bed_check_status(id, "sent");
    cr_assert_eq(bed_next_due(), INT64_MAX);
}
