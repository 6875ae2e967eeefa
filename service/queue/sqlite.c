#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buffer.h"
#include "mail/fields.h"
#include "queue/sqlite_store.h"

enum {
    NFS_MAGIC = 0x6969,
    SMB_MAGIC = 0x517b,
    CIFS_MAGIC = (int)0xff534d42,
    SMB2_MAGIC = (int)0xfe534d42,
};

/* As enum recipient_status is ordered. A list would be a table of its own at each look. */
#define OPEN "status < 3"

static const char *const sql[N_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_ADD_BODY] = "INSERT INTO body VALUES(?1, ?2)",
    [SQL_ADD_RECIPIENT] =
        "INSERT INTO recipient(seq, n, address, status, at_ms) VALUES(?1, ?2, ?3, 0, ?4)",
    [SQL_ADD_EVENT] = "INSERT INTO event VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [SQL_ADD_KEY] = "INSERT INTO idempotency VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_FIND_KEY] =
        "SELECT fingerprint, status, body FROM idempotency WHERE api_key = ?1 AND key = ?2",
    [SQL_ANSWER_KEY] =
        "UPDATE idempotency SET status = ?3, body = ?4 WHERE api_key = ?1 AND key = ?2",
    [SQL_FORGET_KEY] = "DELETE FROM idempotency WHERE api_key = ?1 AND key = ?2",
    [SQL_UPDATE_RECIPIENT] =
        "UPDATE recipient SET status = ?3, attempts = ?4, relay = ?5, code = ?6, enhanced = ?7,"
        " text = ?8, next_ms = ?9, at_ms = ?10 WHERE seq = ?1 AND n = ?2",
    [SQL_OPEN_RECIPIENTS] =
        "SELECT n, status, next_ms FROM recipient WHERE seq = ?1 AND " OPEN " ORDER BY n",
    [SQL_CANCEL_RECIPIENTS] =
        "UPDATE recipient SET status = 5, next_ms = 0, at_ms = ?2 WHERE seq = ?1 AND " OPEN,
    [SQL_UPDATE_MESSAGE] =
        "UPDATE message SET due_ms = ?2, claimed = 0, ended_ms = ?3, kept = ?4 WHERE seq = ?1",
    [SQL_DROP_BODY] = "DELETE FROM body WHERE seq = ?1",
    [SQL_RELEASE] = "UPDATE message SET due_ms = ?2, claimed = 0 WHERE seq = ?1",
    [SQL_DUE_RECIPIENTS] =
        "SELECT n, address, attempts FROM recipient WHERE seq = ?1 AND " OPEN " AND next_ms <= ?2"
        " AND NOT (status = 1 AND next_ms = 0) ORDER BY n", /* held */
    [SQL_CLAIM] = "UPDATE message SET claimed = 1 WHERE seq = ?1",
    [SQL_BODY] = "SELECT content FROM body WHERE seq = ?1",
    [SQL_FIRST_DUE] = "SELECT min(due_ms) FROM message"
                      " WHERE claimed = 0 AND due_ms IS NOT NULL AND priority = ?1",
    [SQL_OLDEST] = "SELECT created_ms FROM message WHERE seq = (SELECT min(seq) FROM recipient"
                   " INDEXED BY recipient_open WHERE status = ?1 AND " OPEN ")",
    [SQL_ADD_USAGE] = "INSERT INTO usage VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE"
                      " SET messages = messages + ?3, recipients = recipients + ?4",
    [SQL_ENDED] = "SELECT seq FROM message WHERE ended_ms IS NOT NULL AND ended_ms < ?1"
                  " ORDER BY ended_ms LIMIT ?2",
    [SQL_DROP_EVENTS] = "DELETE FROM event WHERE seq = ?1",
    [SQL_DROP_RECIPIENTS] = "DELETE FROM recipient WHERE seq = ?1",
    [SQL_DROP_KEYS] = "DELETE FROM idempotency WHERE seq = ?1",
    [SQL_DROP_MESSAGE] = "DELETE FROM message WHERE seq = ?1",
    [SQL_KEPT] = "SELECT seq FROM message WHERE kept = 1 AND ended_ms < ?1"
                 " ORDER BY ended_ms LIMIT ?2",
    [SQL_UNKEEP] = "UPDATE message SET kept = 0 WHERE seq = ?1",
    [SQL_DROP_USAGE] = "DELETE FROM usage WHERE hour_ms < ?1",
};

