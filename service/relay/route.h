#ifndef POSTERN_RELAY_ROUTE_H
#define POSTERN_RELAY_ROUTE_H

/*
 * By which relays a recipient of a message may go, in which order: the first route that matches,
 * else all relays as they stand in the configuration. `match.from` is held against the header's
 * From, `match.to` against the recipient (addresses or "*@domain"); tag, api_key and priority must
 * be equal; within a list one match is enough, and all lists given must match.
 *
 * Before all routes: the mail of an API key that names a relay goes through that one alone, and so
 * does a message that names one itself. A message that names another than its key's is not taken
 * in; should it have been before the key got its relay, the key's counts: it is what the operator
 * allows this client.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "config/config.h"
#include "mail/mail.h"

struct routes;

struct route_choice {
    const uint16_t *relays; /* indices into config->relays; borrowed for the routes' life */
    size_t n_relays;        /* 0: what it names is not there any more */
};

/* `config` is borrowed for its life; every name in it was checked. ERR_NOMEM. */
int routes_new(const struct config *config, struct routes **routes_out, struct error *err);
void routes_free(struct routes *routes); /* NULL is fine */
DEFINE_CLEANUP(struct routes *, routes_free)

/* Does a message's route depend on its recipients? If not, recipient 0 speaks for all. */
bool routes_by_recipient(const struct routes *routes);
void routes_choose(const struct routes *routes, const struct mail *delivery, size_t recipient,
                   struct route_choice *choice_out);

#endif
