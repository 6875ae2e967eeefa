#include <errno.h>
#include <getopt.h>
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
 */

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

static void drain(struct engine *engine, const sigset_t *signals, int64_t drain_ms)
{
    log_info("draining", LOG_INT("deadline_ms", drain_ms));
    int64_t deadline_ms = clock_mono_ms() + drain_ms;
    engine_drain(engine);
    while (!engine_at_rest(engine) && clock_mono_ms() < deadline_ms)
        if (is_end(wait_for_signal(signals, 20)))
            break;
    engine_give_up(engine);
    if (!engine_at_rest(engine))
        log_warn("ended with transactions under way",
                 LOG_STR("code", error_word(ERR_CONNECTION_LOST)));
}

static void say_hello(const struct engine *engine, const struct config *config)
{
    for (size_t i = 0; i < config->listen.n_items; i++)
        log_info("listening", LOG_STR("address", config->listen.items[i]),
                 LOG_STR("relay", engine->relay_description));
    if (engine->sandbox != NULL)
        log_warn("sandbox: mail is delivered inside this process and goes nowhere else; see "
                 "/v1/sandbox/messages",
                 LOG_STR("relay", engine->relay_description));
}

static int report(const struct error *err)
{
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
    say_hello(&engine, config);

    bool orderly = run(&engine, &signals);
    drain(&engine, &signals, config->drain_ms);
    api_stop(api);
    engine_stop(&engine);
    log_info("ended", LOG_STR("orderly", orderly ? "yes" : "no"));
    return orderly ? EXIT_SUCCESS : EXIT_FAILURE;
}
