/* Opening, closing, draining, and what other threads ask. */

#include <criterion/criterion.h>
#include <stdio.h>

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

TestSuite(queue, .init = set_up, .fini = tear_down);

static const struct letter one = {0};

/* --- opening ------------------------------------------------------------------------------ */

Test(queue, opens_only_what_is_a_store)
{
    static const char *const stores[] = {"", "sqlite", "mysql:x", "memory:x", "sqlite:/no/such/x"};
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        struct queue_settings settings = rig.settings;
        struct queue *queue = NULL;
        struct error err = {0};
        settings.store = stores[i];
        cr_assert_eq(queue_open(&settings, &queue, &err), -1, "%s", stores[i]);
        cr_assert_eq(err.code, ERR_CONFIG, "%s", stores[i]);
        cr_assert_null(queue);
    }
}

Test(queue, is_alone_with_its_file)
{
    struct queue_settings settings = rig.settings;
    char store[160];
    struct queue *queue = NULL;
    struct error err = {0};
    snprintf(store, sizeof(store), "sqlite:%s", rig.location);
    settings.store = store;
    cr_assert_eq(queue_open(&settings, &queue, &err), -1);
    rig_close(&rig);
    cr_assert_eq(queue_open(&settings, &queue, &err), 0, "%s", err.detail);
    queue_free(queue);
    queue_free(NULL);
}

/* --- looking ------------------------------------------------------------------------------ */

Test(queue, finds_what_it_has)
{
    struct told told, found;
    rig_send(&rig, &(struct letter){.n_recipients = 3}, &told);
    rig_find(&rig, told.id, &found);
    cr_assert_eq(found.n_recipients, 3);
    cr_assert_eq(found.n_events, 3);
    cr_assert_str_eq(found.message_status, "queued");
    rig_find(&rig, "01ARZ3NDEKTSV4RRFFQ69G5FAV", &found);
    cr_assert_eq(found.code, ERR_NOT_FOUND);
    rig_find(&rig, "", &found);
    cr_assert_eq(found.code, ERR_NOT_FOUND);
}

Test(queue, finds_while_a_commit_lasts)
{
    struct told told, slow, found;
    rig_send(&rig, &one, &told);
    gate_close();
    rig_submit(&rig, &one, &slow);
    gate_await();
    rig_find(&rig, told.id, &found);
    cr_assert_str_eq(found.message_status, "queued");
    gate_open();
    told_wait(&slow);
}

Test(queue, shows_what_a_session_has_as_sending)
{
    struct told told, found;
    rig_send(&rig, &(struct letter){.n_recipients = 2}, &told);
    struct mail *delivery = rig_depart(&rig);
    rig_find(&rig, told.id, &found);
    cr_assert_eq(found.recipients[0].status, RECIPIENT_SENDING);
    cr_assert_eq(found.recipients[1].status, RECIPIENT_SENDING);
    rig_settle(&rig, delivery, DELIVERY_UNTRIED, 0);
    rig_await(&rig, told.id, RECIPIENT_QUEUED);
}

/* --- draining ----------------------------------------------------------------------------- */

Test(queue, drains)
{
    struct told flying, idle, refused, found;
    struct error err;
    rig_send(&rig, &one, &flying);
    rig_send(&rig, &one, &idle);
    struct mail *sent = rig_depart(&rig), *left = rig_depart(&rig);
    queue_drain(rig.queue);
    rig_send(&rig, &one, &refused);
    cr_assert_eq(refused.kind, QUEUE_REFUSED);
    cr_assert_eq(refused.code, ERR_DRAINING);
    cr_assert_not(queue_ready(rig.queue, &err));
    cr_assert_eq(err.code, ERR_DRAINING);
    rig_settle(&rig, sent, DELIVERY_SENT, 250);
    rig_settle(&rig, left, DELIVERY_UNTRIED, 0);
    rig_await(&rig, flying.id, RECIPIENT_SENT);
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 0, "what comes back untouched stays");
    rig_close(&rig);

    rig_open(&rig);
    rig_find(&rig, idle.id, &found);
    cr_assert_str_eq(found.message_status, "queued", "not in doubt");
    left = rig_depart(&rig);
    cr_assert_eq(left->recipients[0].attempts, 0);
    rig_settle(&rig, left, DELIVERY_UNTRIED, 0);
}

Test(queue, hands_nothing_out_once_it_drains)
{
    struct told told;
    gate_close();
    rig_submit(&rig, &one, &told);
    gate_await();
    queue_drain(rig.queue);
    gate_open();
    told_wait(&told);
    cr_assert_eq(told.kind, QUEUE_STORED);
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 0);
    rig_close(&rig);
    rig_open(&rig);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}

/* What came in before the end is answered and recorded, the last thing said too. */
Test(queue, commits_the_rest_at_its_end)
{
    static struct told told[100];
    struct told sent, found;
    rig_send(&rig, &one, &sent);
    struct mail *delivery = rig_depart(&rig);
    for (size_t i = 0; i < 100; i++)
        rig_submit(&rig, &one, &told[i]);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_close(&rig);
    rig_open_unstarted(&rig);
    for (size_t i = 0; i < 100; i++) {
        cr_assert_eq(told[i].times, 1);
        rig_find(&rig, told[i].id, &found);
        cr_assert_eq(found.code, told[i].kind == QUEUE_STORED ? ERR_NONE : ERR_NOT_FOUND);
    }
    rig_find(&rig, sent.id, &found);
    cr_assert_str_eq(found.message_status, "sent");
}

Test(queue, lets_nothing_depart_that_could_not_be_remembered)
{
    struct told told;
    rig_send(&rig, &(struct letter){0}, &told);
    struct mail *delivery = rig_next(&rig);
    delivery->relay = "primary";
    for (int i = 0; i < FLIGHT_SLOTS; i++)
        cr_assert_geq(flight_ledger_enter(rig.queue->ledger, (struct flight){.seq = 1000 + i}), 0);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(queue_depart(rig.queue, delivery), QUEUE_DEPARTS_NOT_NOW);
        cr_assert_eq(delivery->flight, -1);
    }
    flight_ledger_leave(rig.queue->ledger, 4711);
    cr_assert_eq(queue_depart(rig.queue, delivery), QUEUE_DEPARTS);
    cr_assert_eq(delivery->flight, 4711);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}
