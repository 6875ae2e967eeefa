#include "cli/deliver.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/handlers.h"
#include "base/clock.h"
#include "cli/gateway.h"
#include "engine.h"

enum {
    ANSWER_MAX = 1 << 20,
    WAIT_S = 60,
    LOOK_MS = 100,
    PATIENCE_MS = 10 * 1000, /* by then a trouble has been looked into */
};

/* --- through a gateway -------------------------------------------------------------------- */

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    return buffer_append(arg, data, size * n) == 0 ? size * n : 0;
}

static struct curl_slist *make_headers(const char *key)
{
    char prefer[32], *authorization = NULL;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(prefer, sizeof(prefer), "Prefer: wait=%d", WAIT_S);
    headers = curl_slist_append(headers, prefer);
    if (key[0] != '\0' && asprintf(&authorization, "Authorization: Bearer %s", key) >= 0) {
        headers = curl_slist_append(headers, authorization);
        explicit_bzero(authorization, strlen(authorization));
        free(authorization);
    }
    return headers;
}

int deliver_by_gateway(const char *url, const char *key, const json_t *message, json_t **answer_out,
                       struct error *err)
{
    CLEANUP(buffer_clear) struct buffer answer;
    char target[1024];
    long status = 0;
    size_t n = strlen(url);
    snprintf(target, sizeof(target), "%.*s/v1/messages",
             (int)(n > 0 && url[n - 1] == '/' ? n - 1 : n), url);
    buffer_init(&answer, ANSWER_MAX);
    char *body = json_dumps(message, JSON_COMPACT);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = make_headers(key);
    if (body == NULL || curl == NULL)
        return error_set(err, ERR_NOMEM, "request");
    curl_easy_setopt(curl, CURLOPT_URL, target);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (cli_gateway_is_local(url)) /* what is for this machine is for no proxy of the environment */
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)WAIT_S + 15);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(body);
    if (rc != CURLE_OK)
        return error_set(err, ERR_IO, "%s: %s", target, curl_easy_strerror(rc));
    *answer_out = json_loadb(answer.data != NULL ? answer.data : "", answer.len, 0, NULL);
    if (*answer_out == NULL)
        return error_set(err, ERR_PROTOCOL, "%s: status %ld without JSON", target, status);
    return (int)status;
}

/* --- from here ---------------------------------------------------------------------------- */

struct local_request {
    struct api_request request; /* first: what handlers get */
    char prefer[32];
    pthread_mutex_t lock;
    pthread_cond_t news;
    bool done;
};

static const char *get_header(const struct api_request *request, const char *name)
{
    return strcasecmp(name, "Prefer") == 0 ? ((const struct local_request *)request)->prefer : NULL;
}

static void on_complete(struct api_request *request)
{
    struct local_request *local = (struct local_request *)request;
    pthread_mutex_lock(&local->lock);
    local->done = true;
    pthread_cond_signal(&local->news);
    pthread_mutex_unlock(&local->lock);
}

/* A trouble that passes by itself, and in less than a minute perhaps. */
static bool may_pass(const struct relay_status *status)
{
    return status->last_error.code == ERR_THROTTLED || status->last_error.code == ERR_RELAY_CLOSING;
}

/* What is tried again and again may lock the account. */
static bool is_certain(const struct relay_status *status)
{
    return status->hint_proved || status->last_error.code == ERR_AUTH_FAILED;
}

/* No relay takes it, and why is known: nothing is gained by waiting on. `waited_ms` so far. */
static bool is_hopeless(const struct relays *relays, int64_t waited_ms)
{
    for (size_t i = 0; i < relays_count(relays); i++) {
        struct relay_status status;
        relay_status(relays_at(relays, i), &status);
        bool known = status.last_error.code != ERR_NONE && !may_pass(&status) &&
                     status.n_connections == status.n_opening;
        if (!known || (!is_certain(&status) && waited_ms < PATIENCE_MS))
            return false;
    }
    return true;
}

