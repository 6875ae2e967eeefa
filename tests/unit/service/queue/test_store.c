#include <criterion/criterion.h>
#include <ftw.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "queue/store.h"

/* What every store must do: each test runs on each of them. */

enum { T0 = 1000000 };

static struct bed {
    const struct store_ops *ops;
    struct store *store;
    char folder[40], url[80];
    struct error err;
} bed;

static void open_bed(void)
{
    const char *location;
    bed.ops = store_for(bed.url, &location);
    cr_assert_not_null(bed.ops);
    cr_assert_eq(bed.ops->open(location, &bed.store, &bed.err), 0, "%s", bed.err.detail);
}

static void set_up(const char *scheme)
{
    snprintf(bed.folder, sizeof(bed.folder), "/tmp/postern-store-XXXXXX");
    cr_assert_not_null(mkdtemp(bed.folder));
    snprintf(bed.url, sizeof(bed.url), "%s%s%s", scheme, scheme[0] == 's' ? bed.folder : "",
             scheme[0] == 's' ? "/queue.db" : "");
    open_bed();
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    return remove(path);
}

static void tear_down(void)
{
    if (bed.store != NULL)
        bed.ops->close(bed.store);
    bed.store = NULL;
    nftw(bed.folder, drop, 8, FTW_DEPTH | FTW_PHYS);
}

#define STORE_TEST(name)                                                                           \
    static void name(void);                                                                        \
    Test(store_sqlite, name)                                                                       \
    {                                                                                              \
        set_up("sqlite:");                                                                         \
        name();                                                                                    \
        tear_down();                                                                               \
    }                                                                                              \
    Test(store_memory, name)                                                                       \
    {                                                                                              \
        set_up("memory:");                                                                         \
        name();                                                                                    \
        tear_down();                                                                               \
    }                                                                                              \
    static void name(void)

/* --- a message ---------------------------------------------------------------------------- */

struct letter {
    const char *key; /* idempotency */
    char request;    /* stands for what was asked */
    size_t size, n_recipients;
    bool waits;
    enum mail_priority priority;
    int64_t age_ms; /* created so long before T0 */
};

static struct submission *write_letter(const struct letter *letter)
{
    struct arena *arena = arena_new();
    struct submission *s = arena_alloc(arena, sizeof(*s));
    size_t n = letter->n_recipients > 0 ? letter->n_recipients : 2;
    const char **to = arena_alloc(arena, n * sizeof(*to));
    for (size_t i = 0; i < n; i++)
        to[i] = arena_printf(arena, "r%zu@example.net", i);
    *s = (struct submission){.arena = arena,
                             .message_id = "<1@example.com>",
                             .from = "a@example.com",
                             .envelope_from = "bounce@example.com",
                             .recipients = to,
                             .n_recipients = n,
                             .subject = "Gr\xc3\xbc\xc3\x9f"
                                        "e",
                             .api_key = "shop",
                             .tags = "[\"t\"]",
                             .metadata = "{\"order\":\"7\"}",
                             .relay = "backup",
                             .priority = letter->priority,
                             .require_tls = true,
                             .dsn_notify = "FAILURE,DELAY",
                             .dsn_ret = "HDRS",
                             .created_ms = T0 - letter->age_ms,
                             .expires_ms = T0 + 3600000,
                             .idempotency_key = letter->key,
                             .answer_status = letter->waits ? 0 : 202,
                             .answer_body = "{\"first\":1}"};
    s->fingerprint[0] = (uint8_t)letter->request;
    s->content = bytes_new(letter->size > 0 ? letter->size : 10);
    for (size_t i = 0; i < s->content->len; i++)
        s->content->data[i] = (char)(i * 7); /* NULs too */
    id_new(s->created_ms, s->id);
    return s;
}

static void begin(void)
{
    cr_assert_eq(bed.ops->begin(bed.store, &bed.err), 0, "%s", bed.err.detail);
}

static void commit(void)
{
    cr_assert_eq(bed.ops->commit(bed.store, &bed.err), 0, "%s", bed.err.detail);
}

static enum store_submitted submit(const struct letter *letter, bool claimed, char id[ID_SIZE],
                                   int64_t *seq, struct store_seen *seen)
{
    struct submission *s = write_letter(letter);
    int64_t own_seq;
    struct store_seen own_seen = {0};
    enum store_submitted verdict =
        bed.ops->submit(bed.store, s, claimed, seq != NULL ? seq : &own_seq,
                        seen != NULL ? seen : &own_seen, &bed.err);
    free(own_seen.body);
    if (id != NULL)
        memcpy(id, s->id, ID_SIZE);
    submission_free(s);
    return verdict;
}

static int64_t keep(const struct letter *letter, bool claimed, char id[ID_SIZE])
{
    int64_t seq = 0;
    begin();
    cr_assert_eq(submit(letter, claimed, id, &seq, NULL), STORE_SUBMIT_NEW);
    commit();
    return seq;
}

static struct mail *load(int64_t now_ms, size_t max_n, size_t max_bytes)
{
    struct mail *list = NULL;
    begin();
    cr_assert_eq(bed.ops->load(bed.store, now_ms, max_n, max_bytes, &list, &bed.err), 0);
    commit();
    return list;
}

static size_t drop_list(struct mail *list)
{
    size_t n = 0;
    for (struct mail *next; list != NULL; list = next, n++) {
        next = list->next;
        mail_free(list);
    }
    return n;
}

