/*
 * One turn of the queue's thread: take what has gathered, commit it in one transaction, tell
 * everybody concerned. What gathers while a turn syncs is the next one's, so batches grow with the
 * load by themselves.
 *
 * If it fails, its submissions are refused, and its outcomes are kept and tried again: what a relay
 * has accepted must never be forgotten for want of disk. If it is the disk that is full, the store
 * gives up what it has in reserve, and outcomes go on at once, few at a time. An outcome or a load
 * that fails by itself is put off, and the rest goes on without it.
 */

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "queue/internal.h"

enum {
    BATCH_MAX = 512,            /* submissions in one transaction: the first should not wait */
    BATCH_BYTES_MAX = 16 << 20, /* of them, unless one alone is larger: the log is to stay short */
    NARROW_BATCH = 16,          /* outcomes, when the disk is full: each changes some ten pages */
};

struct turn {
    struct inbox in;
    struct delivery_list loaded;
    bool load;               /* what is due is wanted */
    bool loading;            /* that is what failed */
    bool put_off;            /* some outcomes were put off */
    bool relieved;           /* the disk was full once already */
    struct delivery *failed; /* the outcome that did */
    size_t n;
};

void turn_failed(struct queue *queue, const char *what, const struct error *err)
{
    if (err->code == ERR_STORE_BROKEN)
        atomic_store(&queue->broken, true);
    log_error(what, LOG_STR("code", error_word(err->code)), LOG_STR("detail", err->detail));
}

/* --- the transaction ---------------------------------------------------------------------- */

static int write_remarks(struct queue *queue, struct turn *turn, struct error *err)
{
    for (const struct remark *r = turn->in.remarks.first; r != NULL; r = r->next, turn->n++)
        if (queue->ops->answer(queue->store, r->api_key, r->key, r->status, r->body, err) < 0)
            return -1;
    return 0;
}

static int commit(struct queue *queue, const struct turn *turn, struct error *err)
{
    int64_t begun_us = clock_mono_us();
    if (queue->ops->commit(queue->store, err) < 0)
        return -1;
    metric_observe(queue->commit_seconds, (double)(clock_mono_us() - begun_us) / 1e6);
    if (turn->n > 0)
        metric_observe(queue->batch_size, (double)turn->n);
    return 0;
}

/* Outcomes first: what is due again may be loaded in the same transaction. */
static int attempt(struct queue *queue, struct turn *turn, struct error *err)
{
    turn->n = 0;
    turn->failed = NULL;
    turn->loading = false;
    if (queue->ops->begin(queue->store, err) < 0 ||
        settle_all(queue, &turn->in.outcomes, &turn->n, &turn->failed, err) < 0 ||
        write_remarks(queue, turn, err) < 0 ||
        intake_submit_all(queue, &turn->in.submissions, &turn->n, err) < 0)
        return -1;
    turn->loading = turn->load;
    if (turn->load && load_due(queue, &turn->loaded, err) < 0)
        return -1;
    turn->loading = false;
    return commit(queue, turn, err);
}

static void undo(struct queue *queue, struct turn *turn)
{
    queue->ops->rollback(queue->store);
    load_undo(queue, &turn->loaded);
    intake_undo(queue, &turn->in.submissions);
}

/* Outcomes from the failed one on wait for better times, the failed one behind the others, so that
 * one which never goes holds none up for ever. */
static void put_off_from(struct queue *queue, struct turn *turn)
{
    struct delivery *failed = turn->failed;
    struct delivery_list *outcomes = &turn->in.outcomes;
    struct delivery_list rest = {.first = failed->next, .end = outcomes->end};
    struct delivery **at = &outcomes->first;
    while (*at != failed)
        at = &(*at)->next;
    *at = NULL;
    outcomes->end = at;
    if (rest.first != NULL)
        LIST_JOIN(&queue->own.kept.outcomes, &rest);
    LIST_APPEND(&queue->own.kept.outcomes, failed);
    turn->put_off = true;
}

