#include "pool_rig.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { PATIENCE_MS = 120000 };

atomic_int pool_rig_calls[POOL_RIG_WORKERS];

static int slots[FLIGHT_SLOTS];
static size_t n_slots;

static void note_call(struct worker_job *job, uv_loop_t *loop)
{
    const struct relay_slot *slot = (const struct relay_slot *)job; /* its first member */
    atomic_fetch_add(&pool_rig_calls[slot->worker], 1);
}

static void on_changed(void *arg)
{
    struct pool_rig *rig = arg;
    atomic_fetch_add(&rig->n_changed, 1);
}

void pool_rig_init(struct pool_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig_init(&rig->mail, false);
    rig->settings = (struct config_relay){
        .name = "primary",
        .host = "127.0.0.1",
        .port = 9, /* nobody connects unless the test opens connections */
        .tls = CONFIG_TLS_NONE,
        .tls_options = {.min_version = "1.2", .verify = 1},
        .auth = {.mechanism = "none", .oauth_index = -1},
        .connections = {.max = 4},
        .window = 10,
        .hostname = "gw.example.com",
        .timeouts = {10000, 15000, 30000, 60000, 120000, 600000},
    };
}

void pool_rig_open(struct pool_rig *rig)
{
    struct error err = {0};
    rig_open(&rig->mail);
    cr_assert_eq(workers_start(POOL_RIG_WORKERS, &rig->workers, &err), 0, "%s", err.detail);
    const struct relay_surroundings around = {
        .queue = rig->mail.queue, .workers = rig->workers, .changed = on_changed, .arg = rig};
    cr_assert_eq(relay_new(&rig->settings, &around, &rig->relay, &err), 0, "%s", err.detail);
    for (size_t i = 0; i < POOL_RIG_WORKERS; i++) {
        rig->relay->slots[i].job.run = note_call;
        atomic_store(&pool_rig_calls[i], 0);
    }
}

void pool_rig_clear(struct pool_rig *rig)
{
    relay_drain(rig->relay);
    workers_stop(rig->workers);
    relay_free(rig->relay);
    rig_clear(&rig->mail);
}

struct mail *pool_rig_mail(struct pool_rig *rig, const struct letter *letter)
{
    struct told told;
    rig_send(&rig->mail, letter, &told);
    return rig_next(&rig->mail);
}

void pool_rig_push(struct pool_rig *rig, size_t n)
{
    struct mail *first = NULL, **end = &first;
    for (size_t i = 0; i < n; i++) {
        *end = pool_rig_mail(rig, &(struct letter){0});
        end = &(*end)->next;
    }
    relay_push(rig->relay, first);
}

void pool_rig_await_call(size_t worker)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(&pool_rig_calls[worker]) == 0 && clock_mono_ms() < until_ms)
        usleep(100);
    cr_assert_gt(atomic_exchange(&pool_rig_calls[worker], 0), 0, "%zu was not called", worker);
}

int64_t pool_rig_used(struct pool_rig *rig, const char *of)
{
    struct relay_status status;
    relay_status(rig->relay, &status);
    for (size_t i = 0; i < status.n_rates; i++)
        if (strcmp(status.rates[i].of, of) == 0)
            return status.rates[i].used;
    cr_assert_fail("no rate of %s", of);
    return -1;
}

void pool_rig_fill_ledger(struct pool_rig *rig)
{
    const struct flight flight = {.seq = INT64_MAX / 4};
    int slot;
    rig_sync(&rig->mail); /* what was settled has left its slot */
    while ((slot = flight_ledger_enter(rig->mail.queue->ledger, flight)) >= 0)
        slots[n_slots++] = slot;
    cr_assert_gt(n_slots, 0);
}

void pool_rig_empty_ledger(struct pool_rig *rig)
{
    while (n_slots > 0)
        flight_ledger_leave(rig->mail.queue->ledger, slots[--n_slots]);
}