static int64_t settle(struct mail *delivery, const enum recipient_status *status,
                      const int64_t *next_ms)
{
    int64_t due_ms = -1;
    const struct settlement settlement = {
        .delivery = delivery, .now_ms = T0 + 1, .status = status, .next_ms = next_ms};
    begin();
    cr_assert_eq(bed.ops->settle(bed.store, &settlement, &due_ms, &bed.err), 0, "%s",
                 bed.err.detail);
    commit();
    mail_free(delivery);
    return due_ms;
}

static struct mail *find(const char *id)
{
    struct mail *record = NULL;
    cr_assert_eq(bed.ops->find(bed.store, id, &record, &bed.err), 0, "%s", bed.err.detail);
    return record;
}

static void check_status(const char *id, const char *status)
{
    struct mail *record = find(id);
    cr_assert_str_eq(mail_status(record), status);
    mail_free(record);
}

static int64_t next_due(void)
{
    int64_t due_ms = -1;
    cr_assert_eq(bed.ops->next_due(bed.store, &due_ms, &bed.err), 0);
    return due_ms;
}

static const struct letter plain = {0};

/* --- what is kept ------------------------------------------------------------------------- */

STORE_TEST(keeps_a_message_whole)
{
    char id[ID_SIZE];
    keep(&(struct letter){.priority = PRIORITY_LOW}, false, id);
    struct mail *record = find(id);
    cr_assert_str_eq(record->id, id);
    cr_assert_str_eq(record->from, "a@example.com");
    cr_assert_str_eq(record->subject, "Gr\xc3\xbc\xc3\x9f"
                                      "e");
    cr_assert_str_eq(record->api_key, "shop");
    cr_assert_str_eq(record->tags, "[\"t\"]");
    cr_assert_str_eq(record->metadata, "{\"order\":\"7\"}");
    cr_assert_eq(record->created_ms, T0);
    cr_assert_eq(record->size, 10);
    cr_assert_eq(record->n_recipients, 2);
    cr_assert_str_eq(mail_status(record), "queued");
    mail_free(record);

    struct mail *delivery = load(T0, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, id);
    cr_assert_str_eq(delivery->sender, "bounce@example.com");
    cr_assert_str_eq(delivery->recipients[1].address, "r1@example.net");
    cr_assert_eq(delivery->expires_ms, T0 + 3600000);
    cr_assert_eq(delivery->content->len, 10);
    cr_assert_eq(delivery->content->data[9], 63);
    const struct delivery_wishes *wishes = &delivery->wishes;
    cr_assert_str_eq(wishes->from, "a@example.com");
    cr_assert_str_eq(wishes->api_key, "shop");
    cr_assert_str_eq(wishes->tags, "[\"t\"]");
    cr_assert_str_eq(wishes->relay, "backup");
    cr_assert_eq(wishes->priority, PRIORITY_LOW);
    cr_assert(wishes->require_tls);
    cr_assert_str_eq(wishes->dsn_notify, "FAILURE,DELAY");
    cr_assert_str_eq(wishes->dsn_ret, "HDRS");
    cr_assert_str_eq(wishes->dsn_envid, "", "what was not said is nothing, not NULL");
    cr_assert_eq(drop_list(delivery), 1);
}

STORE_TEST(knows_what_it_does_not_have)
{
    struct mail *record = NULL;
    cr_assert_eq(bed.ops->find(bed.store, "01ARZ3NDEKTSV4RRFFQ69G5FAV", &record, &bed.err), -1);
    cr_assert_eq(bed.err.code, ERR_NOT_FOUND);
    cr_assert_eq(next_due(), INT64_MAX);
    cr_assert_null(load(INT64_MAX - 1, 10, SIZE_MAX));
}

STORE_TEST(keeps_nothing_of_what_is_rolled_back)
{
    char id[ID_SIZE];
    struct mail *record = NULL;
    begin();
    cr_assert_eq(submit(&(struct letter){.key = "k"}, false, id, NULL, NULL), STORE_SUBMIT_NEW);
    bed.ops->rollback(bed.store);
    cr_assert_eq(bed.ops->find(bed.store, id, &record, &bed.err), -1);
    cr_assert_null(load(T0, 10, SIZE_MAX));
    keep(&(struct letter){.key = "k"}, false, NULL); /* the key is free */
}

STORE_TEST(keeps_what_is_large)
{
    char id[ID_SIZE];
    keep(&(struct letter){.size = 20 << 20, .n_recipients = 1000}, false, id);
    struct mail *delivery = load(T0, 1, 1);
    cr_assert_not_null(delivery, "whatever its size, the first goes");
    cr_assert_eq(delivery->content->len, 20 << 20);
    cr_assert_eq(delivery->content->data[(20 << 20) - 1], (char)(((20 << 20) - 1) * 7));
    cr_assert_eq(delivery->n_recipients, 1000);
    cr_assert_str_eq(delivery->recipients[999].address, "r999@example.net");
    drop_list(delivery);
}

/* --- idempotency -------------------------------------------------------------------------- */

STORE_TEST(answers_a_key_again)
{
    struct store_seen seen = {0};
    const struct letter first = {.key = "k", .request = 1}, other = {.key = "k", .request = 2};
    keep(&first, false, NULL);
    begin();
    cr_assert_eq(submit(&first, false, NULL, NULL, &seen), STORE_SUBMIT_REPLAY);
    cr_assert_eq(seen.status, 202);
    cr_assert_str_eq(seen.body, "{\"first\":1}");
    free(seen.body);
    cr_assert_eq(submit(&other, false, NULL, NULL, NULL), STORE_SUBMIT_MISMATCH);
    commit();
    cr_assert_eq(drop_list(load(T0, 10, SIZE_MAX)), 1);
}

