/*
 * oauth_stress SECONDS: first 64 threads ask one cache for a token at the same instant, and there
 * must be one request. Then a storm: tokens that live a second, answers that are late, fail or
 * never come in time, new refresh tokens with each; threads that ask, leave before they are told,
 * refuse what they got and look at the state. Everybody is told once, nobody gets a token that has
 * expired, and no entry has two requests at once. Says what it counted; 1 and a line for each
 * mistake if there is one.
 *
 * A program and not a unit test, because Criterion does not run under the thread sanitizer.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/support/cache_thread.h"
#include "tests/unit/support/token_endpoint.h"

enum { N_AT_ONCE = 64, N_THREADS = 8, N_ENTRIES = 8, SLACK_MS = 250 };

static struct {
    struct config_oauth entries[N_ENTRIES];
    char names[N_ENTRIES][16];
    struct config config;
    struct vault *vault;
    struct cache_thread at;
    pthread_barrier_t all_there;
    atomic_bool done;
    atomic_uint n_served, n_waited, n_failed, n_left, n_refused, n_mistakes;
} test;

static void mistake(const char *what)
{
    if (atomic_fetch_add(&test.n_mistakes, 1) < 10)
        printf("%s\n", what);
}

/* --- the endpoint ------------------------------------------------------------------------- */

static void misbehaves(unsigned n, const char *form, struct token_reply *reply)
{
    char refresh[TOKEN_ENDPOINT_TEXT];
    token_form_refresh_token(form, refresh);
    reply->delay_ms = n % 7 * 10;
    if (n % 5 == 0) {
        *reply = (struct token_reply){.failure = ERR_TIMEOUT, .retry_after_ms = -1};
    } else if (refresh[0] != '\0') {
        snprintf(reply->body, sizeof(reply->body),
                 "{\"access_token\":\"token-%u\",\"token_type\":\"Bearer\",\"expires_in\":1,"
                 "\"refresh_token\":\"refresh-%u\"}",
                 n, n);
    } else {
        token_reply_token(reply, n, 1 + n % 2);
    }
}

/* --- all at once -------------------------------------------------------------------------- */

static void *ask_at_once(void *arg)
{
    struct asker *asker = arg;
    asker_init(asker);
    pthread_barrier_wait(&test.all_there);
    if (!asker_ask(asker, test.at.cache, 1) && !asker_wait(asker))
        mistake("never told");
    return NULL;
}

static void ask_all_at_once(void)
{
    static struct asker askers[N_AT_ONCE];
    pthread_t threads[N_AT_ONCE];
    token_endpoint_begin(NULL);
    token_endpoint_hold(true);
    pthread_barrier_init(&test.all_there, NULL, N_AT_ONCE + 1);
    for (size_t i = 0; i < N_AT_ONCE; i++)
        pthread_create(&threads[i], NULL, ask_at_once, &askers[i]);
    pthread_barrier_wait(&test.all_there);
    usleep(50000);
    token_endpoint_hold(false);
    for (size_t i = 0; i < N_AT_ONCE; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < N_AT_ONCE; i++)
        if (askers[i].ask.token == NULL || askers[i].ask.token != askers[0].ask.token)
            mistake("not the one token");
    for (size_t i = 0; i < N_AT_ONCE; i++)
        asker_clear(&askers[i]);
    pthread_barrier_destroy(&test.all_there);
    printf("%d at once: %u request\n", N_AT_ONCE, token_endpoint_requests());
    if (token_endpoint_requests() != 1)
        mistake("not one request");
}

/* --- the storm ---------------------------------------------------------------------------- */

/* `asked_ms`: however late this thread hears of it, a token that had expired by then is wrong. */
static void judge(struct asker *asker, size_t entry, int64_t asked_ms, bool refuse)
{
    const struct oauth_ask *ask = &asker->ask;
    if (ask->token == NULL) {
        atomic_fetch_add(&test.n_failed, 1);
        if (ask->err.code != ERR_TOKEN_UNAVAILABLE)
            mistake(ask->err.detail);
        return;
    }
    atomic_fetch_add(&test.n_served, 1);
    if (oauth_token_expires_ms(ask->token) + SLACK_MS < asked_ms)
        mistake("an expired token");
    if (!refuse)
        return;
    atomic_fetch_add(&test.n_refused, 1);
    oauth_cache_refused(test.at.cache, entry, ask->token);
}

