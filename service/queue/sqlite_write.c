#include <stdlib.h>
#include <string.h>

#include "queue/sqlite_store.h"

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static void bind_reply(sqlite3_stmt *s, int at, const struct reply_record *reply)
{
    sqlite3_bind_int(s, at, reply->code);
    bind_text(s, at + 1, reply->enhanced);
    bind_text(s, at + 2, reply->text);
}

static void bind_time_or_null(sqlite3_stmt *s, int at, int64_t ms)
{
    if (ms == 0)
        sqlite3_bind_null(s, at);
    else
        sqlite3_bind_int64(s, at, ms);
}

int sqlite_add_event(struct store *store, int64_t seq, size_t recipient, enum event_type type,
                     int64_t at_ms, const struct reply_record *reply, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_EVENT];
    sqlite3_bind_int64(s, 1, ++store->last_event);
    sqlite3_bind_int64(s, 2, seq);
    sqlite3_bind_int64(s, 3, (sqlite3_int64)recipient);
    sqlite3_bind_int(s, 4, (int)type);
    sqlite3_bind_int64(s, 5, at_ms);
    bind_reply(s, 6, reply);
    return sqlite_run(store, SQL_ADD_EVENT, err);
}

/* --- submit ------------------------------------------------------------------------------- */

/* What is known of the key: NEW if nothing. */
static enum store_submitted look_up_key(struct store *store, const struct submission *submission,
                                        struct store_seen *seen, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_FIND_KEY];
    enum store_submitted verdict = STORE_SUBMIT_NEW;
    bind_text(s, 1, submission->api_key);
    bind_text(s, 2, submission->idempotency_key);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        int status = sqlite3_column_int(s, 1);
        const void *fingerprint = sqlite3_column_blob(s, 0);
        const char *body = sqlite_column(s, 2);
        if (fingerprint == NULL ||
            sqlite3_column_bytes(s, 0) != (int)sizeof(submission->fingerprint) ||
            memcmp(fingerprint, submission->fingerprint, sizeof(submission->fingerprint)) != 0) {
            verdict = STORE_SUBMIT_MISMATCH;
        } else if (status == 0) {
            verdict = STORE_SUBMIT_IN_PROGRESS;
        } else {
            verdict = STORE_SUBMIT_REPLAY;
            seen->status = status;
            seen->body = body != NULL ? strdup(body) : NULL;
            if (seen->body == NULL) {
                error_set(err, ERR_NOMEM, "answer");
                verdict = STORE_SUBMIT_FAILED;
            }
        }
    } else if (rc != SQLITE_DONE) {
        sqlite_error(err, store->db, "look up idempotency key");
        verdict = STORE_SUBMIT_FAILED;
    }
    sqlite3_reset(s);
    return verdict;
}

static void bind_wishes(sqlite3_stmt *s, int at, const struct submission *submission)
{
    const struct delivery_wishes wishes = submission_wishes(submission);
    bind_text(s, at, wishes.relay);
    sqlite3_bind_int(s, at + 1, (int)wishes.priority);
    sqlite3_bind_int(s, at + 2, wishes.require_tls);
    bind_text(s, at + 3, wishes.dsn_notify);
    bind_text(s, at + 4, wishes.dsn_ret);
    bind_text(s, at + 5, wishes.dsn_envid);
}

static int add_message(struct store *store, const struct submission *submission, bool claimed,
                       int64_t *seq_out, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_MESSAGE];
    bind_text(s, 1, submission->id);
    bind_text(s, 2, submission->message_id);
    bind_text(s, 3, submission->envelope_from);
    bind_text(s, 4, submission->from);
    bind_text(s, 5, submission->subject);
    bind_text(s, 6, submission->api_key);
    bind_text(s, 7, submission->tags);
    bind_text(s, 8, submission->metadata);
    sqlite3_bind_int64(s, 9, (sqlite3_int64)submission->content->len);
    sqlite3_bind_int(s, 10, submission->smtputf8);
    sqlite3_bind_int64(s, 11, submission->created_ms);
    sqlite3_bind_int64(s, 12, submission->expires_ms);
    sqlite3_bind_int(s, 13, claimed);
    sqlite3_bind_int64(s, 14, store->last_event + 1);
    bind_wishes(s, 15, submission);
    store->last_event += (int64_t)submission->n_recipients;
    if (sqlite_run(store, SQL_ADD_MESSAGE, err) < 0)
        return -1;
    *seq_out = sqlite3_last_insert_rowid(store->db);
    return 0;
}

