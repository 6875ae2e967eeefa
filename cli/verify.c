#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/render_verify.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "oauth/vault/configured.h"
#include "relay/connect.h"
#include "verify/verify.h"

/* `postern verify`: one connection to a relay, step by step, and what would mend it. */

const char cli_verify_usage[] =
    "usage: postern verify [--config FILE] [--json] [RELAY | URL]\n"
    "RELAY is a name in the configuration, by default the first; URL is as POSTERN_RELAY's:\n"
    "smtps://user:password@host:465 (the password may come by POSTERN_RELAY_PASSWORD).\n";

enum { JSON_MAX_OCTETS = 1 << 20 };

struct arguments {
    const char *config, *relay; /* NULL: not given */
    bool json, bad;
};

static int usage(void)
{
    fputs(cli_verify_usage, stderr);
    return EXIT_USAGE;
}

static void parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"json", no_argument, NULL, 'j'}, {0}};
    for (int option; (option = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        if (option == 'c')
            a->config = optarg;
        a->json |= option == 'j';
        a->bad |= option == '?';
    }
    if (optind < argc)
        a->relay = argv[optind++];
    a->bad |= optind < argc;
}

/* --- which relay -------------------------------------------------------------------------- */

static bool is_url(const char *relay)
{
    return relay != NULL && strstr(relay, "://") != NULL;
}

/* NULL after telling why. */
static const struct config_relay *choose_relay(const struct config *config, const char *name,
                                               int *status)
{
    for (size_t i = 0; i < config->n_relays; i++)
        if (name == NULL || strcmp(config->relays[i].name, name) == 0)
            return &config->relays[i];
    *status = config->n_relays == 0 ? EXIT_CONFIG : EXIT_USAGE;
    if (config->n_relays == 0)
        fputs("postern: no relay is configured: set POSTERN_RELAY, or relays\n", stderr);
    else
        fprintf(stderr, "postern: no relay is named \"%s\"; the first is \"%s\"\n", name,
                config->relays[0].name);
    return NULL;
}

/* --- for a person ------------------------------------------------------------------------- */

/* A peer's text must not steer the terminal. */
static void print_text(const char *text)
{
    for (; *text != '\0'; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
}

static void print_line(const char *name, const char *text)
{
    if (text[0] == '\0')
        return;
    printf("%-12s ", name);
    print_text(text);
    putchar('\n');
}

static void print_steps(const struct verify_report *report)
{
    for (size_t i = 0; i < report->n_steps; i++) {
        const struct verify_step *step = &report->steps[i];
        printf("%-12s %-6s %6" PRId64 " ms  ", step->name, step->ok ? "ok" : "FAILED",
               (step->took_us + 500) / 1000);
        print_text(step->detail);
        putchar('\n');
    }
}

static void print_certificate(const struct transport_certificate *certificate)
{
    char until[32] = "";
    time_t end = (time_t)certificate->not_after_s;
    struct tm tm;
    strftime(until, sizeof(until), "%Y-%m-%d", gmtime_r(&end, &tm));
    print_line("certificate", certificate->names);
    print_line("issuer", certificate->issuer);
    print_line("valid until", until);
}

static void print_verdict(const struct verify_report *report)
{
    if (report->ok) {
        puts("it could send");
        return;
    }
    printf("%s: ", error_word(report->error.code));
    print_text(report->error.detail);
    if (report->hint[0] != '\0') {
        printf("\nhint%s: ", report->hint_proved ? ", proved" : "");
        print_text(report->hint);
    }
    putchar('\n');
}

static void print_report(const struct config_relay *relay, const struct verify_report *report)
{
    char extensions[256] = "";
    printf("%-12s %s port %u, tls: %s\n", relay->name, relay->host, relay->port,
           connect_tls_word(relay->tls));
    print_steps(report);
    if (report->has_certificate)
        print_certificate(&report->certificate);
    smtp_extensions_describe(&report->extensions, extensions, sizeof(extensions));
    print_line("extensions", extensions);
    print_line("mechanisms", report->extensions.auth);
    print_verdict(report);
}

/* --- all ---------------------------------------------------------------------------------- */

static int print_json(const struct verify_report *report)
{
    CLEANUP(buffer_clear) struct buffer text;
    struct json_writer w;
    buffer_init(&text, JSON_MAX_OCTETS);
    json_writer_init(&w, &text);
    w.indented = true;
    render_verify(&w, report);
    if (text.failed) {
        fputs("postern: out of memory\n", stderr);
        return -1;
    }
    printf("%.*s\n", (int)text.len, text.data);
    return 0;
}

/* With a cache of our own for the tokens it logs in with. */
static int run(const struct config *config, const struct config_relay *relay,
               struct verify_report *report_out, struct error *err)
{
    struct verify_options options = {0};
    CLEANUP(vault_close) struct vault *vault = NULL;
    if (relay->auth.oauth != NULL && (vault_open_configured(config, &vault, err) < 0 ||
                                      oauth_cache_new(config, vault, &options.tokens, err) < 0))
        return -1;
    int rc = verify_run(relay, &options, report_out, err);
    oauth_cache_free(options.tokens);
    return rc;
}

static int verify(const struct config *config, const struct config_relay *relay, bool json)
{
    static struct verify_report report;
    struct error err;
    if (run(config, relay, &report, &err) < 0) {
        fprintf(stderr, "postern: %s\n", err.detail);
        return EXIT_FAILURE;
    }
    if (!json)
        print_report(relay, &report);
    else if (print_json(&report) < 0)
        return EXIT_FAILURE;
    return report.ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cli_verify(int argc, char **argv)
{
    struct arguments a = {0};
    int status = EXIT_CONFIG;
    signal(SIGPIPE, SIG_IGN);
    parse(argc, argv, &a);
    if (a.bad || (is_url(a.relay) && a.config != NULL))
        return usage();
    CLEANUP(config_free)
    struct config *config = is_url(a.relay) ? cli_load_relay(a.relay) : cli_load_config(a.config);
    if (config == NULL)
        return status;
    const struct config_relay *relay =
        choose_relay(config, is_url(a.relay) ? NULL : a.relay, &status);
    return relay != NULL ? verify(config, relay, a.json) : status;
}
