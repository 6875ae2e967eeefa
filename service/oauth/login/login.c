#include "oauth/login/login.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "config/provider.h"
#include "net/http.h"
#include "oauth/login/authorization.h"
#include "oauth/login/device.h"
#include "oauth/login/paste.h"
#include "oauth/login/redirect.h"
#include "oauth/tokens/form.h"
#include "oauth/tokens/grant.h"

/*
 *   device code          begin ── codes ──► poll ◄─ pending ─┐ ── tokens ──► done
 *                                            └───────────────┘
 *   authorization code   visit ── a code, by redirect or paste ──► exchange ── tokens ──► done
 */

enum { TICK_MS = 100, VISIT_MS = 15 * 60 * 1000 };

#define DEVICE_CODE "urn:ietf:params:oauth:grant-type:device_code"

/* Where a browser on another machine ends up: most likely nobody listens there, and if so the code
 * is of no use to them without the verifier. */
static const char elsewhere[] = "http://127.0.0.1:49152/";

struct login {
    const struct config_oauth *oauth;
    const struct login_options *options;
    const struct login_listener *listener;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t interrupted, terminated;

    struct http_client *http;
    struct http_exchange *exchange; /* under way; NULL: none */
    struct arena *arena;            /* of what is asked and its answer; wipes */
    int64_t asked_ms;

    struct device device;
    int64_t poll_ms; /* when to ask next; 0: this is not by device */
    struct authorization authorization;
    struct redirect *redirect;
    struct paste *paste;
    bool has_code;

    int64_t deadline_ms, told_left_s;
    char *refresh_token; /* what all is for */
    struct error err;
    bool ended;
};

/* --- its end ------------------------------------------------------------------------------ */

static void end(struct login *l)
{
    l->ended = true;
    uv_stop(&l->loop);
}

static void fail(struct login *l, const struct error *why)
{
    if (!l->ended)
        l->err = *why;
    end(l);
}

/* --- requests ----------------------------------------------------------------------------- */

/* `fields` are borrowed until the next request. */
static int ask(struct login *l, const char *url, const struct form *fields, http_done_fn *done)
{
    struct http_request *request = arena_alloc(l->arena, sizeof(*request));
    if (request == NULL)
        return error_set(&l->err, ERR_NOMEM, "request");
    if (grant_form_request(l->oauth, url, fields, clock_wall_ms() / 1000, l->arena, request,
                           &l->err) < 0)
        return -1;
    l->asked_ms = clock_mono_ms();
    l->exchange = http_start(l->http, request, done, l);
    return l->exchange != NULL ? 0 : error_set(&l->err, ERR_NOMEM, "request");
}

/* What a provider must be asked for, so that there is something to keep. */
static int explain_lack(const struct login *l, struct error *err)
{
    return error_set(err, ERR_TOKEN_REFUSED,
                     "the provider gave an access token but no refresh token: %s",
                     l->oauth->provider == CONFIG_OAUTH_GOOGLE
                         ? "Google needs access_type=offline and prompt=consent in authorize_url"
                         : "scope needs offline_access, or the client must be allowed the grant "
                           "refresh_token");
}

static void take_tokens(struct login *l, const struct http_response *response)
{
    CLEANUP(oauth_token_unref) struct oauth_token *token = NULL;
    struct error why;
    if (oauth_token_parse(response->status, response->body, response->body_len, l->asked_ms, &token,
                          &l->refresh_token, &why) < 0) {
        fail(l, &why);
    } else if (l->refresh_token == NULL) {
        explain_lack(l, &why);
        fail(l, &why);
    } else {
        end(l);
    }
}

/* --- device code -------------------------------------------------------------------------- */

static void on_polled(void *arg, const struct http_response *response, const struct error *err)
{
    struct login *l = arg;
    struct error why;
    l->exchange = NULL;
    enum device_verdict verdict = DEVICE_PENDING;
    if (response == NULL)
        device_set_back(&l->device);
    else
        verdict =
            device_judge(&l->device, response->status, response->body, response->body_len, &why);
    switch (verdict) {
    case DEVICE_FAILED:
        fail(l, &why);
        break;
    case DEVICE_GRANTED:
        take_tokens(l, response);
        break;
    case DEVICE_PENDING:
        l->poll_ms = clock_mono_ms() + device_wait_ms(&l->device);
        break;
    }
}

