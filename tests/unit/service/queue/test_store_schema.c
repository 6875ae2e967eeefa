/* Older files are taken over, newer ones refused. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_rig.h"

TestSuite(store_schema, .init = bed_set_up_file, .fini = bed_tear_down);

static const struct letter plain = {0};

/* --- version 1 ---------------------------------------------------------------------------- */

static void check_version_1(void)
{
    bed_check_status("01ARZ3NDEKTSV4RRFFQ69G5FA1", "queued");
    bed_check_status("01ARZ3NDEKTSV4RRFFQ69G5FA2", "sent");
    struct mail *delivery = bed_load(T0, 10, SIZE_MAX);
    cr_assert_not_null(delivery);
    cr_assert_null(delivery->next);
    cr_assert_eq(delivery->n_recipients, 2);
    cr_assert_eq(delivery->recipients[0].attempts, 1);
    cr_assert_eq(memcmp(delivery->content->data, "octets", 6), 0);
    cr_assert_eq(delivery->options.priority, PRIORITY_NORMAL);
    cr_assert_str_eq(delivery->tags, "[\"t\"]");
    cr_assert_null(delivery->options.relay);
    cr_assert_not(delivery->options.require_tls);
    bed_drop(delivery);
}

Test(store_schema, version_1_is_brought_up_to_date)
{
    bed_put_version("version_1.sql");
    for (size_t i = 0; i < 2; i++) { /* the second time it is */
        bed_open();
        check_version_1();
        cr_assert_eq(bed.ops->recover(bed.store, NULL, 0, T0, T0, &bed.err), 0);
        bed_close();
    }
    bed_open();
    bed_keep(&plain, false, NULL);
    cr_assert_eq(bed_drop(bed_load(T0, 10, SIZE_MAX)), 2);
    bed_check_integrity();
}

/* Old files were made without it; the first start after that rewrites them. */
Test(store_schema, version_1_shrinks_too)
{
    bed_put_version("version_1.sql");
    bed_exec_in_file("INSERT INTO body SELECT value + 1000, randomblob(3000000) FROM"
                     " (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3);"
                     "DELETE FROM body WHERE seq > 1000");
    cr_assert_eq(bed_number_in_file("PRAGMA auto_vacuum"), 0);
    bed_open();
    cr_assert_eq(bed_number_in_file("PRAGMA auto_vacuum"), 2);
    cr_assert_lt(bed_number_in_file("PRAGMA page_count"), 100);
    check_version_1();
    bed_check_integrity();
}

/* --- version 2 ---------------------------------------------------------------------------- */

static const char *id_2(int i)
{
    static char id[ID_SIZE];
    snprintf(id, sizeof(id), "01ARZ3NDEKTSV4RRFFQ69G5FB%d", i);
    return id;
}

static void check_statuses(void)
{
    static const char *const wanted[] = {NULL,     "queued",   "deferred", "in_doubt", "in_doubt",
                                         "queued", "in_doubt", "sent",     "failed",   "canceled"};
    for (int i = 1; i <= 9; i++)
        if (i != 2 && i != 6) /* of two kinds each: below */
            bed_check_status(id_2(i), wanted[i]);
    struct mail *record = bed_find(id_2(2));
    cr_assert_eq(record->recipients[0].status, RECIPIENT_SENT);
    cr_assert_eq(record->recipients[1].status, RECIPIENT_DEFERRED);
    cr_assert_eq(record->events[2].type, EVENT_MESSAGE_SENT);
    mail_free(record);
    record = bed_find(id_2(6));
    cr_assert_eq(record->recipients[0].status, RECIPIENT_IN_DOUBT);
    cr_assert_eq(record->recipients[0].next_attempt_ms, 0);
    cr_assert_eq(record->recipients[1].status, RECIPIENT_QUEUED);
    mail_free(record);
    struct store_stats stats = bed_stats();
    cr_assert_eq(stats.n_queued, 4);
    cr_assert_eq(stats.n_deferred, 1);
    cr_assert_eq(stats.n_in_doubt, 3);
    cr_assert_eq(stats.oldest_queued_ms, T0);
    cr_assert_eq(stats.oldest_deferred_ms, T0);
}

/* The seqs of what is handed out, as digits. */
static void expect_loaded(int64_t now_ms, const char *seqs)
{
    char text[16] = "";
    struct mail *list = bed_load(now_ms, 10, SIZE_MAX);
    for (const struct mail *d = list; d != NULL; d = d->next) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d", (int)d->seq);
        cr_assert_eq(memcmp(d->content->data, "octets", 6), 0);
        cr_assert_str_eq(d->options.relay, "backup");
        cr_assert_eq(d->n_recipients, d->seq == 1 ? 2 : 1);
    }
    bed_drop(list);
    cr_assert_str_eq(text, seqs);
}

Test(store_schema, version_2_is_brought_up_to_date)
{
    bed_put_version("version_2.sql");
    for (size_t i = 0; i < 2; i++) {
        bed_open();
        cr_assert_eq(bed_number("PRAGMA user_version"), 3, "an older postern refuses it");
        check_statuses();
        bed_expect_usage(0, "primary 0 2 3; ");
        bed_close();
    }
    bed_open();
    bed_check_integrity();
}

