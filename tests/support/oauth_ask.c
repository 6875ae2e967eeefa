/*
 * oauth_ask: asks a token endpoint once, as the settings on stdin say: a JSON object with the names
 * of an oauth entry, and a refresh token as `newest`. Prints what came as a JSON object; exit 0
 * for a token. For the tests with real servers.
 */

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "oauth/tokens/grant.h"

struct outcome {
    struct oauth_token *token;
    char *refresh;
    struct error err;
    int64_t begun_ms;
};

static void on_done(void *arg, const struct http_response *response, const struct error *err)
{
    struct outcome *outcome = arg;
    if (response == NULL)
        outcome->err = *err;
    else
        oauth_token_parse(response->status, response->body, response->body_len, outcome->begun_ms,
                          &outcome->token, &outcome->refresh, &outcome->err);
}

static int word(const json_t *root, const char *name, const char *const *words, int none)
{
    const char *text = json_string_value(json_object_get(root, name));
    for (int i = 0; text != NULL && words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return none;
}

static void take_settings(const json_t *root, struct config_oauth *oauth)
{
    static const char *const grants[] = {"refresh_token", "client_credentials", "jwt_bearer",
                                         "token_file", NULL};
    static const char *const ways[] = {"basic", "post", NULL};
    const struct {
        const char *name, **to;
    } texts[] = {
        {"client_id", &oauth->client_id},
        {"client_secret", &oauth->client_secret},
        {"private_key_file", &oauth->private_key_file},
        {"certificate_file", &oauth->certificate_file},
        {"key_id", &oauth->key_id},
        {"subject", &oauth->subject},
        {"service_account_file", &oauth->service_account_file},
        {"token_url", &oauth->token_url},
        {"scope", &oauth->scope},
        {"ca_file", &oauth->ca_file},
        {"proxy", &oauth->proxy},
    };
    oauth->grant = word(root, "grant", grants, CONFIG_OAUTH_CLIENT_CREDENTIALS);
    oauth->client_auth = word(root, "client_auth", ways, CONFIG_OAUTH_CLIENT_UNSAID);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i].to = json_string_value(json_object_get(root, texts[i].name));
}

static void ask(const struct config_oauth *oauth, const char *newest, struct outcome *outcome)
{
    CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
    const struct http_settings settings = {.ca_file = oauth->ca_file, .proxy = oauth->proxy};
    struct http_client *client = NULL;
    struct http_request request;
    uv_loop_t loop;
    if (grant_request(oauth, newest, clock_wall_ms() / 1000, arena, &request, &outcome->err) < 0)
        return;
    uv_loop_init(&loop);
    outcome->begun_ms = clock_mono_ms();
    if (http_client_new(&loop, &settings, &client, &outcome->err) == 0) {
        if (http_start(client, &request, on_done, outcome) == NULL)
            error_set(&outcome->err, ERR_NOMEM, "no memory to ask");
        while (outcome->token == NULL && outcome->err.code == ERR_NONE)
            uv_run(&loop, UV_RUN_ONCE);
        http_client_free(client);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

static void print(const struct outcome *outcome)
{
    json_auto_t *result = NULL;
    if (outcome->token == NULL)
        result = json_pack("{s:s, s:s}", "error", error_word(outcome->err.code), "detail",
                           outcome->err.detail);
    else
        result =
            json_pack("{s:s, s:s*, s:I}", "access_token", oauth_token_secret(outcome->token),
                      "refresh_token", outcome->refresh, "lifetime_ms",
                      (json_int_t)(oauth_token_expires_ms(outcome->token) - outcome->begun_ms));
    json_dumpf(result, stdout, 0);
}

int main(void)
{
    struct config_oauth oauth = {0};
    struct outcome outcome = {0};
    signal(SIGPIPE, SIG_IGN);
    json_auto_t *root = json_loadf(stdin, 0, NULL);
    if (root == NULL)
        return 2;
    take_settings(root, &oauth);
    ask(&oauth, json_string_value(json_object_get(root, "newest")), &outcome);
    print(&outcome);
    bool good = outcome.token != NULL;
    oauth_token_unref(outcome.token);
    free(outcome.refresh);
    return good ? 0 : 1;
}
