#ifndef POSTERN_API_API_H
#define POSTERN_API_API_H

/* The HTTP face of a gateway (contract section 4). */

#include "config/config.h"
#include "queue/queue.h"
#include "relay/relays.h"
#include "sandbox/sandbox.h"

struct api_context { /* borrowed for the API's life */
    const struct config *config;
    struct queue *queue;
    struct sandbox *sandbox; /* NULL: none */
    struct relays *relays;
    struct vault *vault; /* NULL: there are no oauth entries */
};

struct api;

/* Listens on every configured address. ERR_CONFIG if one cannot be had. */
int api_start(const struct api_context *context, struct api **api_out, struct error *err);
/* Where it listens for the n-th `listen` of the settings: for port 0 with the port it has got. */
const char *api_address(const struct api *api, size_t n);
/* Ends when every request has been answered: after engine_abort(), which sees to it, and before
 * engine_stop(). What still comes in gets a 503. NULL is fine. */
void api_stop(struct api *api);

#endif
