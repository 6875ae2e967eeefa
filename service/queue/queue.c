#include "queue/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "queue/flight.h"
#include "queue/reader.h"
#include "queue/verdict.h"
#include "queue/wait.h"

/*
 * One turn of the queue's thread: take what has gathered, commit it in one transaction, tell
 * everybody concerned. What a turn takes while the last one syncs is the next batch, so batches
 * grow with the load by themselves.
 *
 * If a commit fails, its submissions are refused, and its outcomes are kept and tried again: what a
 * relay has accepted must never be forgotten for want of disk.
 */

enum {
    BATCH_MAX = 512,   /* submissions in one transaction: the first should not wait for ever */
    LOAD_MAX = 256,    /* messages loaded in one turn */
    PURGE_MAX = 500,   /* records dropped in one turn */
    CHORES_MS = 1000,  /* how often free space, statistics and old records are looked at */
    TROUBLE_MS = 1000, /* the pause after a failed commit */
};

struct entry { /* a submission on its way through a turn; in its arena */
    struct entry *next;
    struct submission *submission;
    int64_t wait_ms;
    queue_answer_fn *answer;
    void *arg;
    enum store_submitted verdict;
    bool claimed;
    int64_t seq;
    struct store_seen seen;
    struct error err;
};

struct remark { /* what a waiting client with an idempotency key was told */
    struct remark *next;
    int status;
    char *api_key, *key, *body; /* in the same allocation */
};

struct inbox {
    struct entry *entries, **entries_end;
    struct delivery *outcomes, **outcomes_end;
    struct remark *remarks, **remarks_end;
};

struct queue {
    struct queue_settings settings;
    const struct store_ops *ops;
    struct store *store;
    struct flight_ledger *ledger;
    struct reader *reader;
    char *folder; /* of the store's file, NULL in memory */
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* guards the four below */
    pthread_cond_t news;
    struct inbox inbox;
    bool started, stop;
    struct store_stats stats;

    atomic_bool draining, broken, full;
    struct { /* the thread's own */
        struct waiters waiters;
        uint64_t held_bytes;                      /* contents of claimed deliveries */
        bool backlog;                             /* due messages may wait unclaimed in the store */
        int64_t next_due_ms;                      /* wall clock: of the unclaimed ones */
        int64_t next_chores_ms, trouble_until_ms; /* monotonic */
        struct delivery *kept, **kept_end;        /* outcomes a failed commit left over */
        struct delivery *ready, **ready_end;      /* to be handed out after the commit */
    } own;
    struct metric *accepted, *refused, *commit_seconds, *batch_size, *held;
    struct metric *depth[3];
};

static void inbox_init(struct inbox *inbox)
{
    *inbox = (struct inbox){.entries_end = &inbox->entries,
                            .outcomes_end = &inbox->outcomes,
                            .remarks_end = &inbox->remarks};
}

static bool inbox_empty(const struct inbox *inbox)
{
    return inbox->entries == NULL && inbox->outcomes == NULL && inbox->remarks == NULL;
}

/* --- answering ---------------------------------------------------------------------------- */

static void answer_entry(struct queue *queue, struct entry *entry, enum queue_answer_kind kind)
{
    const struct queue_answer answer = {
        .kind = kind, .status = entry->seen.status, .body = entry->seen.body, .err = &entry->err};
    metric_add(kind == QUEUE_REFUSED ? queue->refused : NULL, 1);
    entry->answer(entry->arg, &answer);
    free(entry->seen.body);
    submission_free(entry->submission); /* the entry is in its arena */
}

static void refuse(struct queue *queue, struct entry *entry, const struct error *err)
{
    entry->err = *err;
    answer_entry(queue, entry, QUEUE_REFUSED);
}

static void answer_waiter(struct queue *queue, struct waiter *waiter, enum queue_answer_kind kind)
{
    struct error err = {0};
    struct message_record *record = NULL;
    reader_look_up(queue->ops, queue->store, queue->ledger, waiter->id, &record, &err);
    const struct queue_answer answer = {.kind = kind, .record = record, .err = &err};
    waiter->answer(waiter->arg, &answer);
    message_record_free(record);
    waiter_free(waiter);
}

