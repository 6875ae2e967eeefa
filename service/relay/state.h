#ifndef POSTERN_RELAY_STATE_H
#define POSTERN_RELAY_STATE_H

/*
 * The inside of a relay, shared by the files of this folder alone; each stands on those above it:
 *
 *   state         what there is
 *   availability  may mail go now, and is this a good place for it?
 *   breaker       failures, and replies that ask something of us: closed, open, half-open
 *   pool          how many connections, who opens and wakes them, who gets the next delivery
 *   batch         one delivery in a transaction, from its envelope to its outcomes
 *   connection    one connection and what it carries
 *   task          others' work on the relay's loops
 *   slot          what a relay has on one worker, and what that worker does for it
 *   relay         set-up, status, pause and resume, the end
 *
 * What one worker has for a relay stands in a slot, touched by that worker's thread alone. What the
 * slots share stands in struct relay under one short lock.
 */

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/lock.h"
#include "base/metric.h"
#include "relay/backoff.h"
#include "relay/identity.h"
#include "relay/rate.h"
#include "relay/ready.h"
#include "relay/surroundings.h"
#include "smtp/addresses.h"
#include "smtp/diagnosis.h"
#include "smtp/session.h"

struct connection; /* connection.h */
struct relay_task; /* task.h */

struct relay_slot {
    struct worker_job job; /* slot_tend(), when somebody has something for this slot */
    struct relay *relay;
    size_t worker;
    size_t to_open;       /* under the relay's lock */
    size_t n_connections; /* under the relay's lock: open or opening here */
    size_t n_idle;        /* under the relay's lock */

    /* the worker's own */
    struct connection *connections; /* all, doubly linked */
    struct connection *idle;        /* those without work, the one used last first */
    struct relay_task *tasks;       /* those that have begun */
    void *explaining; /* the explainer's: it finds out what is wrong; NULL: it is not at it */
    uv_timer_t tick;  /* runs while there is something to watch */
    bool has_tick, ticking;
};

struct relay_metrics {
    struct metric *sent, *deferred, *failed, *in_doubt, *untried;
    struct metric *replies[6]; /* by class */
    struct metric *attempts, *connects, *connect_failures;
    struct metric *open, *idle;
    struct metric *login_seconds, *transaction_seconds, *latency_seconds;
};

struct relay_failure {
    struct error error; /* ERR_NONE: none; `where` is the step */
    char hint[DIAGNOSIS_HINT_SIZE];
    bool hint_proved;
    int64_t at_ms; /* wall clock */
};

struct relay {
    const struct config_relay *settings;
    struct relay_surroundings around;
    struct transport_tls *tls;
    struct addresses *addresses;
    struct login_memory login_memory; /* threads share it without the lock */
    struct relay_metrics metrics;
    struct smtp_distrust distrust; /* shared by its sessions */
    struct reload *password;       /* of a file; NULL: it is in none */

    /* Changed under the lock; looked at without it, so that a message that goes well takes it less
     * often. */
    _Atomic(uint64_t) password_version;  /* that `identity` has */
    _Atomic(struct identity *) identity; /* of new connections. Without the lock it is compared
                                            with one that is held, and nothing more */
    _Atomic(int64_t) took_ms;            /* when it last took a message; monotonic */
    atomic_bool slowed;                  /* `traffic` has failures */

    struct transport_tls *spare_tls; /* for a verify of one that has no `tls`; or NULL */
    struct relay_files files;        /* what of it a verify takes */

    /*
     * Guards everything below, and the slots' counts. No other lock is taken under it. Nothing
     * under it allocates, formats, copies more than a struct relay_failure, logs, reads from a disk
     * or calls back: what is needed is made ready before, what is replaced is freed behind.
     */
    struct lock lock;
    struct ready ready;
    struct rate *messages, *recipients;
    size_t n_connections, n_opening, n_idle;
    size_t n_tasks;         /* posted and not yet ended */
    size_t limit;           /* connections wanted at most now: slow start after an outage */
    size_t cap;             /* connections it bears, as its refusals taught us */
    int64_t cap_ms;         /* when it was learned, or last raised again */
    int64_t probing_ms;     /* since when nobody has let us in; 0: we are in, or do not try */
    struct backoff entry;   /* the breaker for opening connections */
    struct backoff traffic; /* the breaker for transactions: replies that ask us to slow down */
    bool paused, draining, aborting;
    bool down, tried, wanted;       /* wanted: mail waits that would rather come here */
    bool explained;                 /* the explainer looks, or has looked, at this outage */
    bool found_out;                 /* ... and `failure` is what it found */
    int64_t explained_ms;           /* when it began */
    enum error_code explained_code; /* how it looked from here; ERR_NONE: not known yet */
    bool was_available;             /* what others were last told */
    struct relay_failure failure;   /* the last */
    struct bytes *transcript;       /* of the last connection that failed; NULL: none */

    size_t n_slots;
    struct relay_slot slots[];
};

#endif
