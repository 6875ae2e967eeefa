/*
 * A turn in one transaction. When an item of it fails, nothing says whether SQLite has kept the
 * rest, and a savepoint for each would cost as much again as the items themselves (it copies every
 * page that is touched). So what has failed as a whole is done again one by one, each item in a
 * transaction of its own: slow, and as rare as a damaged file or a moment without memory.
 */

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "queue/sqlite_store.h"

/* --- transactions ------------------------------------------------------------------------- */

bool sqlite_take_reader(struct store *store)
{
    if (lock_held_by_me(&store->reader_lock))
        return false;
    lock_take(&store->reader_lock);
    return true;
}

void sqlite_drop_reader(struct store *store, bool taken)
{
    if (taken)
        lock_drop(&store->reader_lock);
}

/* After the transaction, however it ended. */
static void let_reader_in(struct store *store)
{
    sqlite_drop_reader(store, lock_held_by_me(&store->reader_lock));
}

int sqlite_begin(struct store *store, struct error *err)
{
    assert(sqlite3_get_autocommit(store->db));
    memcpy(store->n_open_here, store->n_open, sizeof(store->n_open));
    store->n_tally = 0;
    if (store->reader == store->db)
        sqlite_take_reader(store);
    if (sqlite_run(store, SQL_BEGIN, err) == 0)
        return 0;
    let_reader_in(store);
    return -1;
}

/* After some failures SQLite has rolled the transaction back by itself: what came behind that would
 * have been committed alone. */
int sqlite_end(struct store *store, struct error *err)
{
    if (sqlite3_get_autocommit(store->db))
        return error_set(err, ERR_STORE_UNAVAILABLE, "store: the transaction was rolled back");
    if (sqlite_write_tally(store, err) < 0 || sqlite_run(store, SQL_COMMIT, err) < 0)
        return -1;
    memcpy(store->n_open, store->n_open_here, sizeof(store->n_open));
    let_reader_in(store);
    return 0;
}

void sqlite_rollback(struct store *store)
{
    if (!sqlite3_get_autocommit(store->db))
        sqlite_run(store, SQL_ROLLBACK, NULL);
    let_reader_in(store);
}

/* --- items, in the order in which they are recorded --------------------------------------- */

enum kind { OUTCOME, ANSWER, CANCEL, SUBMISSION, PURGE, LOAD, N_KINDS };

struct item {
    enum kind kind;
    size_t i; /* among those of its kind */
};

/* How many of each kind there are; the last two are one item each. */
static void count_kinds(const struct store_turn *turn, size_t n[N_KINDS])
{
    n[OUTCOME] = turn->n_outcomes;
    n[ANSWER] = turn->n_answers;
    n[CANCEL] = turn->n_cancels;
    n[SUBMISSION] = turn->n_submissions;
    n[PURGE] = turn->purge.max_n > 0;
    n[LOAD] = turn->load.max_n > 0;
}

/* From one to the next, beginning with zero; false: that was the last. */
static bool go_to(const size_t n[N_KINDS], struct item *item)
{
    while (item->kind < N_KINDS && item->i >= n[item->kind])
        *item = (struct item){.kind = item->kind + 1};
    return item->kind < N_KINDS;
}

static int record(struct store *store, struct store_turn *turn, struct item item, struct error *err)
{
    switch (item.kind) {
    case OUTCOME:
        return sqlite_settle(store, turn, &turn->outcomes[item.i], err);
    case ANSWER:
        return sqlite_answer(store, &turn->answers[item.i], err);
    case CANCEL:
        return sqlite_cancel(store, turn, &turn->cancels[item.i], err);
    case SUBMISSION:
        return sqlite_submit(store, turn, &turn->submissions[item.i], err);
    case PURGE:
        return sqlite_purge(store, turn, err);
    case LOAD:
        return sqlite_load(store, turn, err);
    case N_KINDS:
        break;
    }
    return 0;
}

static const struct error **fault_of(struct store_turn *turn, struct item item)
{
    switch (item.kind) {
    case OUTCOME:
        return &turn->outcomes[item.i].fault;
    case ANSWER:
        return &turn->answers[item.i].fault;
    case CANCEL:
        return &turn->cancels[item.i].fault;
    case SUBMISSION:
        return &turn->submissions[item.i].fault;
    case PURGE:
        return &turn->purge.fault;
    case LOAD:
    case N_KINDS:
        break;
    }
    return &turn->load.fault;
}

/* --- all of them -------------------------------------------------------------------------- */

static void undo(struct store *store, struct store_turn *turn)
{
    sqlite_rollback(store);
    mail_list_free(turn->load.list);
    turn->load.list = NULL;
}

/* `*alone_out`: it was an item that failed, and another might not. */
static int record_all(struct store *store, struct store_turn *turn, const size_t n[N_KINDS],
                      bool *alone_out, struct error *err)
{
    *alone_out = false;
    if (sqlite_begin(store, err) < 0)
        return -1;
    int rc = 0;
    for (struct item item = {0}; rc == 0 && go_to(n, &item); item.i++)
        rc = record(store, turn, item, err);
    if (rc == 0 && !sqlite3_get_autocommit(store->db))
        rc = sqlite_write_tally(store, err); /* it is outcomes' own */
    if (rc < 0)
        *alone_out = err->code != ERR_STORE_FULL && err->code != ERR_STORE_BROKEN;
    else if (sqlite_end(store, err) == 0)
        return 0;
    undo(store, turn);
    return -1;
}

static const struct error *keep_error(struct arena *arena, const struct error *err)
{
    static const struct error no_memory = {.code = ERR_NOMEM, .detail = "store"};
    struct error *copy = arena_alloc(arena, sizeof(*copy));
    if (copy == NULL)
        return &no_memory;
    *copy = *err;
    return copy;
}

/* A disk that is full or broken is so for all that follows. */
static void record_singly(struct store *store, struct store_turn *turn, const size_t n[N_KINDS])
{
    struct error err = {0};
    bool hopeless = false;
    for (struct item item = {0}; go_to(n, &item); item.i++) {
        if (!hopeless && sqlite_begin(store, &err) == 0) {
            if (record(store, turn, item, &err) == 0 && sqlite_end(store, &err) == 0)
                continue;
            if (item.kind == LOAD)
                undo(store, turn);
            else
                sqlite_rollback(store);
        }
        hopeless = err.code == ERR_STORE_FULL || err.code == ERR_STORE_BROKEN;
        *fault_of(turn, item) = keep_error(turn->arena, &err);
    }
}

int sqlite_commit(struct store *store, struct store_turn *turn, struct error *err)
{
    size_t n[N_KINDS];
    bool alone;
    count_kinds(turn, n);
    if (record_all(store, turn, n, &alone, err) == 0)
        return 0;
    if (!alone)
        return -1;
    record_singly(store, turn, n);
    return 0;
}
