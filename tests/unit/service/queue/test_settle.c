/* From what a session reports to what a lookup says, and to the next attempt. */

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
    rig_clear(&rig);
}

TestSuite(settle, .init = set_up, .fini = tear_down);

static const struct mail one = {0};

struct row {
    const char *name;
    enum delivery_verdict verdict;
    bool hold, expired;
    enum recipient_status status;
    uint32_t attempts;
    bool again; /* there is a next attempt */
    size_t n_events;
};

static const struct row rows[] = {
    {"sent", DELIVERY_SENT, false, false, RECIPIENT_SENT, 1, false, 2},
    {"sent, though late", DELIVERY_SENT, false, true, RECIPIENT_SENT, 1, false, 2},
    {"failed", DELIVERY_FAILED, false, false, RECIPIENT_FAILED, 1, false, 2},
    {"deferred", DELIVERY_DEFERRED, false, false, RECIPIENT_DEFERRED, 1, true, 2},
    {"deferred too late", DELIVERY_DEFERRED, false, true, RECIPIENT_FAILED, 1, false, 2},
    {"in doubt", DELIVERY_IN_DOUBT, false, false, RECIPIENT_IN_DOUBT, 1, true, 2},
    {"in doubt too late", DELIVERY_IN_DOUBT, false, true, RECIPIENT_IN_DOUBT, 1, false, 2},
    {"in doubt and held", DELIVERY_IN_DOUBT, true, false, RECIPIENT_IN_DOUBT, 1, false, 2},
    {"untried too late", DELIVERY_UNTRIED, false, true, RECIPIENT_FAILED, 0, false, 2},
};

Test(settle, records_what_became_of_it)
{
    static const int64_t retry_ms[] = {600000};
    rig.settings.retry_ms = retry_ms;
    rig.settings.n_retry = 1;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct told told, found;
        rig_close(&rig);
        rig.settings.hold_in_doubt = row->hold;
        rig_open(&rig);
        rig_send(&rig, &(struct mail){.max_age_ms = 3600000, .age_ms = row->expired ? 3600001 : 0},
                 &told);
        struct delivery *delivery = rig_depart(&rig);
        rig_find(&rig, told.id, &found);
        cr_assert_str_eq(found.message_status, "sending", "%s", row->name);
        rig_settle(&rig, delivery, row->verdict, row->verdict != DELIVERY_UNTRIED ? 450 : 0);
        rig_await(&rig, told.id, row->status);
        rig_find(&rig, told.id, &found);
        cr_assert_eq(found.recipients[0].attempts, row->attempts, "%s", row->name);
        cr_assert_eq(found.recipients[0].next_attempt_ms > 0, row->again, "%s", row->name);
        cr_assert_eq(found.n_events, row->n_events, "%s", row->name);
        if (row->verdict != DELIVERY_UNTRIED)
            cr_assert_eq(found.recipients[0].reply.code, 450, "%s", row->name);
        else
            cr_assert_neq(found.recipients[0].reply.text[0], '\0', "%s", row->name);
        rig_sync(&rig);
        cr_assert_eq(rig_n_ready(&rig), 0, "%s", row->name);
        cr_assert_eq(rig.queue->own.held_bytes, 0, "%s", row->name);
    }
}

Test(settle, tries_again_what_was_deferred)
{
    struct told told, found;
    rig_send(&rig, &one, &told);
    for (uint32_t attempts = 0; attempts < 4; attempts++) {
        struct delivery *delivery = rig_depart(&rig);
        cr_assert_eq(delivery->recipients[0].attempts, attempts);
        cr_assert_str_eq(delivery->id, told.id);
        rig_settle(&rig, delivery, attempts < 3 ? DELIVERY_DEFERRED : DELIVERY_SENT, 250);
    }
    rig_await(&rig, told.id, RECIPIENT_SENT);
    rig_find(&rig, told.id, &found);
    cr_assert_eq(found.recipients[0].attempts, 4);
    cr_assert_eq(found.n_events, 5);
}

Test(settle, tries_again_what_is_in_doubt)
{
    struct told told;
    rig_send(&rig, &one, &told);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_IN_DOUBT, 0);
    struct delivery *delivery = rig_depart(&rig);
    cr_assert_eq(delivery->recipients[0].attempts, 1);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}

Test(settle, sends_on_what_came_back_untouched)
{
    struct told told, found;
    rig_send(&rig, &one, &told);
    for (size_t i = 0; i < 5; i++) {
        rig_settle(&rig, rig_depart(&rig), DELIVERY_UNTRIED, 0);
        rig_sync(&rig);
        rig_find(&rig, told.id, &found);
        cr_assert_str_eq(found.message_status, "queued");
        cr_assert_eq(found.n_events, 1);
    }
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
    rig_find(&rig, told.id, &found);
    cr_assert_eq(found.recipients[0].attempts, 1);
}

/* One refused recipient harms no other; who was not tried goes at once, who was deferred later. */
Test(settle, judges_each_recipient_by_itself)
{
    struct told told, found;
    rig_send(&rig, &(struct mail){.n_recipients = 4}, &told);
    struct delivery *delivery = rig_depart(&rig);
    cr_assert_eq(delivery->n_recipients, 4);
    delivery->recipients[0].verdict = DELIVERY_SENT;
    delivery->recipients[1].verdict = DELIVERY_UNTRIED;
    delivery->recipients[2].verdict = DELIVERY_FAILED;
    delivery->recipients[3].verdict = DELIVERY_DEFERRED;
    queue_settle(rig.queue, delivery);
    for (size_t seen = 0; seen != 0xa;) {
        delivery = rig_depart(&rig);
        for (size_t i = 0; i < delivery->n_recipients; i++) {
            size_t bit = (size_t)1 << delivery->recipients[i].index;
            cr_assert_eq(seen & bit, 0);
            seen |= bit;
            cr_assert_eq(delivery->recipients[i].attempts,
                         delivery->recipients[i].index == 3 ? 1 : 0);
        }
        rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    }
    rig_await(&rig, told.id, RECIPIENT_SENT);
    do
        rig_find(&rig, told.id, &found);
    while (found.recipients[3].status != RECIPIENT_SENT ||
           found.recipients[1].status != RECIPIENT_SENT);
    cr_assert_str_eq(found.message_status, "partial");
    cr_assert_eq(found.recipients[2].status, RECIPIENT_FAILED);
    cr_assert_eq(found.recipients[3].attempts, 2);
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 0);
}
