#include "queue/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/internal.h"

enum { UNREADY_MS = 5000 /* after a failed commit; then the next submission may try */ };

void inbox_init(struct inbox *inbox)
{
    LIST_INIT(&inbox->submissions);
    LIST_INIT(&inbox->outcomes);
    LIST_INIT(&inbox->remarks);
}

bool inbox_is_empty(const struct inbox *inbox)
{
    return inbox->submissions.first == NULL && inbox->outcomes.first == NULL &&
           inbox->remarks.first == NULL;
}

void inbox_join(struct inbox *inbox, struct inbox *other)
{
    LIST_JOIN(&inbox->submissions, &other->submissions);
    LIST_JOIN(&inbox->outcomes, &other->outcomes);
    LIST_JOIN(&inbox->remarks, &other->remarks);
}

/* --- opening ------------------------------------------------------------------------------ */

static int open_ledger(struct queue *queue, const char *location, struct error *err)
{
    if (!queue->ops->durable)
        return flight_ledger_open(NULL, &queue->ledger, err);
    char path[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s.flights", location) >= sizeof(path))
        return error_set(err, ERR_CONFIG, "queue.store: the path is too long");
    if (flight_ledger_open(path, &queue->ledger, err) < 0)
        return -1;
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        slash[slash == path ? 1 : 0] = '\0';
    queue->folder = strdup(slash != NULL ? path : ".");
    return queue->folder != NULL ? 0 : error_set(err, ERR_NOMEM, "queue");
}

static int recover_in(struct queue *queue, const struct flight *flights, size_t n,
                      struct error *err)
{
    int64_t now_ms = schedule_now(queue);
    bool hold_all = n == STORE_ALL_CLAIMED && queue->settings.hold_in_doubt;
    return queue->ops->recover(queue->store, flights, n, now_ms, hold_all ? 0 : now_ms, err);
}

/* The ledger is cleared only when what it says is committed. */
static int recover(struct queue *queue, struct error *err)
{
    struct flight *flights;
    size_t n;
    bool rebooted;
    if (flight_ledger_left_over(queue->ledger, &flights, &n, &rebooted, err) < 0)
        return -1;
    if (rebooted)
        n = STORE_ALL_CLAIMED;
    int rc = recover_in(queue, flights, n, err);
    if (rc < 0 && err->code == ERR_STORE_FULL && queue->ops->relieve(queue->store) == 0)
        rc = recover_in(queue, flights, n, err);
    free(flights);
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
    queue->commit_seconds = metric_histogram(
        "postern_store_commit_seconds", "Turns of the store, sync included.", NULL, METRIC_SECONDS);
    queue->batch_size = metric_histogram(
        "postern_store_batch_size", "Submissions and outcomes in one commit.", NULL, METRIC_COUNTS);
    queue->held = metric_gauge("postern_memory_held_bytes",
                               "Messages held in memory on their way out.", NULL);
    for (size_t i = 0; i < 3; i++)
        queue->depth[i] =
            metric_gauge("postern_queue_recipients", "Recipients not finished, by status.",
                         (const char *[]){"status", status[i], NULL});
    for (size_t i = 0; i < 2; i++)
        queue->oldest[i] = metric_gauge("postern_queue_oldest_seconds",
                                        "Age of the oldest message not finished, by status.",
                                        (const char *[]){"status", status[i], NULL});
}

static struct queue *queue_new(const struct store_ops *ops, const struct queue_settings *settings)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL || (queue->own.arena = arena_new()) == NULL) {
        free(queue);
        return NULL;
    }
    queue->settings = *settings;
    queue->ops = ops;
    lock_init(&queue->lock);
    inbox_init(&queue->inbox);
    inbox_init(&queue->own.kept);
    waiters_init(&queue->own.waiters);
    LIST_INIT(&queue->own.ready);
    LIST_INIT(&queue->own.unwanted);
    queue->own.uncounted = true;
    prepare_metrics(queue);
    return queue;
}

