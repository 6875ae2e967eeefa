#ifndef POSTERN_RELAY_STATE_H
#define POSTERN_RELAY_STATE_H

/*
 * The inside of a relay, shared by its files alone:
 *
 *   relay.c     set-up, status, pause and resume, the end
 *   pool.c      how many connections, who opens and wakes them, who gets the next delivery
 *   breaker.c   the breaker: connections that fail, replies that ask something of us
 *   connection.c   one connection and what it carries
 *   batch.c  one delivery in a transaction, from its envelope to its verdicts
 *   attribution.c     is it the relay that fails, or one message that makes it fail?
 *   inspection.c  a verify that somebody asked for
 *
 * Each worker has a slot: its connections, touched by that worker's thread alone. What the slots
 * share stands in struct relay under one short lock.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "base/metric.h"
#include "relay/backoff.h"
#include "relay/identity.h"
#include "relay/ready.h"
#include "relay/relay.h"
#include "smtp/addresses.h"
#include "smtp/reaction.h"
#include "smtp/session.h"

struct connection;

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
    struct inspection *inspections; /* verifies that somebody asked for */
    struct verify *explaining;      /* finds out what is wrong; NULL: nothing is, or we know */
    uv_timer_t tick;                /* runs while there is something to watch */
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
    char hint[VERIFY_HINT_SIZE];
    bool hint_proved;
    int64_t at_ms;    /* wall clock */
    char *transcript; /* of the connection; owned; NULL: none */
};

struct relay {
    const struct config_relay *settings;
    struct relay_surroundings around;
    struct transport_tls *tls;
    struct addresses *addresses;
    struct login_memory login_memory; /* threads share it without the lock */
    struct relay_metrics metrics;
    struct smtp_distrust distrust;      /* shared by its sessions */
    struct reload *password;            /* of a file; NULL: it is in none */
    _Atomic(uint64_t) password_version; /* that `identity` has; changed under the lock */
    struct transport_tls *spare_tls;    /* for verifies, of one that has no `tls`; or NULL */
    struct verify_files files;          /* what of it verifies take */

    /* Guards everything below, and the slots' counts. Under it nothing is logged, read from a disk
     * or called back. */
    pthread_mutex_t lock;
    struct identity *identity; /* of new connections */
    struct ready ready;
    struct rate *messages, *recipients;
    size_t n_connections, n_opening, n_idle;
    size_t n_inspections;   /* asked for and not yet answered */
    size_t limit;           /* connections wanted at most now: slow start after an outage */
    size_t cap;             /* connections it bears, as its refusals taught us */
    int64_t cap_ms;         /* when it was learned, or last raised again */
    int64_t probing_ms;     /* since when nobody has let us in; 0: we are in, or do not try */
    struct backoff entry;   /* for opening connections */
    struct backoff traffic; /* for transactions: replies that ask us to slow down */
    int64_t took_ms;        /* when it last took a message; monotonic */
    bool paused, draining, aborting;
    bool down, tried, wanted;       /* wanted: mail waits that would rather come here */
    bool explained;                 /* a verify looks, or has looked, at this outage */
    bool found_out;                 /* ... and `failure` is what it found */
    int64_t explained_ms;           /* when it began */
    enum error_code explained_code; /* how it looked from here; ERR_NONE: not known yet */
    bool was_available;             /* as others have heard */
    struct relay_failure failure;   /* the last */

    size_t n_slots;
    struct relay_slot slots[];
};

/* --- pool.c ------------------------------------------------------------------------------- */

/* Look whether connections should be opened or idle ones woken, and post it to their slots. */
void pool_plan(struct relay *relay);
/* The next delivery for a session that carries `n_under_way` already; NULL: none, or none wanted
 * now. Noted as departed; recipients there is no room for now are held back. */
struct delivery *pool_pull(struct relay *relay, size_t n_under_way);
/* So much of what was pulled at `pulled_ms` (monotonic) did not go: it counts against no rate. */
void pool_not_sent(struct relay *relay, int64_t n_messages, int64_t n_recipients,
                   int64_t pulled_ms);
/* A list of deliveries back to the queue. UNTRIED: they stay in the store, or have expired. */
void pool_give_back(struct relay *relay, struct delivery *list);
int64_t pool_n_carried(const struct delivery *delivery); /* recipients that are not held back */
int64_t pool_took_ms(struct relay *relay);
bool pool_available(const struct relay *relay, int64_t now_ms); /* under the lock */
/* Tells the others if it has changed since they were told last. Under no lock. */
void pool_tell_changes(struct relay *relay);

/* As whom to connect now; a reference, to be given back. */
struct identity *pool_identity(struct relay *relay);
/* One with that password and all that the relay's sessions share; NULL without memory. */
struct identity *pool_new_identity(struct relay *relay, struct secret *secret);
bool pool_is_outdated(struct relay *relay, const struct identity *identity);

/* Told by connections, on their worker's thread. */
void pool_opened(struct relay *relay);
void pool_idle_changed(struct relay_slot *slot, bool idle);

struct pool_ending {
    bool opened;   /* it got through login once */
    bool harmless; /* ... and had a message answered, or there was none for it */
    enum smtp_step step;
    const struct error *why;
    const char *transcript; /* NULL: none */
};
void pool_closed(struct relay_slot *slot, const struct pool_ending *ending);

void slot_tend(struct worker_job *job, uv_loop_t *loop);

/* --- breaker.c ---------------------------------------------------------------------------- */

/* A connection failed before it was of use; under the lock. Returns the pause. */
int64_t breaker_connect_failed(struct relay *relay, const struct pool_ending *ending);
void breaker_log(const struct relay *relay, const struct relay_failure *failure, int64_t pause_ms);
/* What a transaction was answered. true: that connection should end. Under no lock. */
bool breaker_refused(struct relay *relay, enum smtp_step step, const struct reaction *reaction,
                     const struct reply_record *reply);
/* A transaction was answered as it should be; `took`: and something was sent by it. */
void breaker_succeeded(struct relay *relay, bool took);
/* A relay that is down for want of a token is tried again as soon as there is one. */
void breaker_look_for_token(struct relay *relay);
/* Find out, without logging in, what is wrong with a relay that nobody gets into. On its loop. */
void breaker_explain(struct relay_slot *slot, uv_loop_t *loop);

/* --- inspection.c -------------------------------------------------------------------------------
 */

void inspections_abort(struct relay_slot *slot);

/* --- connection.c ---------------------------------------------------------------------------- */

int connection_open(struct relay_slot *slot, uv_loop_t *loop);
/* One that can take a delivery now; NULL: none. Idle ones that cannot any more say QUIT. */
struct connection *connection_idle(struct relay_slot *slot);
/* Give the delivery to the idle connection `connection`. */
void connection_carry(struct connection *connection, struct delivery *delivery);
/* Say QUIT to those idle since before `before_ms` (monotonic), and to those whose lifetime is over
 * or whose identity is an old one. */
void connections_quit_idle(struct relay_slot *slot, int64_t before_ms);
/* Idle ones say QUIT, those still on their way in are given up. */
void connections_quit_unused(struct relay_slot *slot);
void connections_abort(struct relay_slot *slot);

#endif
