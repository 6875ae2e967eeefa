#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "queue/sqlite_store.h"

/* --- deliveries --------------------------------------------------------------------------- */

struct due_row {
    int64_t seq, created_ms, expires_ms;
    char id[ID_SIZE];
    char *sender;
    bool smtputf8;
};

enum { RECIPIENTS_MAX = 1000 };

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

/* The due recipients, in the arena; 0 rows is fine. */
static int read_due_recipients(struct store *store, int64_t seq, int64_t now_ms,
                               struct arena *arena, struct delivery_recipient *out, size_t *n_out,
                               struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_DUE_RECIPIENTS];
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, now_ms);
    size_t n = 0;
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && n < RECIPIENTS_MAX) {
        out[n].index = (size_t)sqlite3_column_int64(s, 0);
        out[n].address = arena_strdup(arena, (const char *)sqlite3_column_text(s, 1));
        out[n].attempts = (uint32_t)sqlite3_column_int64(s, 2);
        if (out[n].address == NULL)
            break;
        n++;
    }
    bool bad = rc != SQLITE_DONE && n < RECIPIENTS_MAX;
    if (bad)
        sqlite_error(err, store->db, "read recipients");
    sqlite3_reset(s);
    *n_out = n;
    return bad ? -1 : 0;
}

