#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "mail/fields.h"
#include "queue/sqlite_store.h"

/* --- records ------------------------------------------------------------------------------ */

const char *sqlite_column(sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    if (text == NULL && sqlite3_column_type(s, column) == SQLITE_NULL)
        return "";
    return text;
}

const char *sqlite_text(struct arena *arena, sqlite3_stmt *s, int column)
{
    const char *text = sqlite_column(s, column);
    return text != NULL ? arena_strdup(arena, text) : NULL;
}

int sqlite_copy_text(sqlite3_stmt *s, int column, char *out, size_t size)
{
    const char *text = sqlite_column(s, column);
    if (text == NULL)
        return -1;
    snprintf(out, size, "%s", text);
    return 0;
}

static int read_reply(sqlite3_stmt *s, int column, struct reply_record *out)
{
    out->code = sqlite3_column_int(s, column);
    if (sqlite_copy_text(s, column + 1, out->enhanced, sizeof(out->enhanced)) < 0)
        return -1;
    return sqlite_copy_text(s, column + 2, out->text, sizeof(out->text));
}

void *sqlite_grow(struct arena *arena, void *items, size_t n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return items;
    void *bigger = arena_alloc_array(arena, n > 0 ? n * 2 : 1, size);
    if (bigger != NULL && n > 0)
        memcpy(bigger, items, n * size);
    return bigger;
}

static int read_recipients(struct store *store, struct mail *record)
{
    sqlite3_stmt *s = store->find_recipients;
    sqlite3_bind_int64(s, 1, record->seq);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        record->recipients = sqlite_grow(record->arena, record->recipients, record->n_recipients,
                                         sizeof(*record->recipients));
        if (record->recipients == NULL)
            return SQLITE_NOMEM;
        struct mail_recipient *r = &record->recipients[record->n_recipients++];
        r->address = sqlite_text(record->arena, s, 0);
        int status = sqlite3_column_int(s, 1);
        if (status < 0 || status > RECIPIENT_CANCELED)
            return SQLITE_CORRUPT;
        r->status = (enum recipient_status)status;
        r->attempts = (uint32_t)sqlite3_column_int64(s, 2);
        bool tried = sqlite3_column_type(s, 3) != SQLITE_NULL;
        r->relay = tried ? sqlite_text(record->arena, s, 3) : NULL;
        if ((tried && r->relay == NULL) || read_reply(s, 4, &r->reply) < 0)
            return SQLITE_NOMEM;
        r->next_attempt_ms = sqlite3_column_int64(s, 7);
        r->at_ms = sqlite3_column_int64(s, 8);
        if (r->address == NULL)
            return SQLITE_NOMEM;
    }
    return rc;
}

static struct mail_event *next_event(struct mail *record)
{
    record->events =
        sqlite_grow(record->arena, record->events, record->n_events, sizeof(*record->events));
    return record->events != NULL ? &record->events[record->n_events++] : NULL;
}

static int read_events(struct store *store, struct mail *record, int64_t first_event)
{
    for (size_t i = 0; i < record->n_recipients; i++) {
        struct mail_event *e = next_event(record);
        if (e == NULL)
            return SQLITE_NOMEM;
        *e = (struct mail_event){.id = first_event + (int64_t)i,
                                 .type = EVENT_MESSAGE_QUEUED,
                                 .at_ms = record->created_ms,
                                 .recipient = i};
    }
    sqlite3_stmt *s = store->find_events;
    sqlite3_bind_int64(s, 1, record->seq);
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct mail_event *e = next_event(record);
        if (e == NULL)
            return SQLITE_NOMEM;
        e->id = sqlite3_column_int64(s, 0);
        e->recipient = (size_t)sqlite3_column_int64(s, 1);
        e->type = (enum event_type)sqlite3_column_int(s, 2);
        e->at_ms = sqlite3_column_int64(s, 3);
        if (read_reply(s, 4, &e->reply) < 0)
            return SQLITE_NOMEM;
    }
    return rc;
}

int sqlite_read_fields(sqlite3_stmt *s, int column, bool going, struct mail *mail)
{
    for (size_t i = 0; i < MAIL_N_FIELDS; i++) {
        const struct mail_field *field = &MAIL_FIELDS[i];
        if (going && !field->goes)
            continue;
        if (!mail_field_is_text(field)) {
            mail_field_set_number(mail, field, sqlite3_column_int64(s, column++));
            continue;
        }
        const char *text = sqlite_text(mail->arena, s, column++);
        if (text == NULL)
            return -1;
        mail_field_set_text(mail, field, text);
    }
    return 0;
}

