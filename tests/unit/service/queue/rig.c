#include "rig.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"

enum { PATIENCE_MS = 120000 };

struct fault fault;
atomic_int n_begun, max_batch;

static struct gate {
    struct lock lock; /* guards the two below */
    bool closed, in_front;
} gate;

/* --- a store that fails when told to ------------------------------------------------------ */

/* Subject of a submission that is answered after the commit and leaves nothing behind. */
static const char SYNC[] = "sync";

static const struct store_ops *real;

static bool fails(atomic_int *times, struct error *err)
{
    if (atomic_load(times) <= 0)
        return false;
    atomic_fetch_sub(times, 1);
    error_set(err, (enum error_code)atomic_load(&fault.code), "told to fail");
    return true;
}

static int n_in_batch; /* both of the queue's thread */
static bool in_purge;
static atomic_int n_purges;

static int faulty_begin(struct store *store, struct error *err)
{
    atomic_fetch_add(&n_begun, 1);
    n_in_batch = 0;
    in_purge = false;
    return fails(&fault.begin, err) ? -1 : real->begin(store, err);
}

static void pass_gate(void)
{
    lock_take(&gate.lock);
    gate.in_front = true;
    pthread_cond_broadcast(&gate.lock.changed);
    while (gate.closed)
        lock_wait(&gate.lock, INT64_MAX);
    gate.in_front = false;
    lock_drop(&gate.lock);
}

static int faulty_commit(struct store *store, struct error *err)
{
    pass_gate();
    if ((!in_purge && fails(&fault.commit, err)) || real->commit(store, err) < 0)
        return -1;
    if (n_in_batch > atomic_load(&max_batch))
        atomic_store(&max_batch, n_in_batch);
    return 0;
}

static enum store_submitted faulty_submit(struct store *store, const struct submission *submission,
                                          bool claimed, int64_t *seq_out, struct store_seen *seen,
                                          struct error *err)
{
    if (strcmp(submission->subject, SYNC) == 0)
        return STORE_SUBMIT_MISMATCH;
    n_in_batch++;
    return fails(&fault.submit, err) ? STORE_SUBMIT_FAILED
                                     : real->submit(store, submission, claimed, seq_out, seen, err);
}

static int faulty_answer(struct store *store, const char *api_key, const char *key, int status,
                         const char *body, struct error *err)
{
    return fails(&fault.answer, err) ? -1 : real->answer(store, api_key, key, status, body, err);
}

static int faulty_cancel(struct store *store, int64_t seq, int64_t now_ms, struct error *err)
{
    return fails(&fault.cancel, err) ? -1 : real->cancel(store, seq, now_ms, err);
}

static int faulty_settle(struct store *store, const struct settlement *settlement,
                         int64_t *due_ms_out, struct error *err)
{
    return fails(&fault.settle, err) ? -1 : real->settle(store, settlement, due_ms_out, err);
}

static int faulty_load(struct store *store, int64_t now_ms, size_t max_n, size_t max_bytes,
                       struct delivery **list_out, struct error *err)
{
    return fails(&fault.load, err) ? -1
                                   : real->load(store, now_ms, max_n, max_bytes, list_out, err);
}

/* It comes by the clock: it is not to take the failures that were meant for others. */
static int watched_purge(struct store *store, const struct store_purge *purge, size_t *n_out,
                         struct error *err)
{
    in_purge = true;
    atomic_fetch_add(&n_purges, 1);
    return real->purge(store, purge, n_out, err);
}

static const struct store_ops *faulty(bool memory)
{
    static struct store_ops ops;
    real = memory ? &store_memory : &store_sqlite;
    ops = *real;
    ops.begin = faulty_begin;
    ops.commit = faulty_commit;
    ops.submit = faulty_submit;
    ops.answer = faulty_answer;
    ops.settle = faulty_settle;
    ops.cancel = faulty_cancel;
    ops.load = faulty_load;
    ops.purge = watched_purge;
    return &ops;
}

void gate_close(void)
{
    lock_take(&gate.lock);
    gate.closed = true;
    gate.in_front = false;
    lock_drop(&gate.lock);
}

void gate_await(void)
{
    lock_take(&gate.lock);
    while (!gate.in_front)
        lock_wait(&gate.lock, INT64_MAX);
    lock_drop(&gate.lock);
}

void gate_open(void)
{
    lock_take(&gate.lock);
    gate.closed = false;
    pthread_cond_broadcast(&gate.lock.changed);
    lock_drop(&gate.lock);
}

/* --- the rig ------------------------------------------------------------------------------ */

