#ifndef POSTERN_QUEUE_INTERNAL_H
#define POSTERN_QUEUE_INTERNAL_H

/*
 * The inside of the queue, shared by its files alone:
 *
 *   queue.c    opening and closing, and what other threads call
 *   turn.c     the queue's thread: what has gathered goes to the store, then everybody is told
 *   intake.c   submissions in a turn
 *   settle.c   outcomes in a turn
 *   load.c     what is due in the store comes back into memory
 *   withdraw.c waits that run out
 *   calendar.c a wall clock that was set
 *   chores.c   free space, tidying, statistics, old records
 *
 * With them: verdict.c and retry.c decide, wait.c and claim.c keep, reader.c looks up, flight.c
 * remembers through a SIGKILL.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/metric.h"
#include "queue/claim.h"
#include "queue/flight.h"
#include "queue/queue.h"
#include "queue/reader.h"
#include "queue/submission.h"
#include "queue/verdict.h"
#include "queue/wait.h"

enum { TROUBLE_MS = 1000 /* the pause after a failed commit or load */ };

struct mail_list {
    struct mail *first, **end;
};

struct submission_list {
    struct submission *first, **end;
};

struct remark { /* what a waiting client with an idempotency key was told */
    struct remark *next;
    int status;
    char *api_key, *key, *body; /* in the same allocation */
};

struct remark_list {
    struct remark *first, **end;
};

struct inbox {
    struct submission_list submissions;
    struct mail_list outcomes;
    struct remark_list remarks;
};

/* Only the queue's thread looks in here. */
struct queue_own {
    struct waiters waiters;
    struct arena *arena;             /* of the turn under way */
    struct submission_list unwanted; /* their waits are over: to be canceled in the next turn */
    struct mail_list ready;          /* to be handed out at the end of the turn */
    struct inbox kept;               /* outcomes and remarks that could not be recorded yet */
    uint64_t held_bytes;             /* what claimed deliveries take */
    int64_t next_due_ms;             /* no unclaimed message is due before; on schedule_now() */
    int64_t rows_ahead_ms;           /* of the clock that times in the store are by, before
                                        clock_steady_ms() */

    /* monotonic; 0: at once */
    int64_t trouble_until_ms, load_again_ms, look_again_ms, count_again_ms, purge_again_ms,
        withdraw_again_ms, tidy_again_ms, clock_again_ms;
    bool uncounted; /* something was committed since the last statistics */
    bool narrow;    /* the store has given up its reserve: small transactions, no new mail */
};

struct queue {
    struct queue_settings settings;
    const struct store_ops *ops;
    struct store *store;
    struct flight_ledger *ledger;
    struct reader *reader;
    char *folder; /* of the store's file; NULL: it has none */
    pthread_t thread;
    bool has_thread;

    struct lock lock; /* guards the three below */
    struct inbox inbox;
    bool stop;
    struct store_stats stats;

    atomic_bool started, draining, broken, full;
    atomic_llong failed_ms; /* when a commit failed last, monotonic; 0: the last one did not */
    struct queue_own own;

    struct metric *accepted, *refused, *commit_seconds, *batch_size, *held;
    struct metric *depth[3];  /* queued, deferred, in doubt */
    struct metric *oldest[2]; /* queued, deferred */
};

/* queue_open() with a store of one's own. */
int queue_open_with(const struct store_ops *ops, const char *location,
                    const struct queue_settings *settings, struct queue **queue_out,
                    struct error *err);

/* No mail is taken in now, and `err` says why. */
bool queue_unwilling(const struct queue *queue, struct error *err);

/* --- lists -------------------------------------------------------------------------------- */

void inbox_init(struct inbox *inbox);
bool inbox_is_empty(const struct inbox *inbox);
void inbox_join(struct inbox *inbox, struct inbox *other); /* `other` is empty then */

/* --- turn.c ------------------------------------------------------------------------------- */

void *turn_run(void *queue); /* the thread: until `stop`, and nothing is left */
void turn_take(struct queue *queue, struct inbox *in); /* one turn with what has gathered */
/* What failed is logged; mail goes on being refused if the store is broken. */
void turn_failed(struct queue *queue, const char *what, const struct error *err);