/* --- errors ------------------------------------------------------------------------------- */

static enum error_code code_of(int extended)
{
    switch (extended) {
    case SQLITE_IOERR_FSYNC: /* the pages are gone: never sync again and call it done */
    case SQLITE_IOERR_DIR_FSYNC:
        return ERR_STORE_BROKEN;
    default:
        break;
    }
    switch (extended & 0xff) {
    case SQLITE_FULL:
        return ERR_STORE_FULL;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_STORE_BROKEN;
    default:
        return ERR_STORE_UNAVAILABLE;
    }
}

int sqlite_error(struct error *err, sqlite3 *db, const char *doing)
{
    int extended = sqlite3_extended_errcode(db);
    enum error_code code = code_of(extended);
    int errnum = sqlite3_system_errno(db);
    if ((extended & 0xff) == SQLITE_IOERR &&
        (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)) /* disk, quota, ulimit */
        code = ERR_STORE_FULL;
    return error_set(err, code, "store: %s: %s", doing, sqlite3_errmsg(db));
}

int sqlite_run(struct store *store, enum statement which, struct error *err)
{
    sqlite3_stmt *s = store->statements[which];
    int rc = sqlite3_step(s);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        sqlite_error(err, store->db, "write");
    sqlite3_reset(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;
}

static bool is_memory(const char *path)
{
    return strcmp(path, ":memory:") == 0;
}

/* --- statements of the table's fields ----------------------------------------------------- */

/* The columns of all fields, or of those that go with a mail. */
static void write_columns(struct buffer *out, bool going)
{
    for (size_t i = 0, n = 0; i < MAIL_N_FIELDS; i++)
        if (!going || MAIL_FIELDS[i].goes)
            buffer_printf(out, "%s%s", n++ > 0 ? ", " : "", MAIL_FIELDS[i].column);
}

static void write_add_message(struct buffer *out)
{
    buffer_printf(out, "INSERT INTO message(");
    write_columns(out, false);
    buffer_printf(out, ", due_ms, claimed, first_event) VALUES(?1");
    for (int i = 2; i <= MAIL_N_FIELDS + 3; i++)
        buffer_printf(out, ", ?%d", i);
    buffer_printf(out, ")");
}

/* Goes along the index message_due: an order within each priority. */
static void write_due(struct buffer *out)
{
    buffer_printf(out, "SELECT due_ms, seq, ");
    write_columns(out, true);
    buffer_printf(out, " FROM message WHERE claimed = 0 AND due_ms IS NOT NULL AND priority = ?1"
                       " AND due_ms <= ?2 ORDER BY due_ms");
}

static void write_find(struct buffer *out)
{
    buffer_printf(out, "SELECT seq, first_event, ");
    write_columns(out, false);
    buffer_printf(out, " FROM message WHERE id = ?1");
}

static int prepare(sqlite3 *db, const char *text, sqlite3_stmt **s_out, struct error *err)
{
    if (sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, s_out, NULL) != SQLITE_OK)
        return sqlite_error(err, db, text);
    return 0;
}

static int prepare_written(sqlite3 *db, void (*write)(struct buffer *out), sqlite3_stmt **s_out,
                           struct error *err)
{
    enum { TEXT_MAX = 4096 };
    CLEANUP(buffer_clear) struct buffer text;
    buffer_init(&text, TEXT_MAX);
    write(&text);
    buffer_append_char(&text, '\0');
    return text.failed ? error_set(err, ERR_NOMEM, "statement")
                       : prepare(db, text.data, s_out, err);
}

