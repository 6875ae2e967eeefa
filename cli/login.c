#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"
#include "cli/commands.h"
#include "cli/gateway.h"
#include "cli/load.h"
#include "config/provider.h"
#include "config/secret.h"
#include "oauth/login/login.h"
#include "oauth/login/upload.h"
#include "oauth/tokens/cache.h"
#include "oauth/vault/configured.h"
#include "verify/verify.h"

/*
 * `postern login`: the refresh token is stored before anything else is said, then what was done and
 * what to configure, then whether the relay takes it. People read stderr, programs stdout. No token
 * and no secret is printed, and none is taken from the command line.
 */

const char cli_login_usage[] =
    "usage: postern login [--config FILE] ENTRY\n"
    "       postern login --client-id ID [--client-secret-file FILE] [--tenant T] PROVIDER\n"
    "ENTRY is the name of an oauth entry of the configuration; PROVIDER is google, microsoft,\n"
    "yahoo, aol or fastmail, and then the lines for the configuration are printed.\n"
    "  --user U              the mailbox; the provider proposes it to whoever logs in\n"
    "  --paste               the browser is on another machine: paste the address it ends up at\n"
    "  --redirect-uri URI    the one that is registered, if loopback is not; implies --paste\n"
    "  --store PATH          the queue's file, beside which the grant is kept\n"
    "  --to-gateway URL      put it into a running gateway (its key in POSTERN_API_KEY[_FILE]);\n"
    "                        https://, or http:// to this machine\n"
    "  --allow-plaintext     ... or to another, on a network that nobody else is on\n"
    "  --json                the result as JSON\n";

struct arguments { /* NULL: not given */
    const char *name, *config, *client_id, *client_secret_file, *tenant, *user, *redirect_uri,
        *store, *gateway;
    bool paste, json, allow_plaintext, bad;
};

struct result {
    const char *place;                /* where it is stored */
    const struct config_relay *relay; /* that was tried; NULL: none uses the entry */
    bool verified;
};

static int out_of_memory(void)
{
    fputs("postern: out of memory\n", stderr);
    return EXIT_FAILURE;
}

/* --- arguments ---------------------------------------------------------------------------- */

static int usage(void)
{
    fputs(cli_login_usage, stderr);
    return EXIT_USAGE;
}

static const char **text_argument(struct arguments *a, int option)
{
    switch (option) {
    case 'c':
        return &a->config;
    case 'i':
        return &a->client_id;
    case 'f':
        return &a->client_secret_file;
    case 't':
        return &a->tenant;
    case 'u':
        return &a->user;
    case 'r':
        return &a->redirect_uri;
    case 's':
        return &a->store;
    case 'g':
        return &a->gateway;
    default:
        return NULL;
    }
}

static void parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"client-id", required_argument, NULL, 'i'},
                                            {"client-secret-file", required_argument, NULL, 'f'},
                                            {"tenant", required_argument, NULL, 't'},
                                            {"user", required_argument, NULL, 'u'},
                                            {"redirect-uri", required_argument, NULL, 'r'},
                                            {"store", required_argument, NULL, 's'},
                                            {"to-gateway", required_argument, NULL, 'g'},
                                            {"paste", no_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"allow-plaintext", no_argument, NULL, 'l'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        const char **text = text_argument(a, option);
        if (text != NULL)
            *text = optarg;
        a->paste |= option == 'p' || option == 'r';
        a->json |= option == 'j';
        a->allow_plaintext |= option == 'l';
        a->bad |= option == '?';
    }
    a->name = optind < argc ? argv[optind++] : NULL;
    a->bad |= a->name == NULL || optind < argc || (a->store != NULL && a->gateway != NULL);
}

/* --- which entry -------------------------------------------------------------------------- */

static const struct provider_name *find_provider(const char *word)
{
    const struct provider_name *name = provider_names;
    while (name->word != NULL && strcmp(name->word, word) != 0)
        name++;
    return name->word != NULL ? name : NULL;
}

static const struct config_oauth *find_entry(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_oauth; i++)
        if (strcmp(config->oauth[i].name, name) == 0)
            return &config->oauth[i];
    return NULL;
}

static int read_secret(const char *path, struct arena *arena, const char **secret_out)
{
    char secret[CONFIG_SECRET_SIZE];
    struct error err;
    if (path == NULL)
        return 0;
    if (config_read_secret_file(path, secret, &err) < 0) {
        fprintf(stderr, "postern: %s\n", err.detail);
        return -1;
    }
    *secret_out = arena_strdup(arena, secret);
    explicit_bzero(secret, sizeof(secret));
    return *secret_out != NULL ? 0 : -1;
}

