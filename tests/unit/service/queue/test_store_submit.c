/* What is kept, and what a key that is used again is told. */

#include <criterion/criterion.h>
#include <string.h>

#include "store_rig.h"

static const struct letter plain = {0};

/* --- what is kept ------------------------------------------------------------------------- */

STORE_TEST(store_submit, keeps_a_record_whole)
{
    char id[ID_SIZE];
    bed_keep(&plain, false, id);
    CLEANUP(mail_free) struct mail *record = bed_find(id);
    cr_assert_str_eq(record->id, id);
    cr_assert_str_eq(record->from, "a@example.com");
    cr_assert_str_eq(record->subject, "Gr\xc3\xbc\xc3\x9f"
                                      "e");
    cr_assert_str_eq(record->api_key, "shop");
    cr_assert_str_eq(record->tags, "[\"t\"]");
    cr_assert_str_eq(record->metadata, "{\"order\":\"7\"}");
    cr_assert_eq(record->created_ms, T0);
    cr_assert_eq(record->size, 10);
    cr_assert_eq(record->n_recipients, 2);
    cr_assert_eq(record->n_events, 2);
    cr_assert_str_eq(mail_status(record), "queued");
}

STORE_TEST(store_submit, keeps_a_delivery_whole)
{
    char id[ID_SIZE];
    bed_keep(&(struct letter){.priority = PRIORITY_LOW}, false, id);
    struct mail *delivery = bed_load(T0, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, id);
    cr_assert_str_eq(delivery->sender, "bounce@example.com");
    cr_assert_str_eq(delivery->recipients[1].address, "r1@example.net");
    cr_assert_eq(delivery->expires_ms, T0 + 3600000);
    cr_assert_eq(delivery->content->len, 10);
    cr_assert_eq(delivery->content->data[9], 63);
    const struct mail_options *options = &delivery->options;
    cr_assert_str_eq(delivery->from, "a@example.com");
    cr_assert_str_eq(delivery->api_key, "shop");
    cr_assert_str_eq(delivery->tags, "[\"t\"]");
    cr_assert_str_eq(options->relay, "backup");
    cr_assert_eq(options->priority, PRIORITY_LOW);
    cr_assert(options->require_tls);
    cr_assert_str_eq(options->dsn.notify, "FAILURE,DELAY");
    cr_assert_str_eq(options->dsn.ret, "HDRS");
    cr_assert_null(options->dsn.envid, "what was not said");
    cr_assert_eq(bed_drop(delivery), 1);
}

