#include "relay/relay.h"

#include <stdlib.h>
#include <string.h>

#include "relay/pool.h"

static int min_version(const char *word, int *version_out, struct error *err)
{
    if (word == NULL || strcmp(word, "1.2") == 0)
        *version_out = TLS1_2_VERSION;
    else if (strcmp(word, "1.3") == 0)
        *version_out = TLS1_3_VERSION;
    else
        return error_set(err, ERR_CONFIG, "tls_options.min_version: write \"1.2\" or \"1.3\"");
    return 0;
}

static enum session_tls session_tls_of(enum config_tls tls)
{
    switch (tls) {
    case CONFIG_TLS_IMPLICIT:
        return SESSION_TLS_IMPLICIT;
    case CONFIG_TLS_STARTTLS:
        return SESSION_TLS_STARTTLS;
    case CONFIG_TLS_NONE:
        return SESSION_TLS_NONE;
    case CONFIG_TLS_AUTO:
        return SESSION_TLS_AUTO;
    }
    return SESSION_TLS_STARTTLS;
}

static int prepare_tls(struct relay *relay, struct error *err)
{
    const struct config_relay *settings = relay->settings;
    if (settings->tls == CONFIG_TLS_NONE)
        return 0;
    struct transport_tls_settings tls = {
        .ca_file = settings->tls_options.ca_file,
        .certificate = settings->tls_options.certificate,
        .key = settings->tls_options.key,
        .server_name = settings->tls_options.server_name != NULL ? settings->tls_options.server_name
                                                                 : settings->host,
        .verify = settings->tls_options.verify != 0,
    };
    if (min_version(settings->tls_options.min_version, &tls.min_version, err) < 0)
        return -1;
    return transport_tls_new(&tls, &relay->tls, err);
}

static void prepare_session(struct relay *relay)
{
    const struct config_relay *settings = relay->settings;
    relay->session = (struct session_settings){
        .host = settings->host,
        .port = settings->port,
        .tls = session_tls_of(settings->tls),
        .tls_context = relay->tls,
        .smtp = {.hostname = settings->hostname,
                 .allow_plaintext_auth = settings->allow_plaintext_auth != 0,
                 .credentials = {.mechanism = settings->auth.mechanism,
                                 .user = settings->auth.username,
                                 .password = settings->auth.password,
                                 .domain = settings->auth.domain,
                                 .host = settings->host},
                 .timeouts = {.greeting = settings->timeouts.greeting_ms,
                              .command = settings->timeouts.command_ms,
                              .data = settings->timeouts.data_ms,
                              .final = settings->timeouts.final_ms}},
        .connect_timeout_ms = settings->timeouts.connect_ms,
        .tls_timeout_ms = settings->timeouts.tls_ms,
    };
}

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

int relay_new(const struct config_relay *settings, struct queue *queue, struct workers *workers,
              struct relay **relay_out, struct error *err)
{
    size_t n = workers_count(workers);
    struct relay *relay = calloc(1, sizeof(*relay) + n * sizeof(relay->berths[0]));
    if (relay == NULL)
        return error_set(err, ERR_NOMEM, "relay");
    pthread_mutex_init(&relay->lock, NULL);
    ready_init(&relay->ready);
    relay->settings = settings;
    relay->queue = queue;
    relay->workers = workers;
    relay->limit = (size_t)settings->connections.max;
    relay->n_berths = n;
    for (size_t i = 0; i < n; i++) {
        relay->berths[i].job.run = berth_tend;
        relay->berths[i].relay = relay;
        relay->berths[i].worker = i;
    }
    if (prepare_tls(relay, err) < 0) {
        relay_free(relay);
        return -1;
    }
    prepare_session(relay);
    prepare_metrics(&relay->metrics, settings->name);
    *relay_out = relay;
    return 0;
}

void relay_free(struct relay *relay)
{
    if (relay == NULL)
        return;
    for (struct delivery *d = ready_take_all(&relay->ready), *next; d != NULL; d = next) {
        next = d->next;
        delivery_free(d);
    }
    transport_tls_free(relay->tls);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

void relay_push(struct relay *relay, struct delivery *list)
{
    pthread_mutex_lock(&relay->lock);
    ready_append(&relay->ready, list);
    pthread_mutex_unlock(&relay->lock);
    pool_plan(relay);
}

static void tell_berths(struct relay *relay)
{
    for (size_t i = 0; i < relay->n_berths; i++)
        workers_post(relay->workers, i, &relay->berths[i].job);
}

void relay_drain(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->draining = true;
    struct delivery *left = ready_take_all(&relay->ready);
    pthread_mutex_unlock(&relay->lock);
    for (struct delivery *next; left != NULL; left = next) {
        next = left->next;
        left->next = NULL;
        queue_settle(relay->queue, left); /* UNTRIED: they stay in the store */
    }
    tell_berths(relay);
}

void relay_abort(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->aborting = true;
    pthread_mutex_unlock(&relay->lock);
    tell_berths(relay);
}

void relay_status(struct relay *relay, struct relay_status *status_out)
{
    pthread_mutex_lock(&relay->lock);
    *status_out = (struct relay_status){
        .name = relay->settings->name,
        .state = !relay->tried ? "idle"
                 : relay->down ? "down"
                               : "up",
        .n_connections = relay->n_connections,
        .n_idle = relay->n_idle,
        .n_ready = relay->ready.n,
        .last_error = relay->last_error,
        .last_error_ms = relay->last_error_ms,
    };
    pthread_mutex_unlock(&relay->lock);
}
