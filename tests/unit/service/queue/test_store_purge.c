/* What is no longer kept: records, contents, usage. */

#include <criterion/criterion.h>

#include "store_rig.h"

static const struct letter plain = {0};

static size_t purge(struct store_purge what)
{
    struct store_turn turn = bed_turn(T0);
    turn.purge = what;
    bed_commit(&turn);
    return turn.purge.n;
}

static size_t purge_records(int64_t before_ms, size_t max_n)
{
    return purge((struct store_purge){.max_n = max_n, .record_before_ms = before_ms});
}

static size_t purge_contents(int64_t before_ms, size_t max_n)
{
    return purge((struct store_purge){.max_n = max_n, .content_before_ms = before_ms});
}

/* One that was sent at `ended_ms`. */
static void end_one(int64_t ended_ms, bool keep_content, char id[ID_SIZE])
{
    bed_keep(&plain, false, id);
    bed_end(bed_load(T0, 1, SIZE_MAX), ended_ms, keep_content);
}

static int64_t n_bodies(void)
{
    return bed_number("SELECT count(*) FROM body");
}

STORE_TEST(store_purge, drops_what_ended_long_ago)
{
    char ended[ID_SIZE], open[ID_SIZE];
    const struct letter letter = {.key = "k"};
    bed_cancel(bed_keep(&letter, true, ended), T0 + 1);
    bed_keep(&plain, false, open);
    cr_assert_eq(purge_records(T0 + 1, 10), 0, "it did not end before");
    cr_assert_eq(purge_records(T0 + 2, 10), 1);
    cr_assert_not(bed_has(ended));
    bed_check_status(open, "queued");
    cr_assert_eq(bed_number("SELECT (SELECT count(*) FROM recipient) + (SELECT count(*) FROM event)"
                            " + (SELECT count(*) FROM idempotency)"),
                 2, "the other's two recipients are left");
    cr_assert_eq(bed_submit(&letter).result, STORE_SUBMIT_NEW);
}

STORE_TEST(store_purge, drops_the_oldest_first)
{
    char ids[3][ID_SIZE];
    end_one(T0 + 30, false, ids[0]);
    end_one(T0 + 10, false, ids[1]);
    end_one(T0 + 20, false, ids[2]);
    cr_assert_eq(purge_records(T0 + 100, 2), 2);
    cr_assert(bed_has(ids[0]));
    cr_assert_not(bed_has(ids[1]));
    cr_assert_not(bed_has(ids[2]));
    cr_assert_eq(purge_records(T0 + 100, 2), 1);
    cr_assert_eq(purge_records(T0 + 100, 2), 0);
}

STORE_TEST(store_purge, drops_kept_contents_and_no_record)
{
    char ids[3][ID_SIZE];
    end_one(T0 + 30, true, ids[0]);
    end_one(T0 + 10, true, ids[1]);
    end_one(T0 + 20, false, ids[2]);
    cr_assert_eq(n_bodies(), 2, "one was not to be kept");
    cr_assert_eq(purge_contents(T0 + 10, 10), 0);
    cr_assert_eq(purge_contents(T0 + 100, 1), 1, "the oldest");
    cr_assert_eq(bed_number("SELECT count(*) FROM body b JOIN message m ON m.seq = b.seq"
                            " WHERE m.ended_ms = 1000030"),
                 1);
    cr_assert_eq(purge_contents(T0 + 100, 10), 1);
    cr_assert_eq(purge_contents(T0 + 100, 10), 0, "what is gone is not looked at again");
    cr_assert_eq(n_bodies(), 0);
    for (size_t i = 0; i < 3; i++)
        bed_check_status(ids[i], "sent");
}

STORE_TEST(store_purge, leaves_the_contents_of_what_is_open)
{
    bed_keep(&plain, false, NULL);
    bed_keep(&plain, true, NULL);
    cr_assert_eq(purge((struct store_purge){
                     .max_n = 10, .record_before_ms = INT64_MAX, .content_before_ms = INT64_MAX}),
                 0);
    cr_assert_eq(n_bodies(), 2);
}

/* A record that goes takes its content along, and is counted once. */
STORE_TEST(store_purge, drops_kept_contents_with_their_records)
{
    char id[ID_SIZE];
    end_one(T0 + 10, true, id);
    cr_assert_eq(purge((struct store_purge){
                     .max_n = 10, .record_before_ms = T0 + 100, .content_before_ms = T0 + 100}),
                 1);
    cr_assert_eq(n_bodies(), 0);
    cr_assert_not(bed_has(id));
}

/* Held content is not there to be sent again. */
STORE_TEST(store_purge, hands_out_nothing_that_is_kept)
{
    char id[ID_SIZE];
    end_one(T0 + 10, true, id);
    cr_assert_null(bed_load(INT64_MAX - 1, 10, SIZE_MAX));
    cr_assert_eq(bed_next_due(), INT64_MAX);
}

STORE_TEST(store_purge, drops_old_usage)
{
    for (int64_t hour = 7; hour <= 9; hour++) {
        bed_keep(&plain, false, NULL);
        struct mail *delivery = bed_load(T0, 1, SIZE_MAX);
        delivery->relay = "primary";
        delivery->n_sent = 2;
        bed_end(delivery, hour * USAGE_HOUR_MS + 5, false);
    }
    cr_assert_eq(purge((struct store_purge){.max_n = 10, .usage_before_ms = 9 * USAGE_HOUR_MS}), 0,
                 "neither records nor contents");
    bed_expect_usage(0, "primary 9 1 2; ");
}
