/*
 * What is due, out of the store: a cursor for each priority, in the order of due times. High comes
 * before normal before low, but one in FAIR_SHARE is the one that has been due longest, whatever
 * its priority, so that a stream of high ones holds up no other for ever.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "queue/sqlite_store.h"

enum { RECIPIENTS_MAX = 1000, N_PRIORITIES = 3, FAIR_SHARE = 4 };

static const enum statement CURSORS[N_PRIORITIES] = {[PRIORITY_HIGH] = SQL_DUE_HIGH,
                                                     [PRIORITY_NORMAL] = SQL_DUE_NORMAL,
                                                     [PRIORITY_LOW] = SQL_DUE_LOW};

struct loading {
    struct store *store;
    int64_t now_ms;
    struct mail *first, **end; /* what is loaded */
    size_t n;
};

/* --- rows --------------------------------------------------------------------------------- */

/* The next row of each cursor stands ready; `due_ms[]` INT64_MAX: it has no more. */
static int step(struct store *store, size_t priority, int64_t due_ms[N_PRIORITIES],
                struct error *err)
{
    sqlite3_stmt *s = store->statements[CURSORS[priority]];
    int rc = sqlite3_step(s);
    due_ms[priority] = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : INT64_MAX;
    return rc == SQLITE_ROW || rc == SQLITE_DONE
               ? 0
               : sqlite_error(err, store->db, "read due messages");
}

/* Only where there is one. The count goes on from load to load, or small ones would never come to
 * the oldest's turn. */
static size_t choose(struct store *store, const int64_t due_ms[N_PRIORITIES])
{
    size_t first = 0, oldest = 0;
    for (size_t i = 1; i < N_PRIORITIES; i++) {
        if (due_ms[first] == INT64_MAX)
            first = i;
        if (due_ms[i] < due_ms[oldest])
            oldest = i;
    }
    return ++store->n_chosen % FAIR_SHARE == 0 ? oldest : first;
}

static bool none_left(const int64_t due_ms[N_PRIORITIES])
{
    for (size_t i = 0; i < N_PRIORITIES; i++)
        if (due_ms[i] != INT64_MAX)
            return false;
    return true;
}

/* The row that stands ready. */
static int take_row(struct loading *l, sqlite3_stmt *s, struct error *err)
{
    struct mail *mail = mail_new();
    if (mail == NULL || sqlite_read_fields(s, 2, true, mail) < 0) {
        mail_free(mail);
        return error_set(err, ERR_NOMEM, "messages that are due");
    }
    mail->seq = sqlite3_column_int64(s, 1);
    *l->end = mail;
    l->end = &mail->next;
    l->n++;
    return 0;
}

/* The rows are read whole before the first is claimed: claiming changes the index they come from.
 */
static int take_rows(struct loading *l, size_t max_n, size_t max_bytes, struct error *err)
{
    int64_t due_ms[N_PRIORITIES];
    size_t total = 0;
    for (size_t i = 0; i < N_PRIORITIES; i++)
        if (step(l->store, i, due_ms, err) < 0)
            return -1;
    while (l->n < max_n && (l->n == 0 || total < max_bytes) && !none_left(due_ms)) {
        size_t priority = choose(l->store, due_ms);
        struct mail **last = l->end;
        if (take_row(l, l->store->statements[CURSORS[priority]], err) < 0 ||
            step(l->store, priority, due_ms, err) < 0)
            return -1;
        total += (size_t)(*last)->size;
    }
    return 0;
}

static int read_rows(struct loading *l, size_t max_n, size_t max_bytes, struct error *err)
{
    for (size_t i = 0; i < N_PRIORITIES; i++) {
        sqlite3_stmt *s = l->store->statements[CURSORS[i]];
        sqlite3_bind_int(s, 1, (int)i);
        sqlite3_bind_int64(s, 2, l->now_ms);
    }
    int rc = take_rows(l, max_n, max_bytes, err);
    for (size_t i = 0; i < N_PRIORITIES; i++)
        sqlite3_reset(l->store->statements[CURSORS[i]]);
    return rc;
}

