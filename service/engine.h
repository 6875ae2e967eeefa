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
    bool aborted;
    char relay_description[160]; /* for a person: where mail goes */
};

int engine_start(const struct config *config, struct engine *engine, struct error *err);
/* No new transactions, those under way finish. */
void engine_drain(struct engine *engine);
bool engine_at_rest(struct engine *engine); /* no connection is left, no verify under way */
/* Gives up what is left: transactions (their messages are in doubt), verifies (ERR_DRAINING), waits
 * for tokens, for a disk or for another process's lock. So whoever waits for any of it is answered
 * soon, or as soon as the store's disk lets us. In `haste` a refresh under way is hardly waited
 * for. */
void engine_abort(struct engine *engine, bool haste);
/* The same, not in haste, if it was not done before; then frees all. */
void engine_stop(struct engine *engine);

#endif
