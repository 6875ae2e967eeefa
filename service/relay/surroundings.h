#ifndef POSTERN_RELAY_SURROUNDINGS_H
#define POSTERN_RELAY_SURROUNDINGS_H

/* What a relay has around it: whom it takes mail from, whose threads it runs on, whom it asks. */

#include <uv.h>

#include "base/error.h"
#include "config/config.h"
#include "oauth/tokens/cache.h"
#include "queue/queue.h"
#include "relay/connect.h"
#include "relay/transcript.h"
#include "relay/worker.h"

struct explanation { /* of what is wrong with a relay */
    struct error error;
    const char *hint; /* what to change; "": none */
    bool hint_proved; /* it was tried, and it works */
};

/*
 * Finds out, without a login, what is wrong with a relay that nobody gets into. The relay only
 * asks; who looks stands above it (verify/).
 */
struct explainer {
    /* Begins on `loop`. `known` (NULL: nothing is): how AUTH went, which is what is wrong if all
     * else is well. `done` is called once, on the loop's thread, never before this returns; its
     * argument is valid during the call, NULL: nothing is wrong. Returns what `abort` takes; NULL:
     * no memory. */
    void *(*start)(uv_loop_t *loop, const struct config_relay *relay,
                   const struct relay_files *files, const struct error *known,
                   void (*done)(void *arg, const struct explanation *found), void *arg);
    void (*abort)(void *explaining); /* `done` is called soon */
};

struct relay_surroundings { /* borrowed for the relay's life */
    struct queue *queue;
    struct workers *workers;
    struct transcripts *transcripts;   /* NULL: none are kept */
    struct oauth_cache *tokens;        /* NULL: no relay needs any */
    struct reloader *reloader;         /* who looks at files; NULL: they are read once */
    const struct explainer *explainer; /* NULL: nobody looks what is wrong */
    /* It has become available, or is not any more. Called from workers, under no lock. */
    void (*changed)(void *arg);
    void *arg;
};

#endif