static int make_delivery(struct store *store, const struct due_row *row, int64_t now_ms,
                         struct delivery **delivery_out, struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct delivery_recipient *recipients =
        arena != NULL ? arena_alloc_array(arena, RECIPIENTS_MAX, sizeof(*recipients)) : NULL;
    const char **addresses =
        arena != NULL ? arena_alloc_array(arena, RECIPIENTS_MAX, sizeof(*addresses)) : NULL;
    size_t n;
    if (recipients == NULL || addresses == NULL)
        return error_set(err, ERR_NOMEM, "delivery");
    if (read_due_recipients(store, row->seq, now_ms, arena, recipients, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        addresses[i] = recipients[i].address;
    CLEANUP(bytes_unref) struct bytes *content = read_content(store, row->seq, err);
    if (content == NULL)
        return -1;
    struct delivery *delivery = delivery_new(row->sender, addresses, n, content);
    if (delivery == NULL)
        return error_set(err, ERR_NOMEM, "delivery");
    for (size_t i = 0; i < n; i++) {
        delivery->recipients[i].index = recipients[i].index;
        delivery->recipients[i].attempts = recipients[i].attempts;
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

/* The rows are read whole before the first is claimed: claiming changes the index they come from.
 */
static size_t read_due_rows(struct store *store, int64_t now_ms, struct due_row *rows, size_t max_n,
                            size_t max_bytes, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_DUE];
    sqlite3_bind_int64(s, 1, now_ms);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)max_n);
    size_t n = 0, total = 0;
    int rc = SQLITE_DONE;
    while (n < max_n && (n == 0 || total < max_bytes) && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct due_row *row = &rows[n];
        row->seq = sqlite3_column_int64(s, 0);
        snprintf(row->id, sizeof(row->id), "%s", (const char *)sqlite3_column_text(s, 1));
        row->sender = strdup((const char *)sqlite3_column_text(s, 2));
        row->smtputf8 = sqlite3_column_int(s, 3) != 0;
        row->created_ms = sqlite3_column_int64(s, 4);
        row->expires_ms = sqlite3_column_int64(s, 5);
        total += (size_t)sqlite3_column_int64(s, 6);
        if (row->sender == NULL)
            break;
        n++;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        sqlite_error(err, store->db, "read due messages");
    sqlite3_reset(s);
    return n;
}

int sqlite_load(struct store *store, int64_t now_ms, size_t max_n, size_t max_bytes,
                struct delivery **list_out, struct error *err)
{
    struct error trouble = {0};
    struct delivery *list = NULL, **end = &list;
    struct due_row *rows = calloc(max_n, sizeof(*rows));
    if (rows == NULL)
        return error_set(err, ERR_NOMEM, "deliveries");
    size_t n = read_due_rows(store, now_ms, rows, max_n, max_bytes, &trouble);
    for (size_t i = 0; i < n; i++) {
        if (trouble.code == ERR_NONE &&
            make_delivery(store, &rows[i], now_ms, end, &trouble) == 0 &&
            claim(store, rows[i].seq, &trouble) == 0)
            end = &(*end)->next;
        free(rows[i].sender);
    }
    free(rows);
    if (trouble.code != ERR_NONE) { /* the caller rolls back: nothing was claimed */
        for (struct delivery *next; list != NULL; list = next) {
            next = list->next;
            delivery_free(list);
        }
        *err = trouble;
        return -1;
    }
    *list_out = list;
    return 0;
}

int sqlite_next_due(struct store *store, int64_t *due_ms_out, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_NEXT_DUE];
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *due_ms_out =
            sqlite3_column_type(s, 0) == SQLITE_NULL ? INT64_MAX : sqlite3_column_int64(s, 0);
    else
        sqlite_error(err, store->db, "read next due time");
    sqlite3_reset(s);
    return rc == SQLITE_ROW ? 0 : -1;
}

/* --- records ------------------------------------------------------------------------------ */

static const char *text_of(struct arena *arena, sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text != NULL ? arena_strdup(arena, text) : NULL;
}

static void read_reply(sqlite3_stmt *s, int column, struct reply_record *out)
{
    out->code = sqlite3_column_int(s, column);
    snprintf(out->enhanced, sizeof(out->enhanced), "%s",
             (const char *)sqlite3_column_text(s, column + 1));
    snprintf(out->text, sizeof(out->text), "%s", (const char *)sqlite3_column_text(s, column + 2));
}

/* Space for one more item of an array that doubles within the arena. */
static void *grow(struct arena *arena, void *items, size_t n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return items;
    void *bigger = arena_alloc_array(arena, n > 0 ? n * 2 : 1, size);
    if (bigger != NULL && n > 0)
        memcpy(bigger, items, n * size);
    return bigger;
}

static int read_recipients(struct store *store, struct message_record *record)
{
    sqlite3_stmt *s = store->find_recipients;
    sqlite3_bind_int64(s, 1, record->seq);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        record->recipients = grow(record->arena, record->recipients, record->n_recipients,
                                  sizeof(*record->recipients));
        if (record->recipients == NULL)
            return SQLITE_NOMEM;
        struct recipient_record *r = &record->recipients[record->n_recipients++];
        r->address = text_of(record->arena, s, 0);
        r->status = (enum recipient_status)sqlite3_column_int(s, 1);
        r->attempts = (uint32_t)sqlite3_column_int64(s, 2);
        r->relay = text_of(record->arena, s, 3);
        read_reply(s, 4, &r->reply);
        r->next_attempt_ms = sqlite3_column_int64(s, 7);
        r->at_ms = sqlite3_column_int64(s, 8);
        if (r->address == NULL)
            return SQLITE_NOMEM;
    }
    return rc;
}

static struct event_record *next_event(struct message_record *record)
{
    record->events = grow(record->arena, record->events, record->n_events, sizeof(*record->events));
    return record->events != NULL ? &record->events[record->n_events++] : NULL;
}

static int read_events(struct store *store, struct message_record *record, int64_t first_event)
{
    for (size_t i = 0; i < record->n_recipients; i++) {
        struct event_record *e = next_event(record);
        if (e == NULL)
            return SQLITE_NOMEM;
        *e = (struct event_record){.id = first_event + (int64_t)i,
                                   .type = EVENT_MESSAGE_QUEUED,
                                   .at_ms = record->created_ms,
                                   .recipient = i};
    }
    sqlite3_stmt *s = store->find_events;
    sqlite3_bind_int64(s, 1, record->seq);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct event_record *e = next_event(record);
        if (e == NULL)
            return SQLITE_NOMEM;
        e->id = sqlite3_column_int64(s, 0);
        e->recipient = (size_t)sqlite3_column_int64(s, 1);
        e->type = (enum event_type)sqlite3_column_int(s, 2);
        e->at_ms = sqlite3_column_int64(s, 3);
        read_reply(s, 4, &e->reply);
    }
    return rc;
}