/* --- what belongs to a row ---------------------------------------------------------------- */

static int read_content(struct store *store, struct mail *mail, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_BODY];
    sqlite3_bind_int64(s, 1, mail->seq);
    int rc = sqlite3_step(s), failed = 0;
    if (rc == SQLITE_ROW) {
        size_t len = (size_t)sqlite3_column_bytes(s, 0);
        const void *data = sqlite3_column_blob(s, 0);
        mail->content = len == 0 || data != NULL ? bytes_new(len) : NULL;
        if (mail->content == NULL)
            failed = error_set(err, ERR_NOMEM, "content of %zu octets", len);
        else if (len > 0)
            memcpy(mail->content->data, data, len);
    } else if (rc == SQLITE_DONE) {
        failed = error_set(err, ERR_STORE_UNAVAILABLE, "store: a message has lost its content");
    } else {
        failed = sqlite_error(err, store->db, "read content");
    }
    sqlite3_reset(s);
    return failed;
}

/* Those that are due; none is fine. */
static int read_recipients(struct loading *l, struct mail *mail, struct error *err)
{
    sqlite3_stmt *s = l->store->statements[SQL_DUE_RECIPIENTS];
    sqlite3_bind_int64(s, 1, mail->seq);
    sqlite3_bind_int64(s, 2, l->now_ms);
    int rc, failed = 0;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && mail->n_recipients < RECIPIENTS_MAX) {
        mail->recipients = sqlite_grow(mail->arena, mail->recipients, mail->n_recipients,
                                       sizeof(*mail->recipients));
        const char *address = sqlite_text(mail->arena, s, 1);
        if (mail->recipients == NULL || address == NULL) {
            failed = error_set(err, ERR_NOMEM, "recipients");
            break;
        }
        mail->recipients[mail->n_recipients++] =
            (struct mail_recipient){.index = (size_t)sqlite3_column_int64(s, 0),
                                    .address = address,
                                    .attempts = (uint32_t)sqlite3_column_int64(s, 2)};
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        failed = sqlite_error(err, l->store->db, "read recipients");
    sqlite3_reset(s);
    return failed;
}

static int claim(struct store *store, int64_t seq, struct error *err)
{
    sqlite3_bind_int64(store->statements[SQL_CLAIM], 1, seq);
    return sqlite_run(store, SQL_CLAIM, err);
}

static int complete_all(struct loading *l, struct error *err)
{
    for (struct mail *mail = l->first; mail != NULL; mail = mail->next)
        if (read_recipients(l, mail, err) < 0 || read_content(l->store, mail, err) < 0 ||
            claim(l->store, mail->seq, err) < 0)
            return -1;
    return 0;
}

/* The smallest of the three priorities; one step along the index for each. */
static int read_next_due(struct store *store, int64_t *due_ms_out, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_FIRST_DUE];
    int rc = SQLITE_ROW;
    *due_ms_out = INT64_MAX;
    for (int priority = 0; priority < N_PRIORITIES && rc == SQLITE_ROW; priority++) {
        sqlite3_bind_int(s, 1, priority);
        rc = sqlite3_step(s);
        if (rc != SQLITE_ROW)
            sqlite_error(err, store->db, "read next due time");
        else if (sqlite3_column_type(s, 0) != SQLITE_NULL &&
                 sqlite3_column_int64(s, 0) < *due_ms_out)
            *due_ms_out = sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
    }
    return rc == SQLITE_ROW ? 0 : -1;
}

int sqlite_load(struct store *store, struct store_turn *turn, struct error *err)
{
    struct store_load *load = &turn->load;
    struct loading l = {.store = store, .now_ms = turn->now_ms, .end = &l.first};
    if (read_rows(&l, load->max_n, load->max_bytes, err) < 0 || complete_all(&l, err) < 0 ||
        read_next_due(store, &load->next_due_ms, err) < 0) {
        mail_list_free(l.first);
        return -1;
    }
    load->list = l.first;
    return 0;
}
