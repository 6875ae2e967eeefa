#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "engine.h"

/*
 * `postern serve`: everything in the order it starts, and the same list backwards when it ends.
 * This thread then only waits for signals: SIGTERM and SIGINT drain, a second one ends at once.
 * Either way nothing but a disk is waited for without a bound of its own, and that no longer than
 * END_MS: what is not committed then is in doubt, as after a SIGKILL.
 */

enum {
    LOG_FLUSH_MS = 2000,
    LOG_FLUSH_IN_HASTE_MS = 300,
    END_MS = 10000, /* behind the drain: what still waits then waits for a disk */
};

const char cli_serve_usage[] = "usage: postern serve [--config FILE]\n";

static int usage(void)
{
    fputs(cli_serve_usage, stderr);
    return EXIT_USAGE;
}

static const char *parse_arguments(int argc, char **argv, int *status)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {0}};
    const char *path = NULL;
    int option;
    *status = EXIT_SUCCESS;
    while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1)
        if (option == 'c')
            path = optarg;
        else
            *status = usage();
    if (optind < argc)
        *status = usage();
    return path;
}

/* All threads inherit the mask: signals are taken by sigtimedwait() here and nowhere else. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is a full disk: 503, not death */
}

/* Secrets live in this process's memory: they must not reach a core file. */
static void forbid_core_files(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

static int wait_for_signal(const sigset_t *set, int64_t wait_ms)
{
    const struct timespec wait = {.tv_sec = wait_ms / 1000,
                                  .tv_nsec = (long)(wait_ms % 1000) * 1000000};
    return sigtimedwait(set, NULL, &wait); /* -1: none came */
}

static bool is_end(int signal_number)
{
    return signal_number == SIGTERM || signal_number == SIGINT;
}

/* Until somebody ends us, or the store breaks. */
static bool run(struct engine *engine, const sigset_t *signals)
{
    for (;;) {
        int signal_number = wait_for_signal(signals, 500);
        if (is_end(signal_number))
            return true;
        if (signal_number == SIGHUP)
            log_warn("reload is not supported yet: restart to apply a changed configuration",
                     LOG_STR("signal", "SIGHUP"));
        if (queue_broken(engine->queue)) {
            log_error("the store is broken: no more mail is taken in",
                      LOG_STR("code", error_word(ERR_STORE_BROKEN)));
            return false;
        }
    }
}

/* Whether it is to end in haste. */
static bool drain(struct engine *engine, const sigset_t *signals, int64_t drain_ms)
{
    log_info("draining", LOG_INT("deadline_ms", drain_ms));
    int64_t deadline_ms = clock_mono_ms() + drain_ms;
    bool haste = false;
    engine_drain(engine);
    while (!haste && !engine_at_rest(engine) && clock_mono_ms() < deadline_ms)
        haste = is_end(wait_for_signal(signals, 20));
    if (!engine_at_rest(engine))
        log_warn("ended with transactions or verifies under way",
                 LOG_STR("code", error_word(ERR_CONNECTION_LOST)));
    return haste;
}

static void *wait_no_longer(void *arg)
{
    const struct timespec end = {.tv_sec = END_MS / 1000}, a_moment = {.tv_nsec = 200000000};
    while (nanosleep(&end, NULL) < 0)
        ;
    log_error("the end took too long: what is not committed is in doubt at the next start",
              LOG_STR("code", error_word(ERR_TIMEOUT)));
    nanosleep(&a_moment, NULL); /* for the log's thread */
    _exit(EXIT_FAILURE);
}

/* A commit or a lookup that hangs on its disk cannot be called off, only left. */
static void bound_the_end(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_no_longer, NULL) == 0)
        pthread_detach(thread);
}

/* The order matters: what requests wait for is given up before they are waited for. */
static void end(struct engine *engine, struct api *api, bool haste)
{
    bound_the_end();
    engine_abort(engine, haste);
    api_stop(api);
    engine_stop(engine);
}

static void say_hello(const struct engine *engine, const struct api *api,
                      const struct config *config)
{
    for (size_t i = 0; i < config->listen.n_items; i++)
        log_info("listening", LOG_STR("address", api_address(api, i)),
                 LOG_STR("relay", engine->relay_description));
    if (engine->sandbox != NULL)
        log_warn("sandbox: mail is delivered inside this process and goes nowhere else; see "
                 "/v1/sandbox/messages",
                 LOG_STR("relay", engine->relay_description));
}

/* Behind what the log has to say about it; a stderr that takes no more would hold us for ever. */
static int report(const struct error *err)
{
    if (log_stop(LOG_FLUSH_MS))
        fprintf(stderr, "postern: %s\n", err->detail);
    return err->code == ERR_CONFIG ? EXIT_CONFIG : EXIT_FAILURE;
}

int cli_serve(int argc, char **argv)
{
    int status;
    const char *path = parse_arguments(argc, argv, &status);
    if (status != EXIT_SUCCESS)
        return status;
    CLEANUP(config_free) struct config *config = cli_load_config(path);
    if (config == NULL)
        return EXIT_CONFIG;

    sigset_t signals;
    struct error err;
    struct engine engine;
    struct api *api;
    block_signals(&signals);
    forbid_core_files();
    log_configure((enum log_level)config->log_level, (enum log_format)config->log_format);
    if (log_start(&err) < 0) {
        fprintf(stderr, "postern: %s\n", err.detail);
        return EXIT_FAILURE;
    }
    if (engine_start(config, &engine, &err) < 0)
        return report(&err);
    const struct api_context context = {.config = config,
                                        .queue = engine.queue,
                                        .sandbox = engine.sandbox,
                                        .relays = engine.relays,
                                        .vault = engine.vault};
    if (api_start(&context, &api, &err) < 0) {
        engine_stop(&engine);
        return report(&err);
    }
    say_hello(&engine, api, config);

    bool orderly = run(&engine, &signals);
    bool haste = drain(&engine, &signals, config->drain_ms);
    end(&engine, api, haste);
    log_info("ended", LOG_STR("orderly", orderly ? "yes" : "no"));
    log_stop(haste ? LOG_FLUSH_IN_HASTE_MS : LOG_FLUSH_MS);
    return orderly ? EXIT_SUCCESS : EXIT_FAILURE;
}