static bool all_final(struct queue *queue, const char *id, bool *any_sent)
{
    struct message_record *record = NULL;
    bool all = true;
    *any_sent = false;
    if (queue->ops->find(queue->store, id, &record, NULL) < 0)
        return false;
    for (size_t i = 0; i < record->n_recipients; i++) {
        all = all && recipient_status_is_final(record->recipients[i].status);
        *any_sent = *any_sent || record->recipients[i].status == RECIPIENT_SENT;
    }
    message_record_free(record);
    return all;
}

/* --- deliveries --------------------------------------------------------------------------- */

static void make_ready(struct queue *queue, struct delivery *delivery)
{
    delivery->ready_mono_ms = clock_mono_ms();
    delivery->next = NULL;
    *queue->own.ready_end = delivery;
    queue->own.ready_end = &delivery->next;
}

static void hold(struct queue *queue, const struct delivery *delivery, bool more)
{
    uint64_t len = delivery->content->len;
    queue->own.held_bytes += more ? len : -len;
    metric_set(queue->held, (int64_t)queue->own.held_bytes);
}

static void hand_out(struct queue *queue)
{
    struct delivery *list = queue->own.ready;
    queue->own.ready = NULL;
    queue->own.ready_end = &queue->own.ready;
    if (list != NULL)
        queue->settings.ready(queue->settings.arg, list);
}

static void drop_delivery(struct queue *queue, struct delivery *delivery)
{
    flight_ledger_leave(queue->ledger, delivery->flight);
    hold(queue, delivery, false);
    claim_unref(delivery->claim);
    delivery_free(delivery);
}

static void want_at(struct queue *queue, int64_t due_ms)
{
    if (due_ms < queue->own.next_due_ms)
        queue->own.next_due_ms = due_ms;
}

/* --- submissions -------------------------------------------------------------------------- */

/* New mail goes behind what waits in the store, and stays there when memory is spoken for. */
static bool may_claim(const struct queue *queue, const struct submission *submission)
{
    return queue->started && !queue->own.backlog &&
           (queue->own.held_bytes == 0 ||
            queue->own.held_bytes + submission->content->len <= queue->settings.in_memory_bytes);
}

static void submit_entry(struct queue *queue, struct entry *entry)
{
    struct submission *submission = entry->submission;
    entry->claimed = may_claim(queue, submission);
    entry->verdict = queue->ops->submit(queue->store, submission, entry->claimed, &entry->seq,
                                        &entry->seen, &entry->err);
    if (entry->verdict != STORE_SUBMIT_NEW)
        return;
    if (entry->claimed)
        queue->own.held_bytes += submission->content->len;
    else
        queue->own.backlog = true;
}

static struct delivery *delivery_of(struct queue *queue, const struct entry *entry)
{
    const struct submission *submission = entry->submission;
    struct delivery *delivery = delivery_new(submission->envelope_from, submission->recipients,
                                             submission->n_recipients, submission->content);
    if (delivery == NULL)
        return NULL;
    delivery->seq = entry->seq;
    memcpy(delivery->id, submission->id, sizeof(delivery->id));
    delivery->smtputf8 = submission->smtputf8;
    delivery->created_ms = submission->created_ms;
    delivery->expires_ms = submission->expires_ms;
    return delivery;
}

static struct waiter *waiter_of(const struct queue *queue, const struct entry *entry)
{
    const struct submission *submission = entry->submission;
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return NULL;
    waiter->seq = entry->seq;
    memcpy(waiter->id, submission->id, sizeof(waiter->id));
    waiter->deadline_ms = clock_mono_ms() + entry->wait_ms;
    waiter->answer = entry->answer;
    waiter->arg = entry->arg;
    if (submission->idempotency_key != NULL) {
        waiter->api_key = strdup(submission->api_key);
        waiter->key = strdup(submission->idempotency_key);
    }
    if (!queue->ops->durable)
        waiter->claim = claim_new();
    if ((submission->idempotency_key != NULL && (waiter->api_key == NULL || waiter->key == NULL)) ||
        (!queue->ops->durable && waiter->claim == NULL)) {
        waiter_free(waiter);
        return NULL;
    }
    return waiter;
}