static int prepare_statements(struct store *store, struct error *err)
{
    static const struct {
        enum statement which;
        void (*write)(struct buffer *out);
    } written[] = {{SQL_ADD_MESSAGE, write_add_message},
                   {SQL_DUE_HIGH, write_due},
                   {SQL_DUE_NORMAL, write_due},
                   {SQL_DUE_LOW, write_due}};
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
        if (prepare_written(store->db, written[i].write, &store->statements[written[i].which],
                            err) < 0)
            return -1;
    for (size_t i = 0; i < N_STATEMENTS; i++)
        if (sql[i] != NULL && prepare(store->db, sql[i], &store->statements[i], err) < 0)
            return -1;
    return 0;
}

/* --- opening ------------------------------------------------------------------------------ */

static int check_filesystem(const char *path, struct error *err)
{
    char folder[4096];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        memcpy(folder, ".", sizeof("."));
    else
        slash[slash == folder ? 1 : 0] = '\0';
    struct statfs fs;
    if (statfs(folder, &fs) < 0)
        return error_set(err, ERR_CONFIG, "queue.store: the folder %s: %s", folder,
                         strerror(errno));
    int type = (int)fs.f_type;
    if (type == NFS_MAGIC || type == SMB_MAGIC || type == CIFS_MAGIC || type == SMB2_MAGIC)
        return error_set(
            err, ERR_CONFIG,
            "queue.store: %s is on a network file system, whose locks and syncs SQLite "
            "cannot rely on: use a local disk",
            folder);
    return 0;
}

static int take_lock(struct store *store, const char *path, struct error *err)
{
    char lock_path[4096];
    snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    store->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        return error_set(err, ERR_CONFIG, "queue.store: %s: %s", lock_path, strerror(errno));
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, ERR_CONFIG, "queue.store: another postern has %s open", path);
    return 0;
}

static int cannot_open(sqlite3 *db, const char *path, struct error *err)
{
    return error_set(err, ERR_CONFIG, "queue.store: %s: %s", path, sqlite3_errmsg(db));
}

/*
 * Everything here is built on the log: one sync a commit, and a reader beside the writer. Where
 * SQLite cannot have one (a file system without shared memory) it says so by the mode it stays in.
 */
static int start_log(struct store *store, struct error *err)
{
    sqlite3_stmt *s;
    char mode[16] = "";
    if (sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &s, NULL) != SQLITE_OK)
        return cannot_open(store->db, store->path, err);
    int rc = sqlite3_step(s);
    bool answered = rc == SQLITE_ROW && sqlite_copy_text(s, 0, mode, sizeof(mode)) == 0;
    sqlite3_finalize(s);
    if (!answered)
        return cannot_open(store->db, store->path, err);
    if (strcmp(mode, "wal") != 0)
        return error_set(err, ERR_CONFIG,
                         "queue.store: %s: SQLite cannot keep a write-ahead log there (journal "
                         "mode \"%s\"): use a local disk",
                         store->path, mode);
    if (sqlite3_exec(store->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK)
        return cannot_open(store->db, store->path, err);
    return sqlite_limit_log(store, err);
}

