/* Clients that wait for the outcome, and waits that run out. */

#include <criterion/criterion.h>
#include <unistd.h>

#include "rig.h"

static struct rig rig;

static void set_up_durable(void)
{
    rig_init(&rig, false);
    rig_open(&rig);
}

static void set_up_memory(void)
{
    rig_init(&rig, true);
    rig_open(&rig);
}

static void tear_down(void)
{
    rig_clear(&rig);
}

TestSuite(wait_durable, .init = set_up_durable, .fini = tear_down);
TestSuite(wait_memory, .init = set_up_memory, .fini = tear_down);

enum { LONG_MS = 100000 };

static const struct letter patient = {.wait_ms = LONG_MS};
static const struct letter hasty = {.wait_ms = 1};

/* --- outcomes in time --------------------------------------------------------------------- */

static void outcome_in_time(void)
{
    static const struct {
        enum delivery_verdict verdict;
        int code;
        const char *status;
    } rows[] = {{DELIVERY_SENT, 250, "sent"}, {DELIVERY_FAILED, 550, "failed"}};
    for (size_t i = 0; i < 2; i++) {
        struct told told;
        rig_submit(&rig, &patient, &told);
        struct mail *delivery = rig_depart(&rig);
        cr_assert_not(told_yet(&told));
        rig_settle(&rig, delivery, rows[i].verdict, rows[i].code);
        told_wait(&told);
        cr_assert_eq(told.kind, QUEUE_DONE);
        cr_assert_str_eq(told.message_status, rows[i].status);
        cr_assert_eq(told.recipients[0].reply.code, rows[i].code);
    }
}

Test(wait_durable, ends_with_the_outcome)
{
    outcome_in_time();
}

Test(wait_memory, ends_with_the_outcome)
{
    outcome_in_time();
}

static void last_recipient(void)
{
    struct told told;
    rig_submit(&rig, &(struct letter){.n_recipients = 2, .wait_ms = LONG_MS}, &told);
    struct mail *delivery = rig_depart(&rig);
    delivery->recipients[0].verdict = DELIVERY_DEFERRED;
    delivery->recipients[1].verdict = DELIVERY_SENT;
    queue_settle(rig.queue, delivery);
    delivery = rig_depart(&rig);
    cr_assert_not(told_yet(&told));
    cr_assert_eq(delivery->n_recipients, 1);
    rig_settle(&rig, delivery, DELIVERY_FAILED, 550);
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_DONE);
    cr_assert_str_eq(told.message_status, "partial");
}

Test(wait_durable, ends_with_the_last_recipient)
{
    last_recipient();
}

Test(wait_memory, ends_with_the_last_recipient)
{
    last_recipient();
}

static void untouched(void)
{
    struct told told;
    rig_submit(&rig, &patient, &told);
    for (size_t i = 0; i < 3; i++)
        rig_settle(&rig, rig_depart(&rig), DELIVERY_UNTRIED, 0);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_DONE);
}

Test(wait_durable, goes_on_while_nothing_becomes_of_it)
{
    untouched();
}

Test(wait_memory, goes_on_while_nothing_becomes_of_it)
{
    untouched();
}

static void in_trouble(void)
{
    struct told told;
    rig_submit(&rig, &patient, &told);
    struct mail *delivery = rig_depart(&rig);
    atomic_store(&fault.commit, 1);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_sync(&rig);
    cr_assert_not(told_yet(&told), "nobody hears of what is not recorded");
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_DONE);
}

Test(wait_durable, outlives_trouble)
{
    in_trouble();
}

Test(wait_memory, outlives_trouble)
{
    in_trouble();
}

/* --- durable: it stays ------------------------------------------------------------------- */

Test(wait_durable, runs_out)
{
    struct told told;
    rig_send(&rig, &hasty, &told);
    cr_assert_eq(told.kind, QUEUE_STORED);
    cr_assert_eq(told.n_recipients, 1, "with what is known by then");
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
    rig_sync(&rig);
    cr_assert_eq(told.times, 1);
}

