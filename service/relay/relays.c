#include "relay/relays.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "relay/route.h"

enum { TRANSCRIPTS_BYTES = 4 << 20 };

struct relays {
    const struct config *config;
    struct routes *routes;
    struct transcripts *transcripts;
    atomic_uint n_changes; /* of relays' being available */
    uint16_t *order;       /* 0, 1, 2...: all of them, as route_choice has them */
    size_t n_relays;
    struct relay *items[];
};

/* --- who carries it ----------------------------------------------------------------------- */

static struct relay *sandbox_of(const struct relays *relays)
{
    return relays->n_relays > relays->config->n_relays ? relays->items[relays->n_relays - 1] : NULL;
}

static void choose(const struct relays *relays, const struct mail *delivery, size_t recipient,
                   struct route_choice *choice)
{
    struct relay *sandbox = sandbox_of(relays);
    if (sandbox != NULL && (relays->config->n_relays == 0 ||
                            (delivery->options.relay != NULL &&
                             strcmp(delivery->options.relay, relay_name(sandbox)) == 0))) {
        *choice = (struct route_choice){&relays->order[relays->n_relays - 1], 1};
        return;
    }
    routes_choose(relays->routes, delivery, recipient, choice);
    if (choice->n_relays == 0) /* the one it names is gone: as if it had named none */
        *choice = (struct route_choice){relays->order, relays->config->n_relays};
}

/* NULL: none of them. */
static struct relay *first_available(const struct relays *relays, const struct route_choice *choice)
{
    for (size_t i = 0; i < choice->n_relays; i++) {
        struct relay *relay = relays->items[choice->relays[i]];
        if (relay_available(relay))
            return relay;
        relay_want(relay);
    }
    return NULL;
}

static bool same(const struct route_choice *a, const struct route_choice *b)
{
    return a->relays == b->relays && a->n_relays == b->n_relays;
}

/* Recipients of another route wait until the delivery comes round again. */
static void hold_back_others(const struct relays *relays, struct mail *delivery,
                             const struct route_choice *chosen)
{
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        struct route_choice choice;
        choose(relays, delivery, i, &choice);
        delivery->recipients[i].held_back = !same(&choice, chosen);
    }
}

static struct relay *place(const struct relays *relays, struct mail *delivery)
{
    struct route_choice choice, first;
    bool by_recipient = routes_by_recipient(relays->routes) && delivery->n_recipients > 1;
    size_t n = by_recipient ? delivery->n_recipients : 1;
    struct relay *relay = NULL;
    for (size_t i = 0; i < n && relay == NULL; i++) {
        choose(relays, delivery, i, &choice);
        relay = first_available(relays, &choice);
        if (i == 0)
            first = choice;
    }
    if (relay == NULL) { /* it waits at home */
        choice = first;
        relay = relays->items[first.relays[0]];
    }
    for (size_t i = 0; i < delivery->n_recipients; i++)
        delivery->recipients[i].held_back = false;
    if (by_recipient)
        hold_back_others(relays, delivery, &choice);
    return relay;
}

/* Runs that go to the same relay are handed over at once. */
static void place_all(const struct relays *relays, struct mail *list)
{
    struct relay *to = NULL;
    struct mail *run = NULL, **end = &run;
    for (struct mail *next; list != NULL; list = next) {
        struct relay *relay = place(relays, list);
        if (relay != to && run != NULL) {
            relay_push(to, TAKE(run));
            end = &run;
        }
        to = relay;
        next = list->next;
        list->next = NULL;
        *end = list;
        end = &list->next;
    }
    if (run != NULL)
        relay_push(to, run);
}

/* What waits where it cannot go now. */
static void place_waiting_anew(const struct relays *relays)
{
    for (size_t i = 0; i < relays->n_relays; i++)
        if (!relay_available(relays->items[i]))
            place_all(relays, relay_take_back(relays->items[i]));
}

/* While mail was on its way to the relay chosen for it, something may have changed, and what waited
 * been placed anew without it; so it is looked again. `seen`: the changes it was placed by. */
static void keep_up(struct relays *relays, unsigned seen)
{
    for (unsigned now; (now = atomic_load(&relays->n_changes)) != seen; seen = now)
        place_waiting_anew(relays);
}

