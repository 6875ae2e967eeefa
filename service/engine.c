#include "engine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS_MAX = 4, SANDBOX_MESSAGES_MAX = 1000, SANDBOX_BYTES_MAX = 64 << 20 };

static size_t worker_count(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (size_t)cores;
}

static bool wants_sandbox(const struct config *config)
{
    return config->sandbox == CONFIG_SANDBOX_ON ||
           (config->sandbox == CONFIG_SANDBOX_AUTO && config->n_relays == 0);
}

/* The sandbox is reached as any relay is: by SMTP over a socket. */
static int start_sandbox(struct engine *engine, struct error *err)
{
    const struct sandbox_settings settings = {.max_messages = SANDBOX_MESSAGES_MAX,
                                              .max_bytes = SANDBOX_BYTES_MAX};
    if (sandbox_start(&settings, &engine->sandbox, err) < 0)
        return -1;
    engine->sandbox_relay = (struct config_relay){
        .name = "sandbox",
        .host = "127.0.0.1",
        .port = sandbox_port(engine->sandbox),
        .tls = CONFIG_TLS_NONE,
        .auth = {.mechanism = "none"},
        .connections = {.max = 4, .idle_ms = 30000, .lifetime_ms = 300000},
        .hostname = "localhost",
        .timeouts = {10000, 15000, 30000, 60000, 120000, 600000},
    };
    return 0;
}

static const struct config_relay *choose_relay(struct engine *engine, struct error *err)
{
    const struct config *config = engine->config;
    if (wants_sandbox(config) && start_sandbox(engine, err) < 0)
        return NULL;
    if (engine->sandbox != NULL && config->n_relays == 0)
        return &engine->sandbox_relay;
    if (config->n_relays == 1)
        return &config->relays[0];
    if (config->n_relays == 0)
        error_set(err, ERR_CONFIG,
                  "no relay is configured and the sandbox is off: set POSTERN_RELAY, or relays");
    else
        error_set(err, ERR_CONFIG, "more than one relay is not supported yet: leave one in relays");
    return NULL;
}

static void on_ready(void *arg, struct delivery *list)
{
    struct engine *engine = arg;
    relay_push(engine->relay, list);
}

static int open_queue(struct engine *engine, bool hold_in_doubt, struct error *err)
{
    const struct config *config = engine->config;
    const struct queue_settings settings = {
        .store = config->queue.store,
        .retry_ms = config->queue.retry_ms,
        .n_retry = config->queue.n_retry,
        .max_age_ms = config->queue.max_age_ms,
        .retain_content_ms = config->queue.retain_content_ms,
        .retain_record_ms = config->queue.retain_record_ms,
        .min_free_bytes = config->queue.min_free,
        .in_memory_bytes = config->queue.in_memory,
        .hold_in_doubt = hold_in_doubt,
        .ready = on_ready,
        .arg = engine,
    };
    return queue_open(&settings, &engine->queue, err);
}

int engine_start(const struct config *config, struct engine *engine, struct error *err)
{
    *engine = (struct engine){.config = config};
    const struct config_relay *relay = choose_relay(engine, err);
    if (relay == NULL || open_queue(engine, relay->on_in_doubt == 1, err) < 0 ||
        workers_start(worker_count(), &engine->workers, err) < 0 ||
        relay_new(relay, engine->queue, engine->workers, &engine->relay, err) < 0 ||
        queue_start(engine->queue, err) < 0) {
        engine_stop(engine);
        return -1;
    }
    snprintf(engine->relay_description, sizeof(engine->relay_description), "%s (%s:%u)",
             relay->name, relay->host, relay->port);
    return 0;
}

void engine_drain(struct engine *engine)
{
    queue_drain(engine->queue);
    relay_drain(engine->relay);
}

bool engine_at_rest(struct engine *engine)
{
    struct relay_status status;
    relay_status(engine->relay, &status);
    return status.n_connections == 0;
}

void engine_stop(struct engine *engine)
{
    if (engine->relay != NULL) {
        engine_drain(engine);
        relay_abort(engine->relay);
    }
    workers_stop(engine->workers);
    queue_free(engine->queue);
    relay_free(engine->relay);
    sandbox_stop(engine->sandbox);
    *engine = (struct engine){0};
}