static void on_ready(void *arg, struct delivery *list)
{
    struct rig *rig = arg;
    lock_take(&rig->lock);
    *rig->last = list;
    for (; list != NULL; list = list->next) {
        rig->last = &list->next;
        rig->n_ready++;
    }
    pthread_cond_broadcast(&rig->lock.changed);
    lock_drop(&rig->lock);
}

void rig_init(struct rig *rig, bool memory)
{
    static const int64_t retry_ms[] = {30, 60};
    *rig = (struct rig){.memory = memory};
    rig->last = &rig->first;
    lock_init(&rig->lock);
    lock_init(&gate.lock);
    strcpy(rig->folder, "/tmp/postern-queue-XXXXXX");
    cr_assert_not_null(mkdtemp(rig->folder));
    if (!memory)
        snprintf(rig->location, sizeof(rig->location), "%s/queue.db", rig->folder);
    rig->settings = (struct queue_settings){.retry_ms = retry_ms,
                                            .n_retry = 2,
                                            .max_age_ms = 3600000,
                                            .retain_record_ms = 3600000,
                                            .in_memory_bytes = 1 << 20,
                                            .ready = on_ready,
                                            .arg = rig};
    atomic_store(&fault.code, ERR_STORE_UNAVAILABLE);
}

void rig_open_unstarted(struct rig *rig)
{
    struct error err = {0};
    int before = atomic_load(&n_purges);
    int rc = queue_open_with(faulty(rig->memory), rig->location, &rig->settings, &rig->queue, &err);
    cr_assert_eq(rc, 0, "%s", err.detail);
    while (atomic_load(&n_purges) == before)
        usleep(100);
    rig_sync(rig);
}

void rig_open(struct rig *rig)
{
    rig_open_unstarted(rig);
    cr_assert_eq(queue_start(rig->queue, NULL), 0);
    rig_sync(rig); /* it looks into the store once */
}

void rig_abandon(struct delivery *delivery)
{
    claim_unref(delivery->claim);
    delivery_free(delivery);
}

void rig_close(struct rig *rig)
{
    queue_free(rig->queue);
    rig->queue = NULL;
    for (struct delivery *delivery = rig->first, *next; delivery != NULL; delivery = next) {
        next = delivery->next;
        rig_abandon(delivery);
    }
    rig->first = NULL;
    rig->last = &rig->first;
    rig->n_ready = 0;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    return remove(path);
}

void rig_clear(struct rig *rig)
{
    rig_close(rig);
    nftw(rig->folder, drop, 8, FTW_DEPTH | FTW_PHYS);
    lock_clear(&rig->lock);
    lock_clear(&gate.lock);
}

/* --- the client --------------------------------------------------------------------------- */

static void keep_record(struct told *told, const struct message_record *record)
{
    told->n_recipients = 0;
    if (record == NULL)
        return;
    told->n_recipients = record->n_recipients;
    told->n_events = record->n_events;
    snprintf(told->message_status, sizeof(told->message_status), "%s",
             message_record_status(record));
    for (size_t i = 0; i < record->n_recipients && i < 4; i++) {
        told->recipients[i] = record->recipients[i];
        told->recipients[i].address = told->recipients[i].relay = NULL;
    }
}

static void on_answer(void *arg, const struct queue_answer *answer)
{
    struct told *told = arg;
    struct rig *rig = told->rig;
    lock_take(&rig->lock);
    told->times++;
    told->kind = answer->kind;
    told->code = answer->err != NULL ? answer->err->code : ERR_NONE;
    told->status = answer->status;
    snprintf(told->body, sizeof(told->body), "%s", answer->body != NULL ? answer->body : "");
    keep_record(told, answer->record);
    pthread_cond_broadcast(&rig->lock.changed);
    lock_drop(&rig->lock);
}

static struct submission *make_submission(const struct rig *rig, const struct mail *mail)
{
    struct arena *arena = arena_new();
    struct submission *s = arena_alloc(arena, sizeof(*s));
    size_t n = mail->n_recipients > 0 ? mail->n_recipients : 1;
    const char **recipients = arena_alloc_array(arena, n, sizeof(*recipients));
    for (size_t i = 0; i < n; i++)
        recipients[i] = arena_printf(arena, "r%zu@example.net", i);
    *s = (struct submission){.arena = arena,
                             .message_id = "<1@example.com>",
                             .from = "a@example.com",
                             .envelope_from = "a@example.com",
                             .recipients = recipients,
                             .n_recipients = n,
                             .subject = "s",
                             .api_key = "k",
                             .tags = "[]",
                             .metadata = "{}",
                             .relay = "primary",
                             .priority = mail->priority,
                             .dsn_notify = "NEVER",
                             .created_ms = clock_wall_ms() - mail->age_ms,
                             .idempotency_key = mail->key,
                             .answer_status = mail->wait_ms > 0 ? 0 : 202,
                             .answer_body = "{\"first\":1}"};
    s->expires_ms = s->created_ms + (mail->max_age_ms > 0 ? mail->max_age_ms : 3600000);
    s->content = bytes_new(mail->size > 0 ? mail->size : 10);
    memset(s->content->data, 'x', s->content->len);
    if (mail->request != NULL)
        strncpy((char *)s->fingerprint, mail->request, sizeof(s->fingerprint));
    id_new(s->created_ms, s->id);
    return s;
}

