/* What became of messages: recipients, counts by status, what relays took. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_rig.h"

static const struct letter plain = {0};

/* --- recipients --------------------------------------------------------------------------- */

STORE_TEST(store_outcome, settles_each_recipient)
{
    char id[ID_SIZE];
    bed_keep(&(struct letter){.n_recipients = 4}, false, id);
    struct mail *delivery = bed_load(T0, 1, SIZE_MAX);
    static const enum delivery_verdict verdicts[] = {DELIVERY_SENT, DELIVERY_FAILED,
                                                     DELIVERY_DEFERRED, DELIVERY_IN_DOUBT};
    for (size_t i = 0; i < 4; i++) {
        delivery->recipients[i].verdict = verdicts[i];
        delivery->recipients[i].reply.code = (int)(250 + i);
    }
    const enum recipient_status status[] = {RECIPIENT_SENT, RECIPIENT_FAILED, RECIPIENT_DEFERRED,
                                            RECIPIENT_IN_DOUBT};
    const int64_t next_ms[] = {0, 0, T0 + 500, T0 + 900};
    cr_assert_eq(bed_settle(delivery, status, next_ms), T0 + 500);

    struct mail *record = bed_find(id);
    cr_assert_eq(record->n_events, 8);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(record->recipients[i].status, status[i]);
        cr_assert_eq(record->recipients[i].attempts, 1);
        cr_assert_eq(record->recipients[i].at_ms, T0 + 1);
        cr_assert_eq(record->events[4 + i].reply.code, 250 + (int)i);
        cr_assert_eq(record->events[4 + i].at_ms, T0 + 1);
    }
    mail_free(record);

    delivery = bed_load(T0 + 500, 1, SIZE_MAX); /* only who is due */
    cr_assert_eq(delivery->n_recipients, 1);
    cr_assert_eq(delivery->recipients[0].index, 2);
    cr_assert_eq(delivery->recipients[0].attempts, 1);
    delivery->recipients[0].verdict = DELIVERY_SENT;
    cr_assert_eq(bed_settle(delivery, &status[0], &next_ms[0]), T0 + 900, "the other is open");
    delivery = bed_load(T0 + 900, 1, SIZE_MAX);
    cr_assert_eq(delivery->recipients[0].index, 3);
    delivery->recipients[0].verdict = DELIVERY_SENT;
    cr_assert_eq(bed_settle(delivery, &status[0], &next_ms[0]), INT64_MAX);
    bed_check_status(id, "partial");
    cr_assert_null(bed_load(INT64_MAX - 1, 1, SIZE_MAX));
}

STORE_TEST(store_outcome, holds_what_is_in_doubt)
{
    char id[ID_SIZE];
    bed_keep(&(struct letter){.n_recipients = 1}, false, id);
    struct mail *delivery = bed_load(T0, 1, SIZE_MAX);
    delivery->recipients[0].verdict = DELIVERY_IN_DOUBT;
    const enum recipient_status status = RECIPIENT_IN_DOUBT;
    const int64_t held = 0;
    cr_assert_eq(bed_settle(delivery, &status, &held), INT64_MAX);
    bed_check_status(id, "in_doubt");
    cr_assert_null(bed_load(INT64_MAX - 1, 1, SIZE_MAX));
}

STORE_TEST(store_outcome, gives_back_whom_nothing_became_of)
{
    static const enum recipient_status status[] = {RECIPIENT_SENT, RECIPIENT_QUEUED};
    static const int64_t next_ms[] = {0, 0};
    bed_keep(&plain, false, NULL);
    cr_assert_eq(bed_settle(bed_load(T0, 1, SIZE_MAX), status, next_ms), T0 + 1);
    struct mail *delivery = bed_load(T0 + 1, 1, SIZE_MAX);
    cr_assert_eq(delivery->n_recipients, 1);
    cr_assert_eq(delivery->recipients[0].index, 1);
    cr_assert_eq(delivery->recipients[0].attempts, 0);
    bed_drop(delivery);
}

