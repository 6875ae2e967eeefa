#include "oauth/tokens/cache.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jitter.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/metric.h"
#include "oauth/tokens/cache_entry.h"
#include "oauth/tokens/fetch.h"

enum {
    TICK_MS = 1000,   /* how old the gauge of seconds may be */
    LOOK_MS = 2000,   /* how soon a person who has logged in is noticed */
    LINGER_MS = 5000, /* for an answer, at the end: a refresh token may come with it */
    LINGER_IN_HASTE_MS = 500,
};

struct slot { /* of one oauth entry */
    struct oauth_cache *cache;
    const struct config_oauth *settings;
    struct fetch_listener listener;
    struct fetch *fetch; /* of the loop's thread, as is what of the past was logged: */
    bool keep_failed;
    struct metric *ok, *refused, *unavailable, *seconds;

    struct cache_entry entry;  /* this and what follows is guarded by the cache's lock */
    struct oauth_token *token; /* owned; there as long as the entry says so */
    struct error last_error;
    struct oauth_ask *waiting, **waiting_end;
    uint64_t n_requests;
};

struct client { /* for all entries with the same way to their endpoint */
    const char *ca_file, *proxy;
    struct reload *trust;     /* owned; NULL: the wire wants none */
    struct http_client *http; /* NULL: not attached */
};

struct oauth_cache {
    const struct fetch_wire *wire;
    uv_timer_t timer;
    int64_t look_ms;
    struct client *clients; /* as many as are needed, at most one an entry */
    size_t n_clients;

    struct lock lock; /* guards the three below, `wake`, and what its slots say; uv_async_send() may
                         be called under it, nothing is taken */
    bool attached, ending;
    struct error gone; /* why nobody need wait any more; ERR_NONE: they may */
    uv_async_t wake;
    atomic_bool haste;

    size_t n_slots;
    struct slot slots[];
};

/* --- life --------------------------------------------------------------------------------- */

static void on_fetched(void *arg, struct fetch_outcome *outcome);
static void on_looked(void *arg, bool changed, const struct error *keep_err);

static struct metric *count_requests(const char *name, const char *result)
{
    return metric_counter("postern_oauth_requests_total", "Requests for tokens by result.",
                          (const char *[]){"oauth", name, "result", result, NULL});
}

static int slot_init(struct slot *slot, struct oauth_cache *cache, struct vault *vault,
                     const struct config_oauth *settings, struct error *err)
{
    const char *name = settings->name;
    slot->cache = cache;
    slot->settings = settings;
    slot->listener = (struct fetch_listener){on_fetched, on_looked, slot};
    slot->waiting_end = &slot->waiting;
    cache_entry_init(&slot->entry);
    slot->ok = count_requests(name, "ok");
    slot->refused = count_requests(name, "refused");
    slot->unavailable = count_requests(name, "unavailable");
    slot->seconds = metric_gauge("postern_oauth_seconds_to_expiry",
                                 "How long the token is good for; 0: there is none.",
                                 (const char *[]){"oauth", name, NULL});
    slot->fetch = fetch_new(settings, vault, cache->wire, &slot->listener);
    return slot->fetch != NULL ? 0 : error_set(err, ERR_NOMEM, "oauth cache");
}

int oauth_cache_new_over(const struct config *config, struct vault *vault,
                         const struct fetch_wire *wire, struct oauth_cache **cache_out,
                         struct error *err)
{
    size_t n = config->n_oauth;
    struct oauth_cache *cache = calloc(1, sizeof(*cache) + n * sizeof(cache->slots[0]));
    if (cache == NULL)
        return error_set(err, ERR_NOMEM, "oauth cache");
    lock_init(&cache->lock);
    cache->wire = wire;
    cache->clients = calloc(n + 1, sizeof(*cache->clients));
    int rc = cache->clients != NULL ? 0 : error_set(err, ERR_NOMEM, "oauth cache");
    for (; rc == 0 && cache->n_slots < n; cache->n_slots++)
        rc = slot_init(&cache->slots[cache->n_slots], cache, vault, &config->oauth[cache->n_slots],
                       err);
    if (rc < 0) {
        oauth_cache_free(cache);
        return -1;
    }
    *cache_out = cache;
    return 0;
}