/* --- intake.c ----------------------------------------------------------------------------- */

/* Those are refused for which the disk has no room. */
void intake_refuse_unfit(struct queue *queue, struct submission_list *list);
uint64_t submission_cost(const struct submission *submission); /* in the store, about */
void intake_refuse_all(struct queue *queue, struct submission_list *list, const struct error *err);
/* Into the turn, and claimed where they can be delivered straight from memory. */
int intake_gather(struct queue *queue, struct submission_list *list, struct store_turn *turn,
                  struct error *err);
void intake_undo(struct queue *queue, const struct store_turn *turn); /* nothing of it stands */
/* Tells everybody, and takes them. */
void intake_conclude(struct queue *queue, struct submission_list *list,
                     const struct store_turn *turn);

/* --- settle.c ----------------------------------------------------------------------------- */

/* What came back untouched goes out again; what needs to be recorded stays in the list. */
void settle_sort(struct queue *queue, struct mail_list *list);
/* Into the turn, with what is decided of them. */
int settle_gather(struct queue *queue, const struct mail_list *list, struct store_turn *turn,
                  struct error *err);
/* Takes them. Those that were not recorded wait for better times: false, there are some. */
bool settle_conclude(struct queue *queue, struct mail_list *list, const struct store_turn *turn);

/* --- load.c ------------------------------------------------------------------------------- */

int64_t schedule_now(const struct queue *queue); /* that the store's times are by; see load.c */
void hold(struct queue *queue, const struct mail *delivery);
void unhold(struct queue *queue, const struct mail *mail);
void let_go(struct queue *queue, struct mail *mail); /* and frees it */
bool has_room(const struct queue *queue, uint64_t cost);
void want_at(struct queue *queue, int64_t due_ms);

/* Into the turn, if it is time and there is room. */
void load_gather(struct queue *queue, struct store_turn *turn);
void load_undo(struct queue *queue); /* nothing of the turn stands */
/* When what the turn left open is wanted, and what it brought: ready. */
void load_conclude(struct queue *queue, const struct store_turn *turn);
int64_t load_wake_ms(struct queue *queue); /* monotonic; INT64_MAX: not by time */

/* --- withdraw.c --------------------------------------------------------------------------- */

/* Ends what is due (all of them when the queue drains): answers, or wants it canceled. */
void waits_end_due(struct queue *queue);
/* What is to be canceled into the turn, and what became of that. */
int withdraw_gather(struct queue *queue, struct store_turn *turn, struct error *err);
void withdraw_undo(struct queue *queue, const struct error *err); /* nothing of it stands */
void withdraw_conclude(struct queue *queue, const struct store_turn *turn);
int64_t waits_wake_ms(const struct queue *queue); /* monotonic; INT64_MAX: not by time */
/* After an outcome of it was committed: answers it, or lets it wait on. Takes it. */
void wait_go_on(struct queue *queue, struct submission *submission);
void waits_end_all(struct queue *queue); /* the thread ends */

/* --- calendar.c --------------------------------------------------------------------------- */

/* At start, before anything is read from the store. */
int calendar_open(struct queue *queue, struct error *err);
/* At the beginning of each turn; `list` is what has come in. */
void calendar_look(struct queue *queue, struct submission_list *list);

/* --- chores.c ----------------------------------------------------------------------------- */

void chores_look_at_disk(struct queue *queue); /* at most once a second */
/* A write found the disk full: what is in reserve is given up, and no mail is taken in until it is
 * there again. True: trying again is worth while. */
bool chores_relieve(struct queue *queue);
void chores_note_commit(struct queue *queue); /* there may be something to tidy */
/* Old records into the turn, when it is time; and what became of that (`err`: of the turn). */
void chores_gather(struct queue *queue, struct store_turn *turn, bool idle);
void chores_conclude(struct queue *queue, const struct store_turn *turn, const struct error *err);
void chores_do(struct queue *queue, bool idle);
int64_t chores_wake_ms(const struct queue *queue);

#endif
