/*
 * A wall clock that is set while mail waits: a machine that starts without knowing the time and
 * learns it later, a clock that ran wrong and is put right.
 *
 * Times in the store are by the wall clock, for people read them and they outlive the process. What
 * counts is how much time has passed, though, so when the clock jumps, what was dated by it since
 * the machine was started goes along: no message expires, or is retried years later, for that. How
 * the clock stood is noted in the flight ledger, which lives as long as the machine runs, so a jump
 * is seen also if it fell between two processes. What comes from an earlier start of the machine
 * bears a date that nobody can check: one that cannot be true (from before this program, or still
 * to come) is forgotten, and the message counts from now. Deliveries in memory are by
 * clock_steady_ms(), which knows no jumps.
 */

#include "base/clock.h"
#include "base/log.h"
#include "queue/internal.h"

/* No message is older than the program: 2026-01-01. */
static const int64_t EARLIEST_MS = INT64_C(1767225600000);

/* Less is followed as it comes: forward at once, backward by waiting for the clock. */
enum { JUMP_MS = 5000 };

static bool is_jump(int64_t by_ms)
{
    return by_ms > JUMP_MS || by_ms < -JUMP_MS;
}

/* What was dated since the machine was started, which the clock as it
 * was puts at `started_ms`. */
static int shift(struct queue *queue, int64_t started_ms, int64_t by_ms, struct error *err)
{
    int64_t now_ms = started_ms + clock_boot_ms();
    if (queue->ops->shift(queue->store, started_ms, now_ms, by_ms, err) < 0)
        return -1;
    log_warn("the clock was set: times of what is kept go along", LOG_INT("by_ms", by_ms));
    return 0;
}

static int redate(struct queue *queue, int64_t now_ms, struct error *err)
{
    /* While the clock itself is that far back it is as good as any other. */
    int64_t before_ms = now_ms >= EARLIEST_MS ? EARLIEST_MS : INT64_MIN;
    return queue->ops->redate(queue->store, before_ms, now_ms + JUMP_MS, now_ms, err);
}

int calendar_open(struct queue *queue, struct error *err)
{
    int64_t started_ms = clock_wall_ms() - clock_boot_ms(), before_ms;
    queue->own.rows_ahead_ms = clock_wall_ms() - clock_steady_ms();
    if (flight_ledger_clock(queue->ledger, &before_ms) && is_jump(started_ms - before_ms) &&
        shift(queue, before_ms, started_ms - before_ms, err) < 0)
        return -1;
    flight_ledger_set_clock(queue->ledger, started_ms);
    return redate(queue, schedule_now(queue), err);
}

/* Those that were dated by the old clock and are not in the store yet. */
static void move_submissions(struct submission_list *list, int64_t started_ms, int64_t now_ms,
                             int64_t by_ms)
{
    for (struct submission *s = list->first; s != NULL; s = s->next)
        if (s->mail->created_ms >= started_ms && s->mail->created_ms <= now_ms) {
            s->mail->created_ms += by_ms;
            s->mail->expires_ms += by_ms;
        }
}

void calendar_look(struct queue *queue, struct submission_list *list)
{
    struct queue_own *own = &queue->own;
    struct error err;
    int64_t was_ms = schedule_now(queue), by_ms = clock_wall_ms() - was_ms;
    int64_t started_ms = was_ms - clock_boot_ms();
    if (!is_jump(by_ms)) {
        if (by_ms > 0)
            own->rows_ahead_ms += by_ms;
        return;
    }
    if (atomic_load(&queue->broken) || clock_mono_ms() < own->clock_again_ms)
        return;
    if (shift(queue, started_ms, by_ms, &err) < 0) {
        turn_failed(queue, "the times of what is kept could not be set right", &err);
        own->clock_again_ms = clock_mono_ms() + TROUBLE_MS;
        return;
    }
    move_submissions(list, started_ms, was_ms, by_ms);
    own->rows_ahead_ms += by_ms;
    own->next_due_ms = 0; /* look */
    flight_ledger_set_clock(queue->ledger, started_ms + by_ms);
}
