#ifndef POSTERN_RELAY_AVAILABILITY_H
#define POSTERN_RELAY_AVAILABILITY_H

/* May mail go through a relay now, and is it a good place to go? */

#include "relay/state.h"

/* May a transaction begin now? Under the lock. */
bool availability_open(const struct relay *relay, int64_t now_ms);
/* Is mail given to it now likely to go at once (relay.h)? Under the lock. */
bool availability_good(const struct relay *relay, int64_t now_ms);
/* Tells the others if that has changed since they heard of it last. Not under the lock. */
void availability_announce(struct relay *relay);

#endif
