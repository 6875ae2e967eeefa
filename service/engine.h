#ifndef POSTERN_ENGINE_H
#define POSTERN_ENGINE_H

/*
 * Everything behind the HTTP face, put together: sandbox, queue, workers, relays. `serve` runs one
 * with the configured store, `send` one in memory.
 */

#include "config/config.h"
#include "queue/queue.h"
#include "relay/relays.h"
#include "sandbox/sandbox.h"

struct engine {
    const struct config *config; /* borrowed */
    struct sandbox *sandbox;     /* NULL: none */
    struct config_relay sandbox_relay;
    struct workers *workers;
    struct reloader *reloader;
    struct vault *vault;        /* NULL: no relay needs tokens */
    struct oauth_cache *tokens; /* likewise */
    struct engine_job {
        struct worker_job job;
        struct engine *engine;
    } attach, detach; /* of `tokens`, to the first worker's loop */
    struct queue *queue;
    struct relays *relays;
    char relay_description[160]; /* for a person: where mail goes */
};

int engine_start(const struct config *config, struct engine *engine, struct error *err);
/* No new transactions, those under way finish. */
void engine_drain(struct engine *engine);
bool engine_at_rest(struct engine *engine); /* no connection is left */
/* Whoever waits for a disk or another process's lock waits no more: he is told ERR_DRAINING. */
void engine_give_up(struct engine *engine);
/* Ends what is left (its messages are in doubt, and say so at the next start) and frees all. */
void engine_stop(struct engine *engine);

#endif
