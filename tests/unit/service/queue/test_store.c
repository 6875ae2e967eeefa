#include <criterion/criterion.h>
#include <ftw.h>
#include <limits.h>
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
                             .created_ms = T0,
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

static struct delivery *load(int64_t now_ms, size_t max_n, size_t max_bytes)
{
    struct delivery *list = NULL;
    begin();
    cr_assert_eq(bed.ops->load(bed.store, now_ms, max_n, max_bytes, &list, &bed.err), 0);
    commit();
    return list;
}

static size_t drop_list(struct delivery *list)
{
    size_t n = 0;
    for (struct delivery *next; list != NULL; list = next, n++) {
        next = list->next;
        delivery_free(list);
    }
    return n;
}

static int64_t settle(struct delivery *delivery, const enum recipient_status *status,
                      const int64_t *next_ms)
{
    int64_t due_ms = -1;
    const struct settlement settlement = {
        .delivery = delivery, .now_ms = T0 + 1, .status = status, .next_ms = next_ms};
    begin();
    cr_assert_eq(bed.ops->settle(bed.store, &settlement, &due_ms, &bed.err), 0, "%s",
                 bed.err.detail);
    commit();
    delivery_free(delivery);
    return due_ms;
}

static struct message_record *find(const char *id)
{
    struct message_record *record = NULL;
    cr_assert_eq(bed.ops->find(bed.store, id, &record, &bed.err), 0, "%s", bed.err.detail);
    return record;
}

static void check_status(const char *id, const char *status)
{
    struct message_record *record = find(id);
    cr_assert_str_eq(message_record_status(record), status);
    message_record_free(record);
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
    keep(&plain, false, id);
    struct message_record *record = find(id);
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
    cr_assert_str_eq(message_record_status(record), "queued");
    message_record_free(record);

    struct delivery *delivery = load(T0, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, id);
    cr_assert_str_eq(delivery->sender, "bounce@example.com");
    cr_assert_str_eq(delivery->recipients[1].address, "r1@example.net");
    cr_assert_eq(delivery->expires_ms, T0 + 3600000);
    cr_assert_eq(delivery->content->len, 10);
    cr_assert_eq(delivery->content->data[9], 63);
    cr_assert_eq(drop_list(delivery), 1);
}

STORE_TEST(knows_what_it_does_not_have)
{
    struct message_record *record = NULL;
    cr_assert_eq(bed.ops->find(bed.store, "01ARZ3NDEKTSV4RRFFQ69G5FAV", &record, &bed.err), -1);
    cr_assert_eq(bed.err.code, ERR_NOT_FOUND);
    cr_assert_eq(next_due(), INT64_MAX);
    cr_assert_null(load(INT64_MAX - 1, 10, SIZE_MAX));
}

STORE_TEST(keeps_nothing_of_what_is_rolled_back)
{
    char id[ID_SIZE];
    struct message_record *record = NULL;
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
    struct delivery *delivery = load(T0, 1, 1);
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
    struct delivery *delivery = load(T0, 10, SIZE_MAX);
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

/* --- outcomes ----------------------------------------------------------------------------- */

STORE_TEST(settles_each_recipient)
{
    char id[ID_SIZE];
    keep(&(struct letter){.n_recipients = 4}, false, id);
    struct delivery *delivery = load(T0, 1, SIZE_MAX);
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

    struct message_record *record = find(id);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(record->recipients[i].status, status[i]);
        cr_assert_eq(record->recipients[i].attempts, 1);
    }
    message_record_free(record);

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
    struct delivery *delivery = load(T0, 1, SIZE_MAX);
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

/* --- starting again ----------------------------------------------------------------------- */

STORE_TEST(recovers_claims_and_doubts)
{
    char idle[ID_SIZE], flying[ID_SIZE];
    keep(&(struct letter){.key = "k", .waits = true}, true, idle);
    int64_t seq = keep(&plain, true, flying);
    begin();
    cr_assert_eq(bed.ops->recover(bed.store, &seq, 1, T0 + 10, T0 + 70, &bed.err), 0);
    commit();
    check_status(idle, "queued");
    check_status(flying, "in_doubt");
    struct store_seen seen = {0};
    begin();
    cr_assert_eq(submit(&(struct letter){.key = "k"}, false, NULL, NULL, &seen),
                 STORE_SUBMIT_REPLAY);
    commit();
    cr_assert_eq(seen.status, 202, "its client is gone");
    free(seen.body);
    struct delivery *delivery = load(T0 + 69, 10, SIZE_MAX);
    cr_assert_str_eq(delivery->id, idle);
    cr_assert_eq(drop_list(delivery), 1);
    cr_assert_eq(drop_list(load(T0 + 70, 10, SIZE_MAX)), 1);
}

STORE_TEST(purges_what_ended_long_ago)
{
    char ended[ID_SIZE], open[ID_SIZE];
    size_t n = 0;
    struct message_record *record = NULL;
    int64_t seq = keep(&(struct letter){.key = "k"}, true, ended);
    keep(&plain, false, open);
    begin();
    cr_assert_eq(bed.ops->cancel(bed.store, seq, T0 + 1, &bed.err), 0);
    cr_assert_eq(bed.ops->purge(bed.store, T0, T0, 10, &n, &bed.err), 0);
    cr_assert_eq(n, 0);
    cr_assert_eq(bed.ops->purge(bed.store, T0 + 100, T0 + 100, 10, &n, &bed.err), 0);
    commit();
    cr_assert_geq(n, 1);
    cr_assert_eq(bed.ops->find(bed.store, ended, &record, &bed.err), -1);
    check_status(open, "queued");
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
