#ifndef POSTERN_RELAY_POOL_H
#define POSTERN_RELAY_POOL_H

/*
 * The inside of a relay, shared by relay.c (settings, status), pool.c (how many connections, and
 * who opens and wakes them) and carrier.c (one connection and the delivery it carries).
 *
 * Each worker has a berth: its carriers, touched by that worker's thread alone. What the berths
 * share stands in struct relay under one short lock.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "base/metric.h"
#include "relay/backoff.h"
#include "relay/ready.h"
#include "relay/relay.h"
#include "smtp/session.h"

struct carrier;

struct berth {
    struct worker_job job; /* pool_tend(), when somebody has something for this berth */
    struct relay *relay;
    size_t worker;
    size_t to_open;       /* under the relay's lock */
    size_t n_connections; /* under the relay's lock: open or opening here */
    size_t n_idle;        /* under the relay's lock */

    /* the worker's own */
    struct carrier *carriers; /* all, doubly linked */
    struct carrier *idle;     /* those without work, the one used last first */
    uv_timer_t tick;          /* runs while there is something to watch */
    bool has_tick, ticking;
};

struct relay_metrics {
    struct metric *sent, *deferred, *failed, *in_doubt, *untried;
    struct metric *replies[6]; /* by class */
    struct metric *attempts, *connects, *connect_failures;
    struct metric *open, *idle;
    struct metric *login_seconds, *transaction_seconds, *latency_seconds;
};

struct relay {
    const struct config_relay *settings;
    struct queue *queue;
    struct workers *workers;
    struct session_settings session;
    struct transport_tls *tls;
    struct relay_metrics metrics;

    pthread_mutex_t lock; /* guards everything below, and the berths' counts */
    struct ready ready;
    size_t n_connections, n_opening, n_idle;
    size_t limit;           /* connections wanted at most now: slow start, learned caps */
    struct backoff entry;   /* for opening connections */
    struct backoff traffic; /* for transactions: replies that ask us to slow down */
    bool draining, aborting;
    bool down, tried;
    struct error last_error;
    int64_t last_error_ms;

    size_t n_berths;
    struct berth berths[];
};

/* Look whether connections should be opened or idle ones woken, and post it to their berths. */
void pool_plan(struct relay *relay);
/* The next delivery for a session; NULL: none, or none wanted now. Noted as departed. */
struct delivery *pool_pull(struct relay *relay);

/* Told by carriers, on their worker's thread. */
void pool_opened(struct relay *relay);
void pool_idle_changed(struct berth *berth, bool idle);
/* `opened`: it got through login once. `carried`: it had a message accepted. */
void pool_closed(struct berth *berth, bool opened, bool carried, enum smtp_step step,
                 const struct error *why);
void pool_traffic_result(struct relay *relay, bool trouble, const struct reply_record *reply);

void berth_tend(struct worker_job *job, uv_loop_t *loop);

/* --- carrier.c --- */

int carrier_open(struct berth *berth, uv_loop_t *loop);
/* Give the delivery to the idle carrier `carrier`. */
void carrier_carry(struct carrier *carrier, struct delivery *delivery);
struct carrier *carrier_next(const struct carrier *carrier);
/* Say QUIT to those idle since before `before_ms` (monotonic). */
void carriers_quit_idle(struct berth *berth, int64_t before_ms);
void carriers_abort(struct berth *berth);

#endif