int oauth_cache_new(const struct config *config, struct vault *vault,
                    struct oauth_cache **cache_out, struct error *err)
{
    return oauth_cache_new_over(config, vault, &FETCH_OVER_HTTP, cache_out, err);
}

void oauth_cache_free(struct oauth_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < cache->n_slots; i++) {
        fetch_free(cache->slots[i].fetch);
        oauth_token_unref(cache->slots[i].token);
    }
    for (size_t i = 0; cache->clients != NULL && i < cache->n_clients; i++)
        reload_free(cache->clients[i].trust);
    free(cache->clients);
    lock_clear(&cache->lock);
    free(cache);
}

/* --- what is under the lock --------------------------------------------------------------- */

/* What has expired or was refused is given back. */
static void shed(struct slot *slot)
{
    assert(lock_held_by_me(&slot->cache->lock));
    if (!cache_entry_has_token(&slot->entry))
        oauth_token_unref(TAKE(slot->token));
}

static void settle(struct slot *slot, struct oauth_ask *ask)
{
    ask->waiting = false;
    if (slot->token != NULL)
        ask->token = oauth_token_ref(slot->token);
    else
        ask->err = slot->last_error;
}

/* Everybody who waits, settled; to be told when the lock is dropped. */
static struct oauth_ask *settle_all(struct slot *slot)
{
    struct oauth_ask *list = slot->waiting;
    for (struct oauth_ask *ask = list; ask != NULL; ask = ask->next)
        settle(slot, ask);
    slot->waiting = NULL;
    slot->waiting_end = &slot->waiting;
    return list;
}

static void tell(struct oauth_ask *list)
{
    for (struct oauth_ask *ask = list, *next; ask != NULL; ask = next) {
        next = ask->next; /* who is told may free it */
        ask->answered(ask);
    }
}

static void wait_in_line(struct slot *slot, struct oauth_ask *ask)
{
    assert(lock_held_by_me(&slot->cache->lock));
    ask->waiting = true;
    ask->next = NULL;
    *slot->waiting_end = ask;
    slot->waiting_end = &ask->next;
    if (slot->cache->attached)
        uv_async_send(&slot->cache->wake);
}

/* --- what others call --------------------------------------------------------------------- */

/* true: it is answered. */
static bool answer(struct slot *slot, int64_t now_ms, int64_t need_ms, struct oauth_ask *ask)
{
    assert(lock_held_by_me(&slot->cache->lock));
    enum cache_answer how = cache_entry_ask(&slot->entry, now_ms, need_ms);
    shed(slot);
    if (how != CACHE_WAIT) {
        settle(slot, ask);
        return true;
    }
    if (slot->cache->gone.code != ERR_NONE) {
        ask->err = slot->cache->gone;
        return true;
    }
    wait_in_line(slot, ask);
    return false;
}

bool oauth_cache_get(struct oauth_cache *cache, size_t entry, int64_t need_ms,
                     struct oauth_ask *ask)
{
    ask->token = NULL;
    ask->err.code = ERR_NONE;
    ask->waiting = false;
    lock_take(&cache->lock);
    bool answered = answer(&cache->slots[entry], clock_mono_ms(), need_ms, ask);
    lock_drop(&cache->lock);
    return answered;
}

static bool unlink_from(struct slot *slot, struct oauth_ask *ask)
{
    for (struct oauth_ask **at = &slot->waiting; *at != NULL; at = &(*at)->next)
        if (*at == ask) {
            *at = ask->next;
            if (slot->waiting_end == &ask->next)
                slot->waiting_end = at;
            return true;
        }
    return false;
}

bool oauth_cache_forget(struct oauth_cache *cache, struct oauth_ask *ask)
{
    lock_take(&cache->lock);
    bool found = false;
    for (size_t i = 0; ask->waiting && !found && i < cache->n_slots; i++)
        found = unlink_from(&cache->slots[i], ask);
    if (found)
        ask->waiting = false;
    lock_drop(&cache->lock);
    return found;
}