STORE_TEST(store_outcome, cancels_what_is_not_finished)
{
    char id[ID_SIZE];
    int64_t seq = bed_keep(&plain, true, id);
    bed_cancel(seq, T0 + 1);
    bed_check_status(id, "canceled");
    cr_assert_null(bed_load(INT64_MAX - 1, 1, SIZE_MAX));
    cr_assert_eq(bed_number("SELECT count(*) FROM body"), 0);
    CLEANUP(mail_free) struct mail *record = bed_find(id);
    cr_assert_eq(record->n_events, 4);
    cr_assert_eq(record->events[3].type, EVENT_MESSAGE_CANCELED);
}

/* --- counts ------------------------------------------------------------------------------- */

STORE_TEST(store_outcome, counts_by_status)
{
    bed_keep(&plain, false, NULL);
    bed_keep(&(struct letter){.n_recipients = 1}, false, NULL);
    struct store_stats stats = bed_stats();
    cr_assert_eq(stats.n_queued, 3);
    cr_assert_eq(stats.n_deferred + stats.n_in_doubt, 0);
    cr_assert_eq(stats.oldest_queued_ms, T0);
}

/* What a count finds that the store makes when it is opened. */
static void check_counts(void)
{
    struct store_stats kept = bed_stats();
    if (!bed.ops->durable) { /* recovering counts, and changes nothing here */
        cr_assert_eq(bed.ops->recover(bed.store, NULL, 0, 0, 0, &bed.err), 0);
    } else {
        bed_close();
        bed_open();
    }
    struct store_stats counted = bed_stats();
    cr_assert_eq(kept.n_queued, counted.n_queued, "%ld %ld", (long)kept.n_queued,
                 (long)counted.n_queued);
    cr_assert_eq(kept.n_deferred, counted.n_deferred, "%ld %ld", (long)kept.n_deferred,
                 (long)counted.n_deferred);
    cr_assert_eq(kept.n_in_doubt, counted.n_in_doubt, "%ld %ld", (long)kept.n_in_doubt,
                 (long)counted.n_in_doubt);
    cr_assert_eq(kept.oldest_queued_ms, counted.oldest_queued_ms);
    cr_assert_eq(kept.oldest_deferred_ms, counted.oldest_deferred_ms);
}

static bool one_in(unsigned n)
{
    return (unsigned)rand() % n == 0;
}

/* Each of its recipients; what is wanted again is so soon. */
static struct store_outcome any_outcome(struct mail *delivery, int64_t now_ms)
{
    static const enum recipient_status ends[] = {
        RECIPIENT_QUEUED, RECIPIENT_DEFERRED, RECIPIENT_SENT, RECIPIENT_FAILED, RECIPIENT_IN_DOUBT};
    struct store_outcome outcome = bed_outcome(delivery, RECIPIENT_QUEUED, 0);
    enum recipient_status *status = (enum recipient_status *)outcome.status;
    int64_t *next_ms = (int64_t *)outcome.next_ms;
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        status[i] = ends[rand() % 5];
        bool again =
            status[i] == RECIPIENT_DEFERRED || (status[i] == RECIPIENT_IN_DOUBT && one_in(2));
        next_ms[i] = again ? now_ms + 1 + rand() % 50 : 0;
        delivery->recipients[i].verdict = DELIVERY_DEFERRED;
    }
    return outcome;
}

/* Some of them fail as a whole. */
static bool try(struct store_turn *turn)
{
    bool broken = one_in(4);
    if (broken)
        bed_break();
    int rc = bed.ops->commit(bed.store, turn, &bed.err);
    if (broken)
        bed_mend();
    cr_assert(broken || rc == 0, "%s", bed.err.detail);
    return rc == 0;
}

