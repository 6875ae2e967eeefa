#include "cli/deliver.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/handlers.h"
#include "engine.h"

enum { ANSWER_MAX = 1 << 20, WAIT_S = 60 };

/* --- through a gateway -------------------------------------------------------------------- */

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    return buffer_append(arg, data, size * n) == 0 ? size * n : 0;
}

static struct curl_slist *make_headers(void)
{
    char prefer[32], *authorization = NULL;
    const char *key = getenv("POSTERN_API_KEY");
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    snprintf(prefer, sizeof(prefer), "Prefer: wait=%d", WAIT_S);
    headers = curl_slist_append(headers, prefer);
    if (key != NULL && asprintf(&authorization, "Authorization: Bearer %s", key) >= 0) {
        headers = curl_slist_append(headers, authorization);
        explicit_bzero(authorization, strlen(authorization));
        free(authorization);
    }
    return headers;
}

int deliver_by_gateway(const char *url, const json_t *message, json_t **answer_out,
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
    struct curl_slist *headers = make_headers();
    if (body == NULL || curl == NULL)
        return error_set(err, ERR_NOMEM, "request");
    curl_easy_setopt(curl, CURLOPT_URL, target);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
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

/* The very handler of POST /v1/messages, without a socket. */
static int post(const struct api_context *context, const json_t *message, json_t **answer_out,
                struct error *err)
{
    struct local_request local = {.request = {.context = context,
                                              .method = "POST",
                                              .path = "/v1/messages",
                                              .header = get_header,
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
    pthread_mutex_lock(&local.lock);
    while (!local.done)
        pthread_cond_wait(&local.news, &local.lock);
    pthread_mutex_unlock(&local.lock);

    const struct api_response *response = &local.request.response;
    *answer_out =
        json_loadb(response->body != NULL ? response->body : "", response->body_len, 0, NULL);
    int status = response->status;
    free(response->body);
    buffer_clear(&local.request.body);
    arena_free(local.request.arena);
    return *answer_out != NULL ? status : error_set(err, ERR_NOMEM, "no answer");
}

/* Why it could not be had: what the first relay that has trouble says. */
static json_t *why_not(const struct relays *relays)
{
    for (size_t i = 0; i < relays_count(relays); i++) {
        struct relay_status status;
        relay_status(relays_at(relays, i), &status);
        if (status.last_error.code != ERR_NONE)
            return json_sprintf("%s: %s: %s%s%s", status.name, error_word(status.last_error.code),
                                status.last_error.detail, status.hint[0] != '\0' ? "; " : "",
                                status.hint);
    }
    return json_string("the relay did not answer in time");
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
        json_object_set_new(*answer_out, "detail", why_not(engine.relays));
    engine_stop(&engine);
    return status;
}
