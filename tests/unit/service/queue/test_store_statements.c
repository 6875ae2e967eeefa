/* What the store asks of SQLite costs no more the more there is: each statement goes along an
 * index, and none makes a table of its own at each call. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "store_rig.h"

TestSuite(store_statements, .init = bed_set_up_file, .fini = bed_tear_down);

enum { N_READER = 3, N_ALL = N_STATEMENTS + N_READER };

static sqlite3_stmt *statement(size_t i)
{
    sqlite3_stmt *of_reader[N_READER] = {bed.store->find_message, bed.store->find_recipients,
                                         bed.store->find_events};
    return i < N_STATEMENTS ? bed.store->statements[i] : of_reader[i - N_STATEMENTS];
}

/* `column` of each row that `how` gives for it, a line each. */
static void explain(const char *how, size_t i, int column, char *out, size_t size)
{
    sqlite3_stmt *s;
    char text[2000];
    snprintf(text, sizeof(text), "%s %s", how, sqlite3_sql(statement(i)));
    cr_assert_eq(sqlite3_prepare_v2(sqlite3_db_handle(statement(i)), text, -1, &s, NULL), SQLITE_OK,
                 "%s", text);
    out[0] = '\0';
    while (sqlite3_step(s) == SQLITE_ROW)
        snprintf(out + strlen(out), size - strlen(out), "%s\n",
                 (const char *)sqlite3_column_text(s, column));
    cr_assert_lt(strlen(out) + 1, size);
    sqlite3_finalize(s);
}

Test(store_statements, scan_no_table)
{
    char plan[2000];
    for (size_t i = 0; i < N_ALL; i++) {
        explain("EXPLAIN QUERY PLAN", i, 3, plan, sizeof(plan));
        cr_assert_null(strstr(plan, "SCAN"), "%s\n%s", sqlite3_sql(statement(i)), plan);
        cr_assert_null(strstr(plan, "TEMP B-TREE"), "%s\n%s", sqlite3_sql(statement(i)), plan);
    }
}

Test(store_statements, make_no_table)
{
    static const char *const makers[] = {"OpenEphemeral", "OpenAutoindex", "SorterOpen", "OpenDup"};
    char codes[8000];
    for (size_t i = 0; i < N_ALL; i++) {
        explain("EXPLAIN", i, 1, codes, sizeof(codes));
        for (size_t m = 0; m < sizeof(makers) / sizeof(makers[0]); m++)
            cr_assert_null(strstr(codes, makers[m]), "%s\n%s", sqlite3_sql(statement(i)), codes);
    }
}

Test(store_statements, go_along_the_index_made_for_them)
{
    static const struct {
        enum statement statement;
        const char *index;
    } wanted[] = {
        {SQL_DUE_HIGH, "message_due (priority=? AND due_ms"},
        {SQL_DUE_NORMAL, "message_due (priority=? AND due_ms"},
        {SQL_DUE_LOW, "message_due (priority=? AND due_ms"},
        {SQL_FIRST_DUE, "message_due (priority=?"},
        {SQL_OLDEST, "recipient_open (status=?)"},
        {SQL_ENDED, "message_ended (ended_ms>? AND ended_ms<?)"},
        {SQL_KEPT, "message_kept (ended_ms<"},
        {SQL_DROP_USAGE, "usage_hour (hour_ms<"},
        {SQL_DROP_EVENTS, "event_seq (seq=?)"},
        {SQL_DROP_KEYS, "idempotency_seq (seq=?)"},
    };
    char plan[2000];
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        explain("EXPLAIN QUERY PLAN", wanted[i].statement, 3, plan, sizeof(plan));
        cr_assert_not_null(strstr(plan, wanted[i].index), "%s\n%s", wanted[i].index, plan);
    }
}