STORE_TEST(store_submit, knows_what_it_does_not_have)
{
    cr_assert_not(bed_has("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    cr_assert_eq(bed_next_due(), INT64_MAX);
    cr_assert_null(bed_load(INT64_MAX - 1, 10, SIZE_MAX));
}

STORE_TEST(store_submit, keeps_nothing_of_a_turn_that_fails)
{
    struct store_submission item = bed_item(&(struct letter){.key = "k"}, false);
    struct store_turn turn = bed_turn(T0);
    turn.submissions = &item;
    turn.n_submissions = 1;
    bed_break();
    cr_assert_eq(bed.ops->commit(bed.store, &turn, &bed.err), -1);
    cr_assert_eq(bed.err.code, ERR_STORE_UNAVAILABLE);
    bed_mend();
    cr_assert_not(bed_has(item.mail->id));
    cr_assert_null(bed_load(T0, 10, SIZE_MAX));
    cr_assert_eq(bed_stats().n_queued, 0);
    bed_commit(&turn); /* the key is free, and the same turn can be tried again */
    cr_assert_eq(item.result, STORE_SUBMIT_NEW);
    cr_assert(bed_has(item.mail->id));
}

STORE_TEST(store_submit, keeps_what_is_large)
{
    char id[ID_SIZE];
    bed_keep(&(struct letter){.size = 20 << 20, .n_recipients = 1000}, false, id);
    struct mail *delivery = bed_load(T0, 1, 1);
    cr_assert_not_null(delivery, "whatever its size, the first goes");
    cr_assert_eq(delivery->content->len, 20 << 20);
    cr_assert_eq(delivery->content->data[(20 << 20) - 1], (char)(((20 << 20) - 1) * 7));
    cr_assert_eq(delivery->n_recipients, 1000);
    cr_assert_str_eq(delivery->recipients[999].address, "r999@example.net");
    bed_drop(delivery);
}

/* --- idempotency -------------------------------------------------------------------------- */

STORE_TEST(store_submit, answers_a_key_again)
{
    const struct letter first = {.key = "k", .request = 1}, other = {.key = "k", .request = 2};
    bed_keep(&first, false, NULL);
    struct store_submission again = bed_submit(&first);
    cr_assert_eq(again.result, STORE_SUBMIT_REPLAY);
    cr_assert_eq(again.first_status, 202);
    cr_assert_str_eq(again.first_body, "{\"first\":1}");
    cr_assert_eq(bed_submit(&other).result, STORE_SUBMIT_MISMATCH);
    cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 1);
}

static void answer(const char *key, int status, const char *body)
{
    struct store_answer answer = {.api_key = "shop", .key = key, .status = status, .body = body};
    struct store_turn turn = bed_turn(T0);
    turn.answers = &answer;
    turn.n_answers = 1;
    bed_commit(&turn);
}

STORE_TEST(store_submit, answers_a_key_whose_first_request_waits)
{
    const struct letter waiting = {.key = "k", .waits = true};
    bed_keep(&waiting, true, NULL);
    cr_assert_eq(bed_submit(&waiting).result, STORE_SUBMIT_IN_PROGRESS);
    answer("k", 200, "{\"done\":1}");
    struct store_submission again = bed_submit(&waiting);
    cr_assert_eq(again.result, STORE_SUBMIT_REPLAY);
    cr_assert_eq(again.first_status, 200);
    cr_assert_str_eq(again.first_body, "{\"done\":1}");
}

STORE_TEST(store_submit, forgets_a_key_whose_request_was_refused)
{
    const struct letter letter = {.key = "k"};
    struct store_cancel cancel = {
        .seq = bed_keep(&letter, true, NULL), .api_key = "shop", .key = "k"};
    struct store_turn turn = bed_turn(T0);
    turn.cancels = &cancel;
    turn.n_cancels = 1;
    bed_commit(&turn);
    bed_keep(&letter, false, NULL);
}

STORE_TEST(store_submit, keeps_a_key_of_what_is_canceled_alone)
{
    const struct letter letter = {.key = "k"};
    bed_cancel(bed_keep(&letter, true, NULL), T0);
    cr_assert_eq(bed_submit(&letter).result, STORE_SUBMIT_REPLAY);
}

/* Who comes second in a turn is told what the first of it will be. `spoiled`: something else of the
 * turn fails, and it is recorded item by item. */
static void answer_within_a_turn(bool spoiled)
{
    const struct letter first = {.key = "k", .request = 1}, other = {.key = "k", .request = 2},
                        waiting = {.key = "w", .waits = true};
    struct store_submission items[] = {
        bed_item(&first, false),
        bed_item(&first, false),
        bed_item(&other, false),
        bed_item(&waiting, true),
        bed_item(&(struct letter){.to = spoiled ? "bad@example.net" : NULL}, false),
        bed_item(&waiting, true),
        bed_item(&plain, false)};
    static const enum store_submitted wanted[] = {
        STORE_SUBMIT_NEW, STORE_SUBMIT_REPLAY,      STORE_SUBMIT_MISMATCH, STORE_SUBMIT_NEW,
        STORE_SUBMIT_NEW, STORE_SUBMIT_IN_PROGRESS, STORE_SUBMIT_NEW};
    struct store_turn turn = bed_turn(T0);
    turn.submissions = items;
    turn.n_submissions = sizeof(items) / sizeof(items[0]);
    bed_poison("bad@example.net", "ABORT");
    bed_commit_some(&turn);
    for (size_t i = 0; i < turn.n_submissions; i++) {
        cr_assert_eq(items[i].fault != NULL, spoiled && i == 4);
        cr_assert_eq(items[i].result, wanted[i], "%zu", i);
        cr_assert_eq(bed_has(items[i].mail->id),
                     items[i].fault == NULL && wanted[i] == STORE_SUBMIT_NEW, "%zu", i);
    }
    cr_assert_eq(items[1].first_status, 202);
    cr_assert_str_eq(items[1].first_body, "{\"first\":1}");
    cr_assert_lt(items[0].seq, items[3].seq);
    cr_assert_lt(items[3].seq, items[6].seq);
    cr_assert_eq(bed_stats().n_queued, spoiled ? 6 : 8);
}

STORE_TEST(store_submit, answers_keys_within_a_turn)
{
    answer_within_a_turn(false);
}

STORE_TEST(store_submit, answers_keys_within_a_turn_that_is_done_singly)
{
    answer_within_a_turn(true);
}

STORE_TEST(store_submit, does_not_count_a_key_whose_first_request_failed)
{
    const struct letter bad = {.key = "k", .to = "bad@example.net"}, good = {.key = "k"};
    struct store_submission items[] = {bed_item(&bad, false), bed_item(&good, false)};
    struct store_turn turn = bed_turn(T0);
    turn.submissions = items;
    turn.n_submissions = 2;
    bed_poison("bad@example.net", "ABORT");
    bed_commit_some(&turn);
    cr_assert_not_null(items[0].fault);
    cr_assert_null(items[1].fault);
    cr_assert_eq(items[1].result, STORE_SUBMIT_NEW);
}
