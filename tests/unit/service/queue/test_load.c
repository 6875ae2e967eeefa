/* The backlog: what is in the store comes out when there is room, once each. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

static struct rig rig;

static void set_up(void)
{
    rig_init(&rig, false);
    rig_open_unstarted(&rig);
}

static void tear_down(void)
{
    rig_clear(&rig);
}

TestSuite(load, .init = set_up, .fini = tear_down);

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

Test(load, gives_all_of_a_backlog_once)
{
    enum { N = 700 };
    static struct told told[N];
    static char seen[N][ID_SIZE], expected[N][ID_SIZE];
    for (size_t i = 0; i < N; i++)
        rig_submit(&rig, &(struct letter){.size = 5000}, &told[i]);
    for (size_t i = 0; i < N; i++) {
        told_wait(&told[i]);
        memcpy(expected[i], told[i].id, ID_SIZE);
    }
    cr_assert_eq(rig_n_ready(&rig), 0);
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    for (size_t i = 0; i < N; i++) { /* all do not fit at once */
        struct mail *delivery = rig_depart(&rig);
        memcpy(seen[i], delivery->id, ID_SIZE);
        rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    }
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 0);
    cr_assert_eq(rig.queue->own.held_bytes, 0);
    qsort(seen, N, ID_SIZE, by_id);
    qsort(expected, N, ID_SIZE, by_id);
    cr_assert_eq(memcmp(seen, expected, sizeof(seen)), 0);
}

Test(load, is_tried_again_when_it_failed)
{
    struct told stored, other;
    rig_send(&rig, &(struct letter){0}, &stored);
    atomic_store(&fault.load, 1);
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    rig_sync(&rig);
    cr_assert_eq(atomic_load(&fault.load), 0);
    rig_send(&rig, &(struct letter){0}, &other);
    cr_assert_eq(other.kind, QUEUE_STORED, "mail is taken in all the same");
    for (size_t i = 0; i < 2; i++)
        rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, stored.id, RECIPIENT_SENT);
    rig_await(&rig, other.id, RECIPIENT_SENT);
}

Test(load, that_was_not_committed_gives_nothing)
{
    struct told stored;
    rig_send(&rig, &(struct letter){0}, &stored);
    atomic_store(&fault.commit, 1);
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, stored.id, RECIPIENT_SENT);
    cr_assert_eq(atomic_load(&fault.commit), 0);
    rig_sync(&rig);
    cr_assert_eq(rig_n_ready(&rig), 0);
    cr_assert_eq(rig.queue->own.held_bytes, 0);
}

Test(load, that_cannot_be_committed_is_not_tried_without_a_pause)
{
    struct told stored;
    rig_send(&rig, &(struct letter){0}, &stored);
    atomic_store(&fault.commit, 1000000);
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    rig_sync(&rig);
    rig_does_not_hurry();
    atomic_store(&fault.commit, 0);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, stored.id, RECIPIENT_SENT);
}

Test(load, that_finds_nothing_holds_up_nothing)
{
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    rig_sync(&rig);
    cr_assert_eq(rig.queue->own.next_due_ms, INT64_MAX);
    cr_assert_eq(rig.queue->own.load_again_ms, 0);
}

/* --- at start ----------------------------------------------------------------------------- */

Test(load, gives_again_what_an_earlier_process_had)
{
    struct told told[3];
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        rig_send(&rig, &(struct letter){0}, &told[i]);
    rig_sync(&rig);
    rig_close(&rig);
    rig_open(&rig);
    for (size_t i = 0; i < 3; i++) {
        struct mail *delivery = rig_depart(&rig);
        cr_assert_eq(delivery->recipients[0].attempts, 0);
        rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    }
    for (size_t i = 0; i < 3; i++)
        rig_await(&rig, told[i].id, RECIPIENT_SENT);
}

static void leave_under_way(struct told *told)
{
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    rig_send(&rig, &(struct letter){0}, told);
    mail_free(rig_depart(&rig));
    rig_close(&rig);
}

Test(load, gives_again_what_is_in_doubt)
{
    struct told told, found;
    leave_under_way(&told);
    rig_open_unstarted(&rig);
    rig_find(&rig, told.id, &found);
    cr_assert_str_eq(found.message_status, "in_doubt");
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    struct mail *delivery = rig_depart(&rig);
    cr_assert_eq(delivery->recipients[0].attempts, 1);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}

Test(load, holds_what_is_in_doubt_if_told_to)
{
    struct told told, found;
    rig.hold = true;
    leave_under_way(&told);
    for (size_t i = 0; i < 2; i++) {
        rig_open(&rig);
        rig_sync(&rig);
        cr_assert_eq(rig_n_ready(&rig), 0);
        rig_find(&rig, told.id, &found);
        cr_assert_str_eq(found.message_status, "in_doubt");
        rig_close(&rig);
    }
}

/* Of a boot of long ago: the list says nothing, so the settings do. */
static void reboot(void)
{
    char path[160];
    snprintf(path, sizeof(path), "%s.flights", rig.location);
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, 8, SEEK_SET), 0);
    cr_assert_eq(fputs("another boot", file) >= 0, 1);
    fclose(file);
}

static void leave_claimed_and_reboot(bool hold_all, struct told *told)
{
    rig.hold = !hold_all; /* which nobody knows any more */
    leave_under_way(told);
    rig.settings.hold_in_doubt = hold_all;
    reboot();
    rig_open(&rig);
    rig_sync(&rig);
}

Test(load, gives_again_what_was_claimed_before_a_power_failure)
{
    struct told told;
    leave_claimed_and_reboot(false, &told);
    struct mail *delivery = rig_depart(&rig);
    cr_assert_eq(delivery->recipients[0].attempts, 1);
    rig_settle(&rig, delivery, DELIVERY_SENT, 250);
    rig_await(&rig, told.id, RECIPIENT_SENT);
}

Test(load, holds_what_was_claimed_before_a_power_failure_if_told_to)
{
    struct told told, found;
    leave_claimed_and_reboot(true, &told);
    cr_assert_eq(rig_n_ready(&rig), 0);
    rig_find(&rig, told.id, &found);
    cr_assert_str_eq(found.message_status, "in_doubt");
}

/* A backlog in the store: what is urgent overtakes it. */
Test(load, gives_the_urgent_first)
{
    struct told low, high;
    rig_send(&rig, &(struct letter){.priority = PRIORITY_LOW}, &low);
    rig_send(&rig, &(struct letter){.priority = PRIORITY_HIGH}, &high);
    cr_assert_eq(queue_start(rig.queue, NULL), 0);
    struct mail *first = rig_depart(&rig), *second = rig_depart(&rig);
    cr_assert_str_eq(first->id, high.id);
    cr_assert_str_eq(second->id, low.id);
    rig_settle(&rig, first, DELIVERY_SENT, 250);
    rig_settle(&rig, second, DELIVERY_SENT, 250);
    rig_await(&rig, low.id, RECIPIENT_SENT);
}
