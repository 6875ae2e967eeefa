#include "relay/relay.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/availability.h"
#include "relay/connect.h"
#include "relay/pool.h"
#include "relay/slot.h"
#include "relay/state.h"

static struct metric *outcome_counter(const char *relay, const char *outcome)
{
    return metric_counter("postern_recipients_total", "Recipients' attempts by outcome and relay.",
                          (const char *[]){"relay", relay, "outcome", outcome, NULL});
}

static void prepare_metrics(struct relay_metrics *m, const char *relay)
{
    static const char *const classes[] = {NULL, NULL, "2xx", "3xx", "4xx", "5xx"};
    const char *of_relay[] = {"relay", relay, NULL};
    m->sent = outcome_counter(relay, "sent");
    m->deferred = outcome_counter(relay, "deferred");
    m->failed = outcome_counter(relay, "failed");
    m->in_doubt = outcome_counter(relay, "in_doubt");
    m->untried = outcome_counter(relay, "untried");
    for (int class = 2; class <= 5; class ++)
        m->replies[class] =
            metric_counter("postern_smtp_replies_total", "Replies that decided, by class.",
                           (const char *[]){"relay", relay, "class", classes[class], NULL});
    m->attempts = metric_counter("postern_attempts_total", "Transactions begun.", of_relay);
    m->connects = metric_counter("postern_connects_total", "Connections attempted.", of_relay);
    m->connect_failures = metric_counter("postern_connect_failures_total",
                                         "Connections that never got ready.", of_relay);
    m->open = metric_gauge("postern_connections", "Connections by state.",
                           (const char *[]){"relay", relay, "state", "open", NULL});
    m->idle = metric_gauge("postern_connections", "Connections by state.",
                           (const char *[]){"relay", relay, "state", "idle", NULL});
    m->login_seconds =
        metric_histogram("postern_smtp_connect_seconds", "From the first packet to logged in.",
                         of_relay, METRIC_SECONDS);
    m->transaction_seconds =
        metric_histogram("postern_smtp_transaction_seconds", "From MAIL to the last reply.",
                         of_relay, METRIC_SECONDS);
    m->latency_seconds =
        metric_histogram("postern_delivery_latency_seconds",
                         "From the request to the relay's acceptance.", of_relay, METRIC_SECONDS);
}

static struct rate *new_rate(const struct config_rates *rates, struct error *err)
{
    struct rate_limit limits[RELAY_RATES_MAX / 2];
    struct rate *rate = NULL;
    size_t n = 0;
    for (; n < rates->n_items && n < RELAY_RATES_MAX / 2; n++)
        limits[n] = (struct rate_limit){rates->items[n].n, rates->items[n].per_ms};
    return rate_new(limits, n, &rate, err) == 0 ? rate : NULL;
}

static int prepare_password(struct relay *relay, struct error *err)
{
    const struct config_relay *settings = relay->settings;
    const char *path = settings->auth.password_file;
    if (path != NULL && settings->auth.password != NULL &&
        secret_watch(settings->name, path, settings->auth.password, relay->around.reloader,
                     &relay->password, err) < 0)
        return -1;
    struct secret *secret = relay->password != NULL ? reload_take(relay->password) : NULL;
    relay->identity = pool_new_identity(relay, secret);
    secret_unref(secret);
    return relay->identity != NULL ? 0 : error_set(err, ERR_NOMEM, "relay");
}

/* A verify of a relay without TLS may try it with: that it cannot is no fault of the settings. */
static void prepare_files(struct relay *relay)
{
    struct config_relay with_tls = *relay->settings;
    with_tls.tls = CONFIG_TLS_AUTO;
    if (relay->tls == NULL)
        connect_tls_new(&with_tls, relay->around.reloader, NULL, &relay->spare_tls, NULL);
    relay->files = (struct relay_files){
        .reloader = relay->around.reloader,
        .tls = relay->tls != NULL ? relay->tls : relay->spare_tls,
        .password = relay->password,
    };
}

static int prepare(struct relay *relay, struct error *err)
{
    const struct config_relay *settings = relay->settings;
    relay->messages = new_rate(&settings->rate.messages, err);
    relay->recipients = relay->messages != NULL ? new_rate(&settings->rate.recipients, err) : NULL;
    relay->addresses = addresses_new();
    relay->distrust.relay = settings->name;
    if (relay->recipients == NULL)
        return -1;
    if (relay->addresses == NULL)
        return error_set(err, ERR_NOMEM, "relay");
    if (connect_tls_new(settings, relay->around.reloader, NULL, &relay->tls, err) < 0 ||
        prepare_password(relay, err) < 0)
        return -1;
    prepare_files(relay);
    return 0;
}

