#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "mail/fields.h"
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
static int look_up_key(struct store *store, struct store_turn *turn, struct store_submission *item,
                       struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_FIND_KEY];
    item->result = STORE_SUBMIT_NEW;
    bind_text(s, 1, item->mail->api_key);
    bind_text(s, 2, item->key);
    int rc = sqlite3_step(s), failed = 0;
    if (rc == SQLITE_ROW) {
        const void *fingerprint = sqlite3_column_blob(s, 0);
        item->first_status = sqlite3_column_int(s, 1);
        if (fingerprint == NULL || sqlite3_column_bytes(s, 0) != STORE_FINGERPRINT_SIZE ||
            memcmp(fingerprint, item->fingerprint, STORE_FINGERPRINT_SIZE) != 0) {
            item->result = STORE_SUBMIT_MISMATCH;
        } else if (item->first_status == 0) {
            item->result = STORE_SUBMIT_IN_PROGRESS;
        } else {
            item->result = STORE_SUBMIT_REPLAY;
            item->first_body = sqlite_text(turn->arena, s, 2);
            if (item->first_body == NULL)
                failed = error_set(err, ERR_NOMEM, "answer");
        }
    } else if (rc != SQLITE_DONE) {
        failed = sqlite_error(err, store->db, "look up idempotency key");
    }
    sqlite3_reset(s);
    return failed;
}

/* The table's fields, and then what is the store's own. */
static int add_message(struct store *store, const struct mail *mail, bool claimed, int64_t *seq_out,
                       struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_MESSAGE];
    for (int i = 0; i < MAIL_N_FIELDS; i++) {
        const struct mail_field *field = &MAIL_FIELDS[i];
        if (mail_field_is_text(field))
            bind_text(s, i + 1, mail_field_text(mail, field));
        else
            sqlite3_bind_int64(s, i + 1, mail_field_number(mail, field));
    }
    sqlite3_bind_int64(s, MAIL_N_FIELDS + 1, mail->created_ms);
    sqlite3_bind_int(s, MAIL_N_FIELDS + 2, claimed);
    sqlite3_bind_int64(s, MAIL_N_FIELDS + 3, store->last_event + 1);
    store->last_event += (int64_t)mail->n_recipients;
    if (sqlite_run(store, SQL_ADD_MESSAGE, err) < 0)
        return -1;
    *seq_out = sqlite3_last_insert_rowid(store->db);
    return 0;
}

static int add_parts(struct store *store, const struct mail *mail, int64_t seq, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_BODY];
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_blob64(s, 2, mail->content->data, mail->content->len, SQLITE_STATIC);
    int rc = sqlite_run(store, SQL_ADD_BODY, err);
    s = store->statements[SQL_ADD_RECIPIENT];
    for (size_t i = 0; rc == 0 && i < mail->n_recipients; i++) {
        sqlite3_bind_int64(s, 1, seq);
        sqlite3_bind_int64(s, 2, (sqlite3_int64)i);
        bind_text(s, 3, mail->recipients[i].address);
        sqlite3_bind_int64(s, 4, mail->created_ms);
        rc = sqlite_run(store, SQL_ADD_RECIPIENT, err);
    }
    return rc;
}

static int add_key(struct store *store, const struct store_submission *item, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_KEY];
    bind_text(s, 1, item->mail->api_key);
    bind_text(s, 2, item->key);
    sqlite3_bind_blob(s, 3, item->fingerprint, STORE_FINGERPRINT_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, item->seq);
    sqlite3_bind_int(s, 5, item->answer_status);
    bind_text(s, 6, item->answer_body);
    return sqlite_run(store, SQL_ADD_KEY, err);
}

int sqlite_submit(struct store *store, struct store_turn *turn, struct store_submission *item,
                  struct error *err)
{
    const struct mail *mail = item->mail;
    assert(mail->content != NULL && mail->size == (int64_t)mail->content->len);
    item->result = STORE_SUBMIT_NEW;
    if (item->key != NULL) {
        if (look_up_key(store, turn, item, err) < 0)
            return -1;
        if (item->result != STORE_SUBMIT_NEW)
            return 0;
    }
    if (add_message(store, mail, item->claimed, &item->seq, err) < 0 ||
        add_parts(store, mail, item->seq, err) < 0 ||
        (item->key != NULL && add_key(store, item, err) < 0))
        return -1;
    store->n_open_here[RECIPIENT_QUEUED] += (int64_t)mail->n_recipients;
    return 0;
}

int sqlite_answer(struct store *store, const struct store_answer *answer, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ANSWER_KEY];
    bind_text(s, 1, answer->api_key);
    bind_text(s, 2, answer->key);
    sqlite3_bind_int(s, 3, answer->status);
    bind_text(s, 4, answer->body);
    return sqlite_run(store, SQL_ANSWER_KEY, err);
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