/* In one read transaction, so that record, recipients and events are of one moment. */
static int find_locked(struct store *store, const char *id, struct mail *record, struct error *err)
{
    sqlite3_stmt *s = store->find_message;
    sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_DONE)
        error_set(err, ERR_NOT_FOUND, "no message of that id");
    else if (rc == SQLITE_ROW) {
        int64_t first_event = sqlite3_column_int64(s, 1);
        record->seq = sqlite3_column_int64(s, 0);
        rc = sqlite_read_fields(s, 2, false, record) == 0 ? SQLITE_DONE : SQLITE_NOMEM;
        if (rc == SQLITE_DONE)
            rc = read_recipients(store, record);
        if (rc == SQLITE_DONE)
            rc = read_events(store, record, first_event);
        if (rc == SQLITE_NOMEM)
            error_set(err, ERR_NOMEM, "record");
        else if (rc == SQLITE_CORRUPT)
            error_set(err, ERR_STORE_UNAVAILABLE, "store: the record is damaged");
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

int sqlite_find(struct store *store, const char *id, struct mail **record_out, struct error *err)
{
    CLEANUP(mail_free) struct mail *record = mail_new();
    if (record == NULL)
        return error_set(err, ERR_NOMEM, "record");
    bool taken = sqlite_take_reader(store);
    int rc = find_locked(store, id, record, err);
    sqlite_drop_reader(store, taken);
    if (rc < 0)
        return -1;
    *record_out = TAKE(record);
    return 0;
}

int sqlite_count(struct store *store, struct error *err)
{
    sqlite3_stmt *s;
    int rc;
    if (sqlite3_prepare_v2(store->db,
                           "SELECT status, count(*) FROM recipient INDEXED BY recipient_open"
                           " WHERE status < 3 GROUP BY status",
                           -1, &s, NULL) != SQLITE_OK)
        return sqlite_error(err, store->db, "count recipients");
    memset(store->n_open_here, 0, sizeof(store->n_open_here));
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        int status = sqlite3_column_int(s, 0);
        if (status >= 0 && status < N_OPEN)
            store->n_open_here[status] = sqlite3_column_int64(s, 1);
    }
    if (rc != SQLITE_DONE)
        sqlite_error(err, store->db, "count recipients");
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? 0 : -1;
}

/* `*created_ms_out` 0: there is none. One step along an index. */
static int read_oldest(struct store *store, enum recipient_status status, int64_t *created_ms_out,
                       struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_OLDEST];
    *created_ms_out = 0;
    if (store->n_open[status] == 0)
        return 0;
    sqlite3_bind_int(s, 1, (int)status);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *created_ms_out = sqlite3_column_int64(s, 0);
    else if (rc != SQLITE_DONE)
        sqlite_error(err, store->db, "read statistics");
    sqlite3_reset(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

int sqlite_stats(struct store *store, struct store_stats *stats_out, struct error *err)
{
    struct store_stats stats = {.n_queued = store->n_open[RECIPIENT_QUEUED],
                                .n_deferred = store->n_open[RECIPIENT_DEFERRED],
                                .n_in_doubt = store->n_open[RECIPIENT_IN_DOUBT]};
    bool taken = store->reader == store->db && sqlite_take_reader(store);
    int rc = read_oldest(store, RECIPIENT_QUEUED, &stats.oldest_queued_ms, err);
    if (rc == 0)
        rc = read_oldest(store, RECIPIENT_DEFERRED, &stats.oldest_deferred_ms, err);
    sqlite_drop_reader(store, taken);
    if (rc == 0)
        *stats_out = stats;
    return rc;
}

static int read_usage(sqlite3_stmt *s, struct usage_list *list)
{
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        list->items = sqlite_grow(list->arena, list->items, list->n_items, sizeof(*list->items));
        if (list->items == NULL)
            return SQLITE_NOMEM;
        struct usage_record *usage = &list->items[list->n_items++];
        usage->relay = sqlite_text(list->arena, s, 0);
        usage->hour_ms = sqlite3_column_int64(s, 1);
        usage->n_messages = sqlite3_column_int64(s, 2);
        usage->n_recipients = sqlite3_column_int64(s, 3);
        if (usage->relay == NULL)
            return SQLITE_NOMEM;
    }
    return rc;
}

static int usage_locked(struct store *store, int64_t since_ms, struct usage_list *list,
                        struct error *err)
{
    sqlite3_stmt *s = NULL; /* asked once in a process's life: not kept */
    if (sqlite3_prepare_v2(store->reader,
                           "SELECT relay, hour_ms, messages, recipients FROM usage"
                           " WHERE hour_ms + 3600000 > ?1 ORDER BY relay, hour_ms",
                           -1, &s, NULL) != SQLITE_OK)
        return sqlite_error(err, store->reader, "read usage");
    sqlite3_bind_int64(s, 1, since_ms);
    int rc = read_usage(s, list);
    if (rc == SQLITE_NOMEM)
        error_set(err, ERR_NOMEM, "usage");
    else if (rc != SQLITE_DONE)
        sqlite_error(err, store->reader, "read usage");
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? 0 : -1;
}

int sqlite_usage(struct store *store, int64_t since_ms, struct usage_list *list_out,
                 struct error *err)
{
    CLEANUP(usage_list_clear) struct usage_list list = {.arena = arena_new()};
    if (list.arena == NULL)
        return error_set(err, ERR_NOMEM, "usage");
    bool taken = sqlite_take_reader(store);
    int rc = usage_locked(store, since_ms, &list, err);
    sqlite_drop_reader(store, taken);
    if (rc < 0)
        return -1;
    *list_out = list;
    list.arena = NULL; /* the caller's now */
    return 0;
}
