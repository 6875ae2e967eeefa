#include "tests/unit/support/token_endpoint.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http_client {
    uv_loop_t *loop;
};

struct http_exchange {
    uv_timer_t timer;
    struct token_reply reply;
    http_done_fn *done;
    void *arg;
};

static _Atomic(token_answer_fn *) answer;
static atomic_bool held;
static atomic_uint n_requests, n_clients, n_cancelled;

void token_endpoint_begin(token_answer_fn *fn)
{
    atomic_store(&answer, fn);
    atomic_store(&held, false);
    atomic_store(&n_requests, 0);
    atomic_store(&n_cancelled, 0);
}

void token_endpoint_hold(bool hold)
{
    atomic_store(&held, hold);
}

unsigned token_endpoint_requests(void)
{
    return atomic_load(&n_requests);
}

unsigned token_endpoint_clients(void)
{
    return atomic_load(&n_clients);
}

unsigned token_endpoint_cancelled(void)
{
    return atomic_load(&n_cancelled);
}

/* --- replies ------------------------------------------------------------------------------ */

void token_reply_token(struct token_reply *reply, unsigned n, unsigned expires_in_s)
{
    *reply = (struct token_reply){.status = 200, .retry_after_ms = -1};
    snprintf(reply->body, sizeof(reply->body),
             "{\"access_token\":\"token-%u\",\"token_type\":\"Bearer\",\"expires_in\":%u}", n,
             expires_in_s);
}

void token_reply_rotated(struct token_reply *reply, unsigned n, const char *refresh_token)
{
    *reply = (struct token_reply){.status = 200, .retry_after_ms = -1};
    snprintf(reply->body, sizeof(reply->body),
             "{\"access_token\":\"token-%u\",\"token_type\":\"Bearer\",\"expires_in\":3600,"
             "\"refresh_token\":\"%s\"}",
             n, refresh_token);
}

void token_reply_error(struct token_reply *reply, int status, const char *word)
{
    *reply = (struct token_reply){.status = status, .retry_after_ms = -1};
    snprintf(reply->body, sizeof(reply->body), "{\"error\":\"%s\"}", word);
}

void token_form_refresh_token(const char *form, char out[TOKEN_ENDPOINT_TEXT])
{
    static const char name[] = "refresh_token=";
    const char *at = form;
    while ((at = strstr(at, name)) != NULL && at != form && at[-1] != '&')
        at++;
    size_t len = at != NULL ? strcspn(at + sizeof(name) - 1, "&") : 0;
    snprintf(out, TOKEN_ENDPOINT_TEXT, "%.*s", (int)len, at != NULL ? at + sizeof(name) - 1 : "");
}

/* --- the wire ----------------------------------------------------------------------------- */

static int client_new(uv_loop_t *loop, const struct http_settings *settings,
                      struct http_client **client_out, struct error *err)
{
    struct http_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return error_set(err, ERR_NOMEM, "client");
    client->loop = loop;
    atomic_fetch_add(&n_clients, 1);
    *client_out = client;
    return 0;
}

static void client_free(struct http_client *client)
{
    atomic_fetch_sub(&n_clients, 1);
    free(client);
}

static void on_closed(uv_handle_t *timer)
{
    free(timer->data);
}

static void close_exchange(struct http_exchange *exchange)
{
    uv_close((uv_handle_t *)&exchange->timer, on_closed);
}

static void on_time(uv_timer_t *timer)
{
    struct http_exchange *exchange = timer->data;
    struct token_reply *reply = &exchange->reply;
    struct error err = {.code = reply->failure, .detail = "told to fail"};
    const struct http_response response = {.status = reply->status,
                                           .body = reply->body,
                                           .body_len = strlen(reply->body),
                                           .retry_after_ms = reply->retry_after_ms};
    if (atomic_load(&held)) {
        uv_timer_start(timer, on_time, 2, 0);
        return;
    }
    close_exchange(exchange);
    exchange->done(exchange->arg, reply->failure == ERR_NONE ? &response : NULL, &err);
}

static struct http_exchange *start(struct http_client *client, const struct http_request *request,
                                   http_done_fn *done, void *arg)
{
    struct http_exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return NULL;
    char form[TOKEN_ENDPOINT_TEXT];
    unsigned n = atomic_fetch_add(&n_requests, 1) + 1;
    token_answer_fn *fn = atomic_load(&answer);
    snprintf(form, sizeof(form), "%.*s", (int)request->body_len, request->body);
    token_reply_token(&exchange->reply, n, 3600);
    if (fn != NULL)
        fn(n, form, &exchange->reply);
    exchange->done = done;
    exchange->arg = arg;
    exchange->timer.data = exchange;
    uv_timer_init(client->loop, &exchange->timer);
    uv_timer_start(&exchange->timer, on_time, exchange->reply.delay_ms, 0);
    return exchange;
}

static void cancel(struct http_exchange *exchange)
{
    atomic_fetch_add(&n_cancelled, 1);
    close_exchange(exchange);
}

const struct fetch_wire TOKEN_ENDPOINT = {client_new, client_free, start, cancel};
