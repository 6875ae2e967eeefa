#ifndef POSTERN_TESTS_RELAY_POOL_RIG_H
#define POSTERN_TESTS_RELAY_POOL_RIG_H

/*
 * A relay with a real queue behind it, and with workers that only note that a slot was called:
 * what a slot does then is the test's to do. So nothing but the test touches the relay.
 */

#include <stdatomic.h>

#include "relay/pool.h"
#include "relay/relay.h"
#include "relay/state.h"
#include "tests/unit/service/queue/rig.h"

enum { POOL_RIG_WORKERS = 2 };

struct pool_rig {
    struct rig mail;
    struct config_relay settings; /* may be changed at any time: the relay borrows them */
    struct workers *workers;
    struct relay *relay;
    atomic_int n_changed; /* how often others were told that its availability is another */
};

/* For jobs' `run`; by worker. */
extern atomic_int pool_rig_calls[POOL_RIG_WORKERS];

void pool_rig_init(struct pool_rig *rig); /* settings may be changed before pool_rig_open() */
void pool_rig_open(struct pool_rig *rig);
/* The queue gets back what the relay has; no connections may be left. */
void pool_rig_clear(struct pool_rig *rig);

/* The next message's delivery, made and ready. */
struct mail *pool_rig_mail(struct pool_rig *rig, const struct letter *letter);
/* `n` messages to one recipient each, given to the relay at once. */
void pool_rig_push(struct pool_rig *rig, size_t n);
void pool_rig_await_call(size_t worker);                     /* and forget it */
int64_t pool_rig_used(struct pool_rig *rig, const char *of); /* of its first limit of that kind */

/* All slots of the flight ledger are taken, or free again. */
void pool_rig_fill_ledger(struct pool_rig *rig);
void pool_rig_empty_ledger(struct pool_rig *rig);

#endif