STORE_TEST(answers_a_key_whose_first_request_waits)
{
    struct store_seen seen = {0};
    const struct letter waiting = {.key = "k", .waits = true};
    keep(&waiting, true, NULL);
    begin();
    cr_assert_eq(submit(&waiting, false, NULL, NULL, NULL), STORE_SUBMIT_IN_PROGRESS);
    cr_assert_eq(bed.ops->answer(bed.store, "shop", "k", 200, "{\"done\":1}", &bed.err), 0);
    cr_assert_eq(submit(&waiting, false, NULL, NULL, &seen), STORE_SUBMIT_REPLAY);
    commit();
    cr_assert_eq(seen.status, 200);
    cr_assert_str_eq(seen.body, "{\"done\":1}");
    free(seen.body);
}

STORE_TEST(forgets_a_key)
{
    const struct letter letter = {.key = "k"};
    keep(&letter, false, NULL);
    begin();
    cr_assert_eq(bed.ops->forget(bed.store, "shop", "k", &bed.err), 0);
    commit();
    keep(&letter, false, NULL);
}

/* --- claims ------------------------------------------------------------------------------- */

STORE_TEST(hands_out_once)
{
    keep(&plain, false, NULL);
    keep(&plain, true, NULL); /* whoever submitted it has it */
    cr_assert_eq(next_due(), T0);
    struct mail *delivery = load(T0, 10, SIZE_MAX);
    cr_assert_null(delivery->next);
    cr_assert_null(load(T0, 10, SIZE_MAX));
    begin();
    cr_assert_eq(bed.ops->release(bed.store, delivery->seq, T0 + 5, &bed.err), 0);
    commit();
    drop_list(delivery);
    cr_assert_eq(next_due(), T0 + 5);
    cr_assert_null(load(T0 + 4, 10, SIZE_MAX), "not yet");
    cr_assert_eq(drop_list(load(T0 + 5, 10, SIZE_MAX)), 1);
}

STORE_TEST(hands_out_no_more_than_wanted)
{
    for (size_t i = 0; i < 5; i++)
        keep(&(struct letter){.size = 1000}, false, NULL);
    cr_assert_eq(drop_list(load(T0, 2, SIZE_MAX)), 2);
    cr_assert_leq(drop_list(load(T0, 10, 1500)), 2);
    cr_assert_geq(drop_list(load(T0, 10, SIZE_MAX)), 1);
    cr_assert_null(load(T0, 10, SIZE_MAX));
}

/* --- priorities --------------------------------------------------------------------------- */

/* Of each four the last is the oldest of all, here a low one; in batches of any size. */
static void hand_out_by_priority(size_t a_time)
{
    char order[16] = "";
    size_t n = 0;
    for (int i = 0; i < 4; i++)
        keep(&(struct letter){.priority = PRIORITY_LOW, .age_ms = 3000 - i}, false, NULL);
    for (int i = 0; i < 3; i++)
        keep(&(struct letter){.priority = PRIORITY_NORMAL, .age_ms = 2000 - i}, false, NULL);
    for (int i = 0; i < 6; i++)
        keep(&(struct letter){.priority = PRIORITY_HIGH, .age_ms = 1000 - i}, false, NULL);
    cr_assert_eq(next_due(), T0 - 3000);
    for (struct mail *list; (list = load(T0, a_time, SIZE_MAX)) != NULL; drop_list(list))
        for (const struct mail *d = list; d != NULL; d = d->next)
            order[n++] = "HNL"[d->wishes.priority];
    cr_assert_str_eq(order, "HHHLHHHLNNNLL");
    cr_assert_eq(next_due(), INT64_MAX);
}

STORE_TEST(hands_out_by_priority_at_once)
{
    hand_out_by_priority(100);
}

STORE_TEST(hands_out_by_priority_one_by_one)
{
    hand_out_by_priority(1);
}

STORE_TEST(hands_out_the_oldest_due_first)
{
    char first[ID_SIZE], second[ID_SIZE];
    keep(&(struct letter){.age_ms = 1}, false, second);
    keep(&(struct letter){.age_ms = 2}, false, first);
    struct mail *list = load(T0, 10, SIZE_MAX);
    cr_assert_str_eq(list->id, first);
    cr_assert_str_eq(list->next->id, second);
    drop_list(list);
}

/* However much high mail comes in. */
STORE_TEST(starves_nothing)
{
    char low[ID_SIZE];
    bool came = false;
    keep(&(struct letter){.priority = PRIORITY_LOW, .age_ms = 10}, false, low);
    for (size_t i = 0; i < 8 && !came; i++) {
        keep(&(struct letter){.priority = PRIORITY_HIGH}, false, NULL);
        struct mail *delivery = load(T0, 1, SIZE_MAX);
        came = strcmp(delivery->id, low) == 0;
        drop_list(delivery);
    }
    cr_assert(came);
}

/* --- outcomes ----------------------------------------------------------------------------- */