static int settle_recipient(struct store *store, int64_t now_ms,
                            const struct store_outcome *outcome, size_t i, struct error *err)
{
    const struct mail *delivery = outcome->mail;
    const struct mail_recipient *recipient = &delivery->recipients[i];
    int event = event_of(outcome->status[i]);
    if (event < 0) /* nothing became of it */
        return 0;
    sqlite3_stmt *s = store->statements[SQL_UPDATE_RECIPIENT];
    sqlite3_bind_int64(s, 1, delivery->seq);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)recipient->index);
    sqlite3_bind_int(s, 3, (int)outcome->status[i]);
    sqlite3_bind_int64(s, 4, recipient->attempts + (recipient->verdict != DELIVERY_UNTRIED));
    bind_text(s, 5, delivery->relay);
    bind_reply(s, 6, &recipient->reply);
    sqlite3_bind_int64(s, 9, outcome->next_ms[i]);
    sqlite3_bind_int64(s, 10, now_ms);
    if (sqlite_run(store, SQL_UPDATE_RECIPIENT, err) < 0)
        return -1;
    return sqlite_add_event(store, delivery->seq, recipient->index, (enum event_type)event, now_ms,
                            &recipient->reply, err);
}

/* The counts go along when a recipient that is open changes. */
static void count_change(struct store *store, int before, enum recipient_status after)
{
    if (before >= 0 && before < N_OPEN)
        store->n_open_here[before]--;
    if ((int)after < N_OPEN)
        store->n_open_here[after]++;
}

/*
 * How the message stands when it is settled, from what is open now: is any recipient, and when is
 * the first wanted again? Held recipients (in doubt, next 0) keep the message open but are not
 * wanted by time.
 */
static int weigh(struct store *store, const struct store_outcome *outcome, bool *open_out,
                 int64_t *due_ms_out, struct error *err)
{
    const struct mail *delivery = outcome->mail;
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
            event_of(outcome->status[i]) >= 0) {
            count_change(store, status, outcome->status[i]);
            status = (int)outcome->status[i];
            next_ms = outcome->next_ms[i];
            if (recipient_status_is_final(outcome->status[i]))
                continue;
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

/* `ended_ms` 0: it is open. `kept`: its body stays nevertheless. */
static int update_message(struct store *store, int64_t seq, int64_t due_ms, int64_t ended_ms,
                          bool kept, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_UPDATE_MESSAGE];
    sqlite3_bind_int64(s, 1, seq);
    bind_time_or_null(s, 2, due_ms);
    bind_time_or_null(s, 3, ended_ms);
    sqlite3_bind_int(s, 4, kept);
    return sqlite_run(store, SQL_UPDATE_MESSAGE, err);
}

static int drop_body(struct store *store, int64_t seq, struct error *err)
{
    sqlite3_bind_int64(store->statements[SQL_DROP_BODY], 1, seq);
    return sqlite_run(store, SQL_DROP_BODY, err);
}

static int release(struct store *store, int64_t seq, int64_t due_ms, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_RELEASE];
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, due_ms);
    return sqlite_run(store, SQL_RELEASE, err);
}

/* --- usage -------------------------------------------------------------------------------- */

int sqlite_write_tally(struct store *store, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_ADD_USAGE];
    for (size_t i = 0; i < store->n_tally; i++) {
        const struct usage_record *usage = &store->tally[i];
        bind_text(s, 1, usage->relay);
        sqlite3_bind_int64(s, 2, usage->hour_ms);
        sqlite3_bind_int64(s, 3, usage->n_messages);
        sqlite3_bind_int64(s, 4, usage->n_recipients);
        if (sqlite_run(store, SQL_ADD_USAGE, err) < 0)
            return -1;
    }
    store->n_tally = 0;
    return 0;
}

static int add_to_tally(struct store *store, const struct mail *delivery, int64_t now_ms,
                        struct error *err)
{
    size_t i = 0;
    if (delivery->n_sent == 0)
        return 0;
    while (i < store->n_tally && strcmp(store->tally[i].relay, delivery->relay) != 0)
        i++;
    if (i == sizeof(store->tally) / sizeof(store->tally[0])) {
        if (sqlite_write_tally(store, err) < 0)
            return -1;
        i = 0;
    }
    if (i == store->n_tally)
        store->tally[store->n_tally++] = (struct usage_record){
            .relay = delivery->relay, .hour_ms = now_ms - now_ms % USAGE_HOUR_MS};
    store->tally[i].n_messages++;
    store->tally[i].n_recipients += (int64_t)delivery->n_sent;
    return 0;
}

/* --- the outcome as a whole --------------------------------------------------------------- */

int sqlite_settle(struct store *store, const struct store_turn *turn, struct store_outcome *outcome,
                  struct error *err)
{
    const struct mail *delivery = outcome->mail;
    bool open;
    int64_t due_ms;
    if (outcome->status == NULL)
        return release(store, delivery->seq, outcome->due_ms, err);
    if (weigh(store, outcome, &open, &due_ms, err) < 0)
        return -1;
    for (size_t i = 0; i < delivery->n_recipients; i++)
        if (settle_recipient(store, turn->now_ms, outcome, i, err) < 0)
            return -1;
    if (add_to_tally(store, delivery, turn->now_ms, err) < 0)
        return -1;
    if (open) {
        if (due_ms == 0) /* some are still as they were queued */
            due_ms = turn->now_ms;
        outcome->due_ms = due_ms;
        return update_message(store, delivery->seq, due_ms == INT64_MAX ? 0 : due_ms, 0, false,
                              err);
    }
    outcome->due_ms = INT64_MAX;
    if (update_message(store, delivery->seq, 0, turn->now_ms, turn->keep_content, err) < 0)
        return -1;
    return turn->keep_content ? 0 : drop_body(store, delivery->seq, err);
}

