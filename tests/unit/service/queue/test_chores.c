/* Free space, statistics, and records that have been kept long enough. */

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
    rig_clear(&rig);
}

TestSuite(chores, .init = set_up, .fini = tear_down);

static const struct letter one = {0};

Test(chores, refuse_mail_on_a_full_disk_and_let_the_rest_go)
{
    struct told stored, refused;
    struct error err;
    rig_send(&rig, &one, &stored);
    rig_sync(&rig);
    rig_close(&rig);
    rig.settings.min_free_bytes = UINT64_MAX;
    rig_open(&rig);
    rig_send(&rig, &one, &refused);
    cr_assert_eq(refused.kind, QUEUE_REFUSED);
    cr_assert_eq(refused.code, ERR_STORE_FULL);
    cr_assert_not(queue_ready(rig.queue, &err));
    cr_assert_eq(err.code, ERR_STORE_FULL);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_await(&rig, stored.id, RECIPIENT_SENT);
    rig_close(&rig);
    rig.settings.min_free_bytes = 1;
    rig_open(&rig);
    cr_assert(queue_ready(rig.queue, &err));
    rig_send(&rig, &one, &stored);
    cr_assert_eq(stored.kind, QUEUE_STORED);
}

Test(chores, count_what_is_not_finished)
{
    struct told told;
    struct store_stats stats;
    for (size_t i = 0; i < 3; i++)
        rig_send(&rig, &one, &told);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    do {
        usleep(1000);
        stats = queue_stats(rig.queue);
    } while (stats.n_queued != 2);
    cr_assert_eq(stats.n_deferred + stats.n_in_doubt, 0);
}

Test(chores, drop_records_that_were_kept_long_enough)
{
    struct told ended[2], open, found;
    const struct letter keyed = {.key = "key", .request = "a"};
    rig_send(&rig, &keyed, &ended[0]);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_SENT, 250);
    rig_send(&rig, &one, &ended[1]);
    rig_settle(&rig, rig_depart(&rig), DELIVERY_FAILED, 550);
    rig_await(&rig, ended[1].id, RECIPIENT_FAILED);
    rig_send(&rig, &(struct letter){.age_ms = 1800000}, &open);
    rig_sync(&rig);
    rig_close(&rig);
    usleep(3000);
    rig.settings.retain_record_ms = 1;
    rig_open(&rig);
    for (size_t i = 0; i < 2; i++) {
        rig_find(&rig, ended[i].id, &found);
        cr_assert_eq(found.code, ERR_NOT_FOUND);
    }
    rig_find(&rig, open.id, &found);
    cr_assert_str_eq(found.message_status, "queued");
    rig_send(&rig, &keyed, &ended[0]);
    cr_assert_eq(ended[0].kind, QUEUE_STORED, "the key goes with the record");
}
