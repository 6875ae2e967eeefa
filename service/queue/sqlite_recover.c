/*
 * What a start finds and what a clock that is set changes: rare, over many rows at once, each in a
 * transaction of its own.
 */

#include "queue/sqlite_store.h"

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

/* The unfinished recipients of the messages in table `flying` that could have been under way become
 * in doubt, wanted again at `due_ms` unless they are to be held. */
static int put_in_doubt(struct store *store, int64_t now_ms, int64_t due_ms, struct error *err)
{
    const int64_t event[] = {now_ms, EVENT_MESSAGE_IN_DOUBT, store->last_event};
    const int64_t state[] = {RECIPIENT_IN_DOUBT, due_ms, now_ms};
    if (exec_with(
            store,
            "INSERT INTO event SELECT ?3 + row_number() OVER (ORDER BY r.seq, r.n), r.seq,"
            " r.n, ?2, ?1, 0, '', '' FROM recipient r JOIN flying f ON f.seq = r.seq"
            " WHERE r.status < 3 AND r.next_ms <= ?1 AND NOT (r.status = 1 AND r.next_ms = 0)",
            event, 3, err) < 0)
        return -1;
    store->last_event += sqlite3_changes64(store->db);
    return exec_with(
        store,
        "UPDATE recipient SET status = ?1, at_ms = ?3, attempts = attempts + 1,"
        " next_ms = (SELECT iif(hold, 0, ?2) FROM flying f WHERE f.seq = recipient.seq)"
        " WHERE seq IN (SELECT seq FROM flying) AND status < 3 AND next_ms <= ?3"
        " AND NOT (status = 1 AND next_ms = 0)",
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

static int recover(struct store *store, const struct flight *flights, size_t n_flights,
                   int64_t now_ms, int64_t due_ms, struct error *err)
{
    const int64_t now[] = {now_ms, RECIPIENT_IN_DOUBT};
    if (fill_flying(store, flights, n_flights, err) < 0 ||
        put_in_doubt(store, now_ms, due_ms, err) < 0 ||
        exec_with(store,
                  "UPDATE message SET claimed = 0, due_ms ="
                  " (SELECT nullif(max(?1, min(next_ms)), 0) FROM recipient r"
                  "  WHERE r.seq = message.seq AND status < 3"
                  "  AND NOT (status = ?2 AND next_ms = 0))"
                  " WHERE claimed = 1 OR seq IN (SELECT seq FROM flying)",
                  now, 2, err) < 0)
        return -1;
    if (exec_with(store, "UPDATE idempotency SET status = 202 WHERE status = 0", NULL, 0, err) < 0)
        return -1;
    return sqlite_count(store, err);
}

/* 0, or -1: ends the transaction under way by what became of it. */
static int end_with(struct store *store, int rc, struct error *err)
{
    if (rc == 0 && sqlite_end(store, err) == 0)
        return 0;
    sqlite_rollback(store);
    return -1;
}

int sqlite_recover(struct store *store, const struct flight *flights, size_t n_flights,
                   int64_t now_ms, int64_t due_ms, struct error *err)
{
    if (sqlite_begin(store, err) < 0)
        return -1;
    return end_with(store, recover(store, flights, n_flights, now_ms, due_ms, err), err);
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

static int shift(struct store *store, const int64_t values[3], struct error *err)
{
    if (empty_moved(store, err) < 0 || exec_with(store,
                                                 "INSERT INTO moved SELECT seq, ?3 FROM message"
                                                 " WHERE created_ms BETWEEN ?1 AND ?2",
                                                 values, 3, err) < 0)
        return -1;
    return move(store, err);
}

int sqlite_shift(struct store *store, int64_t from_ms, int64_t to_ms, int64_t by_ms,
                 struct error *err)
{
    const int64_t values[] = {from_ms, to_ms, by_ms};
    if (sqlite_begin(store, err) < 0)
        return -1;
    return end_with(store, shift(store, values, err), err);
}

static int redate(struct store *store, const int64_t values[3], struct error *err)
{
    if (empty_moved(store, err) < 0 ||
        exec_with(store,
                  "INSERT INTO moved SELECT seq, ?3 - created_ms FROM message WHERE seq IN"
                  " (SELECT seq FROM recipient INDEXED BY recipient_open WHERE status < 3)"
                  " AND (created_ms < ?1 OR created_ms > ?2)",
                  values, 3, err) < 0)
        return -1;
    return move(store, err);
}

int sqlite_redate(struct store *store, int64_t before_ms, int64_t after_ms, int64_t now_ms,
                  struct error *err)
{
    const int64_t values[] = {before_ms, after_ms, now_ms};
    if (sqlite_begin(store, err) < 0)
        return -1;
    return end_with(store, redate(store, values, err), err);
}
