#include "tests/unit/support/cache_thread.h"

#include <time.h>

#include "tests/unit/support/token_endpoint.h"

enum { PATIENCE_S = 120, NEED_MS = 6 * 60 * 1000 };

static void on_stop(uv_async_t *stop)
{
    struct cache_thread *at = stop->data;
    oauth_cache_detach(at->cache);
    uv_close((uv_handle_t *)stop, NULL);
}

static void *run_loop(void *arg)
{
    uv_run(arg, UV_RUN_DEFAULT);
    return NULL;
}

int cache_thread_start(struct cache_thread *at, const struct config *config, struct vault *vault,
                       struct error *err)
{
    const struct fetch_wire *wire = at->wire != NULL ? at->wire : &TOKEN_ENDPOINT;
    if (oauth_cache_new_over(config, vault, wire, &at->cache, err) < 0)
        return -1;
    uv_loop_init(&at->loop);
    uv_async_init(&at->loop, &at->stop, on_stop);
    at->stop.data = at;
    if (oauth_cache_attach(at->cache, &at->loop, err) < 0)
        return -1;
    return pthread_create(&at->thread, NULL, run_loop, &at->loop) == 0
               ? 0
               : error_set(err, ERR_IO, "no thread");
}

void cache_thread_stop(struct cache_thread *at)
{
    uv_async_send(&at->stop);
    pthread_join(at->thread, NULL);
    uv_loop_close(&at->loop);
    oauth_cache_free(at->cache);
    at->cache = NULL;
}

static void on_answered(struct oauth_ask *ask)
{
    struct asker *asker = (struct asker *)ask;
    if (asker->look != NULL)
        asker->look(asker);
    sem_post(&asker->answered);
}

void asker_init(struct asker *asker)
{
    *asker = (struct asker){.ask.answered = on_answered};
    sem_init(&asker->answered, 0, 0);
}

void asker_clear(struct asker *asker)
{
    oauth_token_unref(TAKE(asker->ask.token));
    sem_destroy(&asker->answered);
}

bool asker_ask(struct asker *asker, struct oauth_cache *cache, size_t entry)
{
    return oauth_cache_get(cache, entry, NEED_MS, &asker->ask);
}

bool asker_wait(struct asker *asker)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until); /* the thread sanitizer knows no sem_clockwait() */
    until.tv_sec += PATIENCE_S;
    return sem_timedwait(&asker->answered, &until) == 0;
}
