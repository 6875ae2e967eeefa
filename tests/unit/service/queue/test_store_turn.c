/* A turn is whole: all of it stands, or nothing, or what fails by itself is left out. */

#include <criterion/criterion.h>
#include <string.h>

#include "store_rig.h"

static const struct letter plain = {0};

/* --- everything at once ------------------------------------------------------------------- */

static struct {
    struct mail *tried; /* claimed, to two */
    char ended_id[ID_SIZE], canceled_id[ID_SIZE];
    struct store_outcome outcome;
    struct store_answer answer;
    struct store_cancel cancel;
    struct store_submission told, gone, claimed; /* keys answered and forgotten in the same turn */
} all;

/* What there is before the turn: one that ended, one that was tried, two whose clients wait. */
static void make_past(void)
{
    bed_keep(&plain, false, all.ended_id);
    bed_end(bed_load(T0, 1, SIZE_MAX), T0 - 500, false);
    bed_keep(&plain, false, NULL);
    all.tried = bed_load(T0, 1, SIZE_MAX);
    all.tried->relay = "primary";
    all.tried->n_sent = 1;
    all.tried->recipients[0].verdict = DELIVERY_SENT;
    all.tried->recipients[1].verdict = DELIVERY_DEFERRED;
    bed_keep(&(struct letter){.key = "told", .waits = true}, true, NULL);
    all.cancel.seq =
        bed_keep(&(struct letter){.key = "gone", .waits = true}, true, all.canceled_id);
}

/* A recipient is due again in the turn that says so. */
static void make_items(void)
{
    static const enum recipient_status status[] = {RECIPIENT_SENT, RECIPIENT_DEFERRED};
    static const int64_t next_ms[] = {0, T0 + 10};
    all.outcome = (struct store_outcome){.mail = all.tried, .status = status, .next_ms = next_ms};
    all.answer =
        (struct store_answer){.api_key = "shop", .key = "told", .status = 200, .body = "done"};
    all.cancel.api_key = "shop";
    all.cancel.key = "gone";
    all.told = bed_item(&(struct letter){.key = "told"}, false);
    all.gone = bed_item(&(struct letter){.key = "gone"}, false);
    all.claimed = bed_item(&plain, true);
}

static void check_items(void)
{
    cr_assert_null(all.outcome.fault);
    cr_assert_eq(all.outcome.due_ms, T0 + 10);
    cr_assert_null(all.answer.fault);
    cr_assert_null(all.cancel.fault);
    bed_check_status(all.canceled_id, "canceled");
    cr_assert_null(all.told.fault);
    cr_assert_eq(all.told.result, STORE_SUBMIT_REPLAY);
    cr_assert_eq(all.told.first_status, 200);
    cr_assert_str_eq(all.told.first_body, "done");
    cr_assert_null(all.gone.fault);
    cr_assert_eq(all.gone.result, STORE_SUBMIT_NEW);
    cr_assert_null(all.claimed.fault);
    cr_assert_eq(all.claimed.result, STORE_SUBMIT_NEW);
}

static void check_load(const struct store_load *load)
{
    bool again = false, new = false;
    cr_assert_null(load->fault);
    cr_assert_eq(load->next_due_ms, INT64_MAX);
    for (const struct mail *d = load->list; d != NULL; d = d->next) {
        again |= d->seq == all.tried->seq && d->n_recipients == 1;
        new |= d->seq == all.gone.seq && d->n_recipients == 2;
    }
    cr_assert(again && new);
    cr_assert_eq(bed_drop(load->list), 2, "the third is its submitter's");
}

/* `also` is submitted in the middle of the rest. */
static void do_everything(struct store_submission *also)
{
    make_past();
    make_items();
    struct store_submission items[] = {all.told, *also, all.gone, all.claimed};
    struct store_turn turn = {.arena = bed.arena,
                              .now_ms = T0 + 10,
                              .outcomes = &all.outcome,
                              .n_outcomes = 1,
                              .answers = &all.answer,
                              .n_answers = 1,
                              .cancels = &all.cancel,
                              .n_cancels = 1,
                              .submissions = items,
                              .n_submissions = 4,
                              .load = {.max_n = 10, .max_bytes = SIZE_MAX},
                              .purge = {.max_n = 10, .record_before_ms = T0}};
    bed_commit_some(&turn);
    all.told = items[0];
    *also = items[1];
    all.gone = items[2];
    all.claimed = items[3];
    check_items();
    check_load(&turn.load);
    cr_assert_null(turn.purge.fault);
    cr_assert_eq(turn.purge.n, 1);
    cr_assert_not(bed_has(all.ended_id));
    bed_expect_usage(0, "primary 0 1 1; ");
    struct store_stats stats = bed_stats();
    cr_assert_eq(stats.n_queued, 2 + 2 + 2, "told's first, gone again, the claimed one");
    cr_assert_eq(stats.n_deferred, 1);
    mail_free(all.tried);
}