STORE_TEST(settles_each_recipient)
{
    char id[ID_SIZE];
    keep(&(struct letter){.n_recipients = 4}, false, id);
    struct mail *delivery = load(T0, 1, SIZE_MAX);
    static const enum delivery_verdict verdicts[] = {DELIVERY_SENT, DELIVERY_FAILED,
                                                     DELIVERY_DEFERRED, DELIVERY_IN_DOUBT};
    for (size_t i = 0; i < 4; i++) {
        delivery->recipients[i].verdict = verdicts[i];
        delivery->recipients[i].reply.code = (int)(250 + i);
    }
    const enum recipient_status status[] = {RECIPIENT_SENT, RECIPIENT_FAILED, RECIPIENT_DEFERRED,
                                            RECIPIENT_IN_DOUBT};
    const int64_t next_ms[] = {0, 0, T0 + 500, T0 + 900};
    cr_assert_eq(settle(delivery, status, next_ms), T0 + 500);

    struct mail *record = find(id);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(record->recipients[i].status, status[i]);
        cr_assert_eq(record->recipients[i].attempts, 1);
    }
    mail_free(record);

    delivery = load(T0 + 500, 1, SIZE_MAX); /* only who is due */
    cr_assert_eq(delivery->n_recipients, 1);
    cr_assert_eq(delivery->recipients[0].index, 2);
    cr_assert_eq(delivery->recipients[0].attempts, 1);
    delivery->recipients[0].verdict = DELIVERY_SENT;
    cr_assert_eq(settle(delivery, &status[0], &next_ms[0]), T0 + 900, "the other is open");
    delivery = load(T0 + 900, 1, SIZE_MAX);
    cr_assert_eq(delivery->recipients[0].index, 3);
    delivery->recipients[0].verdict = DELIVERY_SENT;
    cr_assert_eq(settle(delivery, &status[0], &next_ms[0]), INT64_MAX);
    check_status(id, "partial");
    cr_assert_null(load(INT64_MAX - 1, 1, SIZE_MAX));
}

STORE_TEST(holds_what_is_in_doubt)
{
    char id[ID_SIZE];
    keep(&(struct letter){.n_recipients = 1}, false, id);
    struct mail *delivery = load(T0, 1, SIZE_MAX);
    delivery->recipients[0].verdict = DELIVERY_IN_DOUBT;
    const enum recipient_status status = RECIPIENT_IN_DOUBT;
    const int64_t held = 0;
    cr_assert_eq(settle(delivery, &status, &held), INT64_MAX);
    check_status(id, "in_doubt");
    cr_assert_null(load(INT64_MAX - 1, 1, SIZE_MAX));
}

STORE_TEST(cancels_what_is_not_finished)
{
    char id[ID_SIZE];
    int64_t seq = keep(&plain, true, id);
    begin();
    cr_assert_eq(bed.ops->cancel(bed.store, seq, T0 + 1, &bed.err), 0);
    commit();
    check_status(id, "canceled");
    cr_assert_null(load(INT64_MAX - 1, 1, SIZE_MAX));
}

STORE_TEST(counts_by_status)
{
    struct store_stats stats;
    keep(&plain, false, NULL);
    keep(&(struct letter){.n_recipients = 1}, false, NULL);
    cr_assert_eq(bed.ops->stats(bed.store, &stats, &bed.err), 0);
    cr_assert_eq(stats.n_queued, 3);
    cr_assert_eq(stats.n_deferred + stats.n_in_doubt, 0);
    cr_assert_eq(stats.oldest_queued_ms, T0);
}

/* What a count finds that the store makes when it is opened. */
static void check_counts(void)
{
    struct store_stats kept, counted;
    cr_assert_eq(bed.ops->stats(bed.store, &kept, &bed.err), 0, "%s", bed.err.detail);
    if (!bed.ops->durable) { /* recovering counts, and changes nothing here */
        begin();
        cr_assert_eq(bed.ops->recover(bed.store, NULL, 0, 0, 0, &bed.err), 0);
        commit();
    } else {
        bed.ops->close(bed.store);
        open_bed();
    }
    cr_assert_eq(bed.ops->stats(bed.store, &counted, &bed.err), 0, "%s", bed.err.detail);
    cr_assert_eq(kept.n_queued, counted.n_queued, "%ld %ld", (long)kept.n_queued,
                 (long)counted.n_queued);
    cr_assert_eq(kept.n_deferred, counted.n_deferred, "%ld %ld", (long)kept.n_deferred,
                 (long)counted.n_deferred);
    cr_assert_eq(kept.n_in_doubt, counted.n_in_doubt, "%ld %ld", (long)kept.n_in_doubt,
                 (long)counted.n_in_doubt);
    cr_assert_eq(kept.oldest_queued_ms, counted.oldest_queued_ms);
    cr_assert_eq(kept.oldest_deferred_ms, counted.oldest_deferred_ms);
}

static bool one_in(unsigned n)
{
    return (unsigned)rand() % n == 0;
}

