/* Idempotency keys, and how much is let into memory. */

#include <criterion/criterion.h>

#include "rig.h"

static struct rig rig;

static void set_up(void)
{
    rig_init(&rig, false);
    rig_open(&rig);
}

static void tear_down(void)
{
    gate_open();
    rig_clear(&rig);
}

TestSuite(intake, .init = set_up, .fini = tear_down);

enum { LONG_MS = 100000 };

static const struct letter first = {.key = "key", .request = "a"};
static const struct letter other = {.key = "key", .request = "b"};
static const struct letter waiting = {.key = "key", .request = "a", .wait_ms = LONG_MS};

/* --- keys --------------------------------------------------------------------------------- */

Test(intake, replays_the_first_answer)
{
    struct told told, again;
    rig_send(&rig, &first, &told);
    cr_assert_eq(told.kind, QUEUE_STORED);
    rig_send(&rig, &first, &again);
    cr_assert_eq(again.kind, QUEUE_REPLAY);
    cr_assert_eq(again.status, 202);
    cr_assert_str_eq(again.body, "{\"first\":1}");
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 1, "it goes out once");
}

Test(intake, knows_another_request_by_the_same_key)
{
    struct told told;
    rig_send(&rig, &first, &told);
    rig_send(&rig, &other, &told);
    cr_assert_eq(told.kind, QUEUE_MISMATCH);
}

Test(intake, sees_twins_in_one_transaction)
{
    struct told before, twins[2];
    gate_close();
    rig_submit(&rig, &(struct letter){0}, &before);
    gate_await();
    rig_submit(&rig, &first, &twins[0]);
    rig_submit(&rig, &first, &twins[1]);
    gate_open();
    told_wait(&before);
    told_wait(&twins[0]);
    told_wait(&twins[1]);
    cr_assert_eq(twins[0].kind, QUEUE_STORED);
    cr_assert_eq(twins[1].kind, QUEUE_REPLAY);
    cr_assert_eq(twins[1].status, 202);
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 2);
}

Test(intake, refuses_twins_of_a_failed_transaction)
{
    struct told before, twins[2];
    gate_close();
    rig_submit(&rig, &(struct letter){0}, &before);
    gate_await();
    rig_submit(&rig, &first, &twins[0]);
    rig_submit(&rig, &first, &twins[1]);
    atomic_store(&fault.commit, 2);
    gate_open();
    told_wait(&twins[0]);
    told_wait(&twins[1]);
    cr_assert_eq(twins[0].kind, QUEUE_REFUSED);
    cr_assert_eq(twins[1].kind, QUEUE_REFUSED);
}

Test(intake, does_not_remember_what_was_refused)
{
    struct told told;
    atomic_store(&fault.commit, 1);
    rig_send(&rig, &first, &told);
    cr_assert_eq(told.kind, QUEUE_REFUSED);
    atomic_store(&fault.submit, 1);
    rig_send(&rig, &first, &told);
    cr_assert_eq(told.kind, QUEUE_REFUSED);
    rig_send(&rig, &other, &told);
    cr_assert_eq(told.kind, QUEUE_STORED);
}

Test(intake, has_a_key_in_progress_while_its_client_waits)
{
    struct told told, again;
    rig_submit(&rig, &waiting, &told);
    struct mail *delivery = rig_depart(&rig);
    rig_send(&rig, &waiting, &again);
    cr_assert_eq(again.kind, QUEUE_IN_PROGRESS);
    rig_send(&rig, &first, &again);
    cr_assert_eq(again.kind, QUEUE_IN_PROGRESS);
    rig_send(&rig, &other, &again);
    cr_assert_eq(again.kind, QUEUE_MISMATCH);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_DONE);

    queue_remember(rig.queue, "k", "key", 200, "{\"done\":1}");
    rig_sync(&rig);
    rig_send(&rig, &waiting, &again);
    cr_assert_eq(again.kind, QUEUE_REPLAY);
    cr_assert_eq(again.status, 200);
    cr_assert_str_eq(again.body, "{\"done\":1}");
}

Test(intake, remembers_an_answer_in_spite_of_trouble)
{
    static atomic_int *const faults[] = {&fault.answer, &fault.commit};
    struct told told, again;
    rig_submit(&rig, &waiting, &told);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    told_wait(&told);
    for (size_t i = 0; i < 2; i++) {
        atomic_store(faults[i], 1);
        queue_remember(rig.queue, "k", "key", 200 + (int)i, "{}");
        do
            rig_send(&rig, &waiting, &again);
        while (again.kind == QUEUE_IN_PROGRESS || again.kind == QUEUE_REFUSED ||
               again.status != 200 + (int)i);
        cr_assert_eq(again.kind, QUEUE_REPLAY);
    }
}

Test(intake, says_stored_for_a_key_left_in_progress_by_a_crash)
{
    struct told told, again;
    rig_submit(&rig, &waiting, &told);
    struct mail *flying = rig_depart(&rig);
    rig_close(&rig); /* nobody says what the client was told */
    rig_abandon(flying);
    cr_assert_eq(told.kind, QUEUE_STORED);
    rig_open(&rig);
    rig_send(&rig, &waiting, &again);
    cr_assert_eq(again.kind, QUEUE_REPLAY);
    cr_assert_eq(again.status, 202);
}

/* --- memory ------------------------------------------------------------------------------- */

Test(intake, holds_no_more_than_it_may)
{
    struct told told[10];
    const struct letter big = {.size = 300 << 10};
    for (size_t i = 0; i < 10; i++)
        rig_send(&rig, &big, &told[i]);
    rig_sync(&rig);
    for (size_t i = 0; i < 10; i++) {
        cr_assert_leq(rig_n_ready(&rig), 4);
        rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
        rig_sync(&rig);
    }
    for (size_t i = 0; i < 10; i++)
        rig_await(&rig, told[i].id, RECIPIENT_SENT);
    cr_assert_eq(rig_n_ready(&rig), 0);
    cr_assert_eq(rig.queue->own.held_bytes, 0);
}

Test(intake, lets_a_giant_pass_alone)
{
    struct told told[3];
    const struct letter giant = {.size = 3 << 20};
    for (size_t i = 0; i < 3; i++)
        rig_send(&rig, &giant, &told[i]);
    for (size_t i = 0; i < 3; i++) {
        struct mail *delivery = rig_depart(&rig);
        rig_sync(&rig);
        cr_assert_eq(rig_n_ready(&rig), 0);
        rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    }
    for (size_t i = 0; i < 3; i++)
        rig_await(&rig, told[i].id, RECIPIENT_SENT);
}

Test(intake, does_not_overtake_what_is_stored_already)
{
    struct told told[3];
    rig_close(&rig);
    rig_open_unstarted(&rig);
    for (size_t i = 0; i < 2; i++)
        rig_send(&rig, &(struct letter){.age_ms = 10 * (2 - (int64_t)i)}, &told[i]);
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 0, "not before it has started");
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    rig_send(&rig, &(struct letter){0}, &told[2]);
    for (size_t i = 0; i < 3; i++) {
        struct mail *delivery = rig_depart(&rig);
        cr_assert_str_eq(delivery->id, told[i].id, "number %zu", i);
        rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    }
}