STORE_TEST(store_turn, may_have_everything_in_it)
{
    struct store_submission same = bed_item(&(struct letter){.key = "told"}, false);
    do_everything(&same);
    cr_assert_null(same.fault);
    cr_assert_eq(same.result, STORE_SUBMIT_REPLAY);
}

STORE_TEST(store_turn, may_have_everything_in_it_and_an_item_that_aborts)
{
    struct store_submission bad = bed_item(&(struct letter){.to = "bad@example.net"}, false);
    bed_poison("bad@example.net", "ABORT");
    do_everything(&bad);
    cr_assert_not_null(bad.fault);
    cr_assert_not(bed_has(bad.mail->id));
}

STORE_TEST(store_turn, may_have_everything_in_it_and_an_item_that_rolls_back)
{
    struct store_submission bad = bed_item(&(struct letter){.to = "bad@example.net"}, false);
    bed_poison("bad@example.net", "ROLLBACK");
    do_everything(&bad);
    cr_assert_not_null(bad.fault);
    cr_assert_not(bed_has(bad.mail->id));
}

STORE_TEST(store_turn, may_be_empty)
{
    struct store_turn turn = bed_turn(T0);
    bed_commit(&turn);
    cr_assert_null(turn.load.list);
}

/* --- what fails by itself ----------------------------------------------------------------- */

static void expect_fault(const struct error *fault, const char *detail)
{
    cr_assert_not_null(fault);
    cr_assert_eq(fault->code, ERR_STORE_UNAVAILABLE);
    cr_assert_not_null(strstr(fault->detail, detail), "%s", fault->detail);
}

/* Of so many that fail in the middle, the others stand. */
static void leave_out(const char *how)
{
    struct store_submission items[9];
    struct store_turn turn = bed_turn(T0);
    for (size_t i = 0; i < 9; i++)
        items[i] = bed_item(
            &(struct letter){.to = i % 3 == 1 ? "bad@example.net" : NULL, .n_recipients = 3},
            false);
    turn.submissions = items;
    turn.n_submissions = 9;
    bed_poison("bad@example.net", how);
    bed_commit_some(&turn);
    for (size_t i = 0; i < 9; i++) {
        cr_assert_eq(bed_has(items[i].mail->id), i % 3 != 1);
        if (i % 3 == 1)
            expect_fault(items[i].fault, "poison");
        else
            cr_assert_null(items[i].fault);
    }
    cr_assert_eq(bed_stats().n_queued, 18);
    cr_assert_eq(bed_number("SELECT count(*) FROM recipient"), 18);
    cr_assert_eq(bed_number("SELECT count(*) FROM body"), 6);
    bed_cure();
    cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 6);
}

STORE_TEST(store_turn, leaves_out_what_aborts)
{
    leave_out("ABORT");
}

/* What it had changed before would stay. */
STORE_TEST(store_turn, leaves_out_what_fails_halfway)
{
    leave_out("FAIL");
}

/* SQLite has ended the transaction by itself: what comes behind must not be committed alone. */
STORE_TEST(store_turn, leaves_out_what_rolls_back)
{
    leave_out("ROLLBACK");
}

STORE_TEST(store_turn, leaves_out_what_is_too_large)
{
    struct store_submission items[] = {bed_item(&plain, false),
                                       bed_item(&(struct letter){.size = 300000}, false),
                                       bed_item(&plain, false)};
    struct store_turn turn = bed_turn(T0);
    turn.submissions = items;
    turn.n_submissions = 3;
    int before = sqlite3_limit(bed.store->db, SQLITE_LIMIT_LENGTH, 200000);
    bed_commit_some(&turn);
    sqlite3_limit(bed.store->db, SQLITE_LIMIT_LENGTH, before);
    cr_assert_null(items[0].fault);
    cr_assert_not_null(items[1].fault);
    cr_assert_null(items[2].fault);
    cr_assert_not(bed_has(items[1].mail->id));
    cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 2);
}

static void leave_out_outcomes(const char *how)
{
    struct mail *deliveries[5];
    struct store_outcome outcomes[5];
    struct store_turn turn = bed_turn(T0 + 5);
    for (size_t i = 0; i < 5; i++) {
        bed_keep(&(struct letter){.to = i % 2 == 1 ? "bad@example.net" : NULL}, false, NULL);
        deliveries[i] = bed_load(T0, 1, SIZE_MAX);
        outcomes[i] = bed_outcome(deliveries[i], RECIPIENT_SENT, 0);
    }
    turn.outcomes = outcomes;
    turn.n_outcomes = 5;
    bed_poison("bad@example.net", how);
    bed_commit_some(&turn);
    for (size_t i = 0; i < 5; i++) {
        bed_check_status(deliveries[i]->id, i % 2 == 1 ? "queued" : "sent");
        if (i % 2 == 1)
            expect_fault(outcomes[i].fault, "poison");
        else
            cr_assert_null(outcomes[i].fault);
    }
    cr_assert_eq(bed_stats().n_queued, 4);
    cr_assert_null(bed_load(INT64_MAX - 1, 10, SIZE_MAX), "their claims stand");
    bed_cure();
    for (size_t i = 0; i < 5; i++) { /* and they can be tried again */
        if (i % 2 == 1)
            bed_end(deliveries[i], T0 + 6, false);
        else
            mail_free(deliveries[i]);
    }
    cr_assert_eq(bed_stats().n_queued, 0);
}