Test(wait_durable, runs_out_while_a_session_has_it)
{
    struct told told;
    rig_submit(&rig, &(struct letter){.wait_ms = 300}, &told);
    struct mail *delivery = rig_depart(&rig);
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_STORED);
    cr_assert_str_eq(told.message_status, "sending");
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}

Test(wait_durable, is_over_when_the_queue_drains)
{
    struct told told[3];
    for (size_t i = 0; i < 3; i++)
        rig_submit(&rig, &patient, &told[i]);
    struct mail *delivery = rig_depart(&rig);
    rig_sync(&rig); /* all are in */
    queue_drain(rig.queue);
    for (size_t i = 0; i < 3; i++) {
        told_wait(&told[i]);
        cr_assert_eq(told[i].kind, QUEUE_STORED);
    }
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_await(&rig, told[0].id, RECIPIENT_SENT);
}

/* --- in memory: it is withdrawn ---------------------------------------------------------- */

Test(wait_memory, runs_out)
{
    struct told told, found;
    rig_send(&rig, &hasty, &told);
    cr_assert_eq(told.kind, QUEUE_WITHDRAWN);
    cr_assert_str_eq(told.message_status, "canceled");
    struct mail *delivery = rig_next(&rig);
    cr_assert_eq(queue_depart(rig.queue, delivery), QUEUE_DEPARTS_NEVER, "it must not go out");
    queue_settle(rig.queue, delivery);
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 0);
    cr_assert_eq(rig.queue->own.held_bytes, 0);
    rig_find(&rig, told.id, &found);
    cr_assert_str_eq(found.message_status, "canceled");
    cr_assert_eq(told.times, 1);
}

Test(wait_memory, runs_out_between_attempts)
{
    static const int64_t retry_ms[] = {600000};
    struct told told;
    rig_close(&rig);
    rig.settings.retry_ms = retry_ms;
    rig.settings.n_retry = 1;
    rig_open(&rig);
    rig_submit(&rig, &(struct letter){.wait_ms = 300}, &told);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_DEFERRED, 450);
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_WITHDRAWN);
    cr_assert_eq(told.recipients[0].reply.code, 450, "it says why");
    cr_assert_str_eq(told.message_status, "canceled");
}

Test(wait_memory, that_was_withdrawn_may_come_again)
{
    struct told told;
    const struct letter keyed = {.wait_ms = 1, .key = "key", .request = "a"};
    rig_send(&rig, &keyed, &told);
    cr_assert_eq(told.kind, QUEUE_WITHDRAWN);
    rig_send(&rig, &(struct letter){.wait_ms = 1, .key = "key", .request = "b"}, &told);
    cr_assert_eq(told.kind, QUEUE_WITHDRAWN, "the key is free");
}

/* What a session has when the wait is over. */
struct overdue {
    const char *name;
    enum delivery_verdict verdict[2];
    enum queue_answer_kind kind;
    const char *status;
};

static const struct overdue overdue[] = {
    {"sent", {DELIVERY_SENT, DELIVERY_SENT}, QUEUE_DONE, "sent"},
    {"failed", {DELIVERY_FAILED, DELIVERY_FAILED}, QUEUE_DONE, "failed"},
    {"deferred", {DELIVERY_DEFERRED, DELIVERY_DEFERRED}, QUEUE_WITHDRAWN, "canceled"},
    {"untried", {DELIVERY_UNTRIED, DELIVERY_UNTRIED}, QUEUE_WITHDRAWN, "canceled"},
    {"in doubt", {DELIVERY_IN_DOUBT, DELIVERY_IN_DOUBT}, QUEUE_WITHDRAWN, "canceled"},
    {"sent to one", {DELIVERY_SENT, DELIVERY_DEFERRED}, QUEUE_DONE, "partial"},
    {"sent to one, other untried", {DELIVERY_SENT, DELIVERY_UNTRIED}, QUEUE_DONE, "partial"},
    {"failed for one", {DELIVERY_FAILED, DELIVERY_UNTRIED}, QUEUE_WITHDRAWN, "failed"},
};