/* One transaction of anything; `now_ms` goes on with them. */
static void change_something(int64_t now_ms)
{
    static const enum recipient_status ends[] = {
        RECIPIENT_QUEUED, RECIPIENT_DEFERRED, RECIPIENT_SENT, RECIPIENT_FAILED, RECIPIENT_IN_DOUBT};
    struct mail *list = NULL;
    int64_t due_ms, seq = 0;
    size_t n;
    begin();
    switch (rand() % 8) {
    case 0:
    case 1:
    case 2:
        submit(&(struct letter){.n_recipients = 1 + (size_t)rand() % 5, .age_ms = rand() % 1000},
               false, NULL, &seq, NULL);
        if (one_in(4))
            bed.ops->cancel(bed.store, seq, now_ms, &bed.err);
        break;
    case 3: {
        const struct flight flight = {.seq = 1 + rand() % 40, .hold = one_in(2)};
        cr_assert_eq(bed.ops->recover(bed.store, &flight, 1, now_ms, now_ms, &bed.err), 0);
        break;
    }
    case 4: {
        const struct store_purge all = {.record_before_ms = now_ms, .max_n = 3};
        cr_assert_eq(bed.ops->purge(bed.store, &all, &n, &bed.err), 0);
        break;
    }
    default:
        cr_assert_eq(bed.ops->load(bed.store, now_ms, 3, SIZE_MAX, &list, &bed.err), 0);
        for (struct mail *one = list; one != NULL; one = one->next) {
            enum recipient_status status[5];
            int64_t next_ms[5];
            for (size_t i = 0; i < one->n_recipients; i++) {
                status[i] = ends[rand() % 5];
                bool again = status[i] == RECIPIENT_DEFERRED ||
                             (status[i] == RECIPIENT_IN_DOUBT && one_in(2));
                next_ms[i] = again ? now_ms + 1 + rand() % 50 : 0;
                one->recipients[i].verdict = DELIVERY_DEFERRED;
            }
            const struct settlement settlement = {
                .delivery = one, .now_ms = now_ms, .status = status, .next_ms = next_ms};
            cr_assert_eq(bed.ops->settle(bed.store, &settlement, &due_ms, &bed.err), 0);
        }
        drop_list(list);
    }
    if (one_in(4))
        bed.ops->rollback(bed.store);
    else
        commit();
}

STORE_TEST(keeps_counts_that_a_count_agrees_with)
{
    for (unsigned seed = 1; seed <= 3; seed++) {
        srand(seed);
        for (int i = 0; i < 300; i++) {
            change_something(T0 + i + (int64_t)seed * 1000);
            if (i % 20 == 0)
                check_counts();
        }
        check_counts();
    }
}

/* --- a clock that was set ----------------------------------------------------------------- */

static void check_times(const char *id, int64_t created_ms, int64_t next_ms)
{
    struct mail *record = find(id);
    cr_assert_eq(record->created_ms, created_ms, "%ld", (long)record->created_ms);
    cr_assert_eq(record->recipients[0].next_attempt_ms, next_ms, "%ld",
                 (long)record->recipients[0].next_attempt_ms);
    mail_free(record);
}

STORE_TEST(moves_times_with_the_clock)
{
    static const enum recipient_status deferred[] = {RECIPIENT_DEFERRED, RECIPIENT_IN_DOUBT};
    static const int64_t next_ms[] = {T0 + 500, 0}; /* the second is held */
    static const int64_t by_ms[] = {1600000000000, -700, 86400000, -1600086399300};
    char early[ID_SIZE], id[ID_SIZE];
    int64_t at_ms = T0;
    keep(&(struct letter){.age_ms = 999, .priority = PRIORITY_LOW}, false, early);
    keep(&(struct letter){.age_ms = 10, .priority = PRIORITY_HIGH}, false, id);
    settle(load(T0, 1, 1), deferred, next_ms);
    for (size_t i = 0; i < sizeof(by_ms) / sizeof(by_ms[0]); i++) {
        begin();
        cr_assert_eq(bed.ops->shift(bed.store, at_ms - 10, at_ms - 10, by_ms[i], &bed.err), 0, "%s",
                     bed.err.detail);
        commit();
        at_ms += by_ms[i];
        check_times(id, at_ms - 10, at_ms + 500);
        check_times(early, T0 - 999, 0);
    }
    drop_list(load(T0, 1, 1)); /* the early one */
    cr_assert_eq(next_due(), at_ms + 500);
    struct mail *delivery = load(at_ms + 500, 1, 1);
    cr_assert_eq(delivery->n_recipients, 1, "what is held stays held");
    cr_assert_eq(delivery->expires_ms, at_ms + 3600000);
    drop_list(delivery);
}

STORE_TEST(forgets_dates_that_cannot_be)
{
    static const enum recipient_status sent[] = {RECIPIENT_SENT, RECIPIENT_SENT};
    static const int64_t never[] = {0, 0};
    char old[ID_SIZE], right[ID_SIZE], future[ID_SIZE], ended[ID_SIZE];
    keep(&(struct letter){.age_ms = 900}, false, ended);
    settle(load(T0, 1, 1), sent, never);
    keep(&(struct letter){.age_ms = 800}, false, old);
    keep(&(struct letter){.age_ms = 100}, false, right);
    keep(&(struct letter){.age_ms = -700000}, false, future);
    begin();
    cr_assert_eq(bed.ops->redate(bed.store, T0 - 500, T0 + 500, T0 + 1, &bed.err), 0);
    commit();
    check_times(ended, T0 - 900, 0);
    check_times(old, T0 + 1, 0);
    check_times(right, T0 - 100, 0);
    check_times(future, T0 + 1, 0);
    cr_assert_eq(drop_list(load(T0 + 1, 10, SIZE_MAX)), 3);
}

/* --- starting again ----------------------------------------------------------------------- */

static void recover(const struct flight *flights, size_t n, int64_t due_ms)
{
    begin();
    cr_assert_eq(bed.ops->recover(bed.store, flights, n, T0 + 10, due_ms, &bed.err), 0);
    commit();
}

