/* The file alone: whose it is, what it survives, damage, the disk. */

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_rig.h"

TestSuite(store_file, .init = bed_set_up_file, .fini = bed_tear_down);

static const struct letter plain = {0};

static int report_to;
static char committed[ID_SIZE];

/* In the middle of a commit, behind one that is done. */
static int die(void *unused)
{
    _exit(write(report_to, committed, ID_SIZE) == ID_SIZE ? 0 : 1);
}

Test(store_file, survives_its_process)
{
    char id[ID_SIZE];
    int pipes[2], status;
    bed_close();
    cr_assert_eq(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        bed_open();
        bed_keep(&plain, true, committed);
        report_to = pipes[1];
        sqlite3_commit_hook(bed.store->db, die, NULL);
        bed_keep(&plain, true, NULL);
        _exit(2);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert_eq(read(pipes[0], id, ID_SIZE), ID_SIZE);
    bed_open();
    bed_recover(NULL, STORE_ALL_CLAIMED, T0);
    bed_check_status(id, "in_doubt");
    cr_assert_eq(bed_drop(bed_load(T0 + 10, 10, SIZE_MAX)), 1, "nothing of what was not committed");
    bed_check_integrity();
}

Test(store_file, is_ours_alone)
{
    struct store *other = NULL;
    pid_t child = fork();
    if (child == 0) {
        struct error err;
        int rc = bed.ops->open(bed_path(), &other, &err);
        _exit(rc == -1 && strstr(err.detail, "another") != NULL ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(store_file, is_not_for_others_to_read)
{
    struct stat st;
    cr_assert_eq(stat(bed_path(), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(store_file, is_not_replaced_if_it_is_something_else)
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

/* --- damage, and the disk ----------------------------------------------------------------- */

Test(store_file, may_have_nothing_where_there_should_be_text)
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
        bed_keep(&letter, false, id);
        bed_settle(bed_load(T0, 1, SIZE_MAX), deferred, next_ms);
        bed_close();
        snprintf(
            text, sizeof(text),
            "PRAGMA writable_schema = 1;"
            "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table';"
            "PRAGMA writable_schema = RESET; UPDATE %s = NULL;",
            columns[i]);
        bed_exec_in_file(text);
        bed_open();
        mail_free(bed_find(id));
        enum store_submitted again = bed_submit(&letter).result;
        cr_assert(again == STORE_SUBMIT_REPLAY || again == STORE_SUBMIT_MISMATCH);
        cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 1, "%s", columns[i]);
        bed_tear_down();
        bed_set_up_file();
    }
}

Test(store_file, has_a_status_nobody_knows)
{
    static const int values[] = {-1, RECIPIENT_CANCELED + 1, 7, 99, INT_MAX};
    char id[ID_SIZE], text[80];
    bed_keep(&plain, false, id);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct mail *record = NULL;
        bed_close();
        snprintf(text, sizeof(text), "UPDATE recipient SET status = %d WHERE n = 1", values[i]);
        bed_exec_in_file(text);
        bed_open();
        cr_assert_eq(bed.ops->find(bed.store, id, &record, &bed.err), -1);
        cr_assert_eq(bed.err.code, ERR_STORE_UNAVAILABLE);
    }
}

/* A message whose content is gone is nobody's to deliver, and keeps nothing else of the turn from
 * being recorded. */
Test(store_file, has_a_message_without_its_content)
{
    struct store_submission item = bed_item(&plain, true);
    struct store_turn turn = bed_turn(T0);
    bed_keep(&plain, false, NULL);
    sqlite3_exec(bed.store->db, "DELETE FROM body", NULL, NULL, NULL);
    turn.submissions = &item;
    turn.n_submissions = 1;
    turn.load = (struct store_load){.max_n = 10, .max_bytes = SIZE_MAX};
    bed_commit_some(&turn);
    cr_assert_not_null(turn.load.fault);
    cr_assert_null(turn.load.list);
    cr_assert_null(item.fault);
    bed_check_status(item.mail->id, "queued");
}

static void limit_pages(int more)
{
    char text[60];
    snprintf(text, sizeof(text), "PRAGMA max_page_count = %d",
             (int)bed_number("PRAGMA page_count") + more);
    cr_assert_eq(sqlite3_exec(bed.store->db, text, NULL, NULL, NULL), SQLITE_OK);
}

/* Full is so for all of a turn, and no item's own fault. */
Test(store_file, is_full_as_a_whole)
{
    struct store_submission items[] = {bed_item(&plain, false),
                                       bed_item(&(struct letter){.size = 4 << 20}, false)};
    struct store_turn turn = bed_turn(T0);
    turn.submissions = items;
    turn.n_submissions = 2;
    limit_pages(100);
    cr_assert_eq(bed.ops->commit(bed.store, &turn, &bed.err), -1);
    cr_assert_eq(bed.err.code, ERR_STORE_FULL);
    cr_assert_not(bed_has(items[0].mail->id));
    cr_assert_eq(bed_stats().n_queued, 0);
    turn.n_submissions = 1;
    bed_commit(&turn);
}

/* Where items are done singly what stands stands, and nothing more is tried. */
Test(store_file, is_full_for_all_that_follows)
{
    static const enum error_code wanted[] = {ERR_NONE, ERR_STORE_UNAVAILABLE, ERR_STORE_FULL,
                                             ERR_STORE_FULL};
    struct store_submission items[] = {
        bed_item(&plain, false), bed_item(&(struct letter){.to = "bad@example.net"}, false),
        bed_item(&(struct letter){.size = 4 << 20}, false), bed_item(&plain, false)};
    struct store_turn turn = bed_turn(T0);
    turn.submissions = items;
    turn.n_submissions = 4;
    turn.load = (struct store_load){.max_n = 10, .max_bytes = SIZE_MAX};
    bed_poison("bad@example.net", "ABORT");
    limit_pages(100);
    bed_commit_some(&turn);
    for (size_t i = 0; i < 4; i++) {
        const struct error *fault = items[i].fault;
        cr_assert_eq(fault != NULL ? fault->code : ERR_NONE, wanted[i], "%zu", i);
        cr_assert_eq(bed_has(items[i].mail->id), i == 0);
    }
    cr_assert_eq(turn.load.fault->code, ERR_STORE_FULL);
    cr_assert_null(turn.load.list);
    cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 1);
}

/* By whoever looks at the file with another program. */
Test(store_file, is_locked_for_a_while)
{
    char id[ID_SIZE];
    struct store_turn turn = bed_turn(T0);
    struct store_submission item = bed_item(&plain, false);
    sqlite3 *other;
    turn.submissions = &item;
    turn.n_submissions = 1;
    bed_keep(&plain, true, id);
    cr_assert_eq(sqlite3_open(bed_path(), &other), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(bed.ops->commit(bed.store, &turn, &bed.err), -1);
    cr_assert_eq(bed.err.code, ERR_STORE_UNAVAILABLE);
    bed_check_status(id, "queued");
    cr_assert_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_close(other), SQLITE_OK);
    bed_commit(&turn);
    cr_assert_eq(bed_stats().n_queued, 4);
}

Test(store_file, shrinks_when_it_is_tidied)
{
    for (size_t i = 0; i < 40; i++)
        bed_keep(&(struct letter){.size = 500000 + i * 1000}, false, NULL);
    int64_t before = bed_number_in_file("PRAGMA page_count");
    cr_assert_gt(before, 5000);
    for (struct mail *d; (d = bed_load(T0, 1, SIZE_MAX)) != NULL;)
        bed_end(d, T0 + 1, false);
    size_t n = 1;
    while (bed.ops->tidy(bed.store))
        n++;
    cr_assert_gt(n, 10, "in %zu slices", n);
    cr_assert_lt(bed_number_in_file("PRAGMA page_count"), 600);
    struct stat st;
    cr_assert_eq(stat(bed_path(), &st), 0);
    cr_assert_lt(st.st_size, 600 * 4096);
    bed_check_integrity();
}