static int add_parts(struct store *store, const struct submission *submission, int64_t seq,
                     struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_BODY];
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_blob64(s, 2, submission->content->data, submission->content->len, SQLITE_STATIC);
    int rc = sqlite_run(store, SQL_ADD_BODY, err);
    s = store->statements[SQL_ADD_RECIPIENT];
    for (size_t i = 0; rc == 0 && i < submission->n_recipients; i++) {
        sqlite3_bind_int64(s, 1, seq);
        sqlite3_bind_int64(s, 2, (sqlite3_int64)i);
        bind_text(s, 3, submission->recipients[i]);
        sqlite3_bind_int64(s, 4, submission->created_ms);
        rc = sqlite_run(store, SQL_ADD_RECIPIENT, err);
    }
    if (rc < 0 || submission->idempotency_key == NULL)
        return rc;
    s = store->statements[SQL_ADD_KEY];
    bind_text(s, 1, submission->api_key);
    bind_text(s, 2, submission->idempotency_key);
    sqlite3_bind_blob(s, 3, submission->fingerprint, sizeof(submission->fingerprint),
                      SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, seq);
    sqlite3_bind_int(s, 5, submission->answer_status);
    bind_text(s, 6, submission->answer_body);
    return sqlite_run(store, SQL_ADD_KEY, err);
}

enum store_submitted sqlite_submit(struct store *store, const struct submission *submission,
                                   bool claimed, int64_t *seq_out, struct store_seen *seen,
                                   struct error *err)
{
    /* After some failures SQLite has rolled the whole transaction back: what follows would commit
     * by itself, though the client is told that it was refused. */
    if (sqlite3_get_autocommit(store->db)) {
        error_set(err, ERR_STORE_UNAVAILABLE, "store: the transaction was rolled back");
        return STORE_SUBMIT_FAILED;
    }
    if (submission->idempotency_key != NULL) {
        enum store_submitted known = look_up_key(store, submission, seen, err);
        if (known != STORE_SUBMIT_NEW)
            return known;
    }
    if (sqlite3_exec(store->db, "SAVEPOINT one", NULL, NULL, NULL) != SQLITE_OK) {
        sqlite_error(err, store->db, "savepoint");
        return STORE_SUBMIT_FAILED;
    }
    int64_t seq;
    int rc = add_message(store, submission, claimed, &seq, err);
    if (rc == 0)
        rc = add_parts(store, submission, seq, err);
    if (rc < 0)
        sqlite3_exec(store->db, "ROLLBACK TO one", NULL, NULL, NULL);
    sqlite3_exec(store->db, "RELEASE one", NULL, NULL, NULL);
    if (rc < 0)
        return STORE_SUBMIT_FAILED;
    store->n_open_here[RECIPIENT_QUEUED] += (int64_t)submission->n_recipients;
    *seq_out = seq;
    return STORE_SUBMIT_NEW;
}

int sqlite_answer(struct store *store, const char *api_key, const char *key, int status,
                  const char *body, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ANSWER_KEY];
    bind_text(s, 1, api_key);
    bind_text(s, 2, key);
    sqlite3_bind_int(s, 3, status);
    bind_text(s, 4, body);
    return sqlite_run(store, SQL_ANSWER_KEY, err);
}

int sqlite_forget(struct store *store, const char *api_key, const char *key, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_FORGET_KEY];
    bind_text(s, 1, api_key);
    bind_text(s, 2, key);
    return sqlite_run(store, SQL_FORGET_KEY, err);
}

