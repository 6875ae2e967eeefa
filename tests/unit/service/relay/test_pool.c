#include <criterion/criterion.h>

#include "base/clock.h"
#include "pool_rig.h"

/*
 * How a pool decides: nobody connects here, the test says what became of each connection. What
 * connections do is test_connection.c's.
 */

static struct pool_rig rig;

static void set_up(void)
{
    pool_rig_init(&rig);
}

TestSuite(pool, .init = set_up, .timeout = 600);

/* --- what happens to connections ---------------------------------------------------------- */

static const struct error refused = {.code = ERR_CONNECT_REFUSED, .detail = "refused"};

/* Before it got through. */
static void fail_to_open(size_t slot)
{
    pool_closed(&rig.relay->slots[slot],
                &(struct pool_ending){.step = SMTP_STEP_TCP, .why = &refused});
}

/* After it was of use. */
static void end_well(size_t slot)
{
    static const struct error none = {0};
    pool_closed(&rig.relay->slots[slot],
                &(struct pool_ending){
                    .opened = true, .harmless = true, .step = SMTP_STEP_QUIT, .why = &none});
}

static void assert_sent(struct mail *delivery)
{
    cr_assert_not_null(delivery);
    rig_settle(&rig.mail, delivery, DELIVERY_SENT, 250);
}

/* As connections do it: each has its first message before the pool hears that it is in. */
static void have_open(size_t n)
{
    pool_rig_push(&rig, n);
    for (size_t i = 0; i < n; i++) {
        assert_sent(pool_pull(rig.relay, 0));
        pool_opened(rig.relay);
    }
    cr_assert_eq(rig.relay->n_connections, n);
    cr_assert_eq(rig.relay->n_opening, 0);
}

/* All that is ready goes out, and was sent. */
static size_t send_all(void)
{
    struct mail *delivery;
    size_t n = 0;
    for (; (delivery = pool_pull(rig.relay, 0)) != NULL; n++)
        rig_settle(&rig.mail, delivery, DELIVERY_SENT, 250);
    return n;
}

/* --- how many ----------------------------------------------------------------------------- */

Test(pool, opens_one_for_each_message_up_to_the_most)
{
    pool_rig_open(&rig);
    pool_rig_push(&rig, 1);
    cr_assert_eq(rig.relay->n_opening, 1);
    pool_plan(rig.relay);
    cr_assert_eq(rig.relay->n_opening, 1, "the one on its way takes it");
    pool_rig_push(&rig, 2);
    cr_assert_eq(rig.relay->n_opening, 3);
    pool_rig_push(&rig, 20);
    cr_assert_eq(rig.relay->n_opening, 4);
    cr_assert_eq(rig.relay->slots[0].to_open, 2, "shared out among the slots");
    cr_assert_eq(rig.relay->slots[1].to_open, 2);
    pool_rig_await_call(0);
    pool_rig_await_call(1);
    pool_rig_clear(&rig);
}

Test(pool, wakes_an_idle_one_before_it_opens_another)
{
    pool_rig_open(&rig);
    have_open(2);
    pool_idle_changed(&rig.relay->slots[1], true);
    atomic_store(&pool_rig_calls[1], 0);
    pool_rig_push(&rig, 1);
    pool_rig_await_call(1);
    cr_assert_eq(rig.relay->n_connections, 2);
    pool_rig_push(&rig, 1); /* the idle one can take but one of the two */
    cr_assert_eq(rig.relay->n_connections, 3);
    pool_rig_clear(&rig);
}

Test(pool, calls_the_berth_of_one_that_turns_idle_while_mail_waits)
{
    rig.settings.connections.max = 1;
    pool_rig_open(&rig);
    have_open(1);
    pool_rig_push(&rig, 1); /* nobody is idle, and no other may be opened */
    atomic_store(&pool_rig_calls[0], 0);
    pool_idle_changed(&rig.relay->slots[0], true);
    pool_rig_await_call(0);
    pool_rig_clear(&rig);
}

