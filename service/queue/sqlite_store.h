#ifndef POSTERN_QUEUE_SQLITE_STORE_H
#define POSTERN_QUEUE_SQLITE_STORE_H

/*
 * The inside of the SQLite store: sqlite.c opens and closes it and holds the transactions,
 * sqlite_schema.c its tables, sqlite_space.c the disk below it, sqlite_write.c what changes it,
 * sqlite_load.c what comes out to be delivered, sqlite_read.c what is only looked at.
 *
 * Exactly one connection writes and owns every checkpoint; the reader's is read-only. (SQLite 3.7.0
 * to 3.51.2 can lose committed pages when two connections write or checkpoint at one instant.)
 */

#include <pthread.h>
#include <sqlite3.h>

#include "base/lock.h"
#include "queue/store.h"

enum statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_ADD_MESSAGE,
    SQL_ADD_BODY,
    SQL_ADD_RECIPIENT,
    SQL_ADD_EVENT,
    SQL_ADD_KEY,
    SQL_FIND_KEY,
    SQL_ANSWER_KEY,
    SQL_FORGET_KEY,
    SQL_UPDATE_RECIPIENT,
    SQL_OPEN_RECIPIENTS,
    SQL_UPDATE_MESSAGE,
    SQL_DROP_BODY,
    SQL_RELEASE,
    SQL_DUE_HIGH,
    SQL_DUE_NORMAL,
    SQL_DUE_LOW,
    SQL_DUE_RECIPIENTS,
    SQL_CLAIM,
    SQL_NEXT_DUE,
    SQL_OLDEST,
    SQL_ADD_USAGE,
    N_STATEMENTS,
};

enum { N_STATUS = RECIPIENT_IN_DOUBT + 1 };

struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[N_STATEMENTS];
    int lock_fd; /* <path>.lock, held for life: one process a file */
    int64_t last_event;
    /* Recipients that are not finished, by status: as of the last commit, and with what the
     * transaction under way changes. Kept, never counted but at start. */
    int64_t n_open[N_STATUS], n_open_here[N_STATUS];

    char *path; /* NULL in memory: then there is no disk to look after */
    uint64_t page_bytes;
    int reserve_fd;         /* <path>.reserve, see sqlite_space.c */
    uint64_t reserve_bytes; /* when it is there */
    bool has_reserve;
    bool gave_back; /* pages, since the log was cut last */

    uint64_t n_chosen; /* messages that load() has ever picked */

    /* Guards the two below. In memory there is one connection for both sides: then the queue's
     * thread holds it through each of its transactions, and a lookup sees none half done. */
    struct lock reader_lock;
    sqlite3 *reader;
    sqlite3_stmt *find_message, *find_recipients, *find_events;
};

/* -1 with the code that SQLite's result means for us. */
int sqlite_error(struct error *err, sqlite3 *db, const char *doing);
/* The connection for the reader's side; false: this thread has it already. */
bool sqlite_take_reader(struct store *store);
void sqlite_drop_reader(struct store *store, bool taken);
/* Run a statement that returns no rows, and reset it. */
int sqlite_run(struct store *store, enum statement which, struct error *err);
/*
 * The text of a column, the statement's until its next step: "" where it is NULL, which a damaged
 * file may have anywhere. NULL: no memory for it. Nobody else asks SQLite for text.
 */
const char *sqlite_column(sqlite3_stmt *s, int column);
/* A copy in the arena, or cut to a buffer's size. NULL, -1: no memory. */
const char *sqlite_text(struct arena *arena, sqlite3_stmt *s, int column);
int sqlite_copy_text(sqlite3_stmt *s, int column, char *out, size_t size);
/* A number that a PRAGMA or a SELECT gives; -1: it does not. */
int64_t sqlite_number(sqlite3 *db, const char *text);
/* The tables of a file that is new, brought up to date where they are old; `path` is for errors. */
int sqlite_prepare_schema(sqlite3 *db, const char *path, struct error *err);
/* Opens the reserve before the database, which needs some room to be opened. */
int sqlite_open_reserve(struct store *store, struct error *err);
int sqlite_limit_log(struct store *store, struct error *err);
/* The counts of the transaction under way, by looking at all that is open. */
int sqlite_count(struct store *store, struct error *err);
/* When all is open: an old file is rewritten if it can be, the reserve is made if there is room. */
void sqlite_settle_in(struct store *store);
/* An event, with the next id. */
int sqlite_add_event(struct store *store, int64_t seq, size_t recipient, enum event_type type,
                     int64_t at_ms, const struct reply_record *reply, struct error *err);

enum store_submitted sqlite_submit(struct store *store, const struct submission *submission,
                                   bool claimed, int64_t *seq_out, struct store_seen *seen,
                                   struct error *err);
int sqlite_answer(struct store *store, const char *api_key, const char *key, int status,
                  const char *body, struct error *err);
int sqlite_forget(struct store *store, const char *api_key, const char *key, struct error *err);
int sqlite_settle(struct store *store, const struct settlement *settlement, int64_t *due_ms_out,
                  struct error *err);
int sqlite_cancel(struct store *store, int64_t seq, int64_t now_ms, struct error *err);
int sqlite_release(struct store *store, int64_t seq, int64_t due_ms, struct error *err);
int sqlite_recover(struct store *store, const struct flight *flights, size_t n_flights,
                   int64_t now_ms, int64_t due_ms, struct error *err);
int sqlite_shift(struct store *store, int64_t from_ms, int64_t to_ms, int64_t by_ms,
                 struct error *err);
int sqlite_redate(struct store *store, int64_t before_ms, int64_t after_ms, int64_t now_ms,
                  struct error *err);
int sqlite_purge(struct store *store, const struct store_purge *purge, size_t *n_out,
                 struct error *err);
bool sqlite_has_room(struct store *store, uint64_t bytes);
int sqlite_relieve(struct store *store);
bool sqlite_tidy(struct store *store);
int sqlite_add_usage(struct store *store, const struct usage_record *usage, struct error *err);

int sqlite_load(struct store *store, int64_t now_ms, size_t max_n, size_t max_bytes,
                struct delivery **list_out, struct error *err);
int sqlite_next_due(struct store *store, int64_t *due_ms_out, struct error *err);
int sqlite_find(struct store *store, const char *id, struct message_record **record_out,
                struct error *err);
int sqlite_usage(struct store *store, int64_t since_ms, struct usage_list *list_out,
                 struct error *err);
int sqlite_stats(struct store *store, struct store_stats *stats_out, struct error *err);

#endif