static struct relay *allocate(const struct config_relay *settings,
                              const struct relay_surroundings *surroundings)
{
    size_t n = workers_count(surroundings->workers);
    struct relay *relay = calloc(1, sizeof(*relay) + n * sizeof(relay->slots[0]));
    if (relay == NULL)
        return NULL;
    lock_init(&relay->lock);
    ready_init(&relay->ready);
    relay->settings = settings;
    relay->around = *surroundings;
    relay->limit = relay->cap = (size_t)settings->connections.max;
    relay->was_available = true;
    relay->n_slots = n;
    for (size_t i = 0; i < n; i++) {
        relay->slots[i].job.run = slot_tend;
        relay->slots[i].relay = relay;
        relay->slots[i].worker = i;
    }
    return relay;
}

int relay_new(const struct config_relay *settings, const struct relay_surroundings *surroundings,
              struct relay **relay_out, struct error *err)
{
    struct relay *relay = allocate(settings, surroundings);
    if (relay == NULL)
        return error_set(err, ERR_NOMEM, "relay");
    if (prepare(relay, err) < 0) {
        relay_free(relay);
        return -1;
    }
    prepare_metrics(&relay->metrics, settings->name);
    *relay_out = relay;
    return 0;
}

void relay_free(struct relay *relay)
{
    if (relay == NULL)
        return;
    mail_list_free(ready_take_all(&relay->ready));
    rate_free(relay->messages);
    rate_free(relay->recipients);
    identity_unref(relay->identity);
    reload_free(relay->password);
    transport_tls_free(relay->tls);
    transport_tls_free(relay->spare_tls);
    addresses_free(relay->addresses);
    bytes_unref(relay->transcript);
    lock_clear(&relay->lock);
    free(relay);
}

const char *relay_name(const struct relay *relay)
{
    return relay->settings->name;
}

void relay_remember(struct relay *relay, int64_t n_messages, int64_t n_recipients, int64_t hour_ms)
{
    int64_t now_ms = clock_mono_ms(), then_ms = now_ms - (clock_wall_ms() - hour_ms);
    rate_remember(relay->messages, n_messages, then_ms, now_ms);
    rate_remember(relay->recipients, n_recipients, then_ms, now_ms);
}

/* --- its ready queue ---------------------------------------------------------------------- */

void relay_push(struct relay *relay, struct mail *list)
{
    lock_take(&relay->lock);
    bool draining = relay->draining; /* since the queue looked */
    if (!draining)
        ready_append(&relay->ready, list);
    lock_drop(&relay->lock);
    if (draining)
        pool_give_back(relay, list);
    else
        pool_plan(relay);
}

struct mail *relay_take_back(struct relay *relay)
{
    lock_take(&relay->lock);
    struct mail *all = ready_take_all(&relay->ready);
    lock_drop(&relay->lock);
    return all;
}

bool relay_available(struct relay *relay)
{
    lock_take(&relay->lock);
    bool available = availability_good(relay, clock_mono_ms());
    lock_drop(&relay->lock);
    return available;
}

void relay_want(struct relay *relay)
{
    lock_take(&relay->lock);
    bool news = !relay->wanted;
    relay->wanted = true;
    lock_drop(&relay->lock);
    if (news)
        pool_plan(relay);
}

/* --- pause and the end -------------------------------------------------------------------- */

static void set_paused(struct relay *relay, bool paused)
{
    lock_take(&relay->lock);
    relay->paused = paused;
    if (!paused) { /* whoever says resume has mended something */
        relay->entry.until_ms = relay->traffic.until_ms = 0;
        relay->cap = (size_t)relay->settings->connections.max;
    }
    lock_drop(&relay->lock);
    log_info(paused ? "relay paused" : "relay resumed", LOG_STR("relay", relay->settings->name));
    availability_announce(relay);
    pool_plan(relay);
}

void relay_pause(struct relay *relay)
{
    set_paused(relay, true);
}

void relay_resume(struct relay *relay)
{
    set_paused(relay, false);
}

static void tell_slots(struct relay *relay)
{
    for (size_t i = 0; i < relay->n_slots; i++)
        workers_post(relay->around.workers, i, &relay->slots[i].job);
}

