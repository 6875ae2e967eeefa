/* Group commit: who is told when, and what becomes of a turn that fails. */

#include <criterion/criterion.h>
#include <unistd.h>

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

TestSuite(turn, .init = set_up, .fini = tear_down);

static const struct letter one = {0};

Test(turn, answers_after_the_commit)
{
    struct told told, found;
    gate_close();
    rig_submit(&rig, &one, &told);
    gate_await();
    rig_find(&rig, told.id, &found);
    cr_assert_eq(found.code, ERR_NOT_FOUND);
    cr_assert_not(told_yet(&told));
    cr_assert_eq(rig_n_ready(&rig), 0);
    gate_open();
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_STORED);
    rig_find(&rig, told.id, &found);
    cr_assert_str_eq(found.message_status, "queued");
}

Test(turn, commits_together_what_gathered)
{
    struct told first, rest[20];
    gate_close();
    rig_submit(&rig, &one, &first);
    gate_await();
    for (size_t i = 0; i < 20; i++)
        rig_submit(&rig, &one, &rest[i]);
    int before = atomic_load(&n_begun);
    for (size_t i = 0; i < 20; i++)
        cr_assert_not(told_yet(&rest[i]));
    gate_open();
    for (size_t i = 0; i < 20; i++) {
        told_wait(&rest[i]);
        cr_assert_eq(rest[i].kind, QUEUE_STORED);
    }
    cr_assert_eq(atomic_load(&max_batch), 20);
    cr_assert_geq(atomic_load(&n_begun), before);
}

Test(turn, commits_at_most_so_many_together)
{
    static struct told rest[600];
    struct told first;
    gate_close();
    rig_submit(&rig, &one, &first);
    gate_await();
    for (size_t i = 0; i < 600; i++)
        rig_submit(&rig, &one, &rest[i]);
    gate_open();
    for (size_t i = 0; i < 600; i++)
        told_wait(&rest[i]);
    cr_assert_eq(atomic_load(&max_batch), 512);
}

/* --- submissions -------------------------------------------------------------------------- */

Test(turn, refuses_what_was_not_committed)
{
    static const enum error_code codes[] = {ERR_STORE_UNAVAILABLE, ERR_STORE_FULL, ERR_NOMEM};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct told told, found;
        struct error err;
        atomic_store(&fault.code, (int)codes[i]);
        atomic_store(&fault.commit, 1);
        rig_send(&rig, &one, &told);
        cr_assert_eq(told.kind, QUEUE_REFUSED);
        cr_assert_eq(told.code, codes[i]);
        rig_sync(&rig);
        rig_find(&rig, told.id, &found);
        cr_assert_eq(found.code, ERR_NOT_FOUND);
        cr_assert_eq(rig_n_ready(&rig), 0, "what was refused is never sent");
        if (codes[i] == ERR_STORE_FULL) /* it has made room: nothing to be unready for */
            continue;
        cr_assert_not(queue_ready(rig.queue, &err));
        cr_assert_eq(err.code, ERR_STORE_UNAVAILABLE);
    }
    struct told told;
    rig_send(&rig, &one, &told);
    cr_assert_eq(told.kind, QUEUE_STORED);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
    rig_sync(&rig);
    cr_assert_eq(rig.queue->own.held_bytes, 0);
}

Test(turn, refuses_alone_what_failed_by_itself)
{
    struct told first, rest[3];
    gate_close();
    rig_submit(&rig, &one, &first);
    gate_await();
    for (size_t i = 0; i < 3; i++)
        rig_submit(&rig, &one, &rest[i]);
    atomic_store(&fault.submit, 1);
    gate_open();
    for (size_t i = 0; i < 3; i++) {
        told_wait(&rest[i]);
        cr_assert_eq(rest[i].kind, i == 0 ? QUEUE_REFUSED : QUEUE_STORED);
    }
    told_wait(&first);
    cr_assert_eq(first.kind, QUEUE_STORED);
}

/* --- outcomes ----------------------------------------------------------------------------- */