/* Some of what goes in has a recipient that fails, if there is poison. */
static void submit_something(int64_t now_ms)
{
    struct store_submission items[3];
    struct store_turn turn = bed_turn(now_ms);
    for (size_t i = 0; i < 3; i++)
        items[i] = bed_item(&(struct letter){.n_recipients = 1 + (size_t)rand() % 5,
                                             .to = one_in(8) ? "bad@example.net" : NULL,
                                             .age_ms = rand() % 1000},
                            one_in(3));
    turn.submissions = items;
    turn.n_submissions = 3;
    if (!try(&turn))
        return;
    for (size_t i = 0; i < 3; i++)
        if (items[i].claimed && items[i].fault == NULL)
            bed_cancel(items[i].seq, now_ms);
}

static void deliver_something(int64_t now_ms)
{
    struct store_outcome outcomes[3];
    struct store_submission item = bed_item(&plain, false);
    struct store_turn turn = bed_turn(now_ms);
    struct mail *list = bed_load(now_ms, 3, SIZE_MAX);
    for (struct mail *one = list; one != NULL; one = one->next)
        outcomes[turn.n_outcomes++] = any_outcome(one, now_ms);
    turn.outcomes = outcomes;
    turn.submissions = &item;
    turn.n_submissions = one_in(3);
    turn.purge = (struct store_purge){.max_n = 3 * one_in(3), .record_before_ms = now_ms - 20};
    try(&turn);
    bed_drop(list);
}

/* `now_ms` goes on with it. */
static void change_something(int64_t now_ms)
{
    struct store_turn turn = bed_turn(now_ms);
    switch (rand() % 8) {
    case 0:
        submit_something(now_ms);
        break;
    case 1: {
        const struct flight flight = {.seq = 1 + rand() % 40, .hold = one_in(2)};
        cr_assert_eq(bed.ops->recover(bed.store, &flight, 1, now_ms, now_ms, &bed.err), 0);
        break;
    }
    case 2:
        turn.purge = (struct store_purge){.record_before_ms = now_ms, .max_n = 3};
        try(&turn);
        break;
    default:
        deliver_something(now_ms);
    }
}

STORE_TEST(store_outcome, keeps_counts_that_a_count_agrees_with)
{
    for (unsigned seed = 1; seed <= 3; seed++) {
        srand(seed);
        for (int i = 0; i < 300; i++) {
            change_something(T0 + i + (int64_t)seed * 1000);
            if (i % 20 == 0) {
                check_counts();
                sqlite3_exec(bed.store->db, "DROP TRIGGER poison; DROP TRIGGER bane", NULL, NULL,
                             NULL);
                if (i % 40 == 0)
                    bed_poison("bad@example.net", seed == 2 ? "ROLLBACK" : "ABORT");
            }
        }
        check_counts();
    }
}

/* --- usage -------------------------------------------------------------------------------- */

enum { HOUR_7 = 7 * USAGE_HOUR_MS };

/* Claimed, and taken by these relays in order, `n` recipients each. Freed by the caller. */
static void take_all(const char *const *relays, size_t n_messages, size_t n_sent, struct mail **out,
                     struct store_outcome *outcomes)
{
    for (size_t i = 0; i < n_messages; i++) {
        bed_keep(&plain, false, NULL);
        out[i] = bed_load(T0, 1, SIZE_MAX);
        out[i]->relay = relays[i];
        out[i]->n_sent = n_sent;
        outcomes[i] = bed_outcome(out[i], RECIPIENT_SENT, 0);
    }
}

static void free_all(struct mail **deliveries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mail_free(deliveries[i]);
}

static void take(const char *relay, int64_t now_ms, size_t n_sent)
{
    struct mail *delivery;
    struct store_outcome outcome;
    struct store_turn turn = bed_turn(now_ms);
    take_all(&relay, 1, n_sent, &delivery, &outcome);
    turn.outcomes = &outcome;
    turn.n_outcomes = 1;
    bed_commit(&turn);
    mail_free(delivery);
}