STORE_TEST(recovers_claims_and_doubts)
{
    char idle[ID_SIZE], flying[ID_SIZE];
    keep(&(struct letter){.key = "k", .waits = true}, true, idle);
    int64_t seq = keep(&plain, true, flying);
    recover(&(const struct flight){.seq = seq}, 1, T0 + 70);
    check_status(idle, "queued");
    check_status(flying, "in_doubt");
    struct store_seen seen = {0};
    begin();
    cr_assert_eq(submit(&(struct letter){.key = "k"}, false, NULL, NULL, &seen),
                 STORE_SUBMIT_REPLAY);
    commit();
    cr_assert_eq(seen.status, 202, "its client is gone");
    free(seen.body);
    struct mail *delivery = load(T0 + 69, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, idle);
    cr_assert_eq(drop_list(delivery), 1);
    cr_assert_eq(drop_list(load(T0 + 70, 10, SIZE_MAX)), 1);
}

STORE_TEST(holds_what_was_with_a_relay_that_holds)
{
    char held[ID_SIZE], again[ID_SIZE];
    const struct flight flights[] = {{.seq = keep(&plain, true, held), .hold = true},
                                     {.seq = keep(&plain, true, again)}};
    recover(flights, 2, T0 + 10);
    check_status(held, "in_doubt");
    check_status(again, "in_doubt");
    struct mail *delivery = load(INT64_MAX - 1, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, again);
    cr_assert_eq(drop_list(delivery), 1);
}

STORE_TEST(holds_all_that_was_claimed_if_told_to)
{
    char claimed[ID_SIZE], stored[ID_SIZE];
    keep(&plain, true, claimed);
    keep(&plain, false, stored);
    recover(NULL, STORE_ALL_CLAIMED, 0);
    check_status(claimed, "in_doubt");
    struct mail *delivery = load(INT64_MAX - 1, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, stored);
    cr_assert_eq(drop_list(delivery), 1);
}

/* What one relay holds is not let go by a crash while another had the rest of the message. */
STORE_TEST(holds_on_what_was_held_before)
{
    char id[ID_SIZE];
    int64_t seq = keep(&plain, false, id);
    struct mail *delivery = load(T0, 1, SIZE_MAX);
    delivery->recipients[0].verdict = DELIVERY_IN_DOUBT;
    const enum recipient_status status[] = {RECIPIENT_IN_DOUBT, RECIPIENT_QUEUED};
    const int64_t next_ms[] = {0, 0};
    settle(delivery, status, next_ms);
    drop_list(load(T0 + 1, 1, SIZE_MAX));
    recover(&(const struct flight){.seq = seq}, 1, T0 + 10);
    struct mail *record = find(id);
    cr_assert_eq(record->recipients[0].attempts, 1);
    cr_assert_eq(record->recipients[1].attempts, 1);
    mail_free(record);
    delivery = load(T0 + 10, 1, SIZE_MAX);
    cr_assert_eq(delivery->n_recipients, 1);
    cr_assert_eq(delivery->recipients[0].index, 1);
    drop_list(delivery);
}

static int purge(int64_t before_ms, size_t *n)
{
    const struct store_purge what = {
        .record_before_ms = before_ms, .content_before_ms = before_ms, .max_n = 10};
    return bed.ops->purge(bed.store, &what, n, &bed.err);
}

STORE_TEST(purges_what_ended_long_ago)
{
    char ended[ID_SIZE], open[ID_SIZE];
    size_t n = 0;
    struct mail *record = NULL;
    int64_t seq = keep(&(struct letter){.key = "k"}, true, ended);
    keep(&plain, false, open);
    begin();
    cr_assert_eq(bed.ops->cancel(bed.store, seq, T0 + 1, &bed.err), 0);
    cr_assert_eq(purge(T0, &n), 0);
    cr_assert_eq(n, 0);
    cr_assert_eq(purge(T0 + 100, &n), 0);
    commit();
    cr_assert_geq(n, 1);
    cr_assert_eq(bed.ops->find(bed.store, ended, &record, &bed.err), -1);
    check_status(open, "queued");
}

/* --- usage -------------------------------------------------------------------------------- */

static void add_usage(const char *relay, int64_t hour, int64_t n_messages, int64_t n_recipients)
{
    const struct usage_record usage = {.relay = relay,
                                       .hour_ms = hour * USAGE_HOUR_MS,
                                       .n_messages = n_messages,
                                       .n_recipients = n_recipients};
    begin();
    cr_assert_eq(bed.ops->add_usage(bed.store, &usage, &bed.err), 0);
    commit();
}

/* "primary 7 3 4; ": relay, hour, messages, recipients. */
static void expect_usage(int64_t since_ms, const char *expected)
{
    CLEANUP(usage_list_clear) struct usage_list list = {0};
    char text[200] = "";
    cr_assert_eq(bed.ops->usage(bed.store, since_ms, &list, &bed.err), 0, "%s", bed.err.detail);
    for (size_t i = 0; i < list.n_items; i++) {
        const struct usage_record *u = &list.items[i];
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %jd %jd %jd; ", u->relay,
                 (intmax_t)u->hour_ms / USAGE_HOUR_MS, (intmax_t)u->n_messages,
                 (intmax_t)u->n_recipients);
    }
    cr_assert_str_eq(text, expected);
}

STORE_TEST(adds_up_usage_by_relay_and_hour)
{
    expect_usage(0, "");
    add_usage("primary", 7, 1, 3);
    add_usage("primary", 7, 2, 2);
    add_usage("backup", 7, 1, 1);
    add_usage("primary", 8, 5, 6);
    expect_usage(0, "backup 7 1 1; primary 7 3 5; primary 8 5 6; ");
    expect_usage(7 * USAGE_HOUR_MS + 1, "backup 7 1 1; primary 7 3 5; primary 8 5 6; ");
    expect_usage(8 * USAGE_HOUR_MS, "primary 8 5 6; ");
    expect_usage(9 * USAGE_HOUR_MS, "");
}