Test(pool, opens_none_while_paused)
{
    pool_rig_open(&rig);
    relay_pause(rig.relay);
    cr_assert_eq(atomic_load(&rig.n_changed), 1);
    cr_assert_not(relay_available(rig.relay));
    pool_rig_push(&rig, 3);
    cr_assert_eq(rig.relay->n_connections, 0);
    cr_assert_null(pool_pull(rig.relay, 0));
    pool_rig_await_call(0); /* somebody watches the clock: mail expires */
    relay_resume(rig.relay);
    cr_assert_eq(rig.relay->n_opening, 3);
    cr_assert_eq(send_all(), 3);
    pool_rig_clear(&rig);
}

/* --- trouble ------------------------------------------------------------------------------ */

Test(pool, a_refusal_while_others_are_inside_is_a_cap)
{
    pool_rig_open(&rig);
    have_open(2);
    pool_rig_push(&rig, 8);
    cr_assert_eq(rig.relay->n_opening, 2);
    fail_to_open(0);
    cr_assert_eq(rig.relay->cap, 2);
    cr_assert_not(rig.relay->down);
    rig.relay->entry.until_ms = 0; /* the pause is over */
    fail_to_open(1);
    rig.relay->entry.until_ms = 0;
    pool_plan(rig.relay);
    cr_assert_eq(rig.relay->n_connections, 2);
    cr_assert(relay_available(rig.relay));
    cr_assert_eq(send_all(), 8);
    pool_rig_clear(&rig);
}

Test(pool, one_probe_and_a_slow_start_after_an_outage)
{
    rig.settings.connections.max = 16;
    pool_rig_open(&rig);
    pool_rig_push(&rig, 60);
    cr_assert_eq(rig.relay->n_opening, 16);
    for (size_t i = 0; i < 16; i++)
        fail_to_open(i % 2);
    cr_assert(rig.relay->down);
    cr_assert_not(relay_available(rig.relay));
    cr_assert_eq(rig.relay->entry.n_failures, 1, "what ends at once is one failure");
    cr_assert_eq(rig.relay->n_connections, 0);
    cr_assert_gt(rig.relay->entry.until_ms, 0);

    rig.relay->entry.until_ms = 0; /* the pause is over */
    static const size_t steps[] = {1, 2, 4, 8, 16, 16};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        pool_plan(rig.relay);
        cr_assert_eq(rig.relay->n_connections, steps[i], "%zu, not %zu", rig.relay->n_connections,
                     steps[i]);
        for (size_t n = rig.relay->n_opening; n > 0; n--)
            pool_opened(rig.relay);
    }
    cr_assert(relay_available(rig.relay));
    cr_assert_eq(rig.relay->failure.error.code, ERR_NONE);
    pool_rig_clear(&rig);
}

Test(pool, an_end_after_mail_was_carried_is_no_trouble)
{
    pool_rig_open(&rig);
    have_open(1);
    end_well(0);
    cr_assert_eq(rig.relay->n_connections, 0);
    cr_assert_eq(rig.relay->entry.n_failures, 0);
    cr_assert(relay_available(rig.relay));
    pool_rig_push(&rig, 1);
    cr_assert_eq(rig.relay->n_opening, 1);
    pool_rig_clear(&rig);
}

Test(pool, nothing_goes_while_the_relay_wants_rest)
{
    pool_rig_open(&rig);
    have_open(1);
    backoff_pause(&rig.relay->traffic, clock_mono_ms(), 3600 * 1000);
    pool_rig_push(&rig, 3);
    cr_assert_null(pool_pull(rig.relay, 0));
    cr_assert_eq(rig.relay->n_connections, 1);
    rig.relay->traffic.until_ms = 0;
    cr_assert_eq(send_all(), 3);
    pool_rig_clear(&rig);
}

/* --- who gets the next -------------------------------------------------------------------- */