/* --- settle ------------------------------------------------------------------------------- */

/* -1: this status makes no event. */
static int event_of(enum recipient_status status)
{
    switch (status) {
    case RECIPIENT_QUEUED:
    case RECIPIENT_SENDING:
        return -1;
    case RECIPIENT_DEFERRED:
        return EVENT_MESSAGE_DEFERRED;
    case RECIPIENT_SENT:
        return EVENT_MESSAGE_SENT;
    case RECIPIENT_FAILED:
        return EVENT_MESSAGE_FAILED;
    case RECIPIENT_CANCELED:
        return EVENT_MESSAGE_CANCELED;
    case RECIPIENT_IN_DOUBT:
        return EVENT_MESSAGE_IN_DOUBT;
    }
    return -1;
}

static int settle_recipient(struct store *store, const struct settlement *settlement, size_t i,
                            struct error *err)
{
    const struct delivery *delivery = settlement->delivery;
    const struct delivery_recipient *recipient = &delivery->recipients[i];
    int event = event_of(settlement->status[i]);
    if (event < 0) /* nothing became of it */
        return 0;
    sqlite3_stmt *s = store->statements[SQL_UPDATE_RECIPIENT];
    sqlite3_bind_int64(s, 1, delivery->seq);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)recipient->index);
    sqlite3_bind_int(s, 3, (int)settlement->status[i]);
    sqlite3_bind_int64(s, 4, recipient->attempts + (recipient->verdict != DELIVERY_UNTRIED));
    bind_text(s, 5, delivery->relay);
    bind_reply(s, 6, &recipient->reply);
    sqlite3_bind_int64(s, 9, settlement->next_ms[i]);
    sqlite3_bind_int64(s, 10, settlement->now_ms);
    if (sqlite_run(store, SQL_UPDATE_RECIPIENT, err) < 0)
        return -1;
    return sqlite_add_event(store, delivery->seq, recipient->index, (enum event_type)event,
                            settlement->now_ms, &recipient->reply, err);
}

/*
 * How the message stands when it is settled, from what is open now: is any recipient, and when is
 * the first wanted again? The counts go along. Held recipients (in doubt, next 0) keep the message
 * open but are not wanted by time.
 */
static int weigh(struct store *store, const struct settlement *settlement, bool *open_out,
                 int64_t *due_ms_out, struct error *err)
{
    const struct delivery *delivery = settlement->delivery;
    sqlite3_stmt *s = store->statements[SQL_OPEN_RECIPIENTS];
    size_t i = 0; /* in the delivery, which has some of them in the same order */
    int rc;
    *open_out = false;
    *due_ms_out = INT64_MAX;
    sqlite3_bind_int64(s, 1, delivery->seq);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        size_t n = (size_t)sqlite3_column_int64(s, 0);
        int status = sqlite3_column_int(s, 1);
        int64_t next_ms = sqlite3_column_int64(s, 2);
        while (i < delivery->n_recipients && delivery->recipients[i].index < n)
            i++;
        if (i < delivery->n_recipients && delivery->recipients[i].index == n &&
            event_of(settlement->status[i]) >= 0) {
            if (status >= 0 && status < N_STATUS)
                store->n_open_here[status]--;
            status = (int)settlement->status[i];
            next_ms = settlement->next_ms[i];
            if (recipient_status_is_final(settlement->status[i]))
                continue;
            store->n_open_here[status]++;
        }
        *open_out = true;
        bool held = status == RECIPIENT_IN_DOUBT && next_ms == 0;
        if (!held && next_ms < *due_ms_out)
            *due_ms_out = next_ms;
    }
    if (rc != SQLITE_DONE)
        sqlite_error(err, store->db, "read recipients");
    sqlite3_reset(s);
    return rc == SQLITE_DONE ? 0 : -1;
}