static void poll_device(struct login *l)
{
    struct form form = {0};
    form_add(&form, "grant_type", DEVICE_CODE);
    form_add(&form, "device_code", l->device.code);
    if (ask(l, l->oauth->token_url, &form, on_polled) < 0)
        end(l);
}

static void on_device(void *arg, const struct http_response *response, const struct error *err)
{
    struct login *l = arg;
    struct error why;
    l->exchange = NULL;
    if (response == NULL) {
        fail(l, err);
    } else if (device_parse(response->status, response->body, response->body_len, l->asked_ms,
                            &l->device, &why) < 0) {
        fail(l, &why);
    } else {
        l->deadline_ms = l->device.expires_ms;
        l->poll_ms = clock_mono_ms() + device_wait_ms(&l->device);
        l->listener->device(l->listener->arg, l->device.verification_uri, l->device.user_code);
    }
}

static int begin_device(struct login *l)
{
    struct form form = {0};
    /* RFC 8628, 3.1: also where the client says who it is by a header. */
    if (l->oauth->client_secret != NULL && l->oauth->private_key_file == NULL &&
        l->oauth->client_auth != CONFIG_OAUTH_CLIENT_POST)
        form_add(&form, "client_id", l->oauth->client_id);
    form_add(&form, "scope", l->oauth->scope);
    return ask(l, l->oauth->device_url, &form, on_device);
}

/* --- authorization code ------------------------------------------------------------------- */

static void on_exchanged(void *arg, const struct http_response *response, const struct error *err)
{
    struct login *l = arg;
    l->exchange = NULL;
    if (response != NULL)
        take_tokens(l, response);
    else
        fail(l, err);
}

static void exchange(struct login *l, const char *code)
{
    struct form form = {0};
    l->has_code = true;
    form_add(&form, "grant_type", "authorization_code");
    form_add(&form, "code", code);
    form_add(&form, "redirect_uri", l->authorization.redirect_uri);
    form_add(&form, "code_verifier", l->authorization.verifier);
    if (ask(l, l->oauth->token_url, &form, on_exchanged) < 0)
        end(l);
}

/* What came of looking for a code. A code is of use once, so the first ends the search. */
static bool settle_code(struct login *l, int rc, char *code, const struct error *why)
{
    if (rc == 0)
        exchange(l, code);
    else if (why->code == ERR_TOKEN_REFUSED)
        fail(l, why);
    else
        l->listener->ignored(l->listener->arg, why);
    explicit_bzero(code, AUTHORIZATION_CODE_SIZE);
    return rc == 0 || why->code == ERR_TOKEN_REFUSED;
}

static bool on_query(void *arg, const char *query, const char **text_out)
{
    struct login *l = arg;
    struct error why;
    char code[AUTHORIZATION_CODE_SIZE];
    *text_out = "postern has its answer already.";
    if (l->has_code || l->ended)
        return false;
    int rc = authorization_read(&l->authorization, query, code, &why);
    bool answered = settle_code(l, rc, code, &why);
    *text_out = rc == 0    ? "It worked: postern goes on in its terminal. This page can be closed."
                : answered ? "The provider refused: postern's terminal says more."
                           : "That does not answer the login that postern waits for.";
    return answered;
}

static void on_pasted(void *arg, const char *line)
{
    struct login *l = arg;
    struct error why;
    char code[AUTHORIZATION_CODE_SIZE];
    if (l->has_code || l->ended)
        return;
    if (line != NULL) {
        settle_code(l, authorization_read_pasted(&l->authorization, line, code, &why), code, &why);
    } else if (l->redirect == NULL) {
        error_set(&why, ERR_INVALID, "the input ended, and no code was in it");
        fail(l, &why);
    }
}

