#ifndef POSTERN_QUEUE_SQLITE_STORE_H
#define POSTERN_QUEUE_SQLITE_STORE_H

/*
 * The inside of the SQLite store: sqlite.c opens and closes it, sqlite_schema.c has its tables,
 * sqlite_space.c the disk below it, sqlite_turn.c a turn in a transaction, sqlite_write.c what
 * changes in one, sqlite_load.c what comes out to be delivered, sqlite_recover.c what a start and a
 * clock that is set change, sqlite_read.c what is only looked at.
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
    SQL_CANCEL_RECIPIENTS,
    SQL_UPDATE_MESSAGE,
    SQL_DROP_BODY,
    SQL_RELEASE,
    SQL_DUE_HIGH,
    SQL_DUE_NORMAL,
    SQL_DUE_LOW,
    SQL_DUE_RECIPIENTS,
    SQL_CLAIM,
    SQL_BODY,
    SQL_FIRST_DUE,
    SQL_OLDEST,
    SQL_ADD_USAGE,
    SQL_ENDED,
    SQL_DROP_EVENTS,
    SQL_DROP_RECIPIENTS,
    SQL_DROP_KEYS,
    SQL_DROP_MESSAGE,
    SQL_KEPT,
    SQL_UNKEEP,
    SQL_DROP_USAGE,
    N_STATEMENTS,
};

enum { N_OPEN = RECIPIENT_SENT /* status that are open; all behind them are final */ };

struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[N_STATEMENTS];
    int lock_fd; /* <path>.lock, held for life: one process a file */
    int64_t last_event;
    /* Recipients that are not finished, by status: as of the last commit, and with what the
     * transaction under way changes. Kept, never counted but at start. */
    int64_t n_open[N_OPEN], n_open_here[N_OPEN];

    /* What relays took in the transaction under way: one statement each at its end. */
    struct usage_record tally[8];
    size_t n_tally;

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
/* The table's fields from `column` on, all of them or those that go with a mail on its way out. -1:
 * no memory. */
int sqlite_read_fields(sqlite3_stmt *s, int column, bool going, struct mail *mail);
/* Space for one more item of an array that doubles within the arena. */
void *sqlite_grow(struct arena *arena, void *items, size_t n, size_t size);
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

/* One transaction; end() fails if SQLite has rolled it back by itself. */
int sqlite_begin(struct store *store, struct error *err);
int sqlite_end(struct store *store, struct error *err);
void sqlite_rollback(struct store *store);

/* Items of a turn, within its transaction. */
int sqlite_submit(struct store *store, struct store_turn *turn, struct store_submission *item,
                  struct error *err);
int sqlite_answer(struct store *store, const struct store_answer *answer, struct error *err);
int sqlite_settle(struct store *store, const struct store_turn *turn, struct store_outcome *outcome,
                  struct error *err);
int sqlite_cancel(struct store *store, struct store_turn *turn, const struct store_cancel *cancel,
                  struct error *err);
int sqlite_purge(struct store *store, struct store_turn *turn, struct error *err);
int sqlite_load(struct store *store, struct store_turn *turn, struct error *err);
int sqlite_write_tally(struct store *store, struct error *err);

int sqlite_commit(struct store *store, struct store_turn *turn, struct error *err);
int sqlite_recover(struct store *store, const struct flight *flights, size_t n_flights,
                   int64_t now_ms, int64_t due_ms, struct error *err);
int sqlite_shift(struct store *store, int64_t from_ms, int64_t to_ms, int64_t by_ms,
                 struct error *err);
int sqlite_redate(struct store *store, int64_t before_ms, int64_t after_ms, int64_t now_ms,
                  struct error *err);
bool sqlite_has_room(struct store *store, uint64_t bytes);
int sqlite_relieve(struct store *store);
bool sqlite_tidy(struct store *store);
int sqlite_find(struct store *store, const char *id, struct mail **record_out, struct error *err);
int sqlite_usage(struct store *store, int64_t since_ms, struct usage_list *list_out,
                 struct error *err);
int sqlite_stats(struct store *store, struct store_stats *stats_out, struct error *err);

#endif