static int update_message(struct store *store, int64_t seq, int64_t due_ms, int64_t ended_ms,
                          struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_UPDATE_MESSAGE];
    sqlite3_bind_int64(s, 1, seq);
    bind_time_or_null(s, 2, due_ms);
    bind_time_or_null(s, 3, ended_ms);
    return sqlite_run(store, SQL_UPDATE_MESSAGE, err);
}

static int drop_body(struct store *store, int64_t seq, struct error *err)
{
    sqlite3_bind_int64(store->statements[SQL_DROP_BODY], 1, seq);
    return sqlite_run(store, SQL_DROP_BODY, err);
}

int sqlite_settle(struct store *store, const struct settlement *settlement, int64_t *due_ms_out,
                  struct error *err)
{
    const struct delivery *delivery = settlement->delivery;
    bool open;
    int64_t due_ms;
    if (weigh(store, settlement, &open, &due_ms, err) < 0)
        return -1;
    for (size_t i = 0; i < delivery->n_recipients; i++)
        if (settle_recipient(store, settlement, i, err) < 0)
            return -1;
    if (open) {
        if (due_ms == 0) /* some are still as they were queued */
            due_ms = settlement->now_ms;
        *due_ms_out = due_ms;
        return update_message(store, delivery->seq, due_ms == INT64_MAX ? 0 : due_ms, 0, err);
    }
    *due_ms_out = INT64_MAX;
    if (update_message(store, delivery->seq, 0, settlement->now_ms, err) < 0)
        return -1;
    return settlement->keep_content ? 0 : drop_body(store, delivery->seq, err);
}

int sqlite_release(struct store *store, int64_t seq, int64_t due_ms, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_RELEASE];
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, due_ms);
    return sqlite_run(store, SQL_RELEASE, err);
}

int sqlite_add_usage(struct store *store, const struct usage_record *usage, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_USAGE];
    bind_text(s, 1, usage->relay);
    sqlite3_bind_int64(s, 2, usage->hour_ms);
    sqlite3_bind_int64(s, 3, usage->n_messages);
    sqlite3_bind_int64(s, 4, usage->n_recipients);
    return sqlite_run(store, SQL_ADD_USAGE, err);
}

/* --- at start, and the broom -------------------------------------------------------------- */

static int exec_with(struct store *store, const char *text, const int64_t *values, int n_values,
                     struct error *err)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(store->db, text, -1, &s, NULL) != SQLITE_OK)
        return sqlite_error(err, store->db, text);
    for (int i = 0; i < n_values; i++)
        sqlite3_bind_int64(s, i + 1, values[i]);
    int rc = sqlite3_step(s);
    if (rc != SQLITE_DONE)
        sqlite_error(err, store->db, "write");
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? 0 : -1;
}

/* The unfinished recipients of the messages in table `flying` are canceled, or become in doubt,
 * wanted again at `due_ms` unless they are to be held: those of them that could have been under
 * way. */
static int change_those_flying(struct store *store, enum recipient_status status, int64_t now_ms,
                               int64_t due_ms, struct error *err)
{
    const int64_t event[] = {now_ms, event_of(status), store->last_event};
    const int64_t state[] = {status, due_ms, now_ms};
    if (exec_with(store,
                  "INSERT INTO event SELECT ?3 + row_number() OVER (ORDER BY r.seq, r.n), r.seq,"
                  " r.n, ?2, ?1, 0, '', '' FROM recipient r JOIN flying f ON f.seq = r.seq"
                  " WHERE r.status NOT IN (3, 4, 5) AND (?2 = 5 OR (r.next_ms <= ?1"
                  " AND NOT (r.status = 6 AND r.next_ms = 0)))",
                  event, 3, err) < 0)
        return -1;
    store->last_event += sqlite3_changes64(store->db);
    return exec_with(
        store,
        "UPDATE recipient SET status = ?1, at_ms = ?3, attempts = attempts + (?1 = 6),"
        " next_ms = (SELECT iif(hold, 0, ?2) FROM flying f WHERE f.seq = recipient.seq)"
        " WHERE seq IN (SELECT seq FROM flying) AND status NOT IN (3, 4, 5)"
        " AND (?1 = 5 OR (next_ms <= ?3 AND NOT (status = 6 AND next_ms = 0)))",
        state, 3, err);
}