int queue_open_with(const struct store_ops *ops, const char *location,
                    const struct queue_settings *settings, struct queue **queue_out,
                    struct error *err)
{
    struct queue *queue = queue_new(ops, settings);
    if (queue == NULL)
        return error_set(err, ERR_NOMEM, "queue");
    if (ops->open(location, &queue->store, err) < 0 || open_ledger(queue, location, err) < 0 ||
        calendar_open(queue, err) < 0 || recover(queue, err) < 0 ||
        reader_start(ops, queue->store, queue->ledger, &queue->reader, err) < 0) {
        queue_free(queue);
        return -1;
    }
    queue->has_thread = pthread_create(&queue->thread, NULL, turn_run, queue) == 0;
    if (!queue->has_thread) {
        queue_free(queue);
        return error_set(err, ERR_IO, "no thread to be had for the queue");
    }
    *queue_out = queue;
    return 0;
}

int queue_open(const struct queue_settings *settings, struct queue **queue_out, struct error *err)
{
    const char *location;
    const struct store_ops *ops = store_for(settings->store, &location);
    if (ops == NULL)
        return error_set(err, ERR_CONFIG, "queue.store: write sqlite:PATH or memory:, not %s",
                         settings->store);
    return queue_open_with(ops, location, settings, queue_out, err);
}

/* A flag that the thread looks at when it wakes; under the lock, so that it cannot miss it. */
static void raise_flag(struct queue *queue, atomic_bool *flag)
{
    lock_take(&queue->lock);
    atomic_store(flag, true);
    lock_signal(&queue->lock);
    lock_drop(&queue->lock);
}

int queue_start(struct queue *queue, struct error *err)
{
    raise_flag(queue, &queue->started);
    return 0;
}

/* --- closing ------------------------------------------------------------------------------ */

void queue_drain(struct queue *queue)
{
    raise_flag(queue, &queue->draining);
}

static void end_thread(struct queue *queue)
{
    queue_drain(queue);
    lock_take(&queue->lock);
    queue->stop = true;
    lock_signal(&queue->lock);
    lock_drop(&queue->lock);
    pthread_join(queue->thread, NULL);
}

/* What the last answers had to say, and what trouble kept: once more, then it is left. The slots of
 * outcomes that are left stay taken, so that they are in doubt at the next start. */
static void write_rest(struct queue *queue)
{
    queue->own.trouble_until_ms = 0;
    turn_take(queue, &queue->inbox);
    struct inbox *kept = &queue->own.kept;
    for (struct mail *delivery = kept->outcomes.first, *next; delivery != NULL; delivery = next) {
        next = delivery->next;
        let_go(queue, delivery);
    }
    for (struct remark *remark = kept->remarks.first, *next; remark != NULL; remark = next) {
        next = remark->next;
        free(remark);
    }
}

void queue_free(struct queue *queue)
{
    if (queue == NULL)
        return;
    if (queue->has_thread)
        end_thread(queue);
    reader_stop(queue->reader);
    if (queue->has_thread)
        write_rest(queue);
    if (queue->store != NULL)
        queue->ops->close(queue->store);
    flight_ledger_close(queue->ledger);
    arena_free(queue->own.arena);
    lock_clear(&queue->lock);
    free(queue->folder);
    free(queue);
}

/* --- what other threads call -------------------------------------------------------------- */

void queue_submit(struct queue *queue, struct mail *mail, const struct queue_request *request)
{
    struct submission *submission = submission_new(mail, request);
    if (submission == NULL) {
        struct error err;
        error_set(&err, ERR_NOMEM, "submission");
        metric_add(queue->refused, 1);
        request->answer(request->arg, &(struct queue_answer){.kind = QUEUE_REFUSED, .err = &err});
        mail_free(mail);
        return;
    }
    lock_take(&queue->lock);
    LIST_APPEND(&queue->inbox.submissions, submission);
    lock_signal(&queue->lock);
    lock_drop(&queue->lock);
}

