#ifndef POSTERN_RELAY_POOL_H
#define POSTERN_RELAY_POOL_H

/* How many connections a relay has, who opens and wakes them, who gets the next delivery. */

#include "relay/state.h"

/* Look whether connections should be opened or idle ones woken, and post it to their slots. */
void pool_plan(struct relay *relay);
/* The next delivery for a session that carries `n_under_way` already; NULL: none, or none wanted
 * now. Noted as departed; recipients there is no room for now are held back. */
struct mail *pool_pull(struct relay *relay, size_t n_under_way);
/* So much of what was pulled at `pulled_ms` (monotonic) did not go: it counts against no rate. */
void pool_not_sent(struct relay *relay, int64_t n_messages, int64_t n_recipients,
                   int64_t pulled_ms);
/* A list of deliveries back to the queue. UNTRIED: they stay in the store, or have expired. */
void pool_give_back(struct relay *relay, struct mail *list);
int64_t pool_n_carried(const struct mail *delivery); /* recipients that are not held back */
int64_t pool_took_ms(struct relay *relay);           /* when it last took a message */

/* As whom to connect now; a reference, to be given back. */
struct identity *pool_identity(struct relay *relay);
/* One with that password and all that the relay's sessions share; NULL without memory. */
struct identity *pool_new_identity(struct relay *relay, struct secret *secret);
/* Takes over what the reloader has published since; nothing is read here. */
void pool_renew_identity(struct relay *relay);
bool pool_is_outdated(struct relay *relay, const struct identity *identity);

/* Connections report, on their worker's thread. */
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

#endif