STORE_TEST(forgets_usage_that_was_rolled_back_or_is_old)
{
    const struct usage_record usage = {.relay = "primary", .n_messages = 1};
    const struct store_purge what = {.usage_before_ms = 8 * USAGE_HOUR_MS, .max_n = 10};
    size_t n = 0;
    begin();
    cr_assert_eq(bed.ops->add_usage(bed.store, &usage, &bed.err), 0);
    bed.ops->rollback(bed.store);
    expect_usage(0, "");
    add_usage("primary", 7, 1, 1);
    add_usage("primary", 8, 2, 2);
    begin();
    cr_assert_eq(bed.ops->purge(bed.store, &what, &n, &bed.err), 0);
    commit();
    cr_assert_eq(n, 0, "neither records nor contents");
    expect_usage(0, "primary 8 2 2; ");
}

/* --- the file alone ----------------------------------------------------------------------- */

static void set_up_file(void)
{
    set_up("sqlite:");
}

TestSuite(sqlite_file, .init = set_up_file, .fini = tear_down);

static const char *file_path(void)
{
    return strchr(bed.url, ':') + 1;
}

static void check_integrity(void)
{
    char command[200], answer[32] = "";
    snprintf(command, sizeof(command),
             "python3 -c 'import sqlite3; print(sqlite3.connect(\"%s\")"
             ".execute(\"pragma integrity_check\").fetchone()[0])'",
             file_path());
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(fgets(answer, sizeof(answer), pipe));
    pclose(pipe);
    cr_assert_str_eq(answer, "ok\n");
}

