#ifndef POSTERN_RELAY_CONNECTION_H
#define POSTERN_RELAY_CONNECTION_H

/* One of a relay's connections, and the batches on it. On its slot's worker only. */

#include "relay/state.h"

/* Begins to open it; it reports to the pool how that goes. -1: no memory. */
int connection_open(struct relay_slot *slot, uv_loop_t *loop);
/* One that can take a delivery now; NULL: none. Idle ones that cannot any more say QUIT. */
struct connection *connection_idle(struct relay_slot *slot);
/* Give the delivery to that idle one. */
void connection_carry(struct connection *connection, struct mail *delivery);
/* Say QUIT to those idle since before `before_ms` (monotonic), and to those whose lifetime is over
 * or whose identity is an old one. */
void connections_quit_idle(struct relay_slot *slot, int64_t before_ms);
/* Idle ones say QUIT, those that are not in yet are given up. */
void connections_quit_unused(struct relay_slot *slot);
void connections_abort(struct relay_slot *slot);

#endif