static int open_writer(struct store *store, const char *path, struct error *err)
{
    mode_t mask = umask(0077); /* mail is nobody else's business */
    int rc = sqlite3_open_v2(
        path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    umask(mask);
    if (rc != SQLITE_OK)
        return cannot_open(store->db, path, err);
    sqlite3_extended_result_codes(store->db, 1);
    if (sqlite3_db_readonly(store->db, "main") == 1)
        return error_set(err, ERR_CONFIG, "queue.store: %s cannot be written", path);
    /* auto_vacuum: of a new file alone, so before anything is written into it. */
    if (sqlite3_exec(store->db,
                     "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA cache_size = -16384;"
                     "PRAGMA temp_store = MEMORY",
                     NULL, NULL, NULL) != SQLITE_OK)
        return cannot_open(store->db, path, err);
    if (store->path != NULL && start_log(store, err) < 0)
        return -1;
    if (sqlite_prepare_schema(store->db, path, err) < 0)
        return -1;
    if (store->path != NULL)
        sqlite_settle_in(store);
    if (prepare_statements(store, err) < 0)
        return -1;
    int64_t stored = sqlite_number(store->db, "SELECT coalesce(max(id), 0) FROM event");
    int64_t implied =
        sqlite_number(store->db, "SELECT coalesce(max(first_event) + 1000, 0) FROM message"
                                 " WHERE seq = (SELECT max(seq) FROM message)");
    store->last_event = stored > implied ? stored : implied; /* a gap does no harm */
    if (sqlite_count(store, err) < 0)
        return -1;
    memcpy(store->n_open, store->n_open_here, sizeof(store->n_open));
    return 0;
}

static int open_reader(struct store *store, const char *path, struct error *err)
{
    static const char find_recipients[] =
        "SELECT address, status, attempts, relay, code, enhanced, text, next_ms, at_ms"
        " FROM recipient WHERE seq = ?1 ORDER BY n";
    static const char find_events[] =
        "SELECT id, n, type, at_ms, code, enhanced, text FROM event WHERE seq = ?1 ORDER BY id";
    if (is_memory(path))
        store->reader = store->db; /* it is nobody else's to open */
    else if (sqlite3_open_v2(path, &store->reader, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                             NULL) != SQLITE_OK)
        return sqlite_error(err, store->reader, path);
    sqlite3_busy_timeout(store->reader, 1000);
    if (prepare_written(store->reader, write_find, &store->find_message, err) < 0 ||
        prepare(store->reader, find_recipients, &store->find_recipients, err) < 0 ||
        prepare(store->reader, find_events, &store->find_events, err) < 0)
        return -1;
    return 0;
}

static void sqlite_close(struct store *store)
{
    if (store == NULL)
        return;
    sqlite3_finalize(store->find_message);
    sqlite3_finalize(store->find_recipients);
    sqlite3_finalize(store->find_events);
    if (store->reader != store->db)
        sqlite3_close(store->reader);
    for (size_t i = 0; i < N_STATEMENTS; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db); /* the last one: checkpoints */
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    if (store->reserve_fd >= 0)
        close(store->reserve_fd); /* it stays: the next start may need it */
    free(store->path);
    lock_clear(&store->reader_lock);
    free(store);
}

/* Statistics that nobody asks for cost a lock at each allocation. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int sqlite_open(const char *path, struct store **store_out, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure);
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return error_set(err, ERR_NOMEM, "store");
    store->lock_fd = store->reserve_fd = -1;
    lock_init(&store->reader_lock);
    bool file = !is_memory(path);
    if (file && (store->path = strdup(path)) == NULL) {
        sqlite_close(store);
        return error_set(err, ERR_NOMEM, "store");
    }
    if ((file && (check_filesystem(path, err) < 0 || take_lock(store, path, err) < 0 ||
                  sqlite_open_reserve(store, err) < 0)) ||
        open_writer(store, path, err) < 0 || open_reader(store, path, err) < 0) {
        sqlite_close(store);
        return -1;
    }
    *store_out = store;
    return 0;
}

/* --- two of them -------------------------------------------------------------------------- */

/* `memory:` is the same tables in a database that has no file: one set of rules, tested once. Its
 * one connection goes from the queue's thread to the reader's and back under a lock. */
static int memory_open(const char *location, struct store **store_out, struct error *err)
{
    if (location[0] != '\0')
        return error_set(err, ERR_CONFIG, "queue.store: write \"memory:\", with nothing behind it");
    return sqlite_open(":memory:", store_out, err);
}

#define STORE_FUNCTIONS                                                                            \
    .close = sqlite_close, .commit = sqlite_commit, .recover = sqlite_recover,                     \
    .shift = sqlite_shift, .redate = sqlite_redate, .has_room = sqlite_has_room,                   \
    .relieve = sqlite_relieve, .tidy = sqlite_tidy, .usage = sqlite_usage, .find = sqlite_find,    \
    .stats = sqlite_stats

const struct store_ops store_sqlite = {
    .scheme = "sqlite", .durable = true, .open = sqlite_open, STORE_FUNCTIONS};
const struct store_ops store_memory = {
    .scheme = "memory", .durable = false, .open = memory_open, STORE_FUNCTIONS};