/* The first few stay; the rest is the next turn's. */
static void take_few(struct queue *queue, struct turn *turn)
{
    struct delivery_list *outcomes = &turn->in.outcomes;
    struct delivery **cut = &outcomes->first;
    for (size_t n = 0; *cut != NULL && n < NARROW_BATCH; n++)
        cut = &(*cut)->next;
    struct delivery_list rest = {.first = *cut, .end = outcomes->end};
    if (rest.first == NULL)
        return;
    *cut = NULL;
    outcomes->end = cut;
    LIST_JOIN(&queue->own.kept.outcomes, &rest);
}

/* Once a turn: the disk is full, and the outcomes at least shall be recorded. */
static bool relieve(struct queue *queue, struct turn *turn, const struct error *err)
{
    if (err->code != ERR_STORE_FULL || turn->relieved)
        return false;
    turn->relieved = true;
    bool relieved = chores_relieve(queue);
    intake_refuse_all(queue, &turn->in.submissions, err);
    if (relieved)
        take_few(queue, turn);
    return relieved;
}

static int write(struct queue *queue, struct turn *turn, struct error *err)
{
    for (;;) {
        if (attempt(queue, turn, err) == 0)
            return 0;
        undo(queue, turn);
        if (err->code == ERR_STORE_BROKEN)
            return -1;
        if (relieve(queue, turn, err))
            continue;
        if (turn->failed != NULL) {
            turn_failed(queue, "outcome not recorded yet", err);
            put_off_from(queue, turn);
        } else if (turn->loading) {
            turn_failed(queue, "messages not loaded yet", err);
            queue->own.load_again_ms = clock_mono_ms() + TROUBLE_MS;
            turn->load = false;
        } else {
            return -1;
        }
    }
}

/* --- and then ----------------------------------------------------------------------------- */

static void free_remarks(struct remark_list *list)
{
    for (struct remark *remark = list->first, *next; remark != NULL; remark = next) {
        next = remark->next;
        free(remark);
    }
    LIST_INIT(list);
}

/* Waiters enter the table before loaded deliveries look for theirs, and those before outcomes end
 * a wait. */
static void conclude(struct queue *queue, struct turn *turn)
{
    queue->own.uncounted = true;
    chores_note_commit(queue);
    intake_conclude(queue, &turn->in.submissions);
    load_conclude(queue, &turn->loaded);
    settle_conclude(queue, &turn->in.outcomes);
    free_remarks(&turn->in.remarks);
}

/* Nothing of it stands. Nor is what is due looked for at once: that would fail just the same, and
 * the thread would do nothing else. */
static void give_up(struct queue *queue, struct turn *turn, const struct error *err)
{
    turn_failed(queue, "commit failed", err);
    queue->own.load_again_ms = clock_mono_ms() + TROUBLE_MS;
    intake_refuse_all(queue, &turn->in.submissions, err);
    inbox_join(&queue->own.kept, &turn->in);
}

static void note_trouble(struct queue *queue, bool trouble)
{
    int64_t now_ms = clock_mono_ms();
    queue->own.trouble_until_ms = trouble ? now_ms + TROUBLE_MS : 0;
    atomic_store(&queue->failed_ms, trouble ? now_ms : 0);
}

/* The drain began while they were committed: they come back untouched, for the store to keep. */
static void take_back(struct queue *queue)
{
    lock_take(&queue->lock);
    LIST_JOIN(&queue->inbox.outcomes, &queue->own.ready);
    lock_drop(&queue->lock);
}

static void hand_out(struct queue *queue)
{
    if (atomic_load(&queue->draining)) {
        take_back(queue);
        return;
    }
    struct delivery *list = queue->own.ready.first;
    int64_t now_ms = clock_mono_ms();
    LIST_INIT(&queue->own.ready);
    for (struct delivery *delivery = list; delivery != NULL; delivery = delivery->next)
        delivery->ready_mono_ms = now_ms;
    if (list != NULL)
        queue->settings.ready(queue->settings.arg, list);
}

