#include "store_rig.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"

struct bed bed;

/* --- opening and closing ------------------------------------------------------------------ */

void bed_open(void)
{
    const char *location;
    bed.ops = store_for(bed.url, &location);
    cr_assert_not_null(bed.ops);
    cr_assert_eq(bed.ops->open(location, &bed.store, &bed.err), 0, "%s", bed.err.detail);
}

void bed_close(void)
{
    if (bed.store != NULL)
        bed.ops->close(bed.store);
    bed.store = NULL;
}

void bed_set_up(const char *scheme)
{
    snprintf(bed.folder, sizeof(bed.folder), "/tmp/postern-store-XXXXXX");
    cr_assert_not_null(mkdtemp(bed.folder));
    snprintf(bed.url, sizeof(bed.url), "%s%s%s", scheme, scheme[0] == 's' ? bed.folder : "",
             scheme[0] == 's' ? "/queue.db" : "");
    bed.arena = arena_new();
    bed_open();
}

void bed_set_up_file(void)
{
    bed_set_up("sqlite:");
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    return remove(path);
}

void bed_tear_down(void)
{
    bed_close();
    for (struct mail *next; bed.written != NULL; bed.written = next) {
        next = bed.written->next;
        mail_free(bed.written);
    }
    arena_free(bed.arena);
    bed.arena = NULL;
    nftw(bed.folder, drop, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- turns -------------------------------------------------------------------------------- */

struct store_turn bed_turn(int64_t now_ms)
{
    return (struct store_turn){.arena = bed.arena, .now_ms = now_ms};
}

void bed_commit_some(struct store_turn *turn)
{
    cr_assert_eq(bed.ops->commit(bed.store, turn, &bed.err), 0, "%s", bed.err.detail);
}

static void expect_whole(const struct error *fault)
{
    cr_assert_null(fault, "%s", fault->detail);
}

void bed_commit(struct store_turn *turn)
{
    bed_commit_some(turn);
    for (size_t i = 0; i < turn->n_outcomes; i++)
        expect_whole(turn->outcomes[i].fault);
    for (size_t i = 0; i < turn->n_answers; i++)
        expect_whole(turn->answers[i].fault);
    for (size_t i = 0; i < turn->n_cancels; i++)
        expect_whole(turn->cancels[i].fault);
    for (size_t i = 0; i < turn->n_submissions; i++)
        expect_whole(turn->submissions[i].fault);
    expect_whole(turn->load.fault);
    expect_whole(turn->purge.fault);
}

static int refuse(void *unused)
{
    return 1;
}

void bed_break(void)
{
    sqlite3_commit_hook(bed.store->db, refuse, NULL);
}

void bed_mend(void)
{
    sqlite3_commit_hook(bed.store->db, NULL, NULL);
}

static void exec(const char *text)
{
    cr_assert_eq(sqlite3_exec(bed.store->db, text, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(bed.store->db));
}

void bed_poison(const char *address, const char *how)
{
    char text[400];
    snprintf(text, sizeof(text),
             "CREATE TEMP TRIGGER poison BEFORE INSERT ON recipient WHEN new.address = '%s'"
             " BEGIN SELECT RAISE(%s, 'poison'); END;"
             "CREATE TEMP TRIGGER bane BEFORE UPDATE ON recipient WHEN new.address = '%s'"
             " BEGIN SELECT RAISE(%s, 'poison'); END",
             address, how, address, how);
    exec(text);
}

void bed_cure(void)
{
    exec("DROP TRIGGER poison; DROP TRIGGER bane");
}

/* --- what goes in ------------------------------------------------------------------------- */

struct mail *letter_write(const struct letter *letter)
{
    struct mail *mail = mail_new();
    mail->message_id = "<1@example.com>";
    mail->from = "a@example.com";
    mail->sender = "bounce@example.com";
    mail->subject = "Gr\xc3\xbc\xc3\x9f"
                    "e";
    mail->api_key = "shop";
    mail->tags = "[\"t\"]";
    mail->metadata = "{\"order\":\"7\"}";
    mail->options = (struct mail_options){.relay = "backup",
                                          .priority = letter->priority,
                                          .require_tls = true,
                                          .dsn = {.notify = "FAILURE,DELAY", .ret = "HDRS"}};
    mail->created_ms = T0 - letter->age_ms;
    mail->expires_ms = T0 + 3600000;
    mail_reserve_recipients(mail, letter->n_recipients > 0 ? letter->n_recipients : 2);
    for (size_t i = 0; i < mail->n_recipients; i++)
        mail->recipients[i].address = i == 0 && letter->to != NULL
                                          ? arena_strdup(mail->arena, letter->to)
                                          : arena_printf(mail->arena, "r%zu@example.net", i);
    mail->content = bytes_new(letter->size > 0 ? letter->size : 10);
    mail->size = (int64_t)mail->content->len;
    for (size_t i = 0; i < mail->content->len; i++)
        mail->content->data[i] = (char)(i * 7); /* NULs too */
    id_new(mail->created_ms, mail->id);
    return mail;
}

struct store_submission bed_item(const struct letter *letter, bool claimed)
{
    struct mail *mail = letter_write(letter);
    uint8_t *fingerprint = arena_alloc(mail->arena, 32);
    fingerprint[0] = (uint8_t)letter->request;
    mail->next = bed.written;
    bed.written = mail;
    return (struct store_submission){.mail = mail,
                                     .claimed = claimed,
                                     .key = letter->key,
                                     .fingerprint = fingerprint,
                                     .answer_status = letter->waits ? 0 : 202,
                                     .answer_body = "{\"first\":1}"};
}

static struct store_submission submit(const struct letter *letter, bool claimed, char id[ID_SIZE])
{
    struct store_submission item = bed_item(letter, claimed);
    struct store_turn turn = bed_turn(T0);
    turn.submissions = &item;
    turn.n_submissions = 1;
    bed_commit(&turn);
    if (id != NULL)
        memcpy(id, item.mail->id, ID_SIZE);
    return item;
}

int64_t bed_keep(const struct letter *letter, bool claimed, char id[ID_SIZE])
{
    struct store_submission item = submit(letter, claimed, id);
    cr_assert_eq(item.result, STORE_SUBMIT_NEW);
    return item.seq;
}

struct store_submission bed_submit(const struct letter *letter)
{
    return submit(letter, false, NULL);
}

void bed_cancel(int64_t seq, int64_t now_ms)
{
    struct store_cancel cancel = {.seq = seq};
    struct store_turn turn = bed_turn(now_ms);
    turn.cancels = &cancel;
    turn.n_cancels = 1;
    bed_commit(&turn);
}

int64_t bed_settle(struct mail *delivery, const enum recipient_status *status,
                   const int64_t *next_ms)
{
    struct store_outcome outcome = {.mail = delivery, .status = status, .next_ms = next_ms};
    struct store_turn turn = bed_turn(T0 + 1);
    turn.outcomes = &outcome;
    turn.n_outcomes = 1;
    bed_commit(&turn);
    mail_free(delivery);
    return outcome.due_ms;
}

struct store_outcome bed_outcome(const struct mail *delivery, enum recipient_status status,
                                 int64_t next_ms)
{
    size_t n = delivery->n_recipients;
    enum recipient_status *all = arena_alloc_array(bed.arena, n, sizeof(*all));
    int64_t *next = arena_alloc_array(bed.arena, n, sizeof(*next));
    for (size_t i = 0; i < n; i++) {
        all[i] = status;
        next[i] = next_ms;
    }
    return (struct store_outcome){.mail = delivery, .status = all, .next_ms = next};
}

void bed_end(struct mail *delivery, int64_t now_ms, bool keep_content)
{
    struct store_outcome outcome = bed_outcome(delivery, RECIPIENT_SENT, 0);
    struct store_turn turn = bed_turn(now_ms);
    turn.keep_content = keep_content;
    turn.outcomes = &outcome;
    turn.n_outcomes = 1;
    bed_commit(&turn);
    mail_free(delivery);
}

void bed_recover(const struct flight *flights, size_t n, int64_t due_ms)
{
    cr_assert_eq(bed.ops->recover(bed.store, flights, n, T0 + 10, due_ms, &bed.err), 0, "%s",
                 bed.err.detail);
}

/* --- what comes out ----------------------------------------------------------------------- */

struct mail *bed_load(int64_t now_ms, size_t max_n, size_t max_bytes)
{
    struct store_turn turn = bed_turn(now_ms);
    turn.load = (struct store_load){.max_n = max_n, .max_bytes = max_bytes};
    bed_commit(&turn);
    return turn.load.list;
}

size_t bed_drop(struct mail *list)
{
    size_t n = 0;
    for (struct mail *next; list != NULL; list = next, n++) {
        next = list->next;
        mail_free(list);
    }
    return n;
}

/* Nothing is due so early: nothing is claimed. */
int64_t bed_next_due(void)
{
    struct store_turn turn = bed_turn(0);
    turn.load.max_n = 1;
    bed_commit(&turn);
    cr_assert_null(turn.load.list);
    return turn.load.next_due_ms;
}

struct mail *bed_find(const char *id)
{
    struct mail *record = NULL;
    cr_assert_eq(bed.ops->find(bed.store, id, &record, &bed.err), 0, "%s", bed.err.detail);
    return record;
}

bool bed_has(const char *id)
{
    CLEANUP(mail_free) struct mail *record = NULL;
    if (bed.ops->find(bed.store, id, &record, &bed.err) == 0)
        return true;
    cr_assert_eq(bed.err.code, ERR_NOT_FOUND, "%s", bed.err.detail);
    return false;
}

void bed_check_status(const char *id, const char *status)
{
    CLEANUP(mail_free) struct mail *record = bed_find(id);
    cr_assert_str_eq(mail_status(record), status);
}

struct store_stats bed_stats(void)
{
    struct store_stats stats;
    cr_assert_eq(bed.ops->stats(bed.store, &stats, &bed.err), 0, "%s", bed.err.detail);
    return stats;
}

void bed_expect_usage(int64_t since_ms, const char *expected)
{
    CLEANUP(usage_list_clear) struct usage_list list = {0};
    char text[400] = "";
    cr_assert_eq(bed.ops->usage(bed.store, since_ms, &list, &bed.err), 0, "%s", bed.err.detail);
    for (size_t i = 0; i < list.n_items; i++) {
        const struct usage_record *u = &list.items[i];
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %jd %jd %jd; ", u->relay,
                 (intmax_t)u->hour_ms / USAGE_HOUR_MS, (intmax_t)u->n_messages,
                 (intmax_t)u->n_recipients);
    }
    cr_assert_str_eq(text, expected);
}

int64_t bed_number(const char *select)
{
    return sqlite_number(bed.store->db, select);
}

/* --- the file alone ----------------------------------------------------------------------- */

const char *bed_path(void)
{
    return strchr(bed.url, ':') + 1;
}

static sqlite3 *open_file(void)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(bed_path(), &db), SQLITE_OK);
    return db;
}

void bed_exec_in_file(const char *text)
{
    sqlite3 *db = open_file();
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

int64_t bed_number_in_file(const char *select)
{
    sqlite3 *db = open_file();
    int64_t value = sqlite_number(db, select);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
    return value;
}

/* By a library of its own, in another process. */
void bed_check_integrity(void)
{
    char command[200], answer[32] = "";
    snprintf(command, sizeof(command),
             "python3 -c 'import sqlite3; print(sqlite3.connect(\"%s\")"
             ".execute(\"pragma integrity_check\").fetchone()[0])'",
             bed_path());
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(fgets(answer, sizeof(answer), pipe));
    pclose(pipe);
    cr_assert_str_eq(answer, "ok\n");
}

void bed_put_version(const char *name)
{
    char path[100], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof(path), "tests/unit/service/queue/%s", name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_gt(getdelim(&text, &size, '\0', file), 0);
    fclose(file);
    bed_close();
    cr_assert_eq(unlink(bed_path()), 0);
    bed_exec_in_file(text);
    free(text);
}