/* After the commit: the message is safe, whatever fails in here. */
static void admit(struct queue *queue, struct entry *entry)
{
    struct waiter *waiter = entry->wait_ms > 0 ? waiter_of(queue, entry) : NULL;
    struct delivery *delivery = entry->claimed ? delivery_of(queue, entry) : NULL;
    metric_add(queue->accepted, 1);
    if (delivery != NULL) {
        if (waiter != NULL && waiter->claim != NULL)
            delivery->claim = claim_ref(waiter->claim);
        make_ready(queue, delivery);
    } else if (entry->claimed) { /* no memory: it stays claimed in the store until the next start */
        queue->own.held_bytes -= entry->submission->content->len;
    }
    if (waiter == NULL) {
        answer_entry(queue, entry, QUEUE_STORED);
        return;
    }
    waiters_add(&queue->own.waiters, waiter);
    submission_free(entry->submission);
}

static void conclude_entry(struct queue *queue, struct entry *entry)
{
    switch (entry->verdict) {
    case STORE_SUBMIT_NEW:
        admit(queue, entry);
        break;
    case STORE_SUBMIT_REPLAY:
        answer_entry(queue, entry, QUEUE_REPLAY);
        break;
    case STORE_SUBMIT_MISMATCH:
        answer_entry(queue, entry, QUEUE_MISMATCH);
        break;
    case STORE_SUBMIT_IN_PROGRESS:
        answer_entry(queue, entry, QUEUE_IN_PROGRESS);
        break;
    case STORE_SUBMIT_FAILED:
        answer_entry(queue, entry, QUEUE_REFUSED);
        break;
    }
}

/* --- outcomes ----------------------------------------------------------------------------- */

/* Record what became of it. 1: of nobody anything, nothing was written. */
static int settle(struct queue *queue, struct delivery *delivery, struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    size_t n = delivery->n_recipients;
    struct verdicts verdicts = {0};
    if (arena != NULL) {
        verdicts.status = arena_alloc_array(arena, n, sizeof(*verdicts.status));
        verdicts.next_ms = arena_alloc_array(arena, n, sizeof(*verdicts.next_ms));
    }
    if (verdicts.status == NULL || verdicts.next_ms == NULL)
        return error_set(err, ERR_NOMEM, "outcome");
    int64_t now_ms = clock_wall_ms();
    verdicts_decide(delivery, &queue->settings, now_ms, &verdicts);
    if (verdicts.n_untried == n)
        return 1;
    const struct settlement settlement = {.delivery = delivery,
                                          .now_ms = now_ms,
                                          .status = verdicts.status,
                                          .next_ms = verdicts.next_ms,
                                          .keep_content = queue->settings.retain_content_ms > 0};
    int64_t due_ms;
    if (queue->ops->settle(queue->store, &settlement, &due_ms, err) < 0)
        return -1;
    want_at(queue, due_ms);
    return 0;
}

/* Again at once, without a detour through the store. */
static void ready_again(struct queue *queue, struct delivery *delivery)
{
    if (delivery->claim != NULL && atomic_load(&delivery->claim->state) == CLAIM_WITHDRAWN) {
        drop_delivery(queue, delivery); /* canceled already */
        return;
    }
    flight_ledger_leave(queue->ledger, delivery->flight);
    delivery->flight = -1;
    if (delivery->claim != NULL)
        claim_move(delivery->claim, CLAIM_DEPARTED, CLAIM_WAITING);
    make_ready(queue, delivery);
}

static void end_wait(struct queue *queue, struct waiter *waiter)
{
    bool any_sent;
    bool done = all_final(queue, waiter->id, &any_sent);
    if (!done && waiter->overdue && waiter->claim != NULL) {
        struct error err;
        if (queue->ops->begin(queue->store, &err) == 0) {
            queue->ops->cancel(queue->store, waiter->seq, clock_wall_ms(), &err);
            if (!any_sent && waiter->key != NULL)
                queue->ops->forget(queue->store, waiter->api_key, waiter->key, &err);
            if (queue->ops->commit(queue->store, &err) < 0)
                queue->ops->rollback(queue->store);
        }
        answer_waiter(queue, waiter, any_sent ? QUEUE_DONE : QUEUE_WITHDRAWN);
        return;
    }
    if (done)
        answer_waiter(queue, waiter, QUEUE_DONE);
    else
        waiters_add(&queue->own.waiters, waiter);
}

