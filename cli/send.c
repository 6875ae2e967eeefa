#include <getopt.h>
#include <jansson.h>
#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/deliver.h"
#include "cli/gateway.h"
#include "cli/load.h"
#include "message/base64.h"

/*
 * `postern send`: one message, made as the API takes it. Without --to-gateway it goes out from
 * here, by the configured relay and a queue in memory; with it, to a running gateway.
 */

enum { FILE_MAX = 64 << 20 };

struct arguments {
    const char *config, *gateway;
    json_t *message; /* as POST /v1/messages takes it */
    bool json;
    bool allow_plaintext;
    bool bad;    /* not how the command is used */
    bool failed; /* something given cannot be had; told */
};

const char cli_send_usage[] =
    "usage: postern send --from A --to B --subject S [--text T|-] [--html FILE]\n"
    "                    [--attach FILE]... [--to-gateway URL] [--config FILE] [--json]\n"
    "                    [--allow-plaintext]\n"
    "The key for --to-gateway is read from POSTERN_API_KEY or POSTERN_API_KEY_FILE. By http:// it\n"
    "goes to this machine only, unless --allow-plaintext says that nobody else is on the "
    "network.\n";

static int usage(void)
{
    fputs(cli_send_usage, stderr);
    return EXIT_USAGE;
}

/* The whole of a file, "-" being standard input; the caller frees. NULL after saying why. */
static char *read_file(const char *path, size_t *len_out)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct buffer content;
    buffer_init(&content, FILE_MAX);
    if (file == NULL) {
        perror(path);
        return NULL;
    }
    char chunk[16384];
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), file)) > 0;)
        buffer_append(&content, chunk, n);
    bool bad = ferror(file) != 0;
    if (file != stdin)
        fclose(file);
    *len_out = content.len;
    char *text = bad ? NULL : buffer_steal_str(&content);
    if (text == NULL)
        fprintf(stderr, "postern: %s: %s\n", path, bad ? "cannot be read" : "too large");
    buffer_clear(&content);
    return text;
}

static void set_string(struct arguments *a, const char *field, json_t *text)
{
    if (json_object_set_new(a->message, field, text) == 0)
        return;
    fprintf(stderr, "postern: --%s: not UTF-8\n", field);
    a->failed = true;
}

static void set_text(struct arguments *a, const char *field, const char *path)
{
    size_t len;
    char *text = read_file(path, &len);
    if (text != NULL)
        set_string(a, field, json_stringn(text, len));
    else
        a->failed = true;
    free(text);
}

static void add_to(struct arguments *a, const char *list, json_t *item)
{
    json_t *items = json_object_get(a->message, list);
    if (items == NULL) {
        items = json_array();
        json_object_set_new(a->message, list, items);
    }
    if (json_array_append_new(items, item) < 0) {
        fprintf(stderr, "postern: --%s: not UTF-8\n", list);
        a->failed = true;
    }
}

static void attach(struct arguments *a, const char *path)
{
    size_t len;
    char *content = read_file(path, &len);
    char *base64 = content != NULL ? base64_encode_str(content, len) : NULL;
    char *copy = strdup(path);
    if (base64 == NULL || copy == NULL)
        a->failed = true;
    else
        add_to(a, "attachments",
               json_pack("{s:s, s:s}", "filename", basename(copy), "content", base64));
    free(copy);
    free(base64);
    free(content);
}

static void set_argument(struct arguments *a, int option, const char *value)
{
    switch (option) {
    case 'f':
        set_string(a, "from", json_string(value));
        break;
    case 't':
        add_to(a, "to", json_string(value));
        break;
    case 's':
        set_string(a, "subject", json_string(value));
        break;
    case 'x':
        if (strcmp(value, "-") == 0)
            set_text(a, "text", "-");
        else
            set_string(a, "text", json_string(value));
        break;
    case 'h':
        set_text(a, "html", value);
        break;
    case 'a':
        attach(a, value);
        break;
    case 'g':
        a->gateway = value;
        break;
    case 'c':
        a->config = value;
        break;
    case 'j':
        a->json = true;
        break;
    case 'p':
        a->allow_plaintext = true;
        break;
    default:
        a->bad = true;
    }
}