static bool wait_a_little(struct local_request *local)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&local->lock);
    if (!local->done)
        pthread_cond_timedwait(&local->news, &local->lock, &until);
    bool done = local->done;
    pthread_mutex_unlock(&local->lock);
    return done;
}

/* A drain ends the wait: who still waits is told that it could not be had. */
static void wait_for_answer(struct local_request *local, const struct api_context *context)
{
    int64_t begun_ms = clock_mono_ms();
    bool drained = false;
    while (!wait_a_little(local))
        if (!drained && is_hopeless(context->relays, clock_mono_ms() - begun_ms)) {
            queue_drain(context->queue);
            drained = true;
        }
}

/* The very handler of POST /v1/messages, without a socket. */
static int post(const struct api_context *context, const json_t *message, json_t **answer_out,
                struct error *err)
{
    struct local_request local = {.request = {.context = context,
                                              .method = "POST",
                                              .path = "/v1/messages",
                                              .header = get_header,
                                              .header_list = get_header,
                                              .complete = on_complete}};
    char *body = json_dumps(message, JSON_COMPACT);
    local.request.arena = arena_new();
    if (body == NULL || local.request.arena == NULL)
        return error_set(err, ERR_NOMEM, "message");
    snprintf(local.prefer, sizeof(local.prefer), "wait=%d", WAIT_S);
    pthread_mutex_init(&local.lock, NULL);
    pthread_cond_init(&local.news, NULL);
    buffer_init(&local.request.body, context->config->http.max_body * 2);
    buffer_append_str(&local.request.body, body);
    free(body);

    messages_post(&local.request);
    wait_for_answer(&local, context);
    const struct api_response *response = &local.request.response;
    *answer_out = json_loadb(response->body.data != NULL ? response->body.data : "",
                             response->body.len, 0, NULL);
    int status = response->status;
    buffer_clear(&local.request.response.body);
    buffer_clear(&local.request.body);
    arena_free(local.request.arena);
    return *answer_out != NULL ? status : error_set(err, ERR_NOMEM, "no answer");
}

/* The first that has trouble speaks for them all. */
static bool find_trouble(const struct relays *relays, struct relay_status *status_out)
{
    for (size_t i = 0; i < relays_count(relays); i++) {
        relay_status(relays_at(relays, i), status_out);
        if (status_out->last_error.code != ERR_NONE)
            return true;
    }
    return false;
}

/* Why it could not be had, and what to do, for a person who waits for it. */
static void tell_why_not(const struct relays *relays, json_t *problem)
{
    struct relay_status status;
    const struct error *why = &status.last_error;
    json_object_set_new(problem, "title", json_string("it was not sent"));
    if (!find_trouble(relays, &status)) {
        json_object_set_new(problem, "detail", json_string("the relay did not answer in time"));
        return;
    }
    json_object_set_new(problem, "detail",
                        json_sprintf("relay %s, %s: %s: %s", status.name, why->where,
                                     error_word(why->code), why->detail));
    if (status.hint[0] != '\0')
        json_object_set_new(
            problem, "hint",
            json_sprintf("hint%s: %s", status.hint_proved ? ", proved" : "", status.hint));
}

int deliver_from_here(const struct config *config, const json_t *message, json_t **answer_out,
                      struct error *err)
{
    struct engine engine;
    struct config in_memory = *config;
    in_memory.queue.store = "memory:";
    if (engine_start(&in_memory, &engine, err) < 0)
        return -1;
    if (engine.sandbox != NULL)
        fputs("postern: no relay is configured: this goes to the sandbox and no further\n", stderr);
    const struct api_context context = {
        .config = &in_memory, .queue = engine.queue, .relays = engine.relays};
    int status = post(&context, message, answer_out, err);
    if (status == 504)
        tell_why_not(engine.relays, *answer_out);
    engine_stop(&engine);
    return status;
}
