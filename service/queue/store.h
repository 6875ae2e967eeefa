#ifndef POSTERN_QUEUE_STORE_H
#define POSTERN_QUEUE_STORE_H

/*
 * Where messages are kept: a turn goes in whole, a result for each item comes out. One
 * implementation each for SQLite and memory (PostgreSQL later), and one conformance suite for all.
 *
 *            submit               claim                 settle
 *   (client) ──────► queued ─────────────► (claimed) ─────────────► sent | failed      bodies
 * dropped ▲                      │                      when the last one ends └── deferred,
 * in_doubt ◄┘  next_at says when
 *
 * Durable before it is answered: a submission (message, recipients, content, idempotency key)
 * before its 2xx; an outcome before a waiting client hears of it. A claim needs no durability:
 * recover() releases all of them at start.
 *
 * All functions but find() and usage() run on the queue's thread; find() runs on the reader's, at
 * the same time. Errors: ERR_STORE_FULL, ERR_STORE_UNAVAILABLE (nothing of it stands, try again
 * later), ERR_STORE_BROKEN (a failed sync or a corrupt file: stop taking mail and end), ERR_NOMEM.
 * Times are wall-clock milliseconds.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mail/mail.h"
#include "queue/flight.h"
#include "queue/usage.h"

struct store;

#define STORE_ALL_CLAIMED SIZE_MAX

enum { STORE_FINGERPRINT_SIZE = 32 /* octets: SHA-256 */ };

enum store_submitted {
    STORE_SUBMIT_NEW,
    STORE_SUBMIT_REPLAY,      /* same key, same request: `first_*` is the first answer */
    STORE_SUBMIT_MISMATCH,    /* same key, other request */
    STORE_SUBMIT_IN_PROGRESS, /* same key, the first is not answered yet */
};

/*
 * --- a turn ---
 *
 * `fault` of an item: NULL if it was recorded, else why it alone was not; the turn's arena owns it.
 * What is marked "out" is the store's to fill in, the rest is the caller's.
 */

/* What became of a mail's transaction; the verdicts are in it. The queue has decided the next
 * times. What its relay took (`n_sent`) is added to its usage of the hour. */
struct store_outcome {
    const struct mail *mail;
    /* Per recipient of the mail, same order. NULL: nothing became of it, the claim is given
     * back and the message is due at `due_ms`. */
    const enum recipient_status *status;
    const int64_t *next_ms; /* 0: final, or held */
    int64_t due_ms;         /* out: when the message is wanted again; INT64_MAX: not by time */
    const struct error *fault;
};

/* What a waiting client was told, for its idempotency key (api_key, key). */
struct store_answer {
    const char *api_key, *key;
    int status;
    const char *body;
    const struct error *fault;
};

/* What is not finished of a message is canceled; the message ends. */
struct store_cancel {
    int64_t seq;
    const char *api_key, *key; /* `key` is forgotten: its request was refused after all; or NULL */
    const struct error *fault;
};

struct store_submission {
    const struct mail *mail;
    bool claimed;    /* the caller delivers it at once: it is not to be loaded */
    const char *key; /* the idempotency key; NULL: none, and the next three say nothing */
    const uint8_t *fingerprint; /* SHA-256 of the request's canonical JSON, 32 octets */
    int answer_status;          /* what is answered once it is durable; 0: not known yet, a client
                                   waits for the outcome (the key is then in progress) */
    const char *answer_body;    /* JSON text for answer_status, or for 202 */

    enum store_submitted result; /* out */
    int64_t seq;                 /* out, NEW: the store's key of it */
    int first_status;            /* out, REPLAY; the text is the turn's arena's */
    const char *first_body;
    const struct error *fault;
};

/*
 * Claims messages that are due, up to `max_n` and about `max_bytes` of content. High priority comes
 * first and low last, oldest due first within each, but a share of what is handed out is the
 * oldest due of all: nothing starves. A mail that is loaded
 * has only the recipients that are due.
 */
struct store_load {
    size_t max_n; /* 0: nothing is wanted */
    size_t max_bytes;
    struct mail *list;   /* out: the caller's, through `next` */
    int64_t next_due_ms; /* out: when the next unclaimed message is due; INT64_MAX: none */
    const struct error *fault;
};