static void look_at(size_t entry)
{
    struct oauth_status status;
    oauth_cache_status(test.at.cache, entry, &status);
    if (strcmp(status.state, "failed") == 0 && status.last_error.code == ERR_NONE)
        mistake("failed for no reason");
}

static void *live_in_storm(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!atomic_load(&test.done)) {
        struct asker asker;
        size_t entry = (size_t)rand_r(&seed) % N_ENTRIES;
        asker_init(&asker);
        int64_t asked_ms = clock_mono_ms();
        bool told = asker_ask(&asker, test.at.cache, entry);
        if (!told)
            atomic_fetch_add(&test.n_waited, 1);
        bool left =
            !told && rand_r(&seed) % 4 == 0 && oauth_cache_forget(test.at.cache, &asker.ask);
        if (left)
            atomic_fetch_add(&test.n_left, 1);
        else if (told || asker_wait(&asker))
            judge(&asker, entry, asked_ms, rand_r(&seed) % 1000 == 0);
        else
            mistake("never told");
        look_at(entry);
        asker_clear(&asker);
        if (rand_r(&seed) % 16 == 0)
            usleep(1000);
    }
    return NULL;
}

static void rage(unsigned seconds)
{
    pthread_t threads[N_THREADS];
    token_endpoint_begin(misbehaves);
    int64_t begun_ms = clock_mono_ms();
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_create(&threads[i], NULL, live_in_storm, (void *)(uintptr_t)(i + 1));
    sleep(seconds);
    atomic_store(&test.done, true);
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%u served, %u waited, %u failed, %u left, %u refused, %u requests\n", test.n_served,
           test.n_waited, test.n_failed, test.n_left, test.n_refused, token_endpoint_requests());
    /* At least 0.7 s from one to the next of an entry; two more for a token that was dropped. */
    if (token_endpoint_requests() > N_ENTRIES * ((clock_mono_ms() - begun_ms) / 700 + 3))
        mistake("too many requests");
    if (test.n_served == 0 || test.n_waited == 0 || test.n_left == 0)
        mistake("that was no storm");
}

/* --- all of it ---------------------------------------------------------------------------- */

static void configure(void)
{
    for (size_t i = 0; i < N_ENTRIES; i++) {
        snprintf(test.names[i], sizeof(test.names[i]), "entry-%zu", i);
        test.entries[i] = (struct config_oauth){
            .name = test.names[i],
            .grant = i % 2 == 0 ? CONFIG_OAUTH_REFRESH_TOKEN : CONFIG_OAUTH_CLIENT_CREDENTIALS,
            .client_auth = CONFIG_OAUTH_CLIENT_POST,
            .client_id = "id",
            .client_secret = "secret",
            .refresh_token = i % 2 == 0 ? "first" : NULL,
            .token_url = "http://127.0.0.1:1/token"};
    }
    test.config = (struct config){.oauth = test.entries, .n_oauth = N_ENTRIES};
}

int main(int argc, char **argv)
{
    struct error err;
    if (argc != 2) {
        fprintf(stderr, "usage: oauth_stress SECONDS\n");
        return 2;
    }
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    configure();
    if (vault_open(&(struct vault_settings){0}, &test.vault, &err) < 0 ||
        cache_thread_start(&test.at, &test.config, test.vault, &err) < 0) {
        fprintf(stderr, "oauth_stress: %s\n", err.detail);
        return 2;
    }
    ask_all_at_once();
    rage((unsigned)strtoul(argv[1], NULL, 10));
    cache_thread_stop(&test.at);
    vault_close(test.vault);
    return atomic_load(&test.n_mistakes) > 0;
}