Test(sqlite_file, survives_its_process)
{
    char id[ID_SIZE];
    int pipes[2];
    bed.ops->close(bed.store);
    bed.store = NULL;
    cr_assert_eq(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) { /* dies in the middle of a transaction, behind a committed one */
        char own[ID_SIZE];
        open_bed();
        keep(&plain, true, own);
        begin();
        submit(&plain, true, NULL, NULL, NULL);
        _exit(write(pipes[1], own, ID_SIZE) == ID_SIZE ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(read(pipes[0], id, ID_SIZE), ID_SIZE);
    open_bed();
    begin();
    cr_assert_eq(bed.ops->recover(bed.store, NULL, STORE_ALL_CLAIMED, T0, T0, &bed.err), 0);
    commit();
    check_status(id, "in_doubt");
    cr_assert_eq(drop_list(load(T0, 10, SIZE_MAX)), 1, "nothing of what was not committed");
    check_integrity();
}

Test(sqlite_file, is_ours_alone)
{
    struct store *other = NULL;
    pid_t child = fork();
    if (child == 0) {
        struct error err;
        int rc = bed.ops->open(file_path(), &other, &err);
        _exit(rc == -1 && strstr(err.detail, "another") != NULL ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(sqlite_file, is_not_for_others_to_read)
{
    struct stat st;
    cr_assert_eq(stat(file_path(), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(sqlite_file, is_not_replaced_if_it_is_something_else)
{
    char path[100];
    struct store *other = NULL;
    snprintf(path, sizeof(path), "%s/letter.txt", bed.folder);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; i < 500; i++)
        fputs("Dear Bob, this is no database.\n", file);
    fclose(file);
    cr_assert_eq(bed.ops->open(path, &other, &bed.err), -1);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, 500 * 31);
}

/* --- older and newer files ---------------------------------------------------------------- */

static void exec_in_file(const char *text)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(file_path(), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

/* The file of an earlier version in place of the one that is open. */
static void put_version_1(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen("tests/unit/service/queue/version_1.sql", "r");
    cr_assert_not_null(file);
    cr_assert_gt(getdelim(&text, &size, '\0', file), 0);
    fclose(file);
    bed.ops->close(bed.store);
    bed.store = NULL;
    cr_assert_eq(unlink(file_path()), 0);
    exec_in_file(text);
    free(text);
}

static void check_old_message(void)
{
    check_status("01ARZ3NDEKTSV4RRFFQ69G5FA1", "queued");
    check_status("01ARZ3NDEKTSV4RRFFQ69G5FA2", "sent");
    struct mail *delivery = load(T0, 10, SIZE_MAX);
    cr_assert_not_null(delivery);
    cr_assert_null(delivery->next);
    cr_assert_eq(delivery->n_recipients, 2);
    cr_assert_eq(delivery->recipients[0].attempts, 1);
    cr_assert_eq(memcmp(delivery->content->data, "octets", 6), 0);
    cr_assert_eq(delivery->wishes.priority, PRIORITY_NORMAL);
    cr_assert_str_eq(delivery->wishes.tags, "[\"t\"]");
    cr_assert_str_eq(delivery->wishes.relay, "");
    cr_assert_not(delivery->wishes.require_tls);
    drop_list(delivery);
}

Test(sqlite_file, of_version_1_is_brought_up_to_date)
{
    put_version_1();
    for (size_t i = 0; i < 2; i++) { /* the second time it is */
        open_bed();
        check_old_message();
        begin();
        cr_assert_eq(bed.ops->recover(bed.store, NULL, 0, T0, T0, &bed.err), 0);
        commit();
        bed.ops->close(bed.store);
        bed.store = NULL;
    }
    open_bed();
    keep(&plain, false, NULL);
    cr_assert_eq(drop_list(load(T0, 10, SIZE_MAX)), 2);
    check_integrity();
}

/* Each connection of this process dies after so many of SQLite's steps. */
static int die_after;

static int die(void *unused)
{
    if (--die_after == 0)
        _exit(9);
    return 0;
}

static int make_mortal(sqlite3 *db, const char **why, const void *api)
{
    sqlite3_progress_handler(db, 1, die, NULL);
    return SQLITE_OK;
}

/* False: it came to its end alive. */
static bool dies_while_opening(int after)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        die_after = after;
        sqlite3_auto_extension((void (*)(void))make_mortal);
        _exit(bed.ops->open(file_path(), &bed.store, &bed.err) == 0 ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 1, "after %d", after);
    return WEXITSTATUS(status) == 9;
}

Test(sqlite_file, of_version_1_survives_deaths_in_between)
{
    int n = 1;
    put_version_1();
    while (dies_while_opening(n))
        n += 1 + n / 50;
    cr_assert_gt(n, 500, "%d", n);
    open_bed();
    check_old_message();
    check_integrity();
}

Test(sqlite_file, of_a_newer_version_is_refused)
{
    bed.ops->close(bed.store);
    bed.store = NULL;
    exec_in_file("PRAGMA user_version = 3");
    cr_assert_eq(bed.ops->open(file_path(), &bed.store, &bed.err), -1);
    cr_assert_eq(bed.err.code, ERR_CONFIG);
    cr_assert_not_null(strstr(bed.err.detail, "newer"), "%s", bed.err.detail);
}

/* --- damage, and the disk ----------------------------------------------------------------- */

Test(sqlite_file, may_have_nothing_where_there_should_be_text)
{
    static const char *const columns[] = {
        "recipient SET enhanced",     "recipient SET text",      "recipient SET address",
        "event SET enhanced",         "event SET text",          "message SET message_id",
        "message SET sender",         "message SET header_from", "message SET subject",
        "message SET tags",           "message SET metadata",    "message SET api_key",
        "message SET dsn_ret",        "message SET relay",       "idempotency SET body",
        "idempotency SET fingerprint"};
    static const enum recipient_status deferred[] = {RECIPIENT_DEFERRED, RECIPIENT_DEFERRED};
    static const int64_t next_ms[] = {T0, T0};
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        const struct letter letter = {.key = "k"};
        char id[ID_SIZE], text[200];
        struct store_seen seen = {0};
        keep(&letter, false, id);
        settle(load(T0, 1, SIZE_MAX), deferred, next_ms);
        bed.ops->close(bed.store);
        snprintf(
            text, sizeof(text),
            "PRAGMA writable_schema = 1;"
            "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table';"
            "PRAGMA writable_schema = RESET; UPDATE %s = NULL;",
            columns[i]);
        exec_in_file(text);
        open_bed();
        mail_free(find(id));
        begin();
        enum store_submitted again = submit(&letter, false, NULL, NULL, &seen);
        cr_assert(again == STORE_SUBMIT_REPLAY || again == STORE_SUBMIT_MISMATCH);
        commit();
        free(seen.body);
        cr_assert_eq(drop_list(load(T0, 10, SIZE_MAX)), 1, "%s", columns[i]);
        tear_down();
        set_up("sqlite:");
    }
}

Test(sqlite_file, has_a_status_nobody_knows)
{
    static const int values[] = {-1, 7, 99, INT_MAX};
    char id[ID_SIZE], text[80];
    keep(&plain, false, id);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct mail *record = NULL;
        bed.ops->close(bed.store);
        snprintf(text, sizeof(text), "UPDATE recipient SET status = %d WHERE n = 1", values[i]);
        exec_in_file(text);
        open_bed();
        cr_assert_eq(bed.ops->find(bed.store, id, &record, &bed.err), -1);
        cr_assert_eq(bed.err.code, ERR_STORE_UNAVAILABLE);
    }
}

static int64_t number_in_file(const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    cr_assert_eq(sqlite3_open(file_path(), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(s), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return value;
}

Test(sqlite_file, shrinks_when_it_is_tidied)
{
    static const enum recipient_status sent[] = {RECIPIENT_SENT, RECIPIENT_SENT};
    static const int64_t never[] = {0, 0};
    for (size_t i = 0; i < 40; i++)
        keep(&(struct letter){.size = 500000 + i * 1000}, false, NULL);
    int64_t before = number_in_file("PRAGMA page_count");
    cr_assert_gt(before, 5000);
    for (struct mail *d; (d = load(T0, 1, SIZE_MAX)) != NULL;)
        settle(d, sent, never);
    size_t n = 1;
    while (bed.ops->tidy(bed.store))
        n++;
    cr_assert_gt(n, 10, "in %zu slices", n);
    cr_assert_lt(number_in_file("PRAGMA page_count"), 600);
    struct stat st;
    cr_assert_eq(stat(file_path(), &st), 0);
    cr_assert_lt(st.st_size, 600 * 4096);
    check_integrity();
}

/* Old files were made without it; the first start after that rewrites them. */
Test(sqlite_file, of_version_1_shrinks_too)
{
    put_version_1();
    exec_in_file("INSERT INTO body SELECT value + 1000, randomblob(3000000) FROM"
                 " (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3); DELETE FROM body WHERE seq > "
                 "1000");
    cr_assert_eq(number_in_file("PRAGMA auto_vacuum"), 0);
    open_bed();
    cr_assert_eq(number_in_file("PRAGMA auto_vacuum"), 2);
    cr_assert_lt(number_in_file("PRAGMA page_count"), 100);
    check_old_message();
    check_integrity();
}
