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

struct due_row {
    int64_t seq, created_ms, expires_ms;
    char id[ID_SIZE];
    const char *sender;
    bool smtputf8;
    struct delivery_wishes wishes;
};

struct loading {
    struct store *store;
    int64_t now_ms;
    struct arena *arena; /* owns the rest */
    struct due_row *rows;
    size_t n_rows;
    struct delivery_recipient *recipients; /* of the message that is being read */
    const char **addresses;
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

static int read_row(struct arena *arena, sqlite3_stmt *s, struct due_row *row, struct error *err)
{
    struct delivery_wishes *wishes = &row->wishes;
    const struct {
        const char **to;
        int column;
    } strings[] = {
        {&row->sender, 3},      {&wishes->from, 8},       {&wishes->api_key, 9},
        {&wishes->tags, 10},    {&wishes->relay, 11},     {&wishes->dsn_notify, 14},
        {&wishes->dsn_ret, 15}, {&wishes->dsn_envid, 16},
    };
    row->seq = sqlite3_column_int64(s, 1);
    if (sqlite_copy_text(s, 2, row->id, sizeof(row->id)) < 0)
        return error_set(err, ERR_NOMEM, "deliveries");
    row->smtputf8 = sqlite3_column_int(s, 4) != 0;
    row->created_ms = sqlite3_column_int64(s, 5);
    row->expires_ms = sqlite3_column_int64(s, 6);
    wishes->priority = (enum delivery_priority)sqlite3_column_int(s, 12);
    wishes->require_tls = sqlite3_column_int(s, 13) != 0;
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        if ((*strings[i].to = sqlite_text(arena, s, strings[i].column)) == NULL)
            return error_set(err, ERR_NOMEM, "deliveries");
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
    while (l->n_rows < max_n && (l->n_rows == 0 || total < max_bytes) && !none_left(due_ms)) {
        size_t priority = choose(l->store, due_ms);
        sqlite3_stmt *s = l->store->statements[CURSORS[priority]];
        total += (size_t)sqlite3_column_int64(s, 7);
        if (read_row(l->arena, s, &l->rows[l->n_rows++], err) < 0 ||
            step(l->store, priority, due_ms, err) < 0)
            return -1;
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

/* --- deliveries --------------------------------------------------------------------------- */

static struct bytes *read_content(struct store *store, int64_t seq, struct error *err)
{
    sqlite3_blob *blob;
    if (sqlite3_blob_open(store->db, "main", "body", "content", seq, 0, &blob) != SQLITE_OK) {
        sqlite_error(err, store->db, "read content");
        return NULL;
    }
    int len = sqlite3_blob_bytes(blob);
    struct bytes *content = bytes_new((size_t)len);
    if (content == NULL)
        error_set(err, ERR_NOMEM, "content of %d octets", len);
    else if (sqlite3_blob_read(blob, content->data, len, 0) != SQLITE_OK) {
        sqlite_error(err, store->db, "read content");
        bytes_unref(TAKE(content));
    }
    sqlite3_blob_close(blob);
    return content;
}

/* The due recipients, with their addresses in the arena; 0 rows is fine. */
static int read_recipients(struct loading *l, int64_t seq, struct arena *arena, size_t *n_out,
                           struct error *err)
{
    sqlite3_stmt *s = l->store->statements[SQL_DUE_RECIPIENTS];
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, l->now_ms);
    size_t n = 0;
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && n < RECIPIENTS_MAX) {
        l->recipients[n].index = (size_t)sqlite3_column_int64(s, 0);
        l->addresses[n] = sqlite_text(arena, s, 1);
        l->recipients[n].attempts = (uint32_t)sqlite3_column_int64(s, 2);
        if (l->addresses[n] == NULL)
            break;
        n++;
    }
    bool bad = rc != SQLITE_DONE && n < RECIPIENTS_MAX;
    if (bad && rc == SQLITE_ROW)
        error_set(err, ERR_NOMEM, "recipients");
    else if (bad)
        sqlite_error(err, l->store->db, "read recipients");
    sqlite3_reset(s);
    *n_out = n;
    return bad ? -1 : 0;
}

static int make_delivery(struct loading *l, const struct due_row *row,
                         struct delivery **delivery_out, struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    size_t n;
    if (arena == NULL)
        return error_set(err, ERR_NOMEM, "delivery");
    if (read_recipients(l, row->seq, arena, &n, err) < 0)
        return -1;
    CLEANUP(bytes_unref) struct bytes *content = read_content(l->store, row->seq, err);
    if (content == NULL)
        return -1;
    struct delivery *delivery = delivery_new(row->sender, &row->wishes, l->addresses, n, content);
    if (delivery == NULL)
        return error_set(err, ERR_NOMEM, "delivery");
    for (size_t i = 0; i < n; i++) {
        delivery->recipients[i].index = l->recipients[i].index;
        delivery->recipients[i].attempts = l->recipients[i].attempts;
    }
    delivery->seq = row->seq;
    memcpy(delivery->id, row->id, sizeof(delivery->id));
    delivery->smtputf8 = row->smtputf8;
    delivery->created_ms = row->created_ms;
    delivery->expires_ms = row->expires_ms;
    *delivery_out = delivery;
    return 0;
}

static int claim(struct store *store, int64_t seq, struct error *err)
{
    sqlite3_bind_int64(store->statements[SQL_CLAIM], 1, seq);
    return sqlite_run(store, SQL_CLAIM, err);
}

static int make_all(struct loading *l, struct delivery **list, struct error *err)
{
    for (size_t i = 0; i < l->n_rows; i++) {
        if (make_delivery(l, &l->rows[i], list, err) < 0)
            return -1;
        list = &(*list)->next;
        if (claim(l->store, l->rows[i].seq, err) < 0)
            return -1;
    }
    return 0;
}

static void free_list(struct delivery *list)
{
    for (struct delivery *next; list != NULL; list = next) {
        next = list->next;
        delivery_free(list);
    }
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
    struct delivery *list = NULL;
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct loading l = {.store = store, .now_ms = turn->now_ms, .arena = arena};
    if (arena != NULL) {
        l.rows = arena_alloc_array(arena, load->max_n, sizeof(*l.rows));
        l.recipients = arena_alloc_array(arena, RECIPIENTS_MAX, sizeof(*l.recipients));
        l.addresses = arena_alloc_array(arena, RECIPIENTS_MAX, sizeof(*l.addresses));
    }
    if (l.rows == NULL || l.recipients == NULL || l.addresses == NULL)
        return error_set(err, ERR_NOMEM, "deliveries");
    if (read_rows(&l, load->max_n, load->max_bytes, err) < 0 || make_all(&l, &list, err) < 0 ||
        read_next_due(store, &load->next_due_ms, err) < 0) {
        free_list(list);
        return -1;
    }
    load->list = list;
    return 0;
}
