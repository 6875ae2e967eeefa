/*
 * The tables. A new file goes through the same steps as an old one, so that both end up alike; all
 * steps are one transaction, so that a process that dies in the middle leaves what was there.
 */

#include <stdio.h>

#include "queue/sqlite_store.h"

enum { APPLICATION_ID = 0x706f7374 /* "post" */ };

/* A body has a table of its own, so that it can go without rewriting the record. `due_ms` NULL: not
 * wanted by time. All events have one order: a message takes an id for each recipient's queued
 * event from `first_event` on, without a row, since the record says the rest. */
static const char FIRST[] =
    "CREATE TABLE message(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, message_id TEXT NOT "
    "NULL,"
    " sender TEXT NOT NULL, header_from TEXT NOT NULL, subject TEXT NOT NULL, api_key TEXT NOT "
    "NULL,"
    " tags TEXT NOT NULL, metadata TEXT NOT NULL, size INTEGER NOT NULL, smtputf8 INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, due_ms INTEGER,"
    " claimed INTEGER NOT NULL, ended_ms INTEGER, first_event INTEGER NOT NULL);"
    "CREATE INDEX message_due ON message(due_ms) WHERE claimed = 0 AND due_ms IS NOT NULL;"
    "CREATE INDEX message_claimed ON message(seq) WHERE claimed = 1;"
    "CREATE INDEX message_ended ON message(ended_ms) WHERE ended_ms IS NOT NULL;"
    "CREATE TABLE body(seq INTEGER PRIMARY KEY, content BLOB NOT NULL);"
    "CREATE TABLE recipient(seq INTEGER NOT NULL, n INTEGER NOT NULL, address TEXT NOT NULL,"
    " status INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, relay TEXT,"
    " code INTEGER NOT NULL DEFAULT 0, enhanced TEXT NOT NULL DEFAULT '',"
    " text TEXT NOT NULL DEFAULT '', next_ms INTEGER NOT NULL DEFAULT 0, at_ms INTEGER NOT NULL,"
    " PRIMARY KEY(seq, n)) WITHOUT ROWID;"
    "CREATE INDEX recipient_open ON recipient(status, seq) WHERE status NOT IN (3, 4, 5);"
    "CREATE TABLE event(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, n INTEGER NOT NULL,"
    " type INTEGER NOT NULL, at_ms INTEGER NOT NULL, code INTEGER NOT NULL, enhanced TEXT NOT NULL,"
    " text TEXT NOT NULL);"
    "CREATE INDEX event_seq ON event(seq);"
    "CREATE TABLE idempotency(api_key TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL,"
    " seq INTEGER NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,"
    " PRIMARY KEY(api_key, key)) WITHOUT ROWID;"
    "CREATE INDEX idempotency_seq ON idempotency(seq);";

/* Columns with constant defaults: no row is rewritten, however many there are. `priority` is enum
 * delivery_priority, 1 is normal; what is due is looked for within each. */
static const char WISHES_AND_USAGE[] =
    "ALTER TABLE message ADD COLUMN relay TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE message ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE message ADD COLUMN require_tls INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE message ADD COLUMN dsn_notify TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE message ADD COLUMN dsn_ret TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE message ADD COLUMN dsn_envid TEXT NOT NULL DEFAULT '';"
    "DROP INDEX message_due;"
    "CREATE INDEX message_due ON message(priority, due_ms)"
    " WHERE claimed = 0 AND due_ms IS NOT NULL;"
    "CREATE TABLE usage(relay TEXT NOT NULL, hour_ms INTEGER NOT NULL, messages INTEGER NOT NULL,"
    " recipients INTEGER NOT NULL, PRIMARY KEY(relay, hour_ms)) WITHOUT ROWID;";

/* Open recipients come first in the order of their status (in doubt was 6, and 1 was never stored),
 * so that one comparison finds them. `kept`: it has ended, and its body is still there. */
static const char OPEN_FIRST[] =
    "DROP INDEX recipient_open;"
    "UPDATE recipient SET status = 1 WHERE status = 6;"
    "CREATE INDEX recipient_open ON recipient(status, seq) WHERE status < 3;"
    "ALTER TABLE message ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;"
    "UPDATE message SET kept = 1 WHERE ended_ms IS NOT NULL AND seq IN (SELECT seq FROM body);"
    "CREATE INDEX message_kept ON message(ended_ms) WHERE kept = 1;"
    "CREATE INDEX usage_hour ON usage(hour_ms);";

/* STEPS[n] makes version n + 1 of version n. */
static const char *const STEPS[] = {FIRST, WISHES_AND_USAGE, OPEN_FIRST};

enum { SCHEMA_VERSION = sizeof(STEPS) / sizeof(STEPS[0]) };

int64_t sqlite_number(sqlite3 *db, const char *text)
{
    sqlite3_stmt *s;
    int64_t value = -1;
    if (sqlite3_prepare_v2(db, text, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return value;
}

static int exec(sqlite3 *db, const char *text, const char *path, struct error *err)
{
    return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_error(err, db, path);
}

static int go_steps_from(sqlite3 *db, int64_t version, const char *path, struct error *err)
{
    char marks[128];
    snprintf(marks, sizeof(marks), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             APPLICATION_ID, SCHEMA_VERSION);
    if (exec(db, "BEGIN IMMEDIATE", path, err) < 0)
        return -1;
    for (; version < SCHEMA_VERSION; version++)
        if (exec(db, STEPS[version], path, err) < 0)
            return -1; /* closing rolls it back */
    return exec(db, marks, path, err) < 0 ? -1 : exec(db, "COMMIT", path, err);
}

int sqlite_prepare_schema(sqlite3 *db, const char *path, struct error *err)
{
    int64_t application = sqlite_number(db, "PRAGMA application_id");
    int64_t version = sqlite_number(db, "PRAGMA user_version");
    int64_t tables = sqlite_number(db, "SELECT count(*) FROM sqlite_schema");
    if (application < 0 || version < 0 || tables < 0)
        return sqlite_error(err, db, path);
    if (tables > 0 && application != APPLICATION_ID)
        return error_set(err, ERR_CONFIG, "queue.store: %s is a database of another program", path);
    if (version > SCHEMA_VERSION)
        return error_set(err, ERR_CONFIG,
                         "queue.store: %s was written by a newer postern (schema %lld, this one "
                         "knows %d)",
                         path, (long long)version, SCHEMA_VERSION);
    if (tables == 0)
        version = 0;
    return version < SCHEMA_VERSION ? go_steps_from(db, version, path, err) : 0;
}
