#ifndef POSTERN_SMTP_CONNECT_PATH_H
#define POSTERN_SMTP_CONNECT_PATH_H

/*
 * The path to a server: straight (connector.h), or to a proxy and through it (proxy.h). What
 * stands at its end is a transport on which the server is the next to be heard.
 */

#include <uv.h>

#include "base/error.h"
#include "smtp/settings.h"
#include "smtp/step.h"
#include "smtp/transport.h"

struct connect_path;

/* Called on the loop's thread, and never before connect_path_start() has returned. */
struct connect_path_owner {
    void (*step)(void *arg, enum smtp_step step); /* DNS, TCP, PROXY: it has succeeded */
    void (*trying)(void *arg, const char *what);  /* "192.0.2.1 port 587" */
    /* One of the two ends it: the path is gone then. `transport` is the owner's. `n_left`: how many
     * addresses of the host are left to try; behind a proxy none, for it is the proxy's to know. */
    void (*open)(void *arg, struct transport *transport, size_t n_left);
    /* As the connector says it; whatever keeps us from the proxy, or the proxy from the server, is
     * ERR_PROXY_FAILED. */
    void (*failed)(void *arg, enum smtp_step step, const struct error *why);
    void *arg;
};

/* `settings` are borrowed until the path is gone. The connect timeout bounds the name and the
 * addresses together, and once more the talk with the proxy, however it trickles. `spent` (copied)
 * are addresses not to be tried again. NULL: no memory. */
struct connect_path *connect_path_start(uv_loop_t *loop, const struct session_settings *settings,
                                        const struct sockaddr_storage *spent, size_t n_spent,
                                        const struct connect_path_owner *owner);
void connect_path_cancel(struct connect_path *path); /* nothing is told any more; it is gone */
enum smtp_step connect_path_step(const struct connect_path *path); /* where it is */
/* NULL: not connected yet; borrowed. */
const struct transport *connect_path_transport(const struct connect_path *path);

#endif