bool oauth_cache_refused(struct oauth_cache *cache, size_t entry, const struct oauth_token *token)
{
    struct slot *slot = &cache->slots[entry];
    lock_take(&cache->lock);
    bool dropped = false, current = token == slot->token;
    if (current) {
        dropped = cache_entry_refused(&slot->entry, clock_mono_ms());
        shed(slot);
    }
    lock_drop(&cache->lock);
    if (dropped)
        log_info("token refused by a relay, another is asked for",
                 LOG_STR("oauth", slot->settings->name));
    return dropped || !current;
}

static int64_t seconds_left(const struct slot *slot, int64_t now_ms)
{
    int64_t left_ms = slot->token != NULL ? slot->entry.expires_ms - now_ms : 0;
    return left_ms > 0 ? left_ms / 1000 : 0;
}

static int64_t retry_in(const struct cache_entry *entry, int64_t now_ms)
{
    if (entry->n_failures == 0 || cache_entry_in_flight(entry))
        return 0;
    return entry->due_ms > now_ms ? entry->due_ms - now_ms : 0;
}

void oauth_cache_status(struct oauth_cache *cache, size_t entry, struct oauth_status *status_out)
{
    struct slot *slot = &cache->slots[entry];
    int64_t now_ms = clock_mono_ms();
    lock_take(&cache->lock);
    *status_out = (struct oauth_status){.name = slot->settings->name,
                                        .state = cache_state_word(slot->entry.state),
                                        .seconds_left = seconds_left(slot, now_ms),
                                        .last_error = slot->last_error,
                                        .retry_in_ms = retry_in(&slot->entry, now_ms),
                                        .n_requests = slot->n_requests};
    lock_drop(&cache->lock);
}

/* --- what a person wants to know ----------------------------------------------------------- */

/* The endpoint's own word is the first; what follows may differ each time. */
static bool is_news(const struct error *before, const struct error *now)
{
    if (before->code != now->code || now->code != ERR_TOKEN_REFUSED)
        return before->code != now->code;
    size_t len = strcspn(now->detail, " :");
    return strncmp(before->detail, now->detail, len) != 0;
}

static void log_refusal(const struct slot *slot, const struct error *why)
{
    const struct config_oauth *settings = slot->settings;
    char hint[160];
    bool login =
        settings->grant == CONFIG_OAUTH_REFRESH_TOKEN &&
        (strncmp(why->detail, "invalid_grant", 13) == 0 || strncmp(why->detail, "login", 5) == 0);
    if (login)
        snprintf(hint, sizeof(hint), "a person must log in again: postern login %s",
                 settings->name);
    else
        snprintf(hint, sizeof(hint), "mend the settings of oauth %s, or what the provider has",
                 settings->name);
    log_error("token refused", LOG_STR("oauth", settings->name),
              LOG_STR("code", error_word(why->code)), LOG_STR("detail", why->detail),
              LOG_STR("hint", hint));
}

static void log_failure(const struct slot *slot, const struct error *why, bool news,
                        int64_t pause_ms)
{
    if (!news)
        log_debug("still no token", LOG_STR("oauth", slot->settings->name),
                  LOG_STR("code", error_word(why->code)), LOG_STR("detail", why->detail),
                  LOG_INT("pause_ms", pause_ms));
    else if (why->code == ERR_TOKEN_REFUSED)
        log_refusal(slot, why);
    else
        log_warn("token endpoint trouble", LOG_STR("oauth", slot->settings->name),
                 LOG_STR("code", error_word(why->code)), LOG_STR("detail", why->detail),
                 LOG_INT("pause_ms", pause_ms));
}

static void log_token(const struct slot *slot, bool was_out, int64_t seconds)
{
    if (was_out)
        log_info("token endpoint in order again", LOG_STR("oauth", slot->settings->name),
                 LOG_INT("seconds", seconds));
    else
        log_debug("token obtained", LOG_STR("oauth", slot->settings->name),
                  LOG_INT("seconds", seconds));
}