struct store_purge {                             /* what is to go */
    size_t max_n;                                /* records, and contents; 0: nothing */
    int64_t record_before_ms, content_before_ms; /* of messages that ended before */
    int64_t usage_before_ms;                     /* of hours that began before */
    size_t n;                                    /* out: records and contents that went */
    const struct error *fault;
};

struct store_turn {
    struct arena *arena; /* for what comes out; the caller's */
    int64_t now_ms;      /* what is recorded is dated by it */
    bool keep_content;   /* it stays after a message has ended (retention.content > 0) */
    struct store_outcome *outcomes;
    size_t n_outcomes;
    struct store_answer *answers;
    size_t n_answers;
    struct store_cancel *cancels;
    size_t n_cancels;
    struct store_submission *submissions;
    size_t n_submissions;
    struct store_load load; /* last, so that what is due again now comes at once */
    struct store_purge purge;
};

struct store_stats {
    int64_t n_queued, n_deferred, n_in_doubt;     /* recipients not finished, by status */
    int64_t oldest_queued_ms, oldest_deferred_ms; /* created_ms; 0: none */
};

struct store_ops {
    const char *scheme; /* "sqlite", "memory" */
    bool durable;

    /* `location` is what stands behind "scheme:". Refuses a file another process has open, one
     * with a newer schema, one that is not a database; never replaces a file that is not empty. */
    int (*open)(const char *location, struct store **store_out, struct error *err);
    void (*close)(struct store *store);

    /*
     * All of the turn, durable when it returns 0. What fails by itself is left out: its `fault`
     * says why. -1: nothing of it stands.
     */
    int (*commit)(struct store *store, struct store_turn *turn, struct error *err);

    /* At start, in one transaction: release every claim; the unfinished recipients of the messages
     * that were in flight become in doubt, wanted again at `due_ms` (0: held) or held if the flight
     * says so; keys in progress get their 202. STORE_ALL_CLAIMED for `n_flights`: all messages that
     * were claimed (the list did not survive), by `due_ms` alone. */
    int (*recover)(struct store *store, const struct flight *flights, size_t n_flights,
                   int64_t now_ms, int64_t due_ms, struct error *err);
    /* Both by themselves, durable when they return 0. The wall clock was set: the times of messages
     * created from `from_ms` to `to_ms`, by the clock as it was, go along by `by_ms`. */
    int (*shift)(struct store *store, int64_t from_ms, int64_t to_ms, int64_t by_ms,
                 struct error *err);
    /* Messages not finished that were created before or after what can be true count from now. */
    int (*redate)(struct store *store, int64_t before_ms, int64_t after_ms, int64_t now_ms,
                  struct error *err);

    /* A store on a disk keeps some of it in reserve, so that outcomes can always be recorded. */
    /* Can content of about so many octets be taken in and all of it come to its outcome? */
    bool (*has_room)(struct store *store, uint64_t bytes);
    /* The disk is full: what was in reserve is given up. 0: trying again is worth while. */
    int (*relieve)(struct store *store);
    /* A while's tidying, when nothing else is to be done: what is not used goes back to the disk,
     * the reserve is made again. true: there is more to do. */
    bool (*tidy)(struct store *store);

    /* What was taken in the hours that had not ended at `since_ms`; the caller clears it.
     * Thread-safe against all the others. */
    int (*usage)(struct store *store, int64_t since_ms, struct usage_list *list_out,
                 struct error *err);

    /* 0 and a record the caller owns, or ERR_NOT_FOUND. Thread-safe against all the others. */
    int (*find)(struct store *store, const char *id, struct mail **record_out, struct error *err);
    /* As of the last commit; its cost does not grow with the backlog. */
    int (*stats)(struct store *store, struct store_stats *stats_out, struct error *err);
};

extern const struct store_ops store_sqlite;
extern const struct store_ops store_memory;

/* The implementation for "sqlite:PATH" or "memory:"; `*location_out` points behind the colon. */
const struct store_ops *store_for(const char *url, const char **location_out);

#endif