Test(pool, a_busy_one_gets_more_only_if_each_could_have_some)
{
    rig.settings.connections.max = 2;
    pool_rig_open(&rig);
    have_open(2);
    pool_rig_push(&rig, 4);
    for (size_t left = 4; left >= 2; left--) { /* as long as each of two could have one */
        cr_assert_eq(rig.relay->ready.n, left);
        assert_sent(pool_pull(rig.relay, 1));
    }
    cr_assert_null(pool_pull(rig.relay, 1));
    assert_sent(pool_pull(rig.relay, 0)); /* for an idle one there is always one */
    cr_assert_null(pool_pull(rig.relay, 0));
    pool_rig_clear(&rig);
}

Test(pool, a_busy_one_gets_no_more_while_another_may_be_opened)
{
    pool_rig_open(&rig);
    have_open(1);
    rig.relay->cap = 1;
    pool_rig_push(&rig, 5);
    rig.relay->cap = 4; /* it bears more again, but nobody has planned since */
    cr_assert_null(pool_pull(rig.relay, 1));
    rig.relay->cap = 1;
    assert_sent(pool_pull(rig.relay, 1));
    pool_rig_clear(&rig);
}

Test(pool, high_priority_goes_first)
{
    pool_rig_open(&rig);
    struct mail *low = pool_rig_mail(&rig, &(struct letter){.priority = PRIORITY_LOW});
    struct mail *high = pool_rig_mail(&rig, &(struct letter){.priority = PRIORITY_HIGH});
    relay_push(rig.relay, low);
    relay_push(rig.relay, high);
    struct mail *first = pool_pull(rig.relay, 0), *second = pool_pull(rig.relay, 0);
    cr_assert_eq(first, high);
    cr_assert_eq(second, low);
    cr_assert_str_eq(first->relay, "primary");
    cr_assert_geq(first->flight, 0);
    assert_sent(first);
    assert_sent(second);
    pool_rig_clear(&rig);
}

/* --- rates -------------------------------------------------------------------------------- */

static struct config_rate three_an_hour = {3, 3600 * 1000}, two_an_hour = {2, 3600 * 1000};

Test(pool, keeps_to_the_rate_of_messages)
{
    rig.settings.rate.messages = (struct config_rates){&two_an_hour, 1};
    pool_rig_open(&rig);
    pool_rig_push(&rig, 4);
    int64_t now_ms = clock_mono_ms();
    struct mail *first = pool_pull(rig.relay, 0);
    assert_sent(pool_pull(rig.relay, 0));
    cr_assert_null(pool_pull(rig.relay, 0));
    cr_assert_not(relay_available(rig.relay));
    rig_settle(&rig.mail, first, DELIVERY_UNTRIED, 0);
    pool_not_sent(rig.relay, 1, 1, now_ms);
    assert_sent(pool_pull(rig.relay, 0));
    cr_assert_null(pool_pull(rig.relay, 0));
    cr_assert_eq(pool_rig_used(&rig, "messages"), 2);
    pool_rig_clear(&rig);
}

Test(pool, holds_back_recipients_beyond_the_rate_and_the_most_of_one_transaction)
{
    rig.settings.rate.recipients = (struct config_rates){&three_an_hour, 1};
    rig.settings.max_recipients = 2;
    pool_rig_open(&rig);
    for (int i = 0; i < 2; i++)
        relay_push(rig.relay, pool_rig_mail(&rig, &(struct letter){.n_recipients = 4}));
    struct mail *first = pool_pull(rig.relay, 0), *second = pool_pull(rig.relay, 0);
    cr_assert_eq(pool_n_carried(first), 2);
    cr_assert_eq(pool_n_carried(second), 1, "the rate leaves one");
    cr_assert_eq(pool_rig_used(&rig, "recipients"), 3);
    cr_assert_null(pool_pull(rig.relay, 0));
    rig_settle(&rig.mail, first, DELIVERY_FAILED, 550);
    rig_settle(&rig.mail, second, DELIVERY_FAILED, 550);
    pool_rig_clear(&rig);
}

/* --- what does not depart ----------------------------------------------------------------- */