static void check_overdue(const struct overdue *row)
{
    struct told told;
    rig_submit(&rig, &(struct letter){.n_recipients = 2, .wait_ms = 100}, &told);
    struct mail *delivery = rig_depart(&rig);
    struct told shorter; /* its wait is over when the other's is */
    rig_send(&rig, &(struct letter){.wait_ms = 150}, &shorter);
    cr_assert_eq(shorter.kind, QUEUE_WITHDRAWN, "%s", row->name);
    cr_assert_not(told_yet(&told), "%s", row->name);
    for (size_t i = 0; i < 2; i++)
        delivery->recipients[i].verdict = row->verdict[i];
    queue_settle(rig.queue, delivery);
    told_wait(&told);
    cr_assert_eq(told.kind, row->kind, "%s", row->name);
    cr_assert_str_eq(told.message_status, row->status, "%s", row->name);
    rig_sync(&rig);
    while (rig_n_ready(&rig) > 0) {
        delivery = rig_next(&rig);
        cr_assert_eq(queue_depart(rig.queue, delivery), QUEUE_DEPARTS_NEVER, "%s", row->name);
        queue_settle(rig.queue, delivery);
        rig_sync(&rig);
    }
    cr_assert_eq(rig.queue->own.held_bytes, 0, "%s", row->name);
    cr_assert_eq(rig.queue->own.waiters.n, 0, "%s", row->name);
}

Test(wait_memory, is_for_the_session_that_has_it)
{
    for (size_t i = 0; i < sizeof(overdue) / sizeof(overdue[0]); i++)
        check_overdue(&overdue[i]);
}

Test(wait_memory, is_withdrawn_in_spite_of_trouble)
{
    static atomic_int *const faults[] = {&fault.cancel, &fault.commit};
    for (size_t i = 0; i < 2; i++) {
        struct told told;
        rig_submit(&rig, &(struct letter){.wait_ms = 300}, &told);
        struct mail *delivery = rig_next(&rig);
        atomic_store(faults[i], 1);
        told_wait(&told);
        cr_assert_eq(atomic_load(faults[i]), 0);
        cr_assert_eq(told.kind, QUEUE_WITHDRAWN);
        cr_assert_str_eq(told.message_status, "canceled");
        cr_assert_eq(queue_depart(rig.queue, delivery), QUEUE_DEPARTS_NEVER);
        queue_settle(rig.queue, delivery);
    }
}

/* --- in memory, and the queue drains ------------------------------------------------------ */

Test(wait_memory, is_over_when_the_queue_drains)
{
    struct told withdrawn, sent;
    rig_submit(&rig, &patient, &sent);
    struct mail *delivery = rig_depart(&rig);
    rig_submit(&rig, &patient, &withdrawn);
    struct mail *waiting = rig_next(&rig); /* the relay has it, no session */
    queue_drain(rig.queue);
    told_wait(&withdrawn);
    cr_assert_eq(withdrawn.kind, QUEUE_WITHDRAWN);
    cr_assert_not(told_yet(&sent));
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    told_wait(&sent);
    cr_assert_eq(sent.kind, QUEUE_DONE);
    queue_settle(rig.queue, waiting);
}

Test(wait_memory, that_cannot_be_withdrawn_while_draining_is_not_tried_without_a_pause)
{
    struct told told;
    rig_submit(&rig, &patient, &told);
    struct mail *delivery = rig_next(&rig);
    atomic_store(&fault.cancel, 1000000);
    queue_drain(rig.queue);
    rig_does_not_hurry();
    cr_assert_not(told_yet(&told));
    cr_assert_eq(queue_depart(rig.queue, delivery), QUEUE_DEPARTS_NEVER);
    atomic_store(&fault.cancel, 0);
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_WITHDRAWN);
    queue_settle(rig.queue, delivery);
}

Test(wait_memory, is_over_when_the_queue_ends)
{
    struct told told;
    rig_submit(&rig, &patient, &told);
    queue_settle(rig.queue, rig_depart(&rig));
    rig_close(&rig);
    cr_assert_eq(told.times, 1);
    cr_assert_eq(told.kind, QUEUE_WITHDRAWN);
}