static int empty_flying(struct store *store, struct error *err)
{
    if (exec_with(store,
                  "CREATE TEMP TABLE IF NOT EXISTS flying(seq INTEGER PRIMARY KEY,"
                  " hold INTEGER NOT NULL DEFAULT 0)",
                  NULL, 0, err) < 0)
        return -1;
    return exec_with(store, "DELETE FROM flying", NULL, 0, err);
}

/* Of several flights of a message one that holds decides: it may be the one that arrived. */
static int add_flying(struct store *store, int64_t seq, bool hold, struct error *err)
{
    const int64_t values[] = {seq, hold};
    return exec_with(store,
                     "INSERT INTO flying VALUES(?1, ?2) ON CONFLICT DO UPDATE"
                     " SET hold = max(hold, ?2)",
                     values, 2, err);
}

/* None of its recipients will be open. */
static int uncount(struct store *store, int64_t seq, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_OPEN_RECIPIENTS];
    int rc;
    sqlite3_bind_int64(s, 1, seq);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        int status = sqlite3_column_int(s, 1);
        if (status >= 0 && status < N_STATUS)
            store->n_open_here[status]--;
    }
    if (rc != SQLITE_DONE)
        sqlite_error(err, store->db, "read recipients");
    sqlite3_reset(s);
    return rc == SQLITE_DONE ? 0 : -1;
}

int sqlite_cancel(struct store *store, int64_t seq, int64_t now_ms, struct error *err)
{
    if (uncount(store, seq, err) < 0 || empty_flying(store, err) < 0 ||
        add_flying(store, seq, false, err) < 0 ||
        change_those_flying(store, RECIPIENT_CANCELED, now_ms, 0, err) < 0 ||
        update_message(store, seq, 0, now_ms, err) < 0)
        return -1;
    return drop_body(store, seq, err);
}

static int fill_flying(struct store *store, const struct flight *flights, size_t n_flights,
                       struct error *err)
{
    if (empty_flying(store, err) < 0)
        return -1;
    if (n_flights == STORE_ALL_CLAIMED)
        return exec_with(store, "INSERT INTO flying(seq) SELECT seq FROM message WHERE claimed = 1",
                         NULL, 0, err);
    for (size_t i = 0; i < n_flights; i++)
        if (add_flying(store, flights[i].seq, flights[i].hold, err) < 0)
            return -1;
    return 0;
}

int sqlite_recover(struct store *store, const struct flight *flights, size_t n_flights,
                   int64_t now_ms, int64_t due_ms, struct error *err)
{
    const int64_t now[] = {now_ms, RECIPIENT_IN_DOUBT};
    if (fill_flying(store, flights, n_flights, err) < 0 ||
        change_those_flying(store, RECIPIENT_IN_DOUBT, now_ms, due_ms, err) < 0 ||
        exec_with(store,
                  "UPDATE message SET claimed = 0, due_ms ="
                  " (SELECT nullif(max(?1, min(next_ms)), 0) FROM recipient r"
                  "  WHERE r.seq = message.seq AND status NOT IN (3, 4, 5)"
                  "  AND NOT (status = ?2 AND next_ms = 0))"
                  " WHERE claimed = 1 OR seq IN (SELECT seq FROM flying)",
                  now, 2, err) < 0)
        return -1;
    if (exec_with(store, "UPDATE idempotency SET status = 202 WHERE status = 0", NULL, 0, err) < 0)
        return -1;
    return sqlite_count(store, err);
}

/* Messages whose times are moved are gathered in the temporary table `moved`. Empties it. */
static int empty_moved(struct store *store, struct error *err)
{
    if (exec_with(store,
                  "CREATE TEMP TABLE IF NOT EXISTS moved(seq INTEGER PRIMARY KEY,"
                  " by_ms INTEGER NOT NULL)",
                  NULL, 0, err) < 0)
        return -1;
    return exec_with(store, "DELETE FROM moved", NULL, 0, err);
}