static int read_message(sqlite3_stmt *s, struct message_record *record)
{
    struct arena *arena = record->arena;
    record->seq = sqlite3_column_int64(s, 0);
    record->message_id = text_of(arena, s, 1);
    record->from = text_of(arena, s, 2);
    record->subject = text_of(arena, s, 3);
    record->api_key = text_of(arena, s, 4);
    record->tags = text_of(arena, s, 5);
    record->metadata = text_of(arena, s, 6);
    record->size = (size_t)sqlite3_column_int64(s, 7);
    record->created_ms = sqlite3_column_int64(s, 8);
    return record->message_id != NULL && record->from != NULL && record->subject != NULL &&
                   record->api_key != NULL && record->tags != NULL && record->metadata != NULL
               ? SQLITE_DONE
               : SQLITE_NOMEM;
}

/* In one read transaction, so that record, recipients and events are of one moment. */
static int find_locked(struct store *store, const char *id, struct message_record *record,
                       struct error *err)
{
    sqlite3_stmt *s = store->find_message;
    sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_DONE)
        error_set(err, ERR_NOT_FOUND, "no message of that id");
    else if (rc == SQLITE_ROW) {
        int64_t first_event = sqlite3_column_int64(s, 9);
        rc = read_message(s, record);
        if (rc == SQLITE_DONE)
            rc = read_recipients(store, record);
        if (rc == SQLITE_DONE)
            rc = read_events(store, record, first_event);
        if (rc == SQLITE_NOMEM)
            error_set(err, ERR_NOMEM, "record");
        else if (rc != SQLITE_DONE)
            sqlite_error(err, store->reader, "read record");
        else
            rc = SQLITE_OK;
    } else {
        sqlite_error(err, store->reader, "read record");
    }
    sqlite3_reset(store->find_events);
    sqlite3_reset(store->find_recipients);
    sqlite3_reset(s);
    return rc == SQLITE_OK ? 0 : -1;
}

int sqlite_find(struct store *store, const char *id, struct message_record **record_out,
                struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct message_record *record = arena != NULL ? arena_alloc(arena, sizeof(*record)) : NULL;
    if (record == NULL)
        return error_set(err, ERR_NOMEM, "record");
    record->arena = arena;
    snprintf(record->id, sizeof(record->id), "%s", id);
    pthread_mutex_lock(&store->reader_lock);
    int rc = find_locked(store, id, record, err);
    pthread_mutex_unlock(&store->reader_lock);
    if (rc < 0)
        return -1;
    *record_out = record;
    arena = NULL; /* the record's now */
    return 0;
}

int sqlite_stats(struct store *store, struct store_stats *stats_out, struct error *err)
{
    struct store_stats stats = {0};
    sqlite3_stmt *s = store->statements[SQL_STATS];
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        int status = sqlite3_column_int(s, 0);
        int64_t n = sqlite3_column_int64(s, 1), oldest_ms = sqlite3_column_int64(s, 2);
        if (status == RECIPIENT_QUEUED)
            stats.oldest_queued_ms = oldest_ms;
        else if (status == RECIPIENT_DEFERRED)
            stats.oldest_deferred_ms = oldest_ms;
        *(status == RECIPIENT_QUEUED     ? &stats.n_queued
          : status == RECIPIENT_DEFERRED ? &stats.n_deferred
                                         : &stats.n_in_doubt) = n;
    }
    if (rc != SQLITE_DONE)
        sqlite_error(err, store->db, "read statistics");
    sqlite3_reset(s);
    if (rc != SQLITE_DONE)
        return -1;
    *stats_out = stats;
    return 0;
}