static void parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {{"from", required_argument, NULL, 'f'},
                                            {"to", required_argument, NULL, 't'},
                                            {"subject", required_argument, NULL, 's'},
                                            {"text", required_argument, NULL, 'x'},
                                            {"html", required_argument, NULL, 'h'},
                                            {"attach", required_argument, NULL, 'a'},
                                            {"to-gateway", required_argument, NULL, 'g'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"allow-plaintext", no_argument, NULL, 'p'},
                                            {0}};
    a->message = json_object();
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        set_argument(a, option, optarg);
    bool complete =
        json_object_get(a->message, "from") != NULL && json_object_get(a->message, "to") != NULL;
    if (optind < argc || (!complete && !a->failed))
        a->bad = true;
}

/* One line a recipient: what the relay said. */
static void print_answer(const json_t *answer, bool json)
{
    if (json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
        return;
    }
    const json_t *recipient;
    size_t i;
    json_array_foreach(json_object_get(answer, "recipients"), i, recipient)
    {
        const char *address = "", *status = "", *enhanced = "", *text = "";
        int code = 0;
        json_unpack((json_t *)recipient, "{s:s, s:s, s?{s?i, s?s, s?s}}", "address", &address,
                    "status", &status, "reply", "code", &code, "enhanced", &enhanced, "text",
                    &text);
        printf("%s: %s", address, status);
        if (code != 0)
            printf(": %d %s%s%s", code, enhanced, enhanced[0] != '\0' ? " " : "", text);
        putchar('\n');
    }
}

static void print_problem(const json_t *problem)
{
    const char *title = "failed", *detail = "", *hint = "";
    const json_t *fault;
    size_t i;
    json_unpack((json_t *)problem, "{s?s, s?s, s?s}", "title", &title, "detail", &detail, "hint",
                &hint);
    fprintf(stderr, "postern: %s%s%s\n", title, detail[0] != '\0' ? ": " : "", detail);
    if (hint[0] != '\0')
        fprintf(stderr, "postern: %s\n", hint);
    json_array_foreach(json_object_get(problem, "errors"), i, fault)
    {
        const char *pointer = "", *why = "";
        json_unpack((json_t *)fault, "{s?s, s?s}", "pointer", &pointer, "detail", &why);
        fprintf(stderr, "postern: %s: %s\n", pointer, why);
    }
}

static int deliver(const struct arguments *a)
{
    struct error err;
    json_t *answer = NULL;
    enum deliver_result result;
    if (a->gateway != NULL) {
        char key[CONFIG_SECRET_SIZE];
        if (!cli_gateway_allowed(a->gateway, a->allow_plaintext))
            return EXIT_USAGE;
        if (cli_gateway_key(key) < 0)
            return EXIT_CONFIG;
        result = deliver_by_gateway(a->gateway, key, a->message, &answer, &err);
        explicit_bzero(key, sizeof(key));
    } else {
        CLEANUP(config_free) struct config *config = cli_load_config(a->config);
        if (config == NULL)
            return EXIT_CONFIG;
        /* What else a log would warn of is told in the end. */
        log_configure(LOG_LEVEL_ERROR, (enum log_format)config->log_format);
        result = deliver_from_here(config, a->message, &answer, &err);
    }
    if (result == DELIVER_FAILED) {
        fprintf(stderr, "postern: %s\n", err.detail);
        return EXIT_FAILURE;
    }
    if (result == DELIVER_REFUSED)
        print_problem(answer);
    if (result != DELIVER_REFUSED || json_object_get(answer, "recipients") != NULL)
        print_answer(answer, a->json);
    json_decref(answer);
    return result == DELIVER_SENT ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cli_send(int argc, char **argv)
{
    struct arguments arguments = {0};
    signal(SIGPIPE, SIG_IGN);
    parse(argc, argv, &arguments);
    int status = arguments.bad ? usage() : arguments.failed ? EXIT_FAILURE : deliver(&arguments);
    json_decref(arguments.message);
    return status;
}