/* --- cancel ------------------------------------------------------------------------------- */

static int forget_key(struct store *store, const char *api_key, const char *key, struct error *err)
{
    sqlite3_stmt *s = store->statements[SQL_FORGET_KEY];
    bind_text(s, 1, api_key);
    bind_text(s, 2, key);
    return sqlite_run(store, SQL_FORGET_KEY, err);
}

/* An event for each recipient that is open; they are counted off. */
static int cancel_recipients(struct store *store, int64_t seq, int64_t now_ms, struct error *err)
{
    static const struct reply_record none = {0};
    sqlite3_stmt *s = store->statements[SQL_OPEN_RECIPIENTS];
    int rc, failed = 0;
    sqlite3_bind_int64(s, 1, seq);
    while (failed == 0 && (rc = sqlite3_step(s)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            failed = sqlite_error(err, store->db, "read recipients");
            break;
        }
        count_change(store, sqlite3_column_int(s, 1), RECIPIENT_CANCELED);
        failed = sqlite_add_event(store, seq, (size_t)sqlite3_column_int64(s, 0),
                                  EVENT_MESSAGE_CANCELED, now_ms, &none, err);
    }
    sqlite3_reset(s);
    if (failed < 0)
        return -1;
    s = store->statements[SQL_CANCEL_RECIPIENTS];
    sqlite3_bind_int64(s, 1, seq);
    sqlite3_bind_int64(s, 2, now_ms);
    return sqlite_run(store, SQL_CANCEL_RECIPIENTS, err);
}

int sqlite_cancel(struct store *store, struct store_turn *turn, const struct store_cancel *cancel,
                  struct error *err)
{
    if (cancel_recipients(store, cancel->seq, turn->now_ms, err) < 0 ||
        update_message(store, cancel->seq, 0, turn->now_ms, false, err) < 0 ||
        drop_body(store, cancel->seq, err) < 0)
        return -1;
    return cancel->key != NULL ? forget_key(store, cancel->api_key, cancel->key, err) : 0;
}

/* --- purge -------------------------------------------------------------------------------- */

/* Up to `max_n` messages that ended before, the oldest first. */
static int list_ended(struct store *store, enum statement which, int64_t before_ms, size_t max_n,
                      struct arena *arena, int64_t **seqs_out, size_t *n_out, struct error *err)
{
    sqlite3_stmt *s = store->statements[which];
    int64_t *seqs = arena_alloc_array(arena, max_n, sizeof(*seqs));
    size_t n = 0;
    int rc;
    if (seqs == NULL)
        return error_set(err, ERR_NOMEM, "old records");
    sqlite3_bind_int64(s, 1, before_ms);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)max_n);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && n < max_n)
        seqs[n++] = sqlite3_column_int64(s, 0);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        sqlite_error(err, store->db, "look for old records");
    sqlite3_reset(s);
    *seqs_out = seqs;
    *n_out = n;
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;
}

static int run_for(struct store *store, const enum statement *which, size_t n, int64_t seq,
                   struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_bind_int64(store->statements[which[i]], 1, seq);
        if (sqlite_run(store, which[i], err) < 0)
            return -1;
    }
    return 0;
}

int sqlite_purge(struct store *store, struct store_turn *turn, struct error *err)
{
    static const enum statement drop_all[] = {SQL_DROP_EVENTS, SQL_DROP_RECIPIENTS, SQL_DROP_KEYS,
                                              SQL_DROP_BODY, SQL_DROP_MESSAGE};
    static const enum statement drop_content[] = {SQL_DROP_BODY, SQL_UNKEEP};
    struct store_purge *purge = &turn->purge;
    int64_t *seqs;
    size_t n;
    purge->n = 0;
    if (list_ended(store, SQL_ENDED, purge->record_before_ms, purge->max_n, turn->arena, &seqs, &n,
                   err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (run_for(store, drop_all, sizeof(drop_all) / sizeof(drop_all[0]), seqs[i], err) < 0)
            return -1;
    purge->n = n;
    if (list_ended(store, SQL_KEPT, purge->content_before_ms, purge->max_n, turn->arena, &seqs, &n,
                   err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (run_for(store, drop_content, sizeof(drop_content) / sizeof(drop_content[0]), seqs[i],
                    err) < 0)
            return -1;
    purge->n += n;
    sqlite3_bind_int64(store->statements[SQL_DROP_USAGE], 1, purge->usage_before_ms);
    return sqlite_run(store, SQL_DROP_USAGE, err);
}