void relay_drain(struct relay *relay)
{
    lock_take(&relay->lock);
    relay->draining = true;
    struct mail *left = ready_take_all(&relay->ready);
    lock_drop(&relay->lock);
    pool_give_back(relay, left);
    tell_slots(relay);
}

void relay_abort(struct relay *relay)
{
    lock_take(&relay->lock);
    relay->aborting = true;
    lock_drop(&relay->lock);
    tell_slots(relay);
}

bool relay_at_rest(struct relay *relay)
{
    lock_take(&relay->lock);
    bool at_rest = relay->n_connections == 0 && relay->n_tasks == 0;
    lock_drop(&relay->lock);
    return at_rest;
}

/* --- what is known of it ------------------------------------------------------------------ */

const struct config_relay *relay_settings(const struct relay *relay)
{
    return relay->settings;
}

const struct relay_files *relay_files(const struct relay *relay)
{
    return &relay->files;
}

struct oauth_cache *relay_tokens(const struct relay *relay)
{
    return relay->around.tokens;
}

static void add_rates(struct relay_status *status, const char *of, const struct rate *rate,
                      int64_t now_ms)
{
    for (size_t i = 0; i < rate_n_limits(rate) && status->n_rates < RELAY_RATES_MAX; i++)
        status->rates[status->n_rates++] =
            (struct relay_rate){of, rate_limit_at(rate, i), rate_used(rate, i, now_ms)};
}

static const char *state_word(const struct relay *relay, int64_t now_ms)
{
    assert(lock_held_by_me(&relay->lock));
    bool inside = relay->n_connections > relay->n_opening;
    if (relay->paused)
        return "paused";
    if (!relay->tried)
        return "idle";
    if (relay->down)
        return "down";
    /* Does it have to be left alone for a while? */
    bool rests =
        !backoff_open(&relay->traffic, now_ms) || (!inside && !backoff_open(&relay->entry, now_ms));
    return rests ? "throttled" : "up";
}

static int64_t retry_in_ms(const struct relay *relay, int64_t now_ms)
{
    assert(lock_held_by_me(&relay->lock));
    int64_t until_ms = relay->traffic.until_ms;
    bool inside = relay->n_connections > relay->n_opening;
    if (!inside && relay->entry.until_ms > until_ms)
        until_ms = relay->entry.until_ms;
    return relay->paused || until_ms <= now_ms ? 0 : until_ms - now_ms;
}

void relay_status(struct relay *relay, struct relay_status *status_out)
{
    const struct config_relay *settings = relay->settings;
    int64_t now_ms = clock_mono_ms();
    struct relay_failure failure;
    *status_out = (struct relay_status){
        .name = settings->name,
        .host = settings->host,
        .service = settings->service,
        .port = settings->port,
        .tls = settings->tls,
        .n_max = (size_t)settings->connections.max,
        .has_oauth = relay->around.tokens != NULL && settings->auth.oauth != NULL,
    };
    lock_take(&relay->lock);
    status_out->state = state_word(relay, now_ms);
    status_out->n_connections = relay->n_connections;
    status_out->n_opening = relay->n_opening;
    status_out->n_idle = relay->n_idle;
    status_out->n_cap = relay->cap;
    status_out->n_ready = relay->ready.n;
    status_out->retry_in_ms = retry_in_ms(relay, now_ms);
    add_rates(status_out, "messages", relay->messages, now_ms);
    add_rates(status_out, "recipients", relay->recipients, now_ms);
    failure = relay->failure;
    lock_drop(&relay->lock);
    status_out->last_error = failure.error;
    status_out->last_error_ms = failure.at_ms;
    status_out->hint_proved = failure.hint_proved;
    if (failure.error.code != ERR_NONE)
        snprintf(status_out->hint, sizeof(status_out->hint), "%s", failure.hint);
    if (status_out->has_oauth)
        oauth_cache_status(relay->around.tokens, (size_t)settings->auth.oauth_index,
                           &status_out->oauth);
}

char *relay_transcript(struct relay *relay)
{
    lock_take(&relay->lock);
    struct bytes *transcript = relay->transcript != NULL ? bytes_ref(relay->transcript) : NULL;
    lock_drop(&relay->lock);
    char *copy = transcript != NULL ? strndup(transcript->data, transcript->len) : NULL;
    bytes_unref(transcript);
    return copy;
}