/* What was claimed stays so until a start looks at it. */
Test(store_schema, version_2_hands_out_what_is_due)
{
    bed_put_version("version_2.sql");
    bed_open();
    cr_assert_eq(bed_next_due(), T0);
    expect_loaded(T0, "1");
    cr_assert_eq(bed_next_due(), T0 + 500);
    expect_loaded(T0 + 500, "2");
    cr_assert_eq(bed_next_due(), T0 + 600);
    expect_loaded(T0 + 600, "3");
    cr_assert_eq(bed_next_due(), INT64_MAX);
    expect_loaded(INT64_MAX - 1, "");
}

Test(store_schema, version_2_is_recovered)
{
    bed_put_version("version_2.sql");
    bed_open();
    bed_recover(&(const struct flight){.seq = 6}, 1, T0 + 20);
    cr_assert_eq(bed_number("SELECT status FROM idempotency WHERE key = 'w'"), 202);
    bed_check_status(id_2(5), "queued");
    bed_check_status(id_2(6), "in_doubt");
    cr_assert_eq(bed_stats().n_in_doubt, 4);
    expect_loaded(T0 + 10, "15");
    expect_loaded(T0 + 20, "6"); /* of which one is held still */
    cr_assert_eq(bed_next_due(), T0 + 500);
}

/* Of all that ended the one whose content is there, and no other. */
Test(store_schema, version_2_has_its_kept_contents_purged)
{
    struct store_turn turn = bed_turn(T0);
    bed_put_version("version_2.sql");
    bed_open();
    cr_assert_eq(bed_number("SELECT sum(kept * seq) FROM message"), 7);
    turn.purge = (struct store_purge){.max_n = 10, .content_before_ms = T0 + 1000};
    bed_commit(&turn);
    cr_assert_eq(turn.purge.n, 1);
    cr_assert_eq(bed_number("SELECT count(*) FROM body"), 6);
    cr_assert_eq(bed_number("SELECT count(*) FROM body WHERE seq = 7"), 0);
    bed_check_status(id_2(7), "sent");
    turn.purge = (struct store_purge){.max_n = 10, .record_before_ms = T0 + 1000};
    bed_commit(&turn);
    cr_assert_eq(turn.purge.n, 3);
    cr_assert_not(bed_has(id_2(7)));
}

/* Both ways lead to the same tables. */
Test(store_schema, is_the_same_by_each_way)
{
    static const char fingerprint[] = "SELECT group_concat(sql, ';') FROM (SELECT name, sql FROM"
                                      " sqlite_schema WHERE sql IS NOT NULL ORDER BY name)";
    static const char *const files[] = {"version_1.sql", "version_2.sql"};
    char text[3][8192];
    for (size_t i = 0; i < 3; i++) {
        sqlite3_stmt *s;
        if (i > 0) {
            bed_put_version(files[i - 1]);
            bed_open();
        }
        cr_assert_eq(sqlite3_prepare_v2(bed.store->db, fingerprint, -1, &s, NULL), SQLITE_OK);
        cr_assert_eq(sqlite3_step(s), SQLITE_ROW);
        size_t n = 0;
        for (const char *p = (const char *)sqlite3_column_text(s, 0); *p != '\0'; p++)
            if (*p != ' ' && *p != '\n' && n + 1 < sizeof(text[i])) /* laid out otherwise */
                text[i][n++] = *p;
        text[i][n] = '\0';
        sqlite3_finalize(s);
        cr_assert_str_eq(text[i], text[0]);
    }
}

/* --- in between --------------------------------------------------------------------------- */

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
        _exit(bed.ops->open(bed_path(), &bed.store, &bed.err) == 0 ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 1, "after %d", after);
    return WEXITSTATUS(status) == 9;
}

static void die_in_between(const char *version)
{
    int n = 1;
    bed_put_version(version);
    while (dies_while_opening(n))
        n += 1 + n / 50;
    cr_assert_gt(n, 300, "%d", n);
    bed_open();
}

Test(store_schema, version_1_survives_deaths_in_between)
{
    die_in_between("version_1.sql");
    check_version_1();
    bed_check_integrity();
}

Test(store_schema, version_2_survives_deaths_in_between)
{
    die_in_between("version_2.sql");
    check_statuses();
    bed_check_integrity();
}

Test(store_schema, of_a_newer_version_is_refused)
{
    char text[60];
    bed_close();
    snprintf(text, sizeof(text), "PRAGMA user_version = %d",
             (int)bed_number_in_file("PRAGMA user_version") + 1);
    bed_exec_in_file(text);
    cr_assert_eq(bed.ops->open(bed_path(), &bed.store, &bed.err), -1);
    cr_assert_eq(bed.err.code, ERR_CONFIG);
    cr_assert_not_null(strstr(bed.err.detail, "was written by a newer postern"), "%s",
                       bed.err.detail);
}
