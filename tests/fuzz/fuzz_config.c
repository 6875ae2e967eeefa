/* YAML to the checked settings, and those printed as YAML that is read again. No file is opened: a
 * tree that names one is left out; the environment is one variable. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "config/check.h"
#include "config/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool names_a_file(const json_t *node)
{
    const char *key;
    json_t *value;
    size_t i;
    bool found = false;
    json_array_foreach(node, i, value) found = found || names_a_file(value);
    json_object_foreach((json_t *)node, key, value)
    {
        size_t n = strlen(key);
        found = found || (n >= 5 && strcmp(key + n - 5, "_file") == 0) ||
                strstr(key, "tls_options") != NULL || names_a_file(value);
    }
    return found;
}

static void print_and_read(const struct config *config)
{
    char *text = NULL;
    size_t len = 0;
    json_t *tree = NULL;
    struct yaml_lines *lines = NULL;
    struct error err;
    FILE *out = open_memstream(&text, &len);
    config_print(config, out);
    fclose(out);
    if (yaml_load(text, len, &tree, &lines, &err) < 0)
        abort();
    json_decref(tree);
    yaml_lines_free(lines);
    free(text);
}

/* What the rest of the gateway relies on. */
static void assert_promises(const struct config *config)
{
    if (config->listen.n_items == 0 || config->queue.n_retry == 0)
        abort();
    for (size_t i = 0; i < config->n_relays; i++) {
        const struct config_relay *relay = &config->relays[i];
        if (relay->port == 0 || strpbrk(relay->host, "\r\n ") != NULL ||
            strpbrk(relay->hostname, "\r\n ") != NULL ||
            (relay->auth.username != NULL && relay->auth.password == NULL))
            abort();
    }
}

static void decode(const json_t *tree, const struct yaml_lines *lines)
{
    static const char *const environment[] = {"NAME=value", NULL};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    struct arena *arena = arena_new();
    struct config *config = arena_alloc(arena, sizeof(*config));
    config->arena = arena;
    struct decoder decoder = {
        .arena = arena, .errors = &errors, .environ_ = environment, .file = "fuzz", .lines = lines};
    decode_config(&decoder, tree, config);
    if (errors.n_total == 0)
        config_check(config, &errors);
    if (errors.n_total == 0) {
        assert_promises(config);
        print_and_read(config);
    }
    config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *tree = NULL;
    struct yaml_lines *lines = NULL;
    struct error err = {0};
    if (yaml_load((const char *)data, size, &tree, &lines, &err) < 0) {
        if (err.code == ERR_NONE || err.detail[0] == '\0')
            abort();
        return 0;
    }
    if (!names_a_file(tree))
        decode(tree, lines);
    json_decref(tree);
    yaml_lines_free(lines);
    return 0;
}