/* Three outcomes come in behind a closed gate; then `times` of `which` fail. */
static void settle_three_with(atomic_int *which, int times)
{
    struct told sent[3], late;
    struct mail *deliveries[3];
    for (size_t i = 0; i < 3; i++) {
        rig_send(&rig, &one, &sent[i]);
        deliveries[i] = rig_depart(&rig);
    }
    gate_close();
    rig_submit(&rig, &one, &late);
    gate_await();
    for (size_t i = 0; i < 3; i++)
        rig_settle(&rig, deliveries[i], DELIVERY_SENT, 250);
    atomic_store(which, times);
    gate_open();
    for (size_t i = 0; i < 3; i++) {
        rig_await(&rig, sent[i].id, RECIPIENT_SENT);
        struct told found;
        rig_find(&rig, sent[i].id, &found);
        cr_assert_eq(found.recipients[0].attempts, 1, "recorded once");
    }
    cr_assert_eq(atomic_load(which), 0);
}

Test(turn, keeps_outcomes_that_were_not_committed)
{
    settle_three_with(&fault.commit, 2);
}

Test(turn, puts_off_an_outcome_that_failed_by_itself)
{
    settle_three_with(&fault.settle, 1);
}

Test(turn, goes_on_taking_mail_while_outcomes_are_put_off)
{
    struct told sent, other;
    rig_send(&rig, &one, &sent);
    atomic_store(&fault.settle, 1);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_sync(&rig);
    rig_send(&rig, &one, &other);
    cr_assert_eq(other.kind, QUEUE_STORED);
    rig_await(&rig, sent.id, RECIPIENT_SENT);
}

Test(turn, records_at_the_end_what_trouble_kept)
{
    struct told sent, found;
    rig_send(&rig, &one, &sent);
    atomic_store(&fault.settle, 1);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_sync(&rig);
    rig_close(&rig);
    rig_open(&rig);
    rig_find(&rig, sent.id, &found);
    cr_assert_str_eq(found.message_status, "sent");
}

Test(turn, leaves_in_doubt_what_it_could_never_record)
{
    struct told sent, found;
    rig.hold = true;
    rig_send(&rig, &one, &sent);
    atomic_store(&fault.settle, 1000);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_sync(&rig);
    rig_close(&rig);
    atomic_store(&fault.settle, 0);
    rig_open(&rig);
    rig_find(&rig, sent.id, &found);
    cr_assert_str_eq(found.message_status, "in_doubt");
}

Test(turn, does_not_try_without_a_pause)
{
    struct told told;
    rig_send(&rig, &one, &told);
    atomic_store(&fault.commit, 1000000);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_sync(&rig);
    rig_does_not_hurry();
    atomic_store(&fault.commit, 0);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}

/* --- a store that breaks ------------------------------------------------------------------ */

Test(turn, takes_no_mail_with_a_broken_store)
{
    struct told flying, refused;
    struct error err;
    rig.hold = true;
    rig_send(&rig, &one, &flying);
    struct mail *delivery = rig_depart(&rig);
    atomic_store(&fault.code, ERR_STORE_BROKEN);
    atomic_store(&fault.commit, 1);
    rig_send(&rig, &one, &refused);
    cr_assert_eq(refused.code, ERR_STORE_BROKEN);
    cr_assert(queue_broken(rig.queue));
    cr_assert_not(queue_ready(rig.queue, &err));
    cr_assert_eq(err.code, ERR_STORE_BROKEN);
    int before = atomic_load(&n_begun);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_send(&rig, &one, &refused);
    cr_assert_eq(refused.kind, QUEUE_REFUSED);
    rig_close(&rig);
    cr_assert_eq(atomic_load(&n_begun), before, "nothing more is written");
    atomic_store(&fault.code, ERR_STORE_UNAVAILABLE);
    rig_open(&rig);
    rig_find(&rig, flying.id, &refused);
    cr_assert_str_eq(refused.message_status, "in_doubt");
}

Test(turn, of_a_broken_store_sleeps)
{
    struct queue queue = {.own.count_again_ms = 1, .own.uncounted = true};
    atomic_store(&queue.broken, true);
    cr_assert_eq(chores_wake_ms(&queue), INT64_MAX);
}
