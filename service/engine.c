#include "engine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "oauth/vault/configured.h"
#include "verify/relay_verify.h"

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
        .name = SANDBOX_RELAY,
        .host = "127.0.0.1",
        .port = sandbox_port(engine->sandbox),
        .tls = CONFIG_TLS_NONE,
        .auth = {.mechanism = "none"},
        .connections = {.max = 4, .idle_ms = 30000, .lifetime_ms = 300000},
        .window = 16,
        .hostname = "localhost",
        .timeouts = {10000, 15000, 30000, 60000, 120000, 600000},
    };
    return 0;
}

static int have_somewhere_to_go(struct engine *engine, struct error *err)
{
    const struct config *config = engine->config;
    if (wants_sandbox(config))
        return start_sandbox(engine, err);
    if (config->n_relays == 0)
        return error_set(
            err, ERR_CONFIG,
            "no relay is configured and the sandbox is off: set POSTERN_RELAY, or relays");
    return 0;
}

/* After a power failure nobody knows which relay had what: the careful way, if any is careful. */
static bool any_holds(const struct config *config)
{
    for (size_t i = 0; i < config->n_relays; i++)
        if (config->relays[i].on_in_doubt == 1)
            return true;
    return false;
}

static void on_ready(void *arg, struct mail *list)
{
    struct engine *engine = arg;
    relays_push(engine->relays, list);
}

static int open_queue(struct engine *engine, struct error *err)
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
        .hold_in_doubt = any_holds(config),
        .ready = on_ready,
        .arg = engine,
    };
    return queue_open(&settings, &engine->queue, err);
}

/* --- tokens ------------------------------------------------------------------------------- */

static void on_attach(struct worker_job *job, uv_loop_t *loop)
{
    struct engine *engine = ((struct engine_job *)job)->engine;
    struct error err;
    if (oauth_cache_attach(engine->tokens, loop, &err) < 0)
        log_error("tokens cannot be obtained", LOG_STR("code", error_word(err.code)),
                  LOG_STR("detail", err.detail));
}

static void on_detach(struct worker_job *job, uv_loop_t *loop)
{
    oauth_cache_detach(((struct engine_job *)job)->engine->tokens);
}

static int start_tokens(struct engine *engine, struct error *err)
{
    if (engine->config->n_oauth == 0)
        return 0;
    if (vault_open_configured(engine->config, &engine->vault, err) < 0 ||
        oauth_cache_new(engine->config, engine->vault, &engine->tokens, err) < 0)
        return -1;
    engine->attach = (struct engine_job){.job.run = on_attach, .engine = engine};
    engine->detach = (struct engine_job){.job.run = on_detach, .engine = engine};
    workers_post(engine->workers, 0, &engine->attach.job);
    return 0;
}

static void describe(struct engine *engine)
{
    size_t n = engine->config->n_relays;
    const struct config_relay *first = n > 0 ? &engine->config->relays[0] : &engine->sandbox_relay;
    int len = snprintf(engine->relay_description, sizeof(engine->relay_description), "%s (%s:%u)",
                       first->name, first->host, first->port);
    if (n > 1 && len > 0 && (size_t)len < sizeof(engine->relay_description))
        snprintf(engine->relay_description + len, sizeof(engine->relay_description) - (size_t)len,
                 " and %zu more", n - 1);
}

int engine_start(const struct config *config, struct engine *engine, struct error *err)
{
    *engine = (struct engine){.config = config};
    if (have_somewhere_to_go(engine, err) < 0 || open_queue(engine, err) < 0 ||
        workers_start(worker_count(), &engine->workers, err) < 0 ||
        reloader_start(&engine->reloader, err) < 0 || start_tokens(engine, err) < 0 ||
        relays_new(config, engine->sandbox != NULL ? &engine->sandbox_relay : NULL, engine->queue,
                   engine->workers, engine->tokens, engine->reloader, &verify_explainer,
                   &engine->relays, err) < 0 ||
        queue_start(engine->queue, err) < 0) {
        engine_stop(engine);
        return -1;
    }
    describe(engine);
    return 0;
}

void engine_drain(struct engine *engine)
{
    queue_drain(engine->queue);
    relays_drain(engine->relays);
}

bool engine_at_rest(struct engine *engine)
{
    return relays_at_rest(engine->relays);
}

void engine_abort(struct engine *engine, bool haste)
{
    if (engine->aborted)
        return;
    engine->aborted = true;
    if (engine->relays != NULL) {
        engine_drain(engine);
        relays_abort(engine->relays);
    }
    if (engine->tokens != NULL && haste)
        oauth_cache_hurry(engine->tokens);
    if (engine->tokens != NULL)
        workers_post(engine->workers, 0, &engine->detach.job);
    if (engine->vault != NULL)
        vault_end(engine->vault);
}

void engine_stop(struct engine *engine)
{
    engine_abort(engine, false);
    workers_stop(engine->workers);
    queue_free(engine->queue);
    relays_free(engine->relays);
    oauth_cache_free(engine->tokens);
    vault_close(engine->vault);
    reloader_stop(engine->reloader);
    sandbox_stop(engine->sandbox);
    *engine = (struct engine){0};
}