static void conclude_outcome(struct queue *queue, struct delivery *delivery)
{
    struct waiter *waiter = waiters_take(&queue->own.waiters, delivery->seq);
    if (delivery->claim != NULL)
        claim_move(delivery->claim, CLAIM_DEPARTED, CLAIM_WAITING);
    drop_delivery(queue, delivery);
    if (waiter != NULL)
        end_wait(queue, waiter);
}

/* --- time --------------------------------------------------------------------------------- */

static void end_due_waits(struct queue *queue)
{
    int64_t now_ms = clock_mono_ms();
    if (atomic_load(&queue->draining)) /* nobody waits for what will not be sent now */
        now_ms = queue->own.waiters.n > 0 ? INT64_MAX : now_ms;
    struct waiter *due = waiters_take_due(&queue->own.waiters, now_ms);
    for (struct waiter *next; due != NULL; due = next) {
        next = due->next;
        due->next = NULL;
        if (due->claim == NULL) {
            answer_waiter(queue, due, QUEUE_STORED);
            continue;
        }
        due->overdue = true;
        if (claim_move(due->claim, CLAIM_WAITING, CLAIM_WITHDRAWN))
            end_wait(queue, due); /* which cancels it */
        else
            waiters_add(&queue->own.waiters, due); /* a session has it: its outcome decides */
    }
}

static void attach_claim(struct queue *queue, struct delivery *delivery)
{
    struct waiter *waiter = waiters_find(&queue->own.waiters, delivery->seq);
    if (waiter != NULL && waiter->claim != NULL)
        delivery->claim = claim_ref(waiter->claim);
}

/* Claim what is due, as far as memory allows; inside the transaction. */
static int load_due(struct queue *queue, struct error *err)
{
    int64_t now_ms = clock_wall_ms();
    uint64_t budget = queue->settings.in_memory_bytes;
    if (!queue->started || atomic_load(&queue->draining) ||
        (!queue->own.backlog && queue->own.next_due_ms > now_ms) ||
        (queue->own.held_bytes > 0 && queue->own.held_bytes >= budget - budget / 4))
        return 0;
    struct delivery *list = NULL;
    size_t room = budget > queue->own.held_bytes ? (size_t)(budget - queue->own.held_bytes) : 1;
    if (queue->ops->load(queue->store, now_ms, LOAD_MAX, room, &list, err) < 0)
        return -1;
    queue->own.backlog = list != NULL;
    for (struct delivery *next; list != NULL; list = next) {
        next = list->next;
        hold(queue, list, true);
        attach_claim(queue, list);
        make_ready(queue, list);
    }
    return queue->own.backlog ? 0
                              : queue->ops->next_due(queue->store, &queue->own.next_due_ms, err);
}

static void look_at_disk(struct queue *queue)
{
    struct statvfs fs;
    if (queue->folder == NULL || statvfs(queue->folder, &fs) < 0)
        return;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    bool full = free_bytes < queue->settings.min_free_bytes;
    if (atomic_exchange(&queue->full, full) != full)
        log_warn(full ? "too little space: no mail is taken in" : "space again: mail is taken in",
                 LOG_STR("code", error_word(full ? ERR_STORE_FULL : ERR_NONE)),
                 LOG_INT("free_bytes", (int64_t)free_bytes));
}

static bool chores_due(const struct queue *queue)
{
    return clock_mono_ms() >= queue->own.next_chores_ms;
}

/* Inside the transaction. */
static int do_chores(struct queue *queue, struct error *err)
{
    struct store_stats stats;
    size_t n_purged = 0;
    int64_t now_ms = clock_wall_ms();
    queue->own.next_chores_ms = clock_mono_ms() + CHORES_MS;
    if (queue->ops->purge(queue->store, now_ms - queue->settings.retain_record_ms,
                          now_ms - queue->settings.retain_content_ms, PURGE_MAX, &n_purged,
                          err) < 0 ||
        queue->ops->stats(queue->store, &stats, err) < 0)
        return -1;
    metric_set(queue->depth[0], stats.n_queued);
    metric_set(queue->depth[1], stats.n_deferred);
    metric_set(queue->depth[2], stats.n_in_doubt);
    pthread_mutex_lock(&queue->lock);
    queue->stats = stats;
    pthread_mutex_unlock(&queue->lock);
    return 0;
}