STORE_TEST(store_turn, leaves_out_outcomes_that_abort)
{
    leave_out_outcomes("ABORT");
}

STORE_TEST(store_turn, leaves_out_outcomes_that_roll_back)
{
    leave_out_outcomes("ROLLBACK");
}

STORE_TEST(store_turn, leaves_out_cancels)
{
    char ids[2][ID_SIZE];
    struct store_cancel cancels[] = {
        {.seq = bed_keep(&(struct letter){.to = "bad@example.net"}, true, ids[0])},
        {.seq = bed_keep(&plain, true, ids[1])}};
    struct store_turn turn = bed_turn(T0);
    turn.cancels = cancels;
    turn.n_cancels = 2;
    bed_poison("bad@example.net", "ABORT");
    bed_commit_some(&turn);
    expect_fault(cancels[0].fault, "poison");
    cr_assert_null(cancels[1].fault);
    bed_check_status(ids[0], "queued");
    bed_check_status(ids[1], "canceled");
    cr_assert_eq(bed_stats().n_queued, 2);
}

/* `trigger` fails the load or the purge, and nothing else. */
static void leave_out_by(const char *trigger, struct store_turn *turn)
{
    struct store_submission item = bed_item(&plain, true);
    cr_assert_eq(sqlite3_exec(bed.store->db, trigger, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(bed.store->db));
    turn->submissions = &item;
    turn->n_submissions = 1;
    bed_commit_some(turn);
    cr_assert_null(item.fault);
    bed_check_status(item.mail->id, "queued");
    turn->n_submissions = 0;
    sqlite3_exec(bed.store->db, "DROP TRIGGER bane", NULL, NULL, NULL);
}

STORE_TEST(store_turn, leaves_out_a_load)
{
    struct store_turn turn = bed_turn(T0);
    bed_keep(&plain, false, NULL);
    bed_keep(&plain, false, NULL);
    turn.load = (struct store_load){.max_n = 10, .max_bytes = SIZE_MAX};
    leave_out_by("CREATE TEMP TRIGGER bane BEFORE UPDATE ON message WHEN new.seq = 2 AND"
                 " new.claimed = 1 BEGIN SELECT RAISE(ABORT, 'poison'); END",
                 &turn);
    expect_fault(turn.load.fault, "poison");
    cr_assert_null(turn.load.list);
    cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 2, "none of it was claimed");
}

STORE_TEST(store_turn, leaves_out_a_purge)
{
    struct store_turn turn = bed_turn(T0);
    char ids[2][ID_SIZE];
    for (size_t i = 0; i < 2; i++) {
        bed_keep(&plain, false, ids[i]);
        bed_end(bed_load(T0, 1, SIZE_MAX), T0 + (int64_t)i, false);
    }
    turn.purge = (struct store_purge){.max_n = 10, .record_before_ms = T0 + 100};
    leave_out_by("CREATE TEMP TRIGGER bane BEFORE DELETE ON message WHEN old.seq = 2"
                 " BEGIN SELECT RAISE(ROLLBACK, 'poison'); END",
                 &turn);
    expect_fault(turn.purge.fault, "poison");
    cr_assert(bed_has(ids[0]));
    cr_assert(bed_has(ids[1]));
}

/* Also of what was done twice. */
STORE_TEST(store_turn, numbers_events_in_one_order)
{
    char first[ID_SIZE], second[ID_SIZE];
    struct store_submission items[] = {bed_item(&(struct letter){.to = "bad@example.net"}, false),
                                       bed_item(&plain, false)};
    struct store_turn turn = bed_turn(T0);
    bed_keep(&plain, true, first);
    turn.submissions = items;
    turn.n_submissions = 2;
    bed_poison("bad@example.net", "ABORT");
    bed_commit_some(&turn);
    memcpy(second, items[1].mail->id, ID_SIZE);
    bed_cancel(1, T0 + 1);
    CLEANUP(mail_free) struct mail *a = bed_find(first), *b = bed_find(second);
    cr_assert_lt(a->events[1].id, b->events[0].id);
    cr_assert_lt(b->events[1].id, a->events[2].id);
}
