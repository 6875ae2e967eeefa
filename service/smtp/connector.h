#ifndef POSTERN_SMTP_CONNECTOR_H
#define POSTERN_SMTP_CONNECTOR_H

/*
 * Getting to a host: its name is resolved, then its addresses race (RFC 8305). A new attempt begins
 * every 250 ms, or at once when one fails; the first that connects wins and the others are closed.
 * One deadline bounds it all.
 *
 * Of all that failed the most telling is told: that nothing listens at one address rather than that
 * there is no route to another.
 */

#include <uv.h>

#include "base/error.h"
#include "smtp/addresses.h"
#include "smtp/dialogue.h"
#include "smtp/transport.h"

struct connector_settings { /* borrowed until the connector is gone */
    const char *host;
    uint16_t port;
    const char *source_address;  /* IP address; NULL: the system's choice */
    struct addresses *addresses; /* NULL: nothing is remembered */
    int64_t deadline_ms;         /* on the monotonic clock */
};

/* Called on the loop's thread, and never before connector_start() has returned. */
struct connector_owner {
    void (*resolved)(void *arg); /* the name; addresses are tried from now on */
    void (*trying)(void *arg, const char *address);
    /* One of the two ends it: the connector is gone then. `transport` is the owner's. */
    void (*connected)(void *arg, struct transport *transport);
    /* Step DNS: ERR_DNS_FAILED. Step TCP: ERR_CONNECT_REFUSED, ERR_CONNECT_TIMEOUT,
     * ERR_CONNECT_FAILED; the detail names the address. ERR_NOMEM. */
    void (*failed)(void *arg, enum smtp_step step, const struct error *why);
    void *arg;
};

struct connector *connector_start(uv_loop_t *loop, const struct connector_settings *settings,
                                  const struct connector_owner *owner); /* NULL: no memory */
void connector_cancel(struct connector *connector); /* nothing is told any more; it is gone */

#endif