STORE_TEST(store_outcome, adds_up_usage_by_relay_and_hour)
{
    bed_expect_usage(0, "");
    take("primary", HOUR_7, 2);
    take("primary", HOUR_7 + USAGE_HOUR_MS - 1, 1);
    take("backup", HOUR_7 + 5, 1);
    take("backup", HOUR_7 + 5, 0); /* it took nothing */
    take("primary", HOUR_7 + USAGE_HOUR_MS, 2);
    bed_expect_usage(0, "backup 7 1 1; primary 7 2 3; primary 8 1 2; ");
    bed_expect_usage(HOUR_7 + 1, "backup 7 1 1; primary 7 2 3; primary 8 1 2; ");
    bed_expect_usage(HOUR_7 + USAGE_HOUR_MS, "primary 8 1 2; ");
    bed_expect_usage(HOUR_7 + 2 * USAGE_HOUR_MS, "");
}

static const char *const many[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
                                   "a", "k", "b", "a", "j", "a", "l", "c", "a"};
enum { N_MANY = sizeof(many) / sizeof(many[0]) };
#define USAGE_OF_MANY                                                                              \
    "a 7 5 10; b 7 2 4; c 7 2 4; d 7 1 2; e 7 1 2; f 7 1 2; g 7 1 2; h 7 1 2; i 7 1 2; "           \
    "j 7 2 4; k 7 1 2; l 7 1 2; "

static void take_many(struct store_submission *also, bool fails)
{
    struct mail *deliveries[N_MANY];
    struct store_outcome outcomes[N_MANY];
    struct store_turn turn = bed_turn(HOUR_7);
    take_all(many, N_MANY, 2, deliveries, outcomes);
    turn.outcomes = outcomes;
    turn.n_outcomes = N_MANY;
    turn.submissions = also;
    turn.n_submissions = also != NULL;
    if (fails) {
        bed_break();
        cr_assert_eq(bed.ops->commit(bed.store, &turn, &bed.err), -1);
        bed_mend();
        bed_expect_usage(0, "");
    }
    bed_commit_some(&turn);
    bed_expect_usage(0, USAGE_OF_MANY);
    free_all(deliveries, N_MANY);
}

STORE_TEST(store_outcome, adds_up_usage_of_many_relays_in_a_turn)
{
    take_many(NULL, false);
}

STORE_TEST(store_outcome, adds_up_usage_of_many_relays_singly)
{
    struct store_submission bad = bed_item(&(struct letter){.to = "bad@example.net"}, false);
    bed_poison("bad@example.net", "ROLLBACK");
    take_many(&bad, false);
    cr_assert_not_null(bad.fault);
}

STORE_TEST(store_outcome, adds_up_usage_once_after_a_turn_that_failed)
{
    take_many(NULL, true);
}

/* What is written last, for all outcomes together, is no less each one's own. */
STORE_TEST(store_outcome, leaves_out_whose_usage_cannot_be_kept)
{
    static const char *const relays[] = {"primary", "bad", "primary"};
    struct mail *deliveries[3];
    struct store_outcome outcomes[3];
    struct store_turn turn = bed_turn(HOUR_7);
    take_all(relays, 3, 1, deliveries, outcomes);
    turn.outcomes = outcomes;
    turn.n_outcomes = 3;
    cr_assert_eq(sqlite3_exec(bed.store->db,
                              "CREATE TEMP TRIGGER bane BEFORE INSERT ON usage WHEN new.relay ="
                              " 'bad' BEGIN SELECT RAISE(ABORT, 'poison'); END",
                              NULL, NULL, NULL),
                 SQLITE_OK);
    bed_commit_some(&turn);
    cr_assert_null(outcomes[0].fault);
    cr_assert_not_null(outcomes[1].fault);
    cr_assert_null(outcomes[2].fault);
    bed_expect_usage(0, "primary 7 2 2; ");
    bed_check_status(deliveries[1]->id, "queued");
    bed_check_status(deliveries[2]->id, "sent");
    free_all(deliveries, 3);
}