static int begin_code(struct login *l)
{
    const char *uri = l->options->redirect_uri != NULL ? l->options->redirect_uri : elsewhere;
    char *url;
    if (!l->options->paste) {
        if (redirect_open(&l->loop, on_query, l, &l->redirect, &l->err) < 0)
            return -1;
        uri = redirect_uri(l->redirect);
    }
    if (authorization_init(&l->authorization, uri, &l->err) < 0 ||
        authorization_url(&l->authorization, l->oauth, l->options->user, l->arena, &url, &l->err) <
            0)
        return -1;
    l->deadline_ms = clock_mono_ms() + VISIT_MS;
    l->listener->visit(l->listener->arg, url);
    if (l->options->paste_fd < 0)
        return 0;
    return paste_open(&l->loop, l->options->paste_fd, on_pasted, l, &l->paste, &l->err);
}

/* --- the loop ----------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *tick)
{
    struct login *l = tick->data;
    struct error why;
    int64_t now_ms = clock_mono_ms(), left_s = (l->deadline_ms - now_ms + 999) / 1000;
    if (l->deadline_ms == 0) /* the first answer is still to come; it has its own deadline */
        return;
    if (left_s <= 0) {
        error_set(&why, ERR_TIMEOUT, "nobody logged in within the time the provider gives");
        fail(l, &why);
        return;
    }
    if (left_s != l->told_left_s)
        l->listener->waiting(l->listener->arg, l->told_left_s = left_s);
    if (l->poll_ms != 0 && l->exchange == NULL && now_ms >= l->poll_ms)
        poll_device(l);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct error why;
    error_set(&why, ERR_DRAINING, "interrupted: nothing was stored");
    fail(handle->data, &why);
}

static void watch(struct login *l)
{
    uv_timer_init(&l->loop, &l->tick);
    uv_signal_init(&l->loop, &l->interrupted);
    uv_signal_init(&l->loop, &l->terminated);
    l->tick.data = l->interrupted.data = l->terminated.data = l;
    uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
    uv_signal_start(&l->interrupted, on_signal, SIGINT);
    uv_signal_start(&l->terminated, on_signal, SIGTERM);
}

static bool is_for_devices(const struct config_oauth *oauth)
{
    const struct provider *provider = provider_find(oauth);
    return oauth->device_url != NULL && (provider == NULL || provider->device);
}

static int begin(struct login *l)
{
    const struct http_settings settings = {.ca_file = l->oauth->ca_file, .proxy = l->oauth->proxy};
    l->arena = arena_new_wiping();
    if (l->arena == NULL)
        return error_set(&l->err, ERR_NOMEM, "login");
    if (http_client_new(&l->loop, &settings, &l->http, &l->err) < 0)
        return -1;
    if (is_for_devices(l->oauth) && !l->options->by_code)
        return begin_device(l);
    if (l->oauth->authorize_url == NULL)
        return error_set(&l->err, ERR_CONFIG, "there is neither device_url nor authorize_url");
    return begin_code(l);
}

static void finish(struct login *l)
{
    if (l->exchange != NULL)
        http_cancel(l->exchange);
    http_client_free(l->http);
    redirect_close(l->redirect);
    paste_close(l->paste);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->interrupted, NULL);
    uv_close((uv_handle_t *)&l->terminated, NULL);
    while (uv_loop_close(&l->loop) == UV_EBUSY)
        uv_run(&l->loop, UV_RUN_DEFAULT);
    arena_free(l->arena);
    explicit_bzero(&l->device, sizeof(l->device));
    explicit_bzero(&l->authorization, sizeof(l->authorization));
}

int login_run(const struct config_oauth *oauth, const struct login_options *options,
              const struct login_listener *listener, char **refresh_token_out, struct error *err)
{
    struct login l = {.oauth = oauth, .options = options, .listener = listener};
    if (uv_loop_init(&l.loop) < 0)
        return error_set(err, ERR_NOMEM, "loop");
    watch(&l);
    if (begin(&l) == 0 && !l.ended)
        uv_run(&l.loop, UV_RUN_DEFAULT);
    finish(&l);
    if (l.refresh_token == NULL) {
        *err = l.err;
        return -1;
    }
    *refresh_token_out = l.refresh_token;
    return 0;
}