void queue_settle(struct queue *queue, struct mail *delivery)
{
    lock_take(&queue->lock);
    LIST_APPEND(&queue->inbox.outcomes, delivery);
    lock_signal(&queue->lock);
    lock_drop(&queue->lock);
}

void queue_remember(struct queue *queue, const char *api_key, const char *key, int status,
                    const char *body)
{
    size_t n_api_key = strlen(api_key) + 1, n_key = strlen(key) + 1, n_body = strlen(body) + 1;
    struct remark *remark = calloc(1, sizeof(*remark) + n_api_key + n_key + n_body);
    if (remark == NULL) {
        log_warn("an idempotency key stays in progress until the next start",
                 LOG_STR("code", error_word(ERR_NOMEM)));
        return;
    }
    remark->status = status;
    remark->api_key = memcpy(remark + 1, api_key, n_api_key);
    remark->key = memcpy(remark->api_key + n_api_key, key, n_key);
    remark->body = memcpy(remark->key + n_key, body, n_body);
    lock_take(&queue->lock);
    LIST_APPEND(&queue->inbox.remarks, remark);
    lock_signal(&queue->lock);
    lock_drop(&queue->lock);
}

void queue_find(struct queue *queue, const char *id, queue_found_fn *found, void *arg)
{
    reader_find(queue->reader, id, found, arg);
}

/* The slot first: what has none yet can still be withdrawn. */
enum queue_departure queue_depart(struct queue *queue, struct mail *delivery)
{
    if (claim_is_withdrawn(delivery->claim))
        return QUEUE_DEPARTS_NEVER;
    const struct flight flight = {.seq = delivery->seq, .hold = delivery->hold_in_doubt};
    int slot = flight_ledger_enter(queue->ledger, flight);
    if (slot < 0)
        return QUEUE_DEPARTS_NOT_NOW;
    if (delivery->claim != NULL && !claim_move(delivery->claim, CLAIM_WAITING, CLAIM_DEPARTED)) {
        flight_ledger_leave(queue->ledger, slot);
        return QUEUE_DEPARTS_NEVER;
    }
    delivery->flight = slot;
    return QUEUE_DEPARTS;
}

/* --- how it is ---------------------------------------------------------------------------- */

bool queue_unwilling(const struct queue *queue, struct error *err)
{
    if (atomic_load(&queue->broken))
        error_set(err, ERR_STORE_BROKEN, "the store is broken");
    else if (atomic_load(&queue->draining))
        error_set(err, ERR_DRAINING, "the gateway is shutting down");
    else if (atomic_load(&queue->full))
        error_set(err, ERR_STORE_FULL, "too little space is left on the store's disk");
    else
        return false;
    return true;
}

bool queue_ready(const struct queue *queue, struct error *err)
{
    if (queue_unwilling(queue, err))
        return false;
    long long failed_ms = atomic_load(&queue->failed_ms);
    if (failed_ms == 0 || clock_mono_ms() - failed_ms > UNREADY_MS)
        return true;
    error_set(err, ERR_STORE_UNAVAILABLE, "the store could not commit");
    return false;
}

bool queue_broken(const struct queue *queue)
{
    return atomic_load(&queue->broken);
}

int queue_usage(struct queue *queue, int64_t since_ms, queue_usage_fn *usage, void *arg,
                struct error *err)
{
    CLEANUP(usage_list_clear) struct usage_list list = {0};
    if (queue->ops->usage(queue->store, since_ms, &list, err) < 0)
        return -1;
    for (size_t i = 0; i < list.n_items; i++)
        usage(arg, &list.items[i]);
    return 0;
}

struct store_stats queue_stats(struct queue *queue)
{
    lock_take(&queue->lock);
    struct store_stats stats = queue->stats;
    lock_drop(&queue->lock);
    return stats;
}