/* Loud, because a restart before it is stored may cost the grant. */
static void note_keeping(struct slot *slot, const struct error *keep_err)
{
    bool failed = keep_err->code != ERR_NONE;
    if (failed && !slot->keep_failed)
        log_error("a new refresh token could not be stored; it is kept in memory and tried again",
                  LOG_STR("oauth", slot->settings->name),
                  LOG_STR("code", error_word(keep_err->code)), LOG_STR("detail", keep_err->detail));
    else if (!failed && slot->keep_failed)
        log_info("the new refresh token is stored", LOG_STR("oauth", slot->settings->name));
    slot->keep_failed = failed;
}

/* Every request but the last was refused; else there would have been no other. */
static void count(struct slot *slot, const struct fetch_outcome *outcome)
{
    if (outcome->n_requests == 0)
        return;
    metric_add(slot->refused, outcome->n_requests - 1);
    if (outcome->token != NULL)
        metric_add(slot->ok, 1);
    else
        metric_add(outcome->err.code == ERR_TOKEN_REFUSED ? slot->refused : slot->unavailable, 1);
}

/* --- requests (on the loop) ---------------------------------------------------------------- */

static void wind_up(struct oauth_cache *cache);

/* true: a request is to be made. Lowers `*next_ms` to when this one has to be looked at again. */
static bool begin_if_due(struct slot *slot, int64_t now_ms, int64_t *next_ms)
{
    struct oauth_cache *cache = slot->cache;
    lock_take(&cache->lock);
    bool begin = cache_entry_begin(&slot->entry, now_ms);
    shed(slot);
    int64_t slot_ms = cache_entry_next_ms(&slot->entry);
    if (slot->token != NULL && slot_ms > now_ms + TICK_MS)
        slot_ms = now_ms + TICK_MS;
    metric_set(slot->seconds, seconds_left(slot, now_ms));
    lock_drop(&cache->lock);
    if (slot_ms < *next_ms)
        *next_ms = slot_ms;
    return begin;
}

/* Somebody may mend it, or a file be replaced, without telling us. */
static bool is_watched(struct slot *slot)
{
    struct oauth_cache *cache = slot->cache;
    lock_take(&cache->lock);
    const struct cache_entry *entry = &slot->entry;
    bool watched = entry->state != CACHE_EMPTY &&
                   (entry->grant_refused || slot->settings->grant == CONFIG_OAUTH_TOKEN_FILE);
    lock_drop(&cache->lock);
    return watched || fetch_keeps(slot->fetch);
}

static void look(struct oauth_cache *cache, int64_t now_ms, int64_t *next_ms)
{
    bool due = now_ms >= cache->look_ms, any = false;
    for (size_t i = 0; i < cache->n_slots; i++)
        if (is_watched(&cache->slots[i])) {
            any = true;
            if (due)
                fetch_look(cache->slots[i].fetch);
        }
    if (due)
        cache->look_ms = now_ms + LOOK_MS;
    if (any && cache->look_ms < *next_ms)
        *next_ms = cache->look_ms;
}

static void on_timer(uv_timer_t *timer);

