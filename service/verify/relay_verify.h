#ifndef POSTERN_VERIFY_RELAY_VERIFY_H
#define POSTERN_VERIFY_RELAY_VERIFY_H

/* Verifying the relays of a running gateway, on their own loops and with the files they have read.
 */

#include "relay/relay.h"
#include "verify/verify.h"

/* One that somebody asked for, with the login, on one of the workers' loops. `done` is called
 * there; after relay_abort() soon and with ERR_DRAINING in the report, unless it has found out what
 * it looked for. -1: ERR_DRAINING, ERR_NOMEM. Any thread. */
int relay_verify(struct relay *relay, void (*done)(void *arg, const struct verify_report *report),
                 void *arg, struct error *err);

/* What a relay asks when nobody gets in. */
extern const struct explainer verify_explainer;

#endif
