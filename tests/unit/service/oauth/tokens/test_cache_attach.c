#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "oauth/tokens/cache.h"
#include "oauth/tokens/fetch.h"

/* A cache that cannot be attached, or never was: everybody is told, nothing is left on the loop. */

enum { N = 3 };

static int n_clients, n_at_most; /* of HTTP clients */

static int client_new(uv_loop_t *loop, const struct http_settings *settings,
                      struct http_client **client_out, struct error *err)
{
    if (n_clients == n_at_most)
        return error_set(err, ERR_CONFIG, "no such proxy");
    *client_out = malloc(1);
    n_clients++;
    return 0;
}

static void client_free(struct http_client *client)
{
    n_clients--;
    free(client);
}

static struct http_exchange *start(struct http_client *client, const struct http_request *request,
                                   http_done_fn *done, void *arg)
{
    return NULL; /* no memory */
}

static void cancel(struct http_exchange *exchange)
{
}

static const struct fetch_wire wire = {client_new, client_free, start, cancel};
static struct config_oauth entries[N];
static const struct config config = {.oauth = entries, .n_oauth = N};
static struct vault *vault;
static struct oauth_cache *cache;
static uv_loop_t loop;
static int n_told;

static void set_up(void)
{
    static const char *const proxies[N] = {"http://a:1", "http://b:1", "http://c:1"};
    for (int i = 0; i < N; i++)
        entries[i] = (struct config_oauth){.name = proxies[i],
                                           .proxy = proxies[i],
                                           .grant = i == 0 ? CONFIG_OAUTH_REFRESH_TOKEN
                                                           : CONFIG_OAUTH_CLIENT_CREDENTIALS,
                                           .client_id = "i",
                                           .client_secret = "s",
                                           .token_url = "https://a.test/"};
    struct error err;
    cr_assert_eq(vault_open(&(struct vault_settings){0}, &vault, &err), 0);
    cr_assert_eq(oauth_cache_new_over(&config, vault, &wire, &cache, &err), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
}

static void tear_down(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0, "something is left on the loop");
    oauth_cache_free(cache);
    vault_close(vault);
    cr_assert_eq(n_clients, 0);
}

TestSuite(cache_attach, .init = set_up, .fini = tear_down, .timeout = 60);

static void on_answered(struct oauth_ask *ask)
{
    n_told++;
}

static void asks(struct oauth_ask *ask, size_t entry, bool answered)
{
    *ask = (struct oauth_ask){.answered = on_answered};
    cr_assert_eq(oauth_cache_get(cache, entry, 0, ask), answered);
}

Test(cache_attach, that_fails_at_any_of_them)
{
    for (int at_most = 0; at_most < N; at_most++) {
        struct oauth_ask before[N], after;
        struct error err;
        n_told = 0;
        n_at_most = at_most;
        for (size_t i = 0; i < N; i++)
            asks(&before[i], i, false);
        cr_assert_eq(oauth_cache_attach(cache, &loop, &err), -1);
        cr_assert_eq(err.code, ERR_CONFIG);
        cr_assert_eq(n_told, N);
        for (size_t i = 0; i < N; i++) {
            cr_assert_eq(before[i].err.code, ERR_TOKEN_UNAVAILABLE);
            cr_assert_not_null(strstr(before[i].err.detail, "no such proxy"));
            cr_assert_not(oauth_cache_forget(cache, &before[i]));
        }
        asks(&after, 1, true);
        cr_assert_eq(after.err.code, ERR_TOKEN_UNAVAILABLE);
        oauth_cache_detach(cache); /* as at every end */
        oauth_cache_detach(cache);
        uv_run(&loop, UV_RUN_DEFAULT);
        oauth_cache_free(cache);
        cr_assert_eq(oauth_cache_new_over(&config, vault, &wire, &cache, &err), 0);
    }
}

Test(cache_attach, that_never_was)
{
    struct oauth_ask before, after;
    asks(&before, 0, false);
    oauth_cache_detach(cache);
    cr_assert_eq(n_told, 1);
    cr_assert_eq(before.err.code, ERR_DRAINING);
    asks(&after, 0, true);
    cr_assert_eq(after.err.code, ERR_DRAINING);
}

Test(cache_attach, and_an_end_twice)
{
    struct error err;
    n_at_most = N;
    cr_assert_eq(oauth_cache_attach(cache, &loop, &err), 0);
    oauth_cache_detach(cache);
    oauth_cache_detach(cache);
}