/* An entry that is not configured yet. An exit status, after saying why. */
static int make_entry(const struct arguments *a, struct arena *arena, struct config_oauth *entry)
{
    const struct provider_name *provider = find_provider(a->name);
    if (provider == NULL) {
        fprintf(stderr, "postern: no oauth entry is named \"%s\", nor any provider we know\n",
                a->name);
        return EXIT_USAGE;
    }
    if (a->client_id == NULL) {
        fprintf(stderr,
                "postern: %s wants an application registered with it: give its id by --client-id\n",
                a->name);
        return EXIT_USAGE;
    }
    *entry = (struct config_oauth){.name = a->name,
                                   .provider = provider->id,
                                   .grant = CONFIG_OAUTH_REFRESH_TOKEN,
                                   .client_auth = CONFIG_OAUTH_CLIENT_UNSAID,
                                   .tenant = a->tenant,
                                   .client_id = a->client_id,
                                   .client_secret_file = a->client_secret_file};
    return read_secret(a->client_secret_file, arena, &entry->client_secret) == 0 ? EXIT_SUCCESS
                                                                                 : EXIT_CONFIG;
}

static int take_entry(const struct config_oauth *configured, const struct arguments *a,
                      struct config_oauth *entry)
{
    if (a->client_id != NULL || a->client_secret_file != NULL || a->tenant != NULL) {
        fprintf(stderr, "postern: \"%s\" is configured, with its client and tenant\n", a->name);
        return EXIT_USAGE;
    }
    if (configured->grant != CONFIG_OAUTH_REFRESH_TOKEN) {
        fprintf(stderr, "postern: \"%s\" needs no login: its grant obtains tokens by itself\n",
                a->name);
        return EXIT_USAGE;
    }
    *entry = *configured;
    return EXIT_SUCCESS;
}

static int choose_entry(const struct config *config, const struct arguments *a, struct arena *arena,
                        struct config_oauth *entry)
{
    const struct config_oauth *configured = find_entry(config, a->name);
    int status =
        configured != NULL ? take_entry(configured, a, entry) : make_entry(a, arena, entry);
    const char *fault = status == EXIT_SUCCESS ? provider_fill(entry, arena) : NULL;
    if (fault == NULL)
        return status;
    fprintf(stderr, "postern: %s: %s\n", a->name, fault);
    return EXIT_CONFIG;
}

static const struct config_relay *find_relay(const struct config *config, const char *entry)
{
    for (size_t i = 0; i < config->n_relays; i++) {
        const char *oauth = config->relays[i].auth.oauth;
        if (oauth != NULL && strcmp(oauth, entry) == 0)
            return &config->relays[i];
    }
    return NULL;
}

/* --- what a person sees meanwhile ----------------------------------------------------------- */

static bool can_open_browser(void)
{
    return getenv("DISPLAY") != NULL || getenv("WAYLAND_DISPLAY") != NULL;
}

/* In a session of its own: our Ctrl-C is not meant for the browser. What it says is not for here.
 */
static bool open_browser(const char *url)
{
    char name[] = "xdg-open";
    char *const argv[] = {name, (char *)url, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t usual;
    pid_t pid;
    if (!can_open_browser() || posix_spawn_file_actions_init(&files) != 0)
        return false;
    posix_spawnattr_init(&attributes);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, STDIN_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, STDIN_FILENO, STDERR_FILENO);
    bool opened = posix_spawnp(&pid, name, &files, &attributes, argv, environ) == 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return opened;
}

static void on_device(void *arg, const char *uri, const char *user_code)
{
    fprintf(stderr, "\nOn any machine, open\n\n    %s\n\nand type the code\n\n    %s\n\n", uri,
            user_code);
}

static void on_visit(void *arg, const char *url)
{
    const struct arguments *a = arg;
    bool opened = !a->paste && open_browser(url);
    fprintf(stderr, "\n%s\n\n%s\n\n",
            opened ? "A browser opens; if it does not, open this address:"
                   : "Open this address in a browser:",
            url);
    if (a->paste || isatty(STDIN_FILENO))
        fputs("If the browser is on another machine it ends up at an address that does not load:\n"
              "paste that address here, whole, or the code in it.\n\n",
              stderr);
}

static void on_waiting(void *arg, int64_t left_s)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rwaiting, %" PRId64 ":%02" PRId64 " left ", left_s / 60, left_s % 60);
}

static void on_ignored(void *arg, const struct error *why)
{
    fprintf(stderr, "%spostern: ignored: %s\n", isatty(STDERR_FILENO) ? "\n" : "", why->detail);
}