/* --- the turn ----------------------------------------------------------------------------- */

/* Older outcomes first; in times of trouble all of them wait. */
static void add_kept(struct queue *queue, struct inbox *in)
{
    struct inbox *kept = &queue->own.kept;
    if (atomic_load(&queue->broken) || clock_mono_ms() < queue->own.trouble_until_ms) {
        LIST_JOIN(&kept->outcomes, &in->outcomes);
        LIST_JOIN(&kept->remarks, &in->remarks);
    } else if (!inbox_is_empty(kept)) {
        inbox_join(kept, in);
        inbox_join(in, kept);
    }
}

static void work(struct queue *queue, struct turn *turn)
{
    struct error err = {0};
    turn->load = load_wanted(queue);
    if (inbox_is_empty(&turn->in) && !turn->load)
        return;
    if (write(queue, turn, &err) == 0) {
        conclude(queue, turn);
        if (turn->put_off || queue->own.trouble_until_ms <= clock_mono_ms())
            note_trouble(queue, turn->put_off);
    } else {
        give_up(queue, turn, &err);
        note_trouble(queue, true);
    }
}

void turn_take(struct queue *queue, struct inbox *in)
{
    struct turn turn = {0};
    struct error err = {0};
    bool idle = inbox_is_empty(in);
    inbox_init(&turn.in);
    inbox_join(&turn.in, in);
    LIST_INIT(&turn.loaded);

    calendar_look(queue, &turn.in.submissions);
    chores_look_at_disk(queue);
    if (queue_unwilling(queue, &err))
        intake_refuse_all(queue, &turn.in.submissions, &err);
    intake_refuse_unfit(queue, &turn.in.submissions);
    settle_sort(queue, &turn.in.outcomes);
    add_kept(queue, &turn.in);
    if (queue->own.narrow)
        take_few(queue, &turn);
    work(queue, &turn);
    hand_out(queue);
    waits_end_due(queue);
    chores_do(queue, idle);
}

/* --- the thread --------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Until when there is nothing to do if nobody calls. */
static int64_t wake_ms(struct queue *queue)
{
    const struct queue_own *own = &queue->own;
    int64_t until_ms = earlier(load_wake_ms(queue), chores_wake_ms(queue));
    until_ms = earlier(until_ms, waits_wake_ms(queue));
    if (!inbox_is_empty(&own->kept) && !atomic_load(&queue->broken))
        until_ms = earlier(until_ms, own->trouble_until_ms);
    return until_ms;
}

static void take_inbox(struct queue *queue, struct inbox *out)
{
    assert(lock_held_by_me(&queue->lock));
    struct submission_list *list = &queue->inbox.submissions;
    struct submission **cut = &list->first;
    uint64_t bytes = 0;
    for (size_t n = 0; *cut != NULL && n < BATCH_MAX; n++) {
        bytes += submission_cost(*cut);
        if (n > 0 && bytes > BATCH_BYTES_MAX)
            break;
        cut = &(*cut)->next;
    }
    struct submission_list rest = {.first = *cut, .end = list->end};
    *cut = NULL;
    list->end = cut;
    inbox_init(out);
    inbox_join(out, &queue->inbox);
    if (rest.first != NULL)
        *list = rest;
}

void *turn_run(void *arg)
{
    struct queue *queue = arg;
    struct inbox in;
    thread_name("queue");
    lock_take(&queue->lock);
    while (!queue->stop || !inbox_is_empty(&queue->inbox)) {
        int64_t until_ms = wake_ms(queue);
        if (inbox_is_empty(&queue->inbox) && clock_mono_ms() < until_ms)
            lock_wait(&queue->lock, until_ms);
        take_inbox(queue, &in);
        lock_drop(&queue->lock);
        turn_take(queue, &in);
        lock_take(&queue->lock);
    }
    lock_drop(&queue->lock);
    waits_end_all(queue);
    return NULL;
}