/* Whatever is due is begun, and the timer set for what is next. At the end nothing is begun. */
static void attend(struct oauth_cache *cache)
{
    int64_t now_ms = clock_mono_ms(), next_ms = INT64_MAX;
    if (cache->ending)
        return;
    for (size_t i = 0; i < cache->n_slots; i++)
        if (begin_if_due(&cache->slots[i], now_ms, &next_ms))
            fetch_start(cache->slots[i].fetch);
    look(cache, now_ms, &next_ms);
    uv_timer_stop(&cache->timer);
    if (next_ms == INT64_MAX)
        return;
    uv_update_time(cache->timer.loop); /* the timer counts from there */
    uv_timer_start(&cache->timer, on_timer, next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    attend(timer->data);
}

static void on_wake(uv_async_t *wake)
{
    attend(wake->data);
}

/* A token that did not outlive the way here is as good as none, and must not be asked for again
 * at once. */
static void refuse_expired(struct fetch_outcome *outcome, int64_t now_ms)
{
    if (outcome->token == NULL || oauth_token_expires_ms(outcome->token) > now_ms)
        return;
    oauth_token_unref(TAKE(outcome->token));
    error_set(&outcome->err, ERR_TOKEN_UNAVAILABLE, "the token had expired when it came");
}

static void take_token(struct slot *slot, struct oauth_token *token, int64_t now_ms)
{
    cache_entry_got(&slot->entry, now_ms, oauth_token_obtained_ms(token),
                    oauth_token_expires_ms(token), jitter_dice());
    oauth_token_unref(slot->token);
    slot->token = token;
    slot->last_error.code = ERR_NONE;
}

static void take_failure(struct slot *slot, const struct fetch_outcome *outcome, int64_t now_ms)
{
    bool refused = outcome->err.code == ERR_TOKEN_REFUSED;
    cache_entry_failed(&slot->entry, now_ms, refused ? CACHE_REFUSAL : CACHE_OUTAGE,
                       outcome->retry_after_ms, jitter_dice());
    shed(slot);
    slot->last_error = outcome->err;
}

/* Under the lock: the entry changes, and with it the answer to all who wait. */
static struct oauth_ask *take_outcome(struct slot *slot, struct fetch_outcome *outcome,
                                      int64_t now_ms)
{
    slot->n_requests += outcome->n_requests;
    if (outcome->token != NULL)
        take_token(slot, outcome->token, now_ms);
    else
        take_failure(slot, outcome, now_ms);
    return settle_all(slot);
}

static void on_fetched(void *arg, struct fetch_outcome *outcome)
{
    struct slot *slot = arg;
    struct oauth_cache *cache = slot->cache;
    int64_t now_ms = clock_mono_ms();
    refuse_expired(outcome, now_ms);
    count(slot, outcome);

    lock_take(&cache->lock);
    struct error before = slot->last_error;
    struct oauth_ask *waited = take_outcome(slot, outcome, now_ms);
    int64_t seconds = seconds_left(slot, now_ms), pause_ms = retry_in(&slot->entry, now_ms);
    lock_drop(&cache->lock);

    if (outcome->token != NULL)
        log_token(slot, before.code != ERR_NONE, seconds);
    else if (outcome->err.code != ERR_DRAINING)
        log_failure(slot, &outcome->err, is_news(&before, &outcome->err), pause_ms);
    note_keeping(slot, &outcome->keep_err);
    tell(waited);
    attend(cache);
    wind_up(cache);
}

static void on_looked(void *arg, bool changed, const struct error *keep_err)
{
    struct slot *slot = arg;
    struct oauth_cache *cache = slot->cache;
    note_keeping(slot, keep_err);
    lock_take(&cache->lock);
    if (changed)
        cache_entry_changed(&slot->entry, clock_mono_ms());
    lock_drop(&cache->lock);
    attend(cache);
    wind_up(cache);
}

/* --- the loop ------------------------------------------------------------------------------ */

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int add_client(struct oauth_cache *cache, const struct config_oauth *settings,
                      struct error *err)
{
    struct client client = {.ca_file = settings->ca_file, .proxy = settings->proxy};
    if (cache->wire->trusts && http_trust_new(client.ca_file, &client.trust, err) < 0)
        return -1;
    cache->clients[cache->n_clients++] = client;
    return 0;
}

/* One for all that have the same way. NULL without memory. */
static struct client *client_of(struct oauth_cache *cache, const struct config_oauth *settings,
                                struct error *err)
{
    size_t i = 0;
    while (i < cache->n_clients && !(same(cache->clients[i].ca_file, settings->ca_file) &&
                                     same(cache->clients[i].proxy, settings->proxy)))
        i++;
    if (i == cache->n_clients && add_client(cache, settings, err) < 0)
        return NULL;
    return &cache->clients[i];
}

static int attach_slot(struct slot *slot, uv_loop_t *loop, struct error *err)
{
    struct oauth_cache *cache = slot->cache;
    struct client *client = client_of(cache, slot->settings, err);
    if (client == NULL)
        return -1;
    const struct http_settings http = {
        .trust = client->trust, .ca_file = client->ca_file, .proxy = client->proxy};
    if (client->http == NULL && cache->wire->client_new(loop, &http, &client->http, err) < 0)
        return error_at(err, "oauth %s", slot->settings->name);
    return fetch_attach(slot->fetch, loop, client->http, client->trust, err);
}

static int attach_all(struct oauth_cache *cache, uv_loop_t *loop, struct error *err)
{
    for (size_t i = 0; i < cache->n_slots; i++)
        if (attach_slot(&cache->slots[i], loop, err) < 0)
            return -1;
    return 0;
}

static void close_all(struct oauth_cache *cache)
{
    for (size_t i = 0; i < cache->n_slots; i++)
        fetch_detach(cache->slots[i].fetch);
    for (size_t i = 0; i < cache->n_clients; i++)
        if (cache->clients[i].http != NULL)
            cache->wire->client_free(TAKE(cache->clients[i].http));
    uv_close((uv_handle_t *)&cache->timer, NULL);
    uv_close((uv_handle_t *)&cache->wake, NULL);
}

static struct oauth_ask *take_waiting(struct slot *slot)
{
    struct oauth_ask *list = slot->waiting;
    for (struct oauth_ask *ask = list; ask != NULL; ask = ask->next) {
        ask->waiting = false;
        ask->err = slot->cache->gone;
    }
    slot->waiting = NULL;
    slot->waiting_end = &slot->waiting;
    return list;
}

/* Nobody is served any more. true: it was attached, and so must be wound up. */
static bool give_up(struct oauth_cache *cache, const struct error *why)
{
    lock_take(&cache->lock);
    bool was_attached = cache->attached;
    cache->attached = false; /* nobody touches `wake` any more */
    cache->ending = true;
    if (cache->gone.code == ERR_NONE)
        cache->gone = *why;
    lock_drop(&cache->lock);
    for (size_t i = 0; i < cache->n_slots; i++) {
        lock_take(&cache->lock);
        struct oauth_ask *waited = take_waiting(&cache->slots[i]);
        lock_drop(&cache->lock);
        tell(waited);
    }
    return was_attached;
}

static int begin(struct oauth_cache *cache, uv_loop_t *loop, struct error *err)
{
    int rc = uv_async_init(loop, &cache->wake, on_wake);
    if (rc < 0)
        return error_set(err, ERR_IO, "event loop: %s", uv_strerror(rc));
    uv_timer_init(loop, &cache->timer);
    cache->wake.data = cache->timer.data = cache;
    if (attach_all(cache, loop, err) == 0)
        return 0;
    close_all(cache);
    return -1;
}

int oauth_cache_attach(struct oauth_cache *cache, uv_loop_t *loop, struct error *err)
{
    struct error why, gone;
    if (begin(cache, loop, &why) < 0) {
        error_set(&gone, ERR_TOKEN_UNAVAILABLE, "no tokens can be obtained: %s", why.detail);
        give_up(cache, &gone);
        if (err != NULL)
            *err = why;
        return -1;
    }
    lock_take(&cache->lock);
    cache->attached = true;
    lock_drop(&cache->lock);
    attend(cache);
    return 0;
}

/* At the end, when nothing is under way any more. */
static void wind_up(struct oauth_cache *cache)
{
    for (size_t i = 0; i < cache->n_slots; i++)
        if (fetch_busy(cache->slots[i].fetch))
            return;
    if (cache->ending && !uv_is_closing((uv_handle_t *)&cache->timer))
        close_all(cache);
}

static void on_lingered(uv_timer_t *timer)
{
    struct oauth_cache *cache = timer->data;
    for (size_t i = 0; i < cache->n_slots; i++)
        fetch_abort(cache->slots[i].fetch);
    wind_up(cache);
}

void oauth_cache_hurry(struct oauth_cache *cache)
{
    atomic_store(&cache->haste, true);
}

void oauth_cache_detach(struct oauth_cache *cache)
{
    struct error why;
    error_set(&why, ERR_DRAINING, "the gateway ends");
    if (!give_up(cache, &why))
        return; /* it was never attached, or that failed: it has nothing on the loop */
    for (size_t i = 0; i < cache->n_slots; i++)
        fetch_end(cache->slots[i].fetch);
    uv_timer_start(&cache->timer, on_lingered,
                   atomic_load(&cache->haste) ? LINGER_IN_HASTE_MS : LINGER_MS, 0);
    wind_up(cache);
}