static int obtain(const struct config_oauth *entry, const struct arguments *a,
                  char **refresh_token_out)
{
    struct error err;
    const struct login_listener listener = {.device = on_device,
                                            .visit = on_visit,
                                            .waiting = on_waiting,
                                            .ignored = on_ignored,
                                            .arg = (void *)a};
    const struct login_options options = {.user = a->user,
                                          .by_code = a->paste,
                                          .paste = a->paste,
                                          .paste_fd =
                                              a->paste || isatty(STDIN_FILENO) ? STDIN_FILENO : -1,
                                          .redirect_uri = a->redirect_uri};
    int rc = login_run(entry, &options, &listener, refresh_token_out, &err);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (rc < 0)
        fprintf(stderr, "postern: %s: %s\n", error_word(err.code), err.detail);
    return rc;
}

/* --- where it is kept ----------------------------------------------------------------------- */

/* `config` with --store in place of its queue's: "sqlite:PATH", or PATH. NULL: no memory. */
static const struct config *with_store(const struct config *config, const char *store,
                                       struct arena *arena)
{
    struct config *copy = arena_alloc(arena, sizeof(*copy));
    bool is_path = strchr(store, ':') == NULL;
    if (copy == NULL)
        return NULL;
    *copy = *config;
    copy->queue.store = is_path ? arena_printf(arena, "sqlite:%s", store) : store;
    return copy->queue.store != NULL ? copy : NULL;
}

static int open_vault(const struct config *config, struct arena *arena, struct vault **vault_out,
                      struct result *result)
{
    static const char scheme[] = "sqlite:";
    struct error err;
    if (strncmp(config->queue.store, scheme, strlen(scheme)) != 0) {
        fprintf(stderr, "postern: %s is no file, so no grant can be kept beside it: give --store\n",
                config->queue.store);
        return EXIT_USAGE;
    }
    result->place = arena_printf(arena, "%s.grants", config->queue.store + strlen(scheme));
    if (result->place == NULL)
        return out_of_memory();
    if (vault_open_configured(config, vault_out, &err) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "postern: %s\n", err.detail);
    return err.code == ERR_CONFIG ? EXIT_CONFIG : EXIT_FAILURE;
}

static int store(struct vault *vault, const struct arguments *a, const char *refresh_token)
{
    struct error err;
    char key[CONFIG_SECRET_SIZE] = "";
    if (a->gateway != NULL && cli_gateway_key(key) < 0)
        return -1;
    int rc = a->gateway != NULL ? oauth_upload_grant(a->gateway, key[0] != '\0' ? key : NULL,
                                                     a->name, refresh_token, &err)
                                : vault_put(vault, a->name, refresh_token, &err);
    explicit_bzero(key, sizeof(key));
    if (rc < 0)
        fprintf(stderr, "postern: the login succeeded, but its grant could not be stored: %s\n",
                err.detail);
    return rc;
}

/* --- what was done -------------------------------------------------------------------------- */

/* What JSON calls a string is one in YAML too, whatever is in it. */
static void print_setting(const char *indent, const char *name, const char *value)
{
    json_auto_t *text = value != NULL ? json_string(value) : NULL;
    if (text == NULL)
        return;
    printf("%s%s: ", indent, name);
    json_dumpf(text, stdout, JSON_ENCODE_ANY);
    putchar('\n');
}

static void print_oauth_lines(const struct arguments *a)
{
    printf("oauth:\n  - name: %s\n    provider: %s\n    grant: refresh_token\n", a->name, a->name);
    print_setting("    ", "tenant", a->tenant);
    print_setting("    ", "client_id", a->client_id);
    print_setting("    ", "client_secret_file", a->client_secret_file);
}

static void print_relay_lines(const struct arguments *a, const struct config_oauth *entry)
{
    const char *service = NULL;
    for (const struct provider_name *name = provider_names; name->word != NULL; name++)
        if (name->id == entry->provider)
            service = name->service;
    printf("relays:\n  - name: %s\n", a->name);
    print_setting("    ", service != NULL ? "service" : "host",
                  service != NULL ? service : "smtp.example.com");
    printf("    auth:\n");
    print_setting("      ", "username", a->user != NULL ? a->user : "user@example.com");
    print_setting("      ", "oauth", a->name);
}

static void print_done(const struct arguments *a, const struct config_oauth *entry, bool has_entry,
                       bool has_relay, const struct result *result)
{
    fprintf(stderr, "The grant of \"%s\" is stored in %s.\n", a->name, result->place);
    if (a->store != NULL)
        fprintf(stderr, "The gateway finds it there if that is its queue.store.\n");
    if (has_relay || a->json)
        return;
    fputs("For the configuration:\n\n", stderr);
    if (!has_entry)
        print_oauth_lines(a);
    print_relay_lines(a, entry);
    fflush(stdout);
}

