/* From what a session reports to what a lookup says, and to the next attempt. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

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

TestSuite(settle, .init = set_up, .fini = tear_down);

static const struct letter one = {0};

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
        rig.hold = row->hold;
        rig_open(&rig);
        rig_send(&rig,
                 &(struct letter){.max_age_ms = 3600000, .age_ms = row->expired ? 3600001 : 0},
                 &told);
        struct mail *delivery = rig_depart(&rig);
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
        struct mail *delivery = rig_depart(&rig);
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
    struct mail *delivery = rig_depart(&rig);
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
    rig_send(&rig, &(struct letter){.n_recipients = 4}, &told);
    struct mail *delivery = rig_depart(&rig);
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

static void check_options(const struct mail *delivery)
{
    cr_assert_str_eq(delivery->from, "a@example.com");
    cr_assert_str_eq(delivery->options.relay, "primary");
    cr_assert_str_eq(delivery->options.dsn.notify, "NEVER");
    cr_assert_null(delivery->options.dsn.envid);
    cr_assert_eq(delivery->options.priority, PRIORITY_LOW);
}

/* The relay left two out of its transaction: they come back at once, no attempt counted. */
Test(settle, brings_back_only_those_that_were_held_back)
{
    struct told told, found;
    rig_send(&rig, &(struct letter){.n_recipients = 3, .priority = PRIORITY_LOW}, &told);
    struct mail *delivery = rig_depart(&rig);
    check_options(delivery);
    delivery->recipients[0].held_back = delivery->recipients[2].held_back = true;
    delivery->recipients[1].verdict = DELIVERY_SENT;
    queue_settle(rig.queue, delivery);
    delivery = rig_depart(&rig);
    check_options(delivery);
    cr_assert_eq(delivery->n_recipients, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(delivery->recipients[i].index, 2 * i);
        cr_assert_eq(delivery->recipients[i].attempts, 0);
        cr_assert_not(delivery->recipients[i].held_back);
    }
    rig_find(&rig, told.id, &found);
    cr_assert_eq(found.n_events, 4, "three queued, one sent");
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}

/* --- usage -------------------------------------------------------------------------------- */

static struct {
    size_t n;
    int64_t n_messages, n_recipients;
    char relays[200];
} usage;

static void on_usage(void *arg, const struct usage_record *record)
{
    usage.n++;
    usage.n_messages += record->n_messages;
    usage.n_recipients += record->n_recipients;
    strncat(usage.relays, record->relay, sizeof(usage.relays) - strlen(usage.relays) - 1);
}

static void ask_usage(void)
{
    struct error err;
    memset(&usage, 0, sizeof(usage));
    cr_assert_eq(queue_usage(rig.queue, 0, on_usage, NULL, &err), 0);
}

/* A message of two each; what was not recorded at first is counted once all the same. */
Test(settle, counts_what_a_relay_took)
{
    static const enum delivery_verdict verdicts[][2] = {{DELIVERY_SENT, DELIVERY_SENT},
                                                        {DELIVERY_FAILED, DELIVERY_SENT},
                                                        {DELIVERY_FAILED, DELIVERY_FAILED},
                                                        {DELIVERY_DEFERRED, DELIVERY_IN_DOUBT}};
    static const int64_t retry_ms[] = {600000};
    struct told told[4], late;
    rig_close(&rig);
    rig.settings.retry_ms = retry_ms;
    rig.settings.n_retry = 1;
    rig_open(&rig);
    ask_usage();
    cr_assert_eq(usage.n, 0);
    for (size_t i = 0; i < 4; i++)
        rig_send(&rig, &(struct letter){.n_recipients = 2}, &told[i]);
    gate_close();
    rig_submit(&rig, &one, &late);
    gate_await();
    for (size_t i = 0; i < 4; i++) {
        struct mail *delivery = rig_depart(&rig);
        for (size_t r = 0; r < 2; r++)
            delivery->recipients[r].verdict = verdicts[i][r];
        queue_settle(rig.queue, delivery);
    }
    atomic_store(&fault.commit, 2);
    gate_open();
    rig_await(&rig, told[0].id, RECIPIENT_SENT);
    rig_await(&rig, told[3].id, RECIPIENT_DEFERRED);
    rig_close(&rig);
    rig_open_unstarted(&rig);
    ask_usage();
    cr_assert_str_eq(usage.relays, usage.n == 1 ? "primary" : "primaryprimary",
                     "of one or two hours");
    cr_assert_eq(usage.n_messages, 2);
    cr_assert_eq(usage.n_recipients, 3);
}

/* More relays in one turn than are added up at once. */
Test(settle, counts_what_many_relays_took)
{
    enum { N = 20 };
    static char names[N][8];
    struct told told[N], late;
    for (size_t i = 0; i < N; i++)
        rig_send(&rig, &one, &told[i]);
    gate_close();
    rig_submit(&rig, &one, &late);
    gate_await();
    for (size_t i = 0; i < N; i++) {
        struct mail *delivery = rig_depart(&rig);
        snprintf(names[i], sizeof(names[i]), "r%zu.", i);
        delivery->relay = names[i];
        rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    }
    gate_open();
    rig_await(&rig, told[N - 1].id, RECIPIENT_SENT);
    ask_usage();
    cr_assert_eq(usage.n_messages, N);
    for (size_t i = 0; i < N; i++)
        cr_assert_not_null(strstr(usage.relays, names[i]), "%s of %s", names[i], usage.relays);
}