/* --- a turn ------------------------------------------------------------------------------- */

struct batch {
    struct inbox in;
    struct delivery *again, **again_end;     /* outcomes without anything to record */
    struct delivery *settled, **settled_end; /* recorded */
    size_t n;
};

static void append(struct delivery ***end, struct delivery *delivery)
{
    delivery->next = NULL;
    **end = delivery;
    *end = &delivery->next;
}

static int write_outcomes(struct queue *queue, struct batch *batch, struct error *err)
{
    while (batch->in.outcomes != NULL) {
        struct delivery *delivery = batch->in.outcomes;
        struct delivery *next = delivery->next;
        int rc = settle(queue, delivery, err);
        if (rc < 0)
            return -1;
        if (rc > 0 && atomic_load(&queue->draining) &&
            queue->ops->release(queue->store, delivery->seq, clock_wall_ms(), err) < 0)
            return -1;
        batch->in.outcomes = next;
        bool again = rc > 0 && !atomic_load(&queue->draining);
        append(again ? &batch->again_end : &batch->settled_end, delivery);
        batch->n++;
    }
    return 0;
}

static int write_remarks(struct queue *queue, const struct batch *batch, struct error *err)
{
    for (const struct remark *r = batch->in.remarks; r != NULL; r = r->next)
        if (queue->ops->answer(queue->store, r->api_key, r->key, r->status, r->body, err) < 0)
            return -1;
    return 0;
}

static int write_batch(struct queue *queue, struct batch *batch, struct error *err)
{
    if (queue->ops->begin(queue->store, err) < 0)
        return -1;
    if (write_outcomes(queue, batch, err) < 0 || write_remarks(queue, batch, err) < 0)
        return -1;
    for (struct entry *entry = batch->in.entries; entry != NULL; entry = entry->next, batch->n++)
        submit_entry(queue, entry);
    if (load_due(queue, err) < 0 || (chores_due(queue) && do_chores(queue, err) < 0))
        return -1;
    int64_t begun_us = clock_mono_us();
    if (queue->ops->commit(queue->store, err) < 0)
        return -1;
    metric_observe(queue->commit_seconds, (double)(clock_mono_us() - begun_us) / 1e6);
    if (batch->n > 0)
        metric_observe(queue->batch_size, (double)batch->n);
    return 0;
}

static void conclude_batch(struct queue *queue, struct batch *batch)
{
    for (struct delivery *d = batch->again, *next; d != NULL; d = next) {
        next = d->next;
        ready_again(queue, d);
    }
    for (struct entry *entry = batch->in.entries, *next; entry != NULL; entry = next) {
        next = entry->next;
        conclude_entry(queue, entry);
    }
    for (struct delivery *d = batch->settled, *next; d != NULL; d = next) {
        next = d->next;
        conclude_outcome(queue, d);
    }
    hand_out(queue);
}

/* Nothing of the transaction stands: submissions are refused, outcomes kept. */
static void undo_batch(struct queue *queue, struct batch *batch, const struct error *err)
{
    queue->ops->rollback(queue->store);
    queue->own.trouble_until_ms = clock_mono_ms() + TROUBLE_MS;
    if (err->code == ERR_STORE_BROKEN)
        atomic_store(&queue->broken, true);
    log_error("commit failed", LOG_STR("code", error_word(err->code)),
              LOG_STR("detail", err->detail));

    for (struct entry *entry = batch->in.entries, *next; entry != NULL; entry = next) {
        next = entry->next;
        if (entry->verdict == STORE_SUBMIT_NEW && entry->claimed && entry->seq != 0)
            queue->own.held_bytes -= entry->submission->content->len;
        refuse(queue, entry, err);
    }
    struct delivery *lists[] = {batch->settled, batch->again, batch->in.outcomes};
    for (size_t i = 0; i < 3; i++)
        for (struct delivery *d = lists[i], *next; d != NULL; d = next) {
            next = d->next;
            append(&queue->own.kept_end, d);
        }
    for (struct delivery *d = queue->own.ready, *next; d != NULL; d = next) {
        next = d->next;
        drop_delivery(queue, d); /* loaded, but its claim was rolled back */
    }
    queue->own.ready = NULL;
    queue->own.ready_end = &queue->own.ready;
    queue->own.backlog = true;
}

