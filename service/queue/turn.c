/*
 * One turn of the queue's thread: take what has gathered, give it to the store whole, tell
 * everybody concerned. What gathers while a turn syncs is the next one's, so batches grow with the
 * load by themselves.
 *
 * If it fails, its submissions are refused, and its outcomes are kept and tried again: what a relay
 * has accepted must never be forgotten for want of disk. If it is the disk that is full, the store
 * gives up what it has in reserve, and outcomes go on at once, few at a time. What fails by itself
 * is put off (outcomes, loads, withdrawals) or refused (submissions), and the rest stands.
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
    struct inbox in;         /* whose items stand in `store` in the same order */
    struct store_turn store; /* what the store is given, and gives */
    bool idle;               /* nothing came in */
};

void turn_failed(struct queue *queue, const char *what, const struct error *err)
{
    if (err->code == ERR_STORE_BROKEN)
        atomic_store(&queue->broken, true);
    log_error(what, LOG_STR("code", error_word(err->code)), LOG_STR("detail", err->detail));
}

/* --- what the store is given -------------------------------------------------------------- */

static int gather_answers(const struct remark_list *list, struct store_turn *turn,
                          struct error *err)
{
    size_t n = 0;
    for (const struct remark *r = list->first; r != NULL; r = r->next)
        n++;
    turn->answers = arena_alloc_array(turn->arena, n, sizeof(*turn->answers));
    if (turn->answers == NULL)
        return error_set(err, ERR_NOMEM, "turn");
    for (const struct remark *r = list->first; r != NULL; r = r->next)
        turn->answers[turn->n_answers++] = (struct store_answer){
            .api_key = r->api_key, .key = r->key, .status = r->status, .body = r->body};
    return 0;
}

static int gather(struct queue *queue, struct turn *turn, struct error *err)
{
    struct arena *arena = queue->own.arena;
    arena_reset(arena);
    turn->store = (struct store_turn){
        .arena = arena,
        .now_ms = schedule_now(queue),
        .keep_content = queue->settings.retain_content_ms > 0,
    };
    if (settle_gather(queue, &turn->in.outcomes, &turn->store, err) < 0 ||
        gather_answers(&turn->in.remarks, &turn->store, err) < 0 ||
        withdraw_gather(queue, &turn->store, err) < 0 ||
        intake_gather(queue, &turn->in.submissions, &turn->store, err) < 0)
        return -1;
    chores_gather(queue, &turn->store, turn->idle);
    load_gather(queue, &turn->store);
    return 0;
}

static bool is_empty(const struct store_turn *turn)
{
    return turn->n_outcomes + turn->n_answers + turn->n_cancels + turn->n_submissions == 0 &&
           turn->purge.max_n == 0 && turn->load.max_n == 0;
}

/* The first few stay; the rest is the next turn's. */
static void take_few(struct queue *queue, struct turn *turn)
{
    struct mail_list *outcomes = &turn->in.outcomes;
    struct mail **cut = &outcomes->first;
    for (size_t n = 0; *cut != NULL && n < NARROW_BATCH; n++)
        cut = &(*cut)->next;
    struct mail_list rest = {.first = *cut, .end = outcomes->end};
    if (rest.first == NULL)
        return;
    *cut = NULL;
    outcomes->end = cut;
    LIST_JOIN(&queue->own.kept.outcomes, &rest);
}

static int commit(struct queue *queue, struct turn *turn, struct error *err)
{
    size_t n = turn->store.n_outcomes + turn->store.n_answers + turn->store.n_submissions;
    int64_t begun_us = clock_mono_us();
    if (queue->ops->commit(queue->store, &turn->store, err) < 0)
        return -1;
    metric_observe(queue->commit_seconds, (double)(clock_mono_us() - begun_us) / 1e6);
    if (n > 0)
        metric_observe(queue->batch_size, (double)n);
    return 0;
}

/* Once more if the disk was full and there was something in reserve: then the outcomes at least,
 * few of them. */
static int write(struct queue *queue, struct turn *turn, struct error *err)
{
    if (gather(queue, turn, err) == 0 && (is_empty(&turn->store) || commit(queue, turn, err) == 0))
        return 0;
    intake_undo(queue, &turn->store);
    if (err->code != ERR_STORE_FULL)
        return -1;
    bool relieved = chores_relieve(queue);
    intake_refuse_all(queue, &turn->in.submissions, err);
    if (!relieved)
        return -1;
    take_few(queue, turn);
    return gather(queue, turn, err) == 0 ? commit(queue, turn, err) : -1;
}

/* --- and then ----------------------------------------------------------------------------- */

/* False: some could not be recorded, and wait for better times. */
static bool conclude_answers(struct queue *queue, struct remark_list *list,
                             const struct store_turn *turn)
{
    bool all = true;
    size_t i = 0;
    for (struct remark *remark = list->first, *next; remark != NULL; remark = next) {
        const struct store_answer *answer = &turn->answers[i++];
        next = remark->next;
        if (answer->fault == NULL) {
            free(remark);
            continue;
        }
        turn_failed(queue, "answer not recorded yet", answer->fault);
        LIST_APPEND(&queue->own.kept.remarks, remark);
        all = false;
    }
    LIST_INIT(list);
    return all;
}

/* Waiters enter the table before loaded deliveries look for theirs, and those before outcomes end
 * a wait. What a wait's end leaves to be canceled is the next turn's. */
static bool conclude(struct queue *queue, struct turn *turn)
{
    queue->own.uncounted = true;
    chores_note_commit(queue);
    withdraw_conclude(queue, &turn->store);
    intake_conclude(queue, &turn->in.submissions, &turn->store);
    load_conclude(queue, &turn->store);
    bool all = settle_conclude(queue, &turn->in.outcomes, &turn->store);
    all &= conclude_answers(queue, &turn->in.remarks, &turn->store);
    chores_conclude(queue, &turn->store, NULL);
    return all;
}

/* Nothing of it stands. Nor is what is due looked for at once: that would fail just the same, and
 * the thread would do nothing else. */
static void give_up(struct queue *queue, struct turn *turn, const struct error *err)
{
    turn_failed(queue, "commit failed", err);
    load_undo(queue);
    withdraw_undo(queue, err);
    chores_conclude(queue, &turn->store, err);
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
    struct mail *list = queue->own.ready.first;
    int64_t now_ms = clock_mono_ms();
    LIST_INIT(&queue->own.ready);
    for (struct mail *delivery = list; delivery != NULL; delivery = delivery->next)
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
    if (write(queue, turn, &err) < 0) {
        give_up(queue, turn, &err);
        note_trouble(queue, true);
    } else if (!is_empty(&turn->store)) {
        bool all = conclude(queue, turn);
        if (!all || queue->own.trouble_until_ms <= clock_mono_ms())
            note_trouble(queue, !all);
    }
}

void turn_take(struct queue *queue, struct inbox *in)
{
    struct turn turn = {.idle = inbox_is_empty(in)};
    struct error err = {0};
    inbox_init(&turn.in);
    inbox_join(&turn.in, in);

    calendar_look(queue, &turn.in.submissions);
    chores_look_at_disk(queue);
    if (queue_unwilling(queue, &err))
        intake_refuse_all(queue, &turn.in.submissions, &err);
    intake_refuse_unfit(queue, &turn.in.submissions);
    settle_sort(queue, &turn.in.outcomes);
    add_kept(queue, &turn.in);
    if (queue->own.narrow)
        take_few(queue, &turn);
    waits_end_due(queue);
    if (!atomic_load(&queue->broken))
        work(queue, &turn);
    hand_out(queue);
    chores_do(queue, turn.idle);
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