/* As a gateway would: with a token that the stored grant is good for. */
static int verify_relay(const struct config *config, const struct config_relay *relay,
                        struct vault *vault, struct verify_report *report_out, struct error *err)
{
    struct verify_options options = {0};
    if (oauth_cache_new(config, vault, &options.tokens, err) < 0)
        return -1;
    int rc = verify_run(relay, &options, report_out, err);
    oauth_cache_free(options.tokens);
    return rc;
}

static int prove(const struct config *config, struct vault *vault, struct result *result)
{
    static struct verify_report report;
    struct error err;
    const struct config_relay *relay = result->relay;
    if (verify_relay(config, relay, vault, &report, &err) < 0) {
        fprintf(stderr, "postern: %s\n", err.detail);
        return EXIT_FAILURE;
    }
    result->verified = report.ok;
    if (report.ok)
        fprintf(stderr, "The relay \"%s\" takes its token: it could send.\n", relay->name);
    else
        fprintf(stderr, "postern: the relay \"%s\" could not send with it: %s: %s%s%s\n",
                relay->name, error_word(report.error.code), report.error.detail,
                report.hint[0] != '\0' ? "; " : "", report.hint);
    return report.ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_json(const struct arguments *a, const struct result *result)
{
    json_auto_t *tree =
        json_pack("{s:s, s:s, s:s?, s:o}", "name", a->name, "stored", result->place, "relay",
                  result->relay != NULL ? result->relay->name : NULL, "verified",
                  result->relay != NULL ? json_boolean(result->verified) : json_null());
    if (tree == NULL || json_dumpf(tree, stdout, JSON_INDENT(2)) < 0)
        return out_of_memory();
    putchar('\n');
    return EXIT_SUCCESS;
}

/* --- all ---------------------------------------------------------------------------------- */

/* They would hold the tokens. */
static void forbid_core_files(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

/* A gateway that has the grant renews it, so nobody else may: a provider that rotates refresh
 * tokens would take two users of one for theft. Then it is for that gateway to verify. */
static int finish(const struct config *config, const struct arguments *a,
                  const struct config_oauth *entry, struct vault *vault, struct result *result)
{
    const struct config_relay *relay = find_relay(config, a->name);
    print_done(a, entry, find_entry(config, a->name) != NULL, relay != NULL, result);
    result->relay = vault != NULL ? relay : NULL;
    int status = result->relay != NULL ? prove(config, vault, result) : EXIT_SUCCESS;
    return a->json && print_json(a, result) != EXIT_SUCCESS ? EXIT_FAILURE : status;
}

static int obtain_and_store(const struct config *config, const struct arguments *a,
                            const struct config_oauth *entry, struct vault *vault,
                            struct result *result)
{
    char *refresh_token = NULL;
    if (obtain(entry, a, &refresh_token) < 0)
        return EXIT_FAILURE;
    int rc = store(vault, a, refresh_token);
    explicit_bzero(refresh_token, strlen(refresh_token));
    free(refresh_token);
    return rc == 0 ? finish(config, a, entry, vault, result) : EXIT_FAILURE;
}

/* The place is prepared before anybody is asked to log in: it would be a pity if that were lost. */
static int login(const struct config *config, const struct arguments *a, struct arena *arena)
{
    struct config_oauth entry = {0};
    struct result result = {.place = a->gateway};
    CLEANUP(vault_close) struct vault *vault = NULL;
    int status = choose_entry(config, a, arena, &entry);
    if (status == EXIT_SUCCESS && a->store != NULL)
        config = with_store(config, a->store, arena);
    if (config == NULL)
        return out_of_memory();
    if (status == EXIT_SUCCESS && a->gateway == NULL)
        status = open_vault(config, arena, &vault, &result);
    return status == EXIT_SUCCESS ? obtain_and_store(config, a, &entry, vault, &result) : status;
}

int cli_login(int argc, char **argv)
{
    struct arguments a = {0};
    signal(SIGPIPE, SIG_IGN);
    forbid_core_files();
    parse(argc, argv, &a);
    if (a.bad)
        return usage();
    if (a.gateway != NULL && !cli_gateway_allowed(a.gateway, a.allow_plaintext))
        return EXIT_USAGE;
    char key[CONFIG_SECRET_SIZE];
    int rc = a.gateway != NULL ? cli_gateway_key(key) : 0; /* nobody is to log in for nothing */
    explicit_bzero(key, sizeof(key));
    CLEANUP(config_free) struct config *config = rc == 0 ? cli_load_config(a.config) : NULL;
    if (config == NULL)
        return EXIT_CONFIG;
    CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
    return arena != NULL ? login(config, &a, arena) : out_of_memory();
}