static void free_remarks(struct remark *remarks)
{
    for (struct remark *next; remarks != NULL; remarks = next) {
        next = remarks->next;
        free(remarks);
    }
}

static void refuse_all(struct queue *queue, struct batch *batch, const struct error *err)
{
    for (struct entry *entry = batch->in.entries, *next; entry != NULL; entry = next) {
        next = entry->next;
        refuse(queue, entry, err);
    }
    batch->in.entries = NULL;
}

static void turn(struct queue *queue, struct batch *batch)
{
    struct error err = {0};
    if (!queue_ready(queue, &err))
        refuse_all(queue, batch, &err);
    if (queue->own.kept != NULL) { /* older outcomes first */
        *queue->own.kept_end = batch->in.outcomes;
        batch->in.outcomes = queue->own.kept;
        queue->own.kept = NULL;
        queue->own.kept_end = &queue->own.kept;
    }
    err = (struct error){0};
    if (atomic_load(&queue->broken)) {
        error_set(&err, ERR_STORE_BROKEN, "the store is broken");
        for (struct delivery *d = batch->in.outcomes, *next; d != NULL; d = next) {
            next = d->next;
            append(&queue->own.kept_end, d);
        }
    } else if (write_batch(queue, batch, &err) < 0) {
        undo_batch(queue, batch, &err);
    } else {
        conclude_batch(queue, batch);
    }
    free_remarks(batch->in.remarks);
}

/* --- the thread --------------------------------------------------------------------------- */

/* How long there is nothing to do, at most; with the lock held. */
static int64_t idle_ms(const struct queue *queue)
{
    int64_t now_ms = clock_mono_ms();
    int64_t until_ms = queue->own.next_chores_ms;
    if (queue->own.waiters.next_deadline_ms < until_ms)
        until_ms = queue->own.waiters.next_deadline_ms;
    int64_t wait_ms = until_ms - now_ms;
    int64_t due_ms = queue->own.next_due_ms - clock_wall_ms();
    if (queue->started && !atomic_load(&queue->draining) && due_ms < wait_ms)
        wait_ms = due_ms;
    if (queue->own.backlog && queue->started && !atomic_load(&queue->draining) &&
        queue->own.held_bytes < queue->settings.in_memory_bytes / 4 * 3)
        wait_ms = 0;
    int64_t trouble_ms = queue->own.trouble_until_ms - now_ms;
    wait_ms = wait_ms > trouble_ms ? wait_ms : trouble_ms;
    return wait_ms > 0 ? wait_ms : 0;
}

static void wait_for_news(struct queue *queue)
{
    int64_t wait_ms = idle_ms(queue);
    bool trouble = queue->own.trouble_until_ms > clock_mono_ms();
    if ((!inbox_empty(&queue->inbox) && !trouble) || wait_ms == 0 || queue->stop)
        return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&queue->news, &queue->lock, &until);
}

static void take_inbox(struct queue *queue, struct batch *batch)
{
    *batch = (struct batch){0};
    batch->in = queue->inbox;
    batch->again_end = &batch->again;
    batch->settled_end = &batch->settled;
    struct entry *last = queue->inbox.entries;
    for (size_t n = 1; last != NULL && n < BATCH_MAX; n++)
        last = last->next;
    struct entry *rest = last != NULL ? last->next : NULL;
    struct entry **rest_end = queue->inbox.entries_end;
    inbox_init(&queue->inbox);
    if (rest != NULL) {
        last->next = NULL;
        queue->inbox.entries = rest;
        queue->inbox.entries_end = rest_end;
    }
}