void rig_submit(struct rig *rig, const struct mail *mail, struct told *told)
{
    struct submission *submission = make_submission(rig, mail);
    *told = (struct told){.rig = rig};
    memcpy(told->id, submission->id, ID_SIZE);
    queue_submit(rig->queue, submission, mail->wait_ms, on_answer, told);
}

void told_wait(struct told *told)
{
    struct rig *rig = told->rig;
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    lock_take(&rig->lock);
    while (told->times == 0 && clock_mono_ms() < until_ms)
        lock_wait(&rig->lock, until_ms);
    size_t times = told->times;
    lock_drop(&rig->lock);
    cr_assert_eq(times, 1, "answered %zu times", times);
}

bool told_yet(struct told *told)
{
    lock_take(&told->rig->lock);
    bool yet = told->times > 0;
    lock_drop(&told->rig->lock);
    return yet;
}

void rig_send(struct rig *rig, const struct mail *mail, struct told *told)
{
    rig_submit(rig, mail, told);
    told_wait(told);
}

static void on_found(void *arg, const struct message_record *record, const struct error *err)
{
    struct told *told = arg;
    lock_take(&told->rig->lock);
    told->times++;
    told->code = err != NULL ? err->code : ERR_NONE;
    keep_record(told, record);
    pthread_cond_broadcast(&told->rig->lock.changed);
    lock_drop(&told->rig->lock);
}

void rig_find(struct rig *rig, const char *id, struct told *told)
{
    *told = (struct told){.rig = rig};
    queue_find(rig->queue, id, on_found, told);
    told_wait(told);
}

void rig_await(struct rig *rig, const char *id, enum recipient_status status)
{
    struct told found;
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    do
        rig_find(rig, id, &found);
    while ((found.n_recipients == 0 || found.recipients[0].status != status) &&
           clock_mono_ms() < until_ms);
    cr_assert(found.n_recipients > 0 && found.recipients[0].status == status, "%s is %s", id,
              found.message_status);
}

/* Twice: the first is answered before its turn hands out what is ready. */
void rig_sync(struct rig *rig)
{
    for (int i = 0; i < 2; i++) {
        struct told told = {.rig = rig};
        struct submission *submission = make_submission(rig, &(struct mail){0});
        submission->subject = SYNC;
        queue_submit(rig->queue, submission, rig->memory ? PATIENCE_MS : 0, on_answer, &told);
        told_wait(&told);
    }
}

/* --- the relay ---------------------------------------------------------------------------- */

struct delivery *rig_next(struct rig *rig)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    lock_take(&rig->lock);
    while (rig->first == NULL && clock_mono_ms() < until_ms)
        lock_wait(&rig->lock, until_ms);
    struct delivery *delivery = rig->first;
    if (delivery != NULL) {
        rig->first = delivery->next;
        if (rig->first == NULL)
            rig->last = &rig->first;
        rig->n_ready--;
        delivery->next = NULL;
    }
    lock_drop(&rig->lock);
    cr_assert_not_null(delivery, "nothing is ready");
    return delivery;
}

void rig_does_not_hurry(void)
{
    int64_t begun_ms = clock_mono_ms();
    int before = atomic_load(&n_begun);
    usleep(200000);
    int n = atomic_load(&n_begun) - before;
    cr_assert_lt(n, 20 * (1 + (clock_mono_ms() - begun_ms) / TROUBLE_MS));
}

size_t rig_n_ready(struct rig *rig)
{
    lock_take(&rig->lock);
    size_t n = rig->n_ready;
    lock_drop(&rig->lock);
    return n;
}

struct delivery *rig_depart(struct rig *rig)
{
    struct delivery *delivery = rig_next(rig);
    delivery->relay = "primary";
    delivery->hold_in_doubt = rig->hold;
    cr_assert_eq(queue_depart(rig->queue, delivery), QUEUE_DEPARTS);
    return delivery;
}

void rig_settle(struct rig *rig, struct delivery *delivery, enum delivery_verdict verdict, int code)
{
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        delivery->recipients[i].verdict = verdict;
        delivery->recipients[i].reply = (struct reply_record){.code = code};
    }
    queue_settle(rig->queue, delivery);
}
