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

static bool has_control(const char *text)
{
    for (; text != NULL && *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

static bool rates_hold(const struct config_rates *rates)
{
    for (size_t i = 0; i < rates->n_items; i++)
        if (rates->items[i].n < 1 || rates->items[i].per_ms < 1000)
            return false;
    return true;
}

static bool proxy_holds(const struct config_proxy *proxy)
{
    return proxy->kind == CONFIG_PROXY_NONE ||
           (proxy->host[0] != '\0' && proxy->port != 0 && !has_control(proxy->host) &&
            !has_control(proxy->user) && !has_control(proxy->password) &&
            (proxy->user == NULL) == (proxy->password == NULL));
}

static bool relay_holds(const struct config_relay *relay)
{
    return relay->port != 0 && strpbrk(relay->host, "\r\n ") == NULL &&
           (relay->hostname == NULL || strpbrk(relay->hostname, "\r\n ") == NULL) &&
           (relay->auth.username == NULL || relay->auth.password != NULL) && relay->window >= 1 &&
           relay->max_recipients >= 0 && relay->connections.max >= 1 &&
           rates_hold(&relay->rate.messages) && rates_hold(&relay->rate.recipients) &&
           proxy_holds(&relay->proxy) &&
           (relay->proxy_url == NULL) == (relay->proxy.kind == CONFIG_PROXY_NONE);
}

static bool is_relay(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_relays; i++)
        if (strcmp(name, config->relays[i].name) == 0)
            return true;
    return false;
}

static bool route_holds(const struct config *config, const struct config_route *route)
{
    for (size_t i = 0; i < route->relays.n_items; i++)
        if (!is_relay(config, route->relays.items[i]))
            return false;
    return route->relays.n_items > 0 && route->relays.n_items <= CONFIG_ROUTE_RELAYS_MAX;
}

/* What the rest of the gateway relies on. */
static void assert_promises(const struct config *config)
{
    if (config->listen.n_items == 0 || config->queue.n_retry == 0)
        abort();
    for (size_t i = 0; i < config->n_relays; i++)
        if (!relay_holds(&config->relays[i]))
            abort();
    for (size_t i = 0; i < config->n_routes; i++)
        if (!route_holds(config, &config->routes[i]))
            abort();
    for (size_t i = 0; i < config->n_api_keys; i++)
        if (config->api_keys[i].relay != NULL && !is_relay(config, config->api_keys[i].relay))
            abort();
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
