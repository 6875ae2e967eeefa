#include "relay/route.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "message/address.h"

struct prepared_route { /* a route, made ready */
    const struct config_route *settings;
    const char **tags; /* those of its match, written as JSON */
    struct route_choice choice;
};

struct key_relay { /* an API key that names a relay */
    const char *api_key;
    struct route_choice choice;
};

struct routes {
    struct arena *arena; /* owns all, this struct too */
    const struct config *config;
    const uint16_t *each; /* 0, 1, 2, ...: all relays, and from any place that one alone */
    struct prepared_route *prepared; /* one a route, in their order */
    struct key_relay *key_relays;
    size_t n_key_relays;
    bool by_recipient;
};

/* --- made ready once ---------------------------------------------------------------------- */

static const uint16_t *count_up(struct arena *arena, size_t n)
{
    uint16_t *each = arena_alloc_array(arena, n + 1, sizeof(*each));
    for (size_t i = 0; each != NULL && i < n; i++)
        each[i] = (uint16_t)i;
    return each;
}

static struct route_choice relay_named(const struct routes *routes, const char *name)
{
    for (size_t i = 0; i < routes->config->n_relays; i++)
        if (strcmp(routes->config->relays[i].name, name) == 0)
            return (struct route_choice){&routes->each[i], 1};
    return (struct route_choice){NULL, 0};
}

static int name_relays(struct routes *routes, const struct config_strings *names,
                       struct route_choice *choice_out)
{
    uint16_t *relays = arena_alloc_array(routes->arena, names->n_items + 1, sizeof(*relays));
    size_t n = 0;
    if (relays == NULL)
        return -1;
    for (size_t i = 0; i < names->n_items; i++) {
        struct route_choice one = relay_named(routes, names->items[i]);
        if (one.n_relays > 0)
            relays[n++] = one.relays[0];
    }
    *choice_out = (struct route_choice){relays, n};
    return 0;
}

/* As the queue has them, so that matching neither parses nor allocates. */
static int write_tags(struct routes *routes, const struct config_strings *tags,
                      const char ***written_out)
{
    const char **written = arena_alloc_array(routes->arena, tags->n_items + 1, sizeof(*written));
    for (size_t i = 0; written != NULL && i < tags->n_items; i++) {
        json_auto_t *tag = json_string(tags->items[i]);
        char *text = tag != NULL ? json_dumps(tag, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        written[i] = text != NULL ? arena_strdup(routes->arena, text) : NULL;
        free(text);
        if (written[i] == NULL)
            return -1;
    }
    *written_out = written;
    return written != NULL ? 0 : -1;
}

static int prepare_routes(struct routes *routes)
{
    const struct config *config = routes->config;
    routes->prepared =
        arena_alloc_array(routes->arena, config->n_routes + 1, sizeof(*routes->prepared));
    if (routes->prepared == NULL)
        return -1;
    for (size_t i = 0; i < config->n_routes; i++) {
        struct prepared_route *route = &routes->prepared[i];
        route->settings = &config->routes[i];
        routes->by_recipient |= route->settings->match.to.n_items > 0;
        if (write_tags(routes, &route->settings->match.tag, &route->tags) < 0 ||
            name_relays(routes, &route->settings->relays, &route->choice) < 0)
            return -1;
    }
    return 0;
}

static int prepare_key_relays(struct routes *routes)
{
    const struct config *config = routes->config;
    routes->key_relays =
        arena_alloc_array(routes->arena, config->n_api_keys + 1, sizeof(struct key_relay));
    if (routes->key_relays == NULL)
        return -1;
    for (size_t i = 0; i < config->n_api_keys; i++) {
        const struct config_api_key *key = &config->api_keys[i];
        if (key->relay != NULL)
            routes->key_relays[routes->n_key_relays++] =
                (struct key_relay){key->name, relay_named(routes, key->relay)};
    }
    return 0;
}

int routes_new(const struct config *config, struct routes **routes_out, struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct routes *routes = arena != NULL ? arena_alloc(arena, sizeof(*routes)) : NULL;
    if (routes == NULL)
        return error_set(err, ERR_NOMEM, "routes");
    routes->arena = arena;
    routes->config = config;
    routes->each = count_up(arena, config->n_relays);
    if (routes->each == NULL || prepare_routes(routes) < 0 || prepare_key_relays(routes) < 0)
        return error_set(err, ERR_NOMEM, "%zu routes", config->n_routes);
    TAKE(arena);
    *routes_out = routes;
    return 0;
}

void routes_free(struct routes *routes)
{
    if (routes != NULL)
        arena_free(routes->arena);
}

/* --- matching ----------------------------------------------------------------------------- */

static bool has_word(const struct config_strings *list, const char *word)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (strcmp(list->items[i], word) == 0)
            return true;
    return list->n_items == 0;
}

static bool has_address(const struct config_strings *list, const char *address)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (address_matches(address, list->items[i]))
            return true;
    return list->n_items == 0;
}

/* The string of JSON that begins at `quote`: its length with both quotes. */
static size_t string_len(const char *quote)
{
    size_t len = 1;
    while (quote[len] != '"' && quote[len] != '\0')
        len += quote[len] == '\\' && quote[len + 1] != '\0' ? 2 : 1;
    return len + (quote[len] == '"');
}

/* `tags` is a JSON array of strings. Compared string by string: a tag may hold a comma and quotes.
 */
static bool holds_tag(const char *tags, const char *written)
{
    size_t wanted = strlen(written), len;
    for (const char *s = strchr(tags, '"'); s != NULL; s = strchr(s + len, '"')) {
        len = string_len(s);
        if (len == wanted && memcmp(s, written, len) == 0)
            return true;
    }
    return false;
}

static bool has_tag(const struct prepared_route *route, const char *tags)
{
    size_t n = route->settings->match.tag.n_items;
    for (size_t i = 0; i < n; i++)
        if (holds_tag(tags, route->tags[i]))
            return true;
    return n == 0;
}

static const char *priority_word(enum mail_priority priority)
{
    switch (priority) {
    case PRIORITY_HIGH:
        return "high";
    case PRIORITY_NORMAL:
        return "normal";
    case PRIORITY_LOW:
        return "low";
    }
    return "";
}

static bool matches(const struct prepared_route *prepared, const struct mail *mail, const char *to)
{
    const struct config_route *route = prepared->settings;
    return has_address(&route->match.from, mail->from) && has_address(&route->match.to, to) &&
           has_tag(prepared, mail->tags) && has_word(&route->match.api_key, mail->api_key) &&
           has_word(&route->match.priority, priority_word(mail->options.priority));
}

bool routes_by_recipient(const struct routes *routes)
{
    return routes->by_recipient;
}

void routes_choose(const struct routes *routes, const struct mail *delivery, size_t recipient,
                   struct route_choice *choice_out)
{
    *choice_out = (struct route_choice){routes->each, routes->config->n_relays};
    for (size_t i = 0; i < routes->n_key_relays; i++)
        if (strcmp(routes->key_relays[i].api_key, delivery->api_key) == 0) {
            *choice_out = routes->key_relays[i].choice;
            return;
        }
    if (delivery->options.relay != NULL) {
        *choice_out = relay_named(routes, delivery->options.relay);
        return;
    }
    for (size_t i = 0; i < routes->config->n_routes; i++)
        if (matches(&routes->prepared[i], delivery, delivery->recipients[recipient].address)) {
            *choice_out = routes->prepared[i].choice;
            return;
        }
}