Test(pool, what_cannot_be_noted_as_under_way_waits_and_is_counted_nowhere)
{
    rig.settings.rate.messages = (struct config_rates){&three_an_hour, 1};
    rig.settings.rate.recipients = (struct config_rates){&three_an_hour, 1};
    pool_rig_open(&rig);
    struct mail *first = pool_rig_mail(&rig, &(struct letter){0});
    relay_push(rig.relay, first);
    pool_rig_push(&rig, 1);
    pool_rig_fill_ledger(&rig);
    for (int i = 0; i < 10; i++) { /* were it counted, the rate would be used up */
        cr_assert_null(pool_pull(rig.relay, 0));
        cr_assert_eq(rig.relay->ready.n, 2);
    }
    cr_assert_eq(pool_rig_used(&rig, "messages"), 0);
    cr_assert_eq(pool_rig_used(&rig, "recipients"), 0);
    rig_sync(&rig.mail);
    cr_assert_eq(rig_n_ready(&rig.mail), 0, "the queue never had it back");
    pool_rig_empty_ledger(&rig);
    struct mail *again = pool_pull(rig.relay, 0);
    cr_assert_eq(again, first, "it has kept its place");
    cr_assert_eq(again->recipients[0].attempts, 0);
    cr_assert_eq(pool_rig_used(&rig, "messages"), 1);
    assert_sent(again);
    assert_sent(pool_pull(rig.relay, 0));
    pool_rig_clear(&rig);
}

/* Who would have been held back then is not when the rate has room again. */
Test(pool, what_was_put_back_is_held_back_anew)
{
    rig.settings.rate.recipients = (struct config_rates){&three_an_hour, 1};
    pool_rig_open(&rig);
    relay_push(rig.relay, pool_rig_mail(&rig, &(struct letter){.n_recipients = 2}));
    assert_sent(pool_pull(rig.relay, 0));
    int64_t taken_ms = clock_mono_ms();
    relay_push(rig.relay, pool_rig_mail(&rig, &(struct letter){.n_recipients = 3}));
    pool_rig_fill_ledger(&rig);
    cr_assert_null(pool_pull(rig.relay, 0));
    cr_assert_eq(pool_rig_used(&rig, "recipients"), 2);
    pool_rig_empty_ledger(&rig);
    pool_not_sent(rig.relay, 0, 2, taken_ms); /* the window has moved on */
    struct mail *delivery = pool_pull(rig.relay, 0);
    cr_assert_not_null(delivery);
    cr_assert_eq(pool_n_carried(delivery), 3);
    assert_sent(delivery);
    pool_rig_clear(&rig);
}

/* --- the end ------------------------------------------------------------------------------ */

Test(pool, a_drain_gives_everything_back)
{
    rig.settings.connections.max = 2;
    pool_rig_open(&rig);
    have_open(2);
    pool_rig_push(&rig, 2);
    struct mail *under_way = pool_pull(rig.relay, 0);
    struct mail *late = pool_rig_mail(&rig, &(struct letter){0});
    relay_drain(rig.relay);
    cr_assert_eq(rig.relay->ready.n, 0);
    cr_assert_null(pool_pull(rig.relay, 0));
    rig_abandon(rig_next(&rig.mail)); /* the queue has it, and would send it elsewhere */
    relay_push(rig.relay, late);      /* of a queue that had not looked */
    rig_abandon(rig_next(&rig.mail));
    cr_assert_eq(rig.relay->n_connections, 2);
    cr_assert_not(relay_at_rest(rig.relay));
    assert_sent(under_way);
    end_well(0);
    end_well(1);
    cr_assert(relay_at_rest(rig.relay));
    cr_assert_eq(rig.relay->n_connections, 0);
    pool_rig_clear(&rig);
}

Test(pool, what_fails_while_it_drains_is_no_trouble)
{
    pool_rig_open(&rig);
    pool_rig_push(&rig, 1);
    relay_drain(rig.relay);
    fail_to_open(0);
    cr_assert_eq(rig.relay->failure.error.code, ERR_NONE);
    cr_assert_eq(rig.relay->n_connections, 0, "and no other is opened");
    pool_rig_clear(&rig);
}