static void *run(void *arg)
{
    struct queue *queue = arg;
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        struct batch batch;
        wait_for_news(queue);
        bool last = queue->stop && inbox_empty(&queue->inbox);
        take_inbox(queue, &batch);
        pthread_mutex_unlock(&queue->lock);
        if (chores_due(queue))
            look_at_disk(queue);
        turn(queue, &batch);
        end_due_waits(queue);
        pthread_mutex_lock(&queue->lock);
        if (last)
            break;
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* --- opening and closing ------------------------------------------------------------------ */

static int open_ledger(struct queue *queue, const char *location, struct error *err)
{
    if (!queue->ops->durable)
        return flight_ledger_open(NULL, &queue->ledger, err);
    char path[4096];
    snprintf(path, sizeof(path), "%s.flights", location);
    queue->folder = strdup(location);
    if (queue->folder == NULL)
        return error_set(err, ERR_NOMEM, "queue");
    char *slash = strrchr(queue->folder, '/');
    if (slash != NULL)
        slash[slash == queue->folder ? 1 : 0] = '\0';
    else
        snprintf(queue->folder, 2, ".");
    return flight_ledger_open(path, &queue->ledger, err);
}

static int recover(struct queue *queue, struct error *err)
{
    int64_t *seqs;
    size_t n;
    bool rebooted;
    int64_t now_ms = clock_wall_ms();
    if (flight_ledger_left_over(queue->ledger, &seqs, &n, &rebooted, err) < 0)
        return -1;
    int rc = queue->ops->begin(queue->store, err);
    if (rc == 0)
        rc = queue->ops->recover(queue->store, seqs, rebooted ? STORE_ALL_CLAIMED : n, now_ms,
                                 queue->settings.hold_in_doubt ? 0 : now_ms, err);
    if (rc == 0)
        rc = queue->ops->commit(queue->store, err);
    free(seqs);
    if (rc == 0)
        flight_ledger_reset(queue->ledger);
    return rc;
}

static void prepare_metrics(struct queue *queue)
{
    static const char *const status[] = {"queued", "deferred", "in_doubt"};
    queue->accepted = metric_counter("postern_messages_accepted_total",
                                     "Messages made durable and answered.", NULL);
    queue->refused = metric_counter("postern_messages_refused_total",
                                    "Messages the store could not keep.", NULL);
    queue->commit_seconds =
        metric_histogram("postern_store_commit_seconds", "Commits of the store, sync included.",
                         NULL, METRIC_SECONDS);
    queue->batch_size = metric_histogram(
        "postern_store_batch_size", "Submissions and outcomes in one commit.", NULL, METRIC_COUNTS);
    queue->held =
        metric_gauge("postern_memory_held_bytes", "Contents of messages held in memory.", NULL);
    for (size_t i = 0; i < 3; i++)
        queue->depth[i] =
            metric_gauge("postern_queue_recipients", "Recipients not finished, by status.",
                         (const char *[]){"status", status[i], NULL});
}

int queue_open(const struct queue_settings *settings, struct queue **queue_out, struct error *err)
{
    const char *location;
    const struct store_ops *ops = store_for(settings->store, &location);
    if (ops == NULL)
        return error_set(err, ERR_CONFIG, "queue.store: write sqlite:PATH or memory:, not %s",
                         settings->store);
    struct queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return error_set(err, ERR_NOMEM, "queue");
    queue->settings = *settings;
    queue->ops = ops;
    inbox_init(&queue->inbox);
    waiters_init(&queue->own.waiters);
    queue->own.kept_end = &queue->own.kept;
    queue->own.ready_end = &queue->own.ready;
    queue->own.backlog = true;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->news, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&queue->lock, NULL);
    prepare_metrics(queue);
    if (ops->open(location, &queue->store, err) < 0 || open_ledger(queue, location, err) < 0 ||
        recover(queue, err) < 0 ||
        reader_start(ops, queue->store, queue->ledger, &queue->reader, err) < 0) {
        queue_free(queue);
        return -1;
    }
    queue->has_thread = pthread_create(&queue->thread, NULL, run, queue) == 0;
    if (!queue->has_thread) {
        queue_free(queue);
        return error_set(err, ERR_IO, "no thread to be had for the queue");
    }
    *queue_out = queue;
    return 0;
}

static void tell(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    pthread_cond_signal(&queue->news);
    pthread_mutex_unlock(&queue->lock);
}

int queue_start(struct queue *queue, struct error *err)
{
    pthread_mutex_lock(&queue->lock);
    queue->started = true;
    pthread_cond_signal(&queue->news);
    pthread_mutex_unlock(&queue->lock);
    return 0;
}

void queue_drain(struct queue *queue)
{
    atomic_store(&queue->draining, true);
    tell(queue);
}