/* Events stay: they say what the clock said. */
static int move(struct store *store, struct error *err)
{
    if (exec_with(store,
                  "UPDATE recipient SET at_ms = at_ms + by_ms,"
                  " next_ms = iif(next_ms = 0, 0, max(1, next_ms + by_ms))"
                  " FROM moved WHERE moved.seq = recipient.seq",
                  NULL, 0, err) < 0)
        return -1;
    return exec_with(store,
                     "UPDATE message SET created_ms = created_ms + by_ms,"
                     " expires_ms = expires_ms + by_ms, due_ms = max(1, due_ms + by_ms),"
                     " ended_ms = ended_ms + by_ms FROM moved WHERE moved.seq = message.seq",
                     NULL, 0, err);
}

int sqlite_shift(struct store *store, int64_t from_ms, int64_t to_ms, int64_t by_ms,
                 struct error *err)
{
    const int64_t values[] = {from_ms, to_ms, by_ms};
    if (empty_moved(store, err) < 0 || exec_with(store,
                                                 "INSERT INTO moved SELECT seq, ?3 FROM message"
                                                 " WHERE created_ms BETWEEN ?1 AND ?2",
                                                 values, 3, err) < 0)
        return -1;
    return move(store, err);
}

int sqlite_redate(struct store *store, int64_t before_ms, int64_t after_ms, int64_t now_ms,
                  struct error *err)
{
    const int64_t values[] = {before_ms, after_ms, now_ms};
    if (empty_moved(store, err) < 0 ||
        exec_with(store,
                  "INSERT INTO moved SELECT seq, ?3 - created_ms FROM message WHERE seq IN"
                  " (SELECT seq FROM recipient INDEXED BY recipient_open"
                  "  WHERE status NOT IN (3, 4, 5)) AND (created_ms < ?1 OR created_ms > ?2)",
                  values, 3, err) < 0)
        return -1;
    return move(store, err);
}

int sqlite_purge(struct store *store, const struct store_purge *purge, size_t *n_out,
                 struct error *err)
{
    static const char *const tables[] = {
        "DELETE FROM event WHERE seq IN (SELECT seq FROM flying)",
        "DELETE FROM recipient WHERE seq IN (SELECT seq FROM flying)",
        "DELETE FROM idempotency WHERE seq IN (SELECT seq FROM flying)",
        "DELETE FROM body WHERE seq IN (SELECT seq FROM flying)",
        "DELETE FROM message WHERE seq IN (SELECT seq FROM flying)",
    };
    const int64_t records[] = {purge->record_before_ms, (int64_t)purge->max_n};
    const int64_t contents[] = {purge->content_before_ms, (int64_t)purge->max_n};
    if (empty_flying(store, err) < 0 ||
        exec_with(store,
                  "INSERT INTO flying(seq) SELECT seq FROM message WHERE ended_ms IS NOT NULL"
                  " AND ended_ms < ?1 ORDER BY ended_ms LIMIT ?2",
                  records, 2, err) < 0)
        return -1;
    *n_out = (size_t)sqlite3_changes64(store->db);
    for (size_t i = 0; *n_out > 0 && i < sizeof(tables) / sizeof(tables[0]); i++)
        if (exec_with(store, tables[i], NULL, 0, err) < 0)
            return -1;
    if (exec_with(store,
                  "DELETE FROM body WHERE seq IN (SELECT b.seq FROM body b JOIN message m"
                  " ON m.seq = b.seq WHERE m.ended_ms IS NOT NULL AND m.ended_ms < ?1 LIMIT ?2)",
                  contents, 2, err) < 0)
        return -1;
    *n_out += (size_t)sqlite3_changes64(store->db);
    return exec_with(store, "DELETE FROM usage WHERE hour_ms < ?1", &purge->usage_before_ms, 1,
                     err);
}