void relays_push(struct relays *relays, struct mail *list)
{
    unsigned seen = atomic_load(&relays->n_changes);
    place_all(relays, list);
    keep_up(relays, seen);
}

/* Some relay has become available, or is not any more. */
static void on_changed(void *arg)
{
    struct relays *relays = arg;
    if (relays->n_relays > 1)
        keep_up(relays, atomic_fetch_add(&relays->n_changes, 1));
}

/* --- set-up and the end ------------------------------------------------------------------- */

static void on_usage(void *arg, const struct usage_record *usage)
{
    struct relay *relay = relays_find(arg, usage->relay);
    if (relay != NULL)
        relay_remember(relay, usage->n_messages, usage->n_recipients, usage->hour_ms);
}

static int add_relay(struct relays *relays, const struct config_relay *settings,
                     const struct relay_surroundings *surroundings, struct error *err)
{
    if (relay_new(settings, surroundings, &relays->items[relays->n_relays], err) < 0)
        return -1;
    relays->order[relays->n_relays] = (uint16_t)relays->n_relays;
    relays->n_relays++;
    return 0;
}

static int add_relays(struct relays *relays, const struct config_relay *sandbox,
                      const struct relay_surroundings *surroundings, struct error *err)
{
    for (size_t i = 0; i < relays->config->n_relays; i++)
        if (add_relay(relays, &relays->config->relays[i], surroundings, err) < 0)
            return -1;
    return sandbox != NULL ? add_relay(relays, sandbox, surroundings, err) : 0;
}

int relays_new(const struct config *config, const struct config_relay *sandbox, struct queue *queue,
               struct workers *workers, struct oauth_cache *tokens, struct reloader *reloader,
               const struct explainer *explainer, struct relays **relays_out, struct error *err)
{
    struct relays *relays =
        calloc(1, sizeof(*relays) + (config->n_relays + 1) * sizeof(relays->items[0]));
    if (relays == NULL)
        return error_set(err, ERR_NOMEM, "relays");
    relays->config = config;
    relays->order = calloc(config->n_relays + 1, sizeof(relays->order[0]));
    relays->transcripts = transcripts_new(TRANSCRIPTS_BYTES);
    int rc = relays->order != NULL && relays->transcripts != NULL
                 ? routes_new(config, &relays->routes, err)
                 : error_set(err, ERR_NOMEM, "relays");
    const struct relay_surroundings surroundings = {.queue = queue,
                                                    .workers = workers,
                                                    .transcripts = relays->transcripts,
                                                    .tokens = tokens,
                                                    .reloader = reloader,
                                                    .explainer = explainer,
                                                    .changed = on_changed,
                                                    .arg = relays};
    if (rc == 0)
        rc = add_relays(relays, sandbox, &surroundings, err);
    if (rc == 0)
        rc = queue_usage(queue, clock_wall_ms() - USAGE_KEPT_MS, on_usage, relays, err);
    if (rc < 0) {
        relays_free(relays);
        return -1;
    }
    *relays_out = relays;
    return 0;
}

void relays_free(struct relays *relays)
{
    if (relays == NULL)
        return;
    for (size_t i = 0; i < relays->n_relays; i++)
        relay_free(relays->items[i]);
    transcripts_free(relays->transcripts);
    routes_free(relays->routes);
    free(relays->order);
    free(relays);
}

void relays_drain(struct relays *relays)
{
    for (size_t i = 0; i < relays->n_relays; i++)
        relay_drain(relays->items[i]);
}

void relays_abort(struct relays *relays)
{
    for (size_t i = 0; i < relays->n_relays; i++)
        relay_abort(relays->items[i]);
}

bool relays_at_rest(struct relays *relays)
{
    for (size_t i = 0; i < relays->n_relays; i++)
        if (!relay_at_rest(relays->items[i]))
            return false;
    return true;
}

size_t relays_count(const struct relays *relays)
{
    return relays->n_relays;
}

struct relay *relays_at(const struct relays *relays, size_t i)
{
    return relays->items[i];
}

struct relay *relays_find(const struct relays *relays, const char *name)
{
    for (size_t i = 0; i < relays->n_relays; i++)
        if (strcmp(relay_name(relays->items[i]), name) == 0)
            return relays->items[i];
    return NULL;
}

struct transcripts *relays_transcripts(const struct relays *relays)
{
    return relays->transcripts;
}
