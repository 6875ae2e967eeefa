#ifndef POSTERN_TESTS_CACHE_THREAD_H
#define POSTERN_TESTS_CACHE_THREAD_H

/* A token cache on a loop in a thread of its own; and somebody who asks it. Knows nothing of
 * Criterion, so that programs can use it, too. */

#include <pthread.h>
#include <semaphore.h>
#include <uv.h>

#include "oauth/tokens/cache.h"

struct cache_thread {
    const struct fetch_wire *wire; /* NULL: TOKEN_ENDPOINT */
    struct oauth_cache *cache;
    uv_loop_t loop;
    uv_async_t stop;
    pthread_t thread;
};

int cache_thread_start(struct cache_thread *at, const struct config *config, struct vault *vault,
                       struct error *err);
/* Detaches it, waits for the loop to end and frees it. */
void cache_thread_stop(struct cache_thread *at);

struct asker {
    struct oauth_ask ask; /* first: the one leads to the other */
    sem_t answered;
    void (*look)(struct asker *asker); /* from the cache's thread, before it is told; may be NULL */
};

void asker_init(struct asker *asker);
void asker_clear(struct asker *asker); /* gives its token back */
/* Whether it was answered at once. */
bool asker_ask(struct asker *asker, struct oauth_cache *cache, size_t entry);
/* Whether it was told within 20 s. */
bool asker_wait(struct asker *asker);

#endif
