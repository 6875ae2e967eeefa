#ifndef POSTERN_QUEUE_QUEUE_H
#define POSTERN_QUEUE_QUEUE_H

/*
 * The queue: submit and settle in batches (group commit), retry by schedule, wait for outcomes.
 *
 * One thread owns the store. It takes whatever has gathered since its last commit (submissions
 * and outcomes), commits that in one transaction, and then tells everybody concerned. A second
 * thread reads records, so that a lookup never waits for a sync and the API never for a disk.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "mail/mail.h"
#include "queue/store.h"

struct queue;

struct queue_settings {
    const char *store;       /* "sqlite:PATH", "memory:" */
    const int64_t *retry_ms; /* the last repeats; each gets ±20 % jitter */
    size_t n_retry;
    int64_t max_age_ms;
    int64_t retain_content_ms; /* after the end of a message */
    int64_t retain_record_ms;
    uint64_t min_free_bytes;  /* on the store's disk; below it submissions get ERR_STORE_FULL */
    uint64_t in_memory_bytes; /* contents of claimed deliveries held at once */
    bool hold_in_doubt;       /* after a power failure, when nobody knows by which relay a message
                                 went; else delivery->hold_in_doubt says it */

    /* Gets deliveries that are ready (a list through `next`, the callee's from then on). Called
     * from the queue's thread; must not block. */
    void (*ready)(void *arg, struct mail *list);
    void *arg;
};

/*
 * Opens the store, recovers what an earlier process left, starts the threads. Nothing is handed to
 * `ready` before queue_start().
 */
int queue_open(const struct queue_settings *settings, struct queue **queue_out, struct error *err);
int queue_start(struct queue *queue, struct error *err);
/* No more submissions (ERR_DRAINING), no more deliveries handed out; waiting clients get their 202
 * (memory: their 504) at once. Settlements still come in. */
void queue_drain(struct queue *queue);
/* Commits what has come in, ends the threads, closes the store. Nobody may call in any more. */
void queue_free(struct queue *queue);

enum queue_answer_kind {
    QUEUE_STORED,      /* durable; nobody waits, or the wait ran out, or the process drains */
    QUEUE_DONE,        /* every recipient has come to an end: `record` */
    QUEUE_REPLAY,      /* `status` and `body` of the first answer */
    QUEUE_MISMATCH,    /* Idempotency-Key seen with another request */
    QUEUE_IN_PROGRESS, /* ... and the first is still running */
    QUEUE_WITHDRAWN,   /* store memory: the wait ran out; it will not be sent. `record` */
    QUEUE_REFUSED,     /* not kept: `err` */
};

/* Valid during the call only. */
struct queue_answer {
    enum queue_answer_kind kind;
    const struct mail *record; /* DONE, WITHDRAWN, and STORED after a wait; or NULL */
    int status;
    const char *body;
    const struct error *err;
};

typedef void queue_answer_fn(void *arg, const struct queue_answer *answer);

/* What comes with a mail. Borrowed during the call, but for `answer_body`. */
struct queue_request {
    int64_t wait_ms;            /* 0: answered after the commit; else when every recipient has ended
                                   or the wait is over. A store that is not durable needs one */
    const char *key;            /* Idempotency-Key; NULL: none, and the next three say nothing */
    const uint8_t *fingerprint; /* SHA-256 of the request's canonical JSON */
    int answer_status;          /* what is answered if nobody waits, */
    const char *answer_body;    /* with this JSON text, which the mail's arena owns */
    queue_answer_fn *answer;
    void *arg;
};

/*
 * Takes `mail` whatever happens. `answer` is called exactly once, from a thread of the queue (or
 * from within, without memory). It must not block nor call queue functions other than
 * queue_remember().
 */
void queue_submit(struct queue *queue, struct mail *mail, const struct queue_request *request);

/* What a client that waited with an Idempotency-Key was told in the end. Copies its strings. */
void queue_remember(struct queue *queue, const char *api_key, const char *key, int status,
                    const char *body);

/* `found` is called once, from the reader's thread; `record` is NULL (ERR_NOT_FOUND, ...) or valid
 * during the call. */
typedef void queue_found_fn(void *arg, const struct mail *record, const struct error *err);
void queue_find(struct queue *queue, const char *id, queue_found_fn *found, void *arg);

enum queue_departure {
    QUEUE_DEPARTS,         /* go on */
    QUEUE_DEPARTS_NEVER,   /* it was withdrawn: settle it, all its verdicts DELIVERY_UNTRIED */
    QUEUE_DEPARTS_NOT_NOW, /* as many are under way as can be noted: keep it and ask later. Not to
                              be settled: it would be back at once */
};

/*
 * From a session, any thread: a transaction for `delivery` begins; it must be noted before an octet
 * of its content goes out.
 */
enum queue_departure queue_depart(struct queue *queue, struct mail *delivery);
/* What became of it, by the verdicts in it; takes it. UNTRIED recipients are ready again at once:
 * the queue gives the rest back by `ready`. */
void queue_settle(struct queue *queue, struct mail *mail);

/* For /readyz: can it take mail in? `err` says why not. */
bool queue_ready(const struct queue *queue, struct error *err);
/* A sync failed or the file is corrupt: the process should end with a failure. */
bool queue_broken(const struct queue *queue);

/* What relays took in the hours that had not ended at `since_ms` (wall clock; kept for a day):
 * `usage` is called for each relay and hour before this returns. Any thread, also before
 * queue_start(). */
typedef void queue_usage_fn(void *arg, const struct usage_record *usage);
int queue_usage(struct queue *queue, int64_t since_ms, queue_usage_fn *usage, void *arg,
                struct error *err);

struct store_stats queue_stats(struct queue *queue); /* a recent picture, for metrics */

#endif
