#include "cli/deliver.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admit/admit.h"
#include "api/decode.h"
#include "api/problem.h"
#include "api/render.h"
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

enum deliver_result deliver_by_gateway(const char *url, const char *key, const json_t *message,
                                       json_t **answer_out, struct error *err)
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
    return status == 200 ? DELIVER_SENT : status < 300 ? DELIVER_NOT_YET : DELIVER_REFUSED;
}

/* --- from here ---------------------------------------------------------------------------- */

/* One message on its way, and what became of it. */
struct local {
    pthread_mutex_t lock;
    pthread_cond_t news;
    bool done; /* guarded by `lock`; what stands below does not change any more then */
    enum deliver_result result;
    bool withdrawn;       /* the outcome could not be had */
    struct buffer answer; /* JSON; owned */
};

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

static bool wait_a_little(struct local *local)
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
static void wait_for_answer(struct local *local, const struct engine *engine)
{
    int64_t begun_ms = clock_mono_ms();
    bool drained = false;
    while (!wait_a_little(local))
        if (!drained && is_hopeless(engine->relays, clock_mono_ms() - begun_ms)) {
            queue_drain(engine->queue);
            drained = true;
        }
}

static bool any_sent(const struct mail *record)
{
    for (size_t i = 0; i < record->n_recipients; i++)
        if (record->recipients[i].status == RECIPIENT_SENT)
            return true;
    return false;
}

/* The words are the API's: --json says the same by either way. */
static void write_answer(struct json_writer *w, struct local *local,
                         const struct admit_result *result)
{
    const struct queue_answer *answer = result->answer;
    local->result = DELIVER_REFUSED;
    local->withdrawn = answer->kind == QUEUE_WITHDRAWN;
    if (result->errors != NULL) {
        problem_refusal(w, result->errors);
    } else if (local->withdrawn) {
        problem_document(w, PROBLEM_NOT_DELIVERED_IN_TIME, NULL, NULL);
    } else if (answer->record == NULL) {
        problem_document(w, PROBLEM_UNAVAILABLE, answer->err->detail, NULL);
    } else if (!any_sent(answer->record)) {
        render_refused_by_relay(w, answer->record);
    } else {
        local->result = DELIVER_SENT;
        json_begin_object(w);
        render_record(w, answer->record);
        json_end_object(w);
    }
}

static void on_result(void *arg, const struct admit_result *result)
{
    struct local *local = arg;
    struct json_writer w;
    pthread_mutex_lock(&local->lock);
    json_writer_init(&w, &local->answer);
    write_answer(&w, local, result);
    local->done = true;
    pthread_cond_signal(&local->news);
    pthread_mutex_unlock(&local->lock);
}

/* Answered when this returns. */
static void post(const struct engine *engine, struct arena *arena, struct buffer *body,
                 struct local *local)
{
    struct error err = {0};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    const struct json_value *request;
    struct message message;
    struct json_writer w;
    if (decode_json(arena, body, &request, &err) < 0 ||
        decode_message(arena, request, &message, &errors, &err) < 0) {
        const struct error_list one = {.items = &err, .n_items = 1, .n_total = 1};
        json_writer_init(&w, &local->answer);
        local->result = DELIVER_REFUSED;
        if (err.code == ERR_NONE && errors.n_items == 0)
            error_set(&err, ERR_NOMEM, "message");
        problem_refusal(&w, err.code != ERR_NONE ? &one : &errors);
        return;
    }
    const struct admit_door door = {
        .config = engine->config, .queue = engine->queue, .sandbox = engine->sandbox != NULL};
    const struct admit_mail mail = {.message = &message, .arg = local};
    admit(&door, &(struct admission){.mails = &mail,
                                     .n_mails = 1,
                                     .wait_ms = WAIT_S * 1000,
                                     .arena = arena,
                                     .result = on_result});
    wait_for_answer(local, engine);
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

enum deliver_result deliver_from_here(const struct config *config, const json_t *message,
                                      json_t **answer_out, struct error *err)
{
    struct engine engine;
    struct config in_memory = *config;
    struct local local = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};
    CLEANUP(arena_free) struct arena *arena = arena_new();
    char *text = json_dumps(message, JSON_COMPACT);
    size_t len = text != NULL ? strlen(text) : 0;
    CLEANUP(buffer_clear)
    struct buffer body = {.data = text, .len = len, .size = len, .limit = len};
    buffer_init(&local.answer, API_BODY_MAX);
    if (text == NULL || arena == NULL) {
        error_set(err, ERR_NOMEM, "message");
        return DELIVER_FAILED;
    }

    in_memory.queue.store = "memory:";
    if (engine_start(&in_memory, &engine, err) < 0)
        return DELIVER_FAILED;
    if (engine.sandbox != NULL)
        fputs("postern: no relay is configured: this goes to the sandbox and no further\n", stderr);
    post(&engine, arena, &body, &local);
    if (local.answer.failed ||
        (*answer_out = json_loadb(local.answer.data, local.answer.len, 0, NULL)) == NULL) {
        local.result = DELIVER_FAILED;
        error_set(err, ERR_NOMEM, "answer");
    } else if (local.withdrawn) {
        tell_why_not(engine.relays, *answer_out);
    }
    buffer_clear(&local.answer);
    engine_stop(&engine);
    return local.result;
}
