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
#include "smtp/step.h"
#include "smtp/transport.h"

struct connector_settings { /* borrowed until the connector is gone */
    const char *host;
    uint16_t port;
    const char *source_address;  /* IP address; NULL: the system's choice */
    struct addresses *addresses; /* NULL: nothing is remembered */
    int64_t deadline_ms;         /* on the monotonic clock */
    /* Not to be tried any more: they connected, and then were of no use. */
    const struct sockaddr_storage *spent;
    size_t n_spent;
};

enum { CONNECTOR_ADDRESSES_MAX = 16 }; /* of a host that are tried */

/* Called on the loop's thread, and never before connector_start() has returned. */
struct connector_owner {
    void (*resolved)(void *arg); /* the name; addresses are tried from now on */
    void (*trying)(void *arg, const char *address);
    /* One of the two ends it: the connector is gone then. `transport` is the owner's. `n_left`: how
     * many addresses there are besides that have not failed. Whether this one serves is the owner's
     * to find out, and to tell `addresses`. */
    void (*connected)(void *arg, struct transport *transport, size_t n_left);
    /* Step DNS: ERR_DNS_FAILED. Step TCP: ERR_CONNECT_REFUSED, ERR_CONNECT_TIMEOUT,
     * ERR_CONNECT_FAILED; the detail names the address. ERR_NOMEM. */
    void (*failed)(void *arg, enum smtp_step step, const struct error *why);
    void *arg;
};

struct connector *connector_start(uv_loop_t *loop, const struct connector_settings *settings,
                                  const struct connector_owner *owner); /* NULL: no memory */
void connector_cancel(struct connector *connector); /* nothing is told any more; it is gone */

#endif
