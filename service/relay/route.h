#ifndef POSTERN_RELAY_ROUTE_H
#define POSTERN_RELAY_ROUTE_H

/*
 * By which relays a recipient of a message may go, in which order: the first route that matches,
 * else all relays as they stand in the configuration. `match.from` is held against the header's
 * From, `match.to` against the recipient (addresses or "*@domain"); tag, api_key and priority must
 * be equal; within a list one match is enough, and all lists given must match. A message that names
 * a relay, or whose API key does, goes through that one alone.
 */

#include "config/config.h"
#include "queue/delivery.h"

struct routes;

enum { ROUTE_RELAYS_MAX = 16 };

struct route_choice { /* indices into config->relays */
    uint16_t relays[ROUTE_RELAYS_MAX];
    size_t n_relays; /* 0: the relay it names is not there any more */
};

/* `config` is borrowed for its life; every name in it was checked. ERR_NOMEM. */
int routes_new(const struct config *config, struct routes **routes_out, struct error *err);
void routes_free(struct routes *routes);
/* Does a message's way depend on its recipients? If not, recipient 0 speaks for all. */
bool routes_by_recipient(const struct routes *routes);
void routes_choose(const struct routes *routes, const struct delivery *delivery, size_t recipient,
                   struct route_choice *choice_out);

#endif