void queue_free(struct queue *queue)
{
    if (queue == NULL)
        return;
    if (queue->has_thread) {
        queue_drain(queue);
        pthread_mutex_lock(&queue->lock);
        queue->stop = true;
        pthread_cond_signal(&queue->news);
        pthread_mutex_unlock(&queue->lock);
        pthread_join(queue->thread, NULL);
    }
    reader_stop(queue->reader);
    for (struct delivery *d = queue->own.kept, *next; d != NULL; d = next) {
        next = d->next; /* their slots stay taken: they are in doubt at the next start */
        claim_unref(d->claim);
        delivery_free(d);
    }
    if (queue->store != NULL)
        queue->ops->close(queue->store);
    flight_ledger_close(queue->ledger);
    pthread_cond_destroy(&queue->news);
    pthread_mutex_destroy(&queue->lock);
    free(queue->folder);
    free(queue);
}

/* --- for others --------------------------------------------------------------------------- */

void queue_submit(struct queue *queue, struct submission *submission, int64_t wait_ms,
                  queue_answer_fn *answer, void *arg)
{
    struct entry *entry = arena_alloc(submission->arena, sizeof(*entry));
    if (entry == NULL) {
        struct error err;
        error_set(&err, ERR_NOMEM, "submission");
        answer(arg, &(struct queue_answer){.kind = QUEUE_REFUSED, .err = &err});
        submission_free(submission);
        return;
    }
    *entry =
        (struct entry){.submission = submission, .wait_ms = wait_ms, .answer = answer, .arg = arg};
    pthread_mutex_lock(&queue->lock);
    bool wake = inbox_empty(&queue->inbox);
    *queue->inbox.entries_end = entry;
    queue->inbox.entries_end = &entry->next;
    if (wake)
        pthread_cond_signal(&queue->news);
    pthread_mutex_unlock(&queue->lock);
}

void queue_remember(struct queue *queue, const char *api_key, const char *key, int status,
                    const char *body)
{
    size_t n_api_key = strlen(api_key) + 1, n_key = strlen(key) + 1, n_body = strlen(body) + 1;
    struct remark *remark = calloc(1, sizeof(*remark) + n_api_key + n_key + n_body);
    if (remark == NULL)
        return; /* the key stays in progress until the next start makes it a 202 */
    remark->status = status;
    remark->api_key = memcpy(remark + 1, api_key, n_api_key);
    remark->key = memcpy(remark->api_key + n_api_key, key, n_key);
    remark->body = memcpy(remark->key + n_key, body, n_body);
    pthread_mutex_lock(&queue->lock);
    *queue->inbox.remarks_end = remark;
    queue->inbox.remarks_end = &remark->next;
    pthread_cond_signal(&queue->news);
    pthread_mutex_unlock(&queue->lock);
}

void queue_find(struct queue *queue, const char *id, queue_found_fn *found, void *arg)
{
    reader_find(queue->reader, id, found, arg);
}

bool queue_depart(struct queue *queue, struct delivery *delivery)
{
    if (delivery->claim != NULL && !claim_move(delivery->claim, CLAIM_WAITING, CLAIM_DEPARTED))
        return false;
    delivery->flight = flight_ledger_enter(queue->ledger, delivery->seq);
    return delivery->flight >= 0;
}

void queue_settle(struct queue *queue, struct delivery *delivery)
{
    delivery->next = NULL;
    pthread_mutex_lock(&queue->lock);
    bool wake = inbox_empty(&queue->inbox);
    *queue->inbox.outcomes_end = delivery;
    queue->inbox.outcomes_end = &delivery->next;
    if (wake)
        pthread_cond_signal(&queue->news);
    pthread_mutex_unlock(&queue->lock);
}

bool queue_ready(const struct queue *queue, struct error *err)
{
    if (atomic_load(&queue->broken))
        error_set(err, ERR_STORE_BROKEN, "the store is broken");
    else if (atomic_load(&queue->draining))
        error_set(err, ERR_DRAINING, "the gateway is shutting down");
    else if (atomic_load(&queue->full))
        error_set(err, ERR_STORE_FULL, "too little space is left on the store's disk");
    else
        return true;
    return false;
}

bool queue_broken(const struct queue *queue)
{
    return atomic_load(&queue->broken);
}

struct store_stats queue_stats(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct store_stats stats = queue->stats;
    pthread_mutex_unlock(&queue->lock);
    return stats;
}
