/* What the queue's thread does beside: looks at the disk, tidies it, counts, drops old records. */

#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/internal.h"

enum {
    LOOK_EACH_MS = 1000,
    COUNT_EACH_MS = 1000,
    LEAST_ROOM = 64 * 1024, /* with less no mail is taken in at all */
    TIDY_AFTER_MS = 2000,   /* after a commit, when nothing else is to be done */
    TIDY_PAUSE_MS = 20,     /* between slices */
    PURGE_EACH_MS = 5000,
    PURGE_MAX = 200,           /* records in one slice: submissions wait behind it */
    PURGE_PAUSE_MS = 20,       /* between slices while there are more */
    PURGE_PATIENCE_MS = 10000, /* then a slice is due even if the thread is never idle */
};

static bool is_too_little(const struct queue *queue, uint64_t *free_out)
{
    struct statvfs fs;
    *free_out = UINT64_MAX; /* not known: a commit will tell */
    if (statvfs(queue->folder, &fs) == 0)
        *free_out = (uint64_t)fs.f_bavail * fs.f_frsize;
    return *free_out < queue->settings.min_free_bytes ||
           !queue->ops->has_room(queue->store, LEAST_ROOM);
}

static void note_space(struct queue *queue, bool full, uint64_t free_bytes)
{
    if (atomic_exchange(&queue->full, full) == full)
        return;
    if (full)
        log_warn("too little space: no mail is taken in",
                 LOG_STR("code", error_word(ERR_STORE_FULL)),
                 LOG_INT("free_bytes", (int64_t)free_bytes));
    else
        log_info("space again: mail is taken in", LOG_INT("free_bytes", (int64_t)free_bytes));
}

/* While there is too little, what was freed is given back at once, idle or not. */
void chores_look_at_disk(struct queue *queue)
{
    uint64_t free_bytes;
    int64_t now_ms = clock_mono_ms();
    if (queue->folder == NULL || now_ms < queue->own.look_again_ms)
        return;
    queue->own.look_again_ms = now_ms + LOOK_EACH_MS;
    bool full = is_too_little(queue, &free_bytes);
    if (full && !atomic_load(&queue->broken)) {
        if (queue->ops->tidy(queue->store))
            queue->own.look_again_ms = now_ms + TIDY_PAUSE_MS;
        full = is_too_little(queue, &free_bytes);
    }
    queue->own.narrow &= !queue->ops->has_room(queue->store, 0);
    note_space(queue, full, free_bytes);
}

bool chores_relieve(struct queue *queue)
{
    bool relieved = queue->ops->relieve(queue->store) == 0;
    queue->own.narrow = true;
    queue->own.look_again_ms = 0; /* there may be room again already */
    note_space(queue, true, 0);
    return relieved;
}

/* A slice; then no more until something is committed again. */
static void tidy(struct queue *queue)
{
    bool more = queue->ops->tidy(queue->store);
    queue->own.tidy_again_ms = more ? clock_mono_ms() + TIDY_PAUSE_MS : INT64_MAX;
}

static int64_t age_s(int64_t created_ms)
{
    return created_ms > 0 ? (clock_wall_ms() - created_ms) / 1000 : 0;
}

static void count(struct queue *queue)
{
    struct store_stats stats;
    struct error err;
    queue->own.uncounted = false;
    queue->own.count_again_ms = clock_mono_ms() + COUNT_EACH_MS;
    if (queue->ops->stats(queue->store, &stats, &err) < 0) {
        turn_failed(queue, "statistics failed", &err);
        return;
    }
    metric_set(queue->depth[0], stats.n_queued);
    metric_set(queue->depth[1], stats.n_deferred);
    metric_set(queue->depth[2], stats.n_in_doubt);
    metric_set(queue->oldest[0], age_s(stats.oldest_queued_ms));
    metric_set(queue->oldest[1], age_s(stats.oldest_deferred_ms));
    queue->own.uncounted = stats.n_queued + stats.n_deferred > 0; /* they grow older */
    lock_take(&queue->lock);
    queue->stats = stats;
    lock_drop(&queue->lock);
}

void chores_gather(struct queue *queue, struct store_turn *turn, bool idle)
{
    int64_t retain_content_ms = queue->settings.retain_content_ms;
    if (clock_mono_ms() < queue->own.purge_again_ms + (idle ? 0 : PURGE_PATIENCE_MS))
        return;
    /* Contents that are not retained go with the outcome: none is looked for. */
    turn->purge = (struct store_purge){
        .max_n = PURGE_MAX,
        .record_before_ms = turn->now_ms - queue->settings.retain_record_ms,
        .content_before_ms = retain_content_ms > 0 ? turn->now_ms - retain_content_ms : 0,
        .usage_before_ms = turn->now_ms - USAGE_KEPT_MS,
    };
}

void chores_conclude(struct queue *queue, const struct store_turn *turn, const struct error *err)
{
    const struct store_purge *purge = &turn->purge;
    if (purge->max_n == 0)
        return;
    if (err == NULL && purge->fault != NULL)
        turn_failed(queue, "dropping old records failed", purge->fault);
    bool more = err == NULL && purge->fault == NULL && purge->n >= PURGE_MAX;
    queue->own.purge_again_ms = clock_mono_ms() + (more ? PURGE_PAUSE_MS : PURGE_EACH_MS);
}

void chores_do(struct queue *queue, bool idle)
{
    int64_t now_ms = clock_mono_ms();
    if (atomic_load(&queue->broken))
        return;
    if (queue->own.uncounted && now_ms >= queue->own.count_again_ms)
        count(queue);
    if (idle && now_ms >= queue->own.tidy_again_ms)
        tidy(queue);
}

void chores_note_commit(struct queue *queue)
{
    if (queue->own.tidy_again_ms == INT64_MAX)
        queue->own.tidy_again_ms = clock_mono_ms() + TIDY_AFTER_MS;
}

int64_t chores_wake_ms(const struct queue *queue)
{
    const struct queue_own *own = &queue->own;
    if (atomic_load(&queue->broken)) /* nothing is done any more */
        return INT64_MAX;
    int64_t wake_ms = own->purge_again_ms;
    if (queue->folder != NULL && own->look_again_ms < wake_ms)
        wake_ms = own->look_again_ms;
    if (own->uncounted && own->count_again_ms < wake_ms)
        wake_ms = own->count_again_ms;
    if (own->tidy_again_ms < wake_ms)
        wake_ms = own->tidy_again_ms;
    return wake_ms;
}
