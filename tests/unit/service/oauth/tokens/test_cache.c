#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/metric.h"
#include "tests/unit/support/cache_thread.h"
#include "tests/unit/support/http_peer.h"
#include "tests/unit/support/token_endpoint.h"

enum { N_ASKERS = 64, N_KILLS = 60, PATIENCE_MS = 120000 };

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct config_oauth entries[3]; /* the first by refresh token, the others by secret */
static struct config config = {.oauth = entries, .n_oauth = 3};
static char folder[64], vault_path[96], file_path[96];
static struct vault *vault;
static struct cache_thread at;
static struct error err;

static void start(void)
{
    cr_assert_eq(cache_thread_start(&at, &config, vault, &err), 0, "%s", err.detail);
}

static void restart(void)
{
    cache_thread_stop(&at);
    start();
}

static void set_up(void)
{
    const struct config_oauth common = {.provider = CONFIG_OAUTH_CUSTOM,
                                        .client_auth = CONFIG_OAUTH_CLIENT_POST,
                                        .client_id = "id",
                                        .client_secret = "client-hunter2",
                                        .token_url = "http://127.0.0.1:1/token"};
    for (size_t i = 0; i < 3; i++)
        entries[i] = common;
    entries[0].name = "m365";
    entries[0].grant = CONFIG_OAUTH_REFRESH_TOKEN;
    entries[0].refresh_token = "first";
    entries[1].name = "app";
    entries[2].name = "other";
    entries[1].grant = entries[2].grant = CONFIG_OAUTH_CLIENT_CREDENTIALS;
    snprintf(folder, sizeof(folder), "/tmp/postern-cache-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(vault_path, sizeof(vault_path), "%s/grants", folder);
    snprintf(file_path, sizeof(file_path), "%s/file", folder);
    cr_assert_eq(vault_open(&(struct vault_settings){.key = KEY}, &vault, &err), 0);
    token_endpoint_begin(NULL);
    start();
}

static void remove_files(void)
{
    static const char *const names[] = {"grants", "grants.lock", "grants.new", "file", "log"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
}

static void tear_down(void)
{
    if (at.cache != NULL)
        cache_thread_stop(&at);
    vault_close(vault);
    remove_files();
    rmdir(folder);
    cr_assert_eq(token_endpoint_clients(), 0);
}

TestSuite(cache, .init = set_up, .fini = tear_down);

/* Instead of the vault in memory, and what it remembers. */
static void use_file(void)
{
    if (at.cache != NULL)
        cache_thread_stop(&at);
    vault_close(vault);
    vault = NULL;
    const struct vault_settings settings = {.path = vault_path, .key = KEY};
    cr_assert_eq(vault_open(&settings, &vault, &err), 0, "%s", err.detail);
    start();
}

/* --- one who asks -------------------------------------------------------------------------- */

static struct asker ask_and_wait(size_t entry)
{
    struct asker asker;
    asker_init(&asker);
    if (!asker_ask(&asker, at.cache, entry))
        cr_assert(asker_wait(&asker), "never told");
    sem_destroy(&asker.answered);
    return asker;
}

static void gets(size_t entry, const char *secret)
{
    struct asker asker = ask_and_wait(entry);
    cr_assert_not_null(asker.ask.token, "%s", asker.ask.err.detail);
    cr_assert_str_eq(oauth_token_secret(asker.ask.token), secret);
    oauth_token_unref(asker.ask.token);
}

static void gets_none(size_t entry, enum error_code code)
{
    struct asker asker = ask_and_wait(entry);
    cr_assert_null(asker.ask.token);
    cr_assert_eq(asker.ask.err.code, code, "%s: %s", error_word(asker.ask.err.code),
                 asker.ask.err.detail);
}

static struct oauth_status status(size_t entry)
{
    struct oauth_status it;
    oauth_cache_status(at.cache, entry, &it);
    return it;
}

static void comes_to(size_t entry, const char *state)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (strcmp(status(entry).state, state) != 0) {
        cr_assert_lt(clock_mono_ms(), until_ms, "still %s, not %s", status(entry).state, state);
        usleep(2000);
    }
}

static void comes_to_requests(unsigned n)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (token_endpoint_requests() < n) {
        cr_assert_lt(clock_mono_ms(), until_ms, "%u requests", token_endpoint_requests());
        usleep(2000);
    }
}

static void stored_is(const char *name, const char *wanted)
{
    char *secret = NULL;
    cr_assert_eq(vault_get(vault, name, &secret, &err), 0, "%s", err.detail);
    cr_assert_str_eq(secret, wanted);
    free(secret);
}

/* --- one request --------------------------------------------------------------------------- */

Test(cache, a_token_is_fetched_once_and_then_there)
{
    struct asker first = ask_and_wait(1), second;
    asker_init(&second);
    cr_assert(asker_ask(&second, at.cache, 1), "at once");
    cr_assert_eq(second.ask.token, first.ask.token);
    cr_assert_str_eq(status(1).state, "fresh");
    cr_assert_geq(status(1).seconds_left, 3590);
    cr_assert_eq(status(1).last_error.code, ERR_NONE);
    cr_assert_eq(status(1).n_requests, 1);
    cr_assert_eq(token_endpoint_requests(), 1);
    cr_assert_str_eq(status(2).state, "empty");
    gets(2, "token-2");
    oauth_token_unref(first.ask.token);
    asker_clear(&second);
}

Test(cache, entries_with_the_same_way_out_share_it)
{
    cr_assert_eq(token_endpoint_clients(), 1);
    entries[1].ca_file = "a";
    entries[2].proxy = "b";
    restart();
    cr_assert_eq(token_endpoint_clients(), 3);
}

Test(cache, who_asked_before_it_had_a_loop_is_served)
{
    struct asker asker;
    cache_thread_stop(&at);
    asker_init(&asker);
    cr_assert_eq(oauth_cache_new_over(&config, vault, &TOKEN_ENDPOINT, &at.cache, &err), 0);
    cr_assert_not(asker_ask(&asker, at.cache, 1));
    cr_assert(oauth_cache_forget(at.cache, &asker.ask));
    cr_assert_not(oauth_cache_forget(at.cache, &asker.ask));
    oauth_cache_free(at.cache);
    asker_clear(&asker);
    start();
}

struct storm {
    pthread_t threads[N_ASKERS];
    struct asker askers[N_ASKERS];
    pthread_barrier_t all_there;
    atomic_uint next;
};

static void *ask_in_storm(void *arg)
{
    struct storm *storm = arg;
    struct asker *asker = &storm->askers[atomic_fetch_add(&storm->next, 1)];
    asker_init(asker);
    pthread_barrier_wait(&storm->all_there);
    if (!asker_ask(asker, at.cache, 1) && !asker_wait(asker))
        error_set(&asker->ask.err, ERR_INTERNAL, "never told");
    return NULL;
}

/* All ask at the same instant, and the answer comes when the last has. */
static void rage(struct storm *storm)
{
    memset(storm, 0, sizeof(*storm));
    token_endpoint_hold(true);
    pthread_barrier_init(&storm->all_there, NULL, N_ASKERS + 1);
    for (size_t i = 0; i < N_ASKERS; i++)
        pthread_create(&storm->threads[i], NULL, ask_in_storm, storm);
    pthread_barrier_wait(&storm->all_there);
    comes_to_requests(1);
    usleep(20000);
    token_endpoint_hold(false);
    for (size_t i = 0; i < N_ASKERS; i++)
        pthread_join(storm->threads[i], NULL);
    pthread_barrier_destroy(&storm->all_there);
}

Test(cache, sixty_four_at_once_make_one_request)
{
    struct storm storm;
    rage(&storm);
    for (size_t i = 0; i < N_ASKERS; i++) {
        cr_assert_not_null(storm.askers[i].ask.token, "%s", storm.askers[i].ask.err.detail);
        cr_assert_eq(storm.askers[i].ask.token, storm.askers[0].ask.token);
    }
    for (size_t i = 0; i < N_ASKERS; i++)
        asker_clear(&storm.askers[i]);
    cr_assert_eq(token_endpoint_requests(), 1);
}

static void is_down(unsigned n, const char *form, struct token_reply *reply)
{
    *reply = (struct token_reply){.status = 503, .body = "<html>", .retry_after_ms = 120000};
}

Test(cache, sixty_four_at_once_share_one_error)
{
    struct storm storm;
    token_endpoint_begin(is_down);
    rage(&storm);
    for (size_t i = 0; i < N_ASKERS; i++) {
        cr_assert_null(storm.askers[i].ask.token);
        cr_assert_eq(storm.askers[i].ask.err.code, ERR_TOKEN_UNAVAILABLE);
        asker_clear(&storm.askers[i]);
    }
    cr_assert_eq(token_endpoint_requests(), 1);
}

Test(cache, who_has_gone_is_not_told)
{
    struct asker gone, stays;
    token_endpoint_hold(true);
    asker_init(&gone);
    asker_init(&stays);
    cr_assert_not(asker_ask(&stays, at.cache, 1));
    cr_assert_not(asker_ask(&gone, at.cache, 1));
    cr_assert(oauth_cache_forget(at.cache, &gone.ask));
    asker_clear(&gone);
    memset(&gone, 0xff, sizeof(gone)); /* as good as freed */
    token_endpoint_hold(false);
    cr_assert(asker_wait(&stays));
    cr_assert_not_null(stays.ask.token);
    cr_assert_not(oauth_cache_forget(at.cache, &stays.ask));
    asker_clear(&stays);
}

/* --- time ---------------------------------------------------------------------------------- */

static void lives_two_seconds(unsigned n, const char *form, struct token_reply *reply)
{
    token_reply_token(reply, n, 2);
    reply->delay_ms = 20;
}

Test(cache, a_short_lived_token_is_always_there)
{
    token_endpoint_begin(lives_two_seconds);
    int64_t begun_ms = clock_mono_ms(); /* before the first token lives */
    oauth_token_unref(ask_and_wait(1).ask.token);
    while (token_endpoint_requests() < 4) {
        struct asker asker = ask_and_wait(1);
        cr_assert_not_null(asker.ask.token, "%s", asker.ask.err.detail);
        oauth_token_unref(asker.ask.token);
        usleep(1000);
    }
    cr_assert_geq(clock_mono_ms() - begun_ms, 3 * 1500, "one request a lifetime");
}

static void lives_two_seconds_then_is_down(unsigned n, const char *form, struct token_reply *reply)
{
    if (n == 1)
        token_reply_token(reply, n, 2);
    else
        is_down(n, form, reply);
}

Test(cache, the_old_token_serves_during_an_outage_as_long_as_it_lasts)
{
    token_endpoint_begin(lives_two_seconds_then_is_down);
    gets(1, "token-1");
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (status(1).last_error.code == ERR_NONE) {
        cr_assert_lt(clock_mono_ms(), until_ms);
        usleep(1000);
    }
    struct oauth_status before = status(1);
    if (strcmp(before.state, "fresh") == 0) { /* else this machine is too slow to see it */
        struct asker asker = ask_and_wait(1);
        cr_assert(asker.ask.token != NULL || strcmp(status(1).state, "failed") == 0);
        oauth_token_unref(asker.ask.token);
    }
    comes_to(1, "failed");
    gets_none(1, ERR_TOKEN_UNAVAILABLE);
    cr_assert_eq(token_endpoint_requests(), 2, "left alone as it wishes");
    cr_assert_gt(status(1).retry_in_ms, 100000);
    cr_assert_eq(status(1).seconds_left, 0);
}

static void fails_twice(unsigned n, const char *form, struct token_reply *reply)
{
    if (n <= 2)
        *reply = (struct token_reply){.failure = ERR_TIMEOUT, .retry_after_ms = -1};
}

Test(cache, an_outage_ends_by_itself)
{
    token_endpoint_begin(fails_twice);
    gets_none(1, ERR_TOKEN_UNAVAILABLE);
    cr_assert_str_eq(status(1).state, "failed");
    cr_assert_gt(status(1).retry_in_ms, 0);
    comes_to(1, "fresh");
    gets(1, "token-3");
    cr_assert_eq(status(1).last_error.code, ERR_NONE);
    cr_assert_eq(status(1).retry_in_ms, 0);
}

static void comes_too_late(unsigned n, const char *form, struct token_reply *reply)
{
    token_reply_token(reply, n, 1);
    reply->delay_ms = 1100;
}

Test(cache, a_token_that_expired_on_its_way_is_an_outage)
{
    token_endpoint_begin(comes_too_late);
    gets_none(1, ERR_TOKEN_UNAVAILABLE);
    cr_assert_eq(token_endpoint_requests(), 1);
    cr_assert_gt(status(1).retry_in_ms, 0);
}

/* --- a relay refuses it -------------------------------------------------------------------- */

Test(cache, a_refused_token_is_replaced_once)
{
    struct asker first = ask_and_wait(1);
    cr_assert(oauth_cache_refused(at.cache, 1, first.ask.token));
    cr_assert_str_eq(status(1).state, "empty");
    struct asker second = ask_and_wait(1);
    cr_assert_str_eq(oauth_token_secret(second.ask.token), "token-2");
    cr_assert(oauth_cache_refused(at.cache, 1, first.ask.token), "another session had it, too");
    cr_assert_not(oauth_cache_refused(at.cache, 1, second.ask.token));
    gets(1, "token-2");
    oauth_token_unref(first.ask.token);
    oauth_token_unref(second.ask.token);
}

/* --- refresh tokens ------------------------------------------------------------------------ */

static void rotates(unsigned n, const char *form, struct token_reply *reply)
{
    char name[32];
    snprintf(name, sizeof(name), "refresh-%u", n);
    token_reply_rotated(reply, n, name);
}

static atomic_bool was_stored;

static void look_into_vault(struct asker *asker)
{
    char *secret = NULL;
    if (vault_get(vault, "m365", &secret, NULL) == 0)
        atomic_store(&was_stored, strcmp(secret, "refresh-1") == 0);
    free(secret);
}

Test(cache, a_new_refresh_token_is_stored_before_the_token_is_handed_out)
{
    struct asker asker;
    token_endpoint_begin(rotates);
    use_file();
    asker_init(&asker);
    asker.look = look_into_vault;
    cr_assert_not(asker_ask(&asker, at.cache, 0));
    cr_assert(asker_wait(&asker));
    cr_assert_not_null(asker.ask.token, "%s", asker.ask.err.detail);
    cr_assert(atomic_load(&was_stored));
    asker_clear(&asker);
}

static char used[16][TOKEN_ENDPOINT_TEXT]; /* by request, from 1 on */

static void note_used(unsigned n, const char *form)
{
    token_form_refresh_token(form, used[n % 16]);
}

static void rotates_and_notes(unsigned n, const char *form, struct token_reply *reply)
{
    note_used(n, form);
    rotates(n, form, reply);
}

Test(cache, the_newest_refresh_token_is_used)
{
    token_endpoint_begin(rotates_and_notes);
    gets(0, "token-1");
    restart();
    gets(0, "token-2");
    restart();
    gets(0, "token-3");
    cr_assert_str_eq(used[1], "first");
    cr_assert_str_eq(used[2], "refresh-1");
    cr_assert_str_eq(used[3], "refresh-2");
}

Test(cache, without_a_refresh_token_a_person_must_log_in)
{
    entries[0].refresh_token = NULL;
    restart();
    gets_none(0, ERR_TOKEN_REFUSED);
    cr_assert_eq(token_endpoint_requests(), 0);
    cr_assert_eq(vault_put(vault, "m365", "by-login", &err), 0);
    comes_to(0, "fresh");
}

static void takes_only_new(unsigned n, const char *form, struct token_reply *reply)
{
    note_used(n, form);
    if (strcmp(used[n % 16], "new") != 0)
        token_reply_error(reply, 400, "invalid_grant");
}

/* As another process does that shares the vault, and was quicker. */
static void is_renewed_meanwhile(unsigned n, const char *form, struct token_reply *reply)
{
    takes_only_new(n, form, reply);
    if (n == 1)
        vault_put(vault, "m365", "new", NULL);
}

Test(cache, a_grant_that_was_renewed_by_another_process)
{
    cr_assert_eq(vault_put(vault, "m365", "old", &err), 0);
    token_endpoint_begin(is_renewed_meanwhile);
    gets(0, "token-2");
    cr_assert_str_eq(used[1], "old");
    cr_assert_str_eq(used[2], "new");
}

Test(cache, a_refused_grant_waits_for_a_person)
{
    cr_assert_eq(vault_put(vault, "m365", "old", &err), 0);
    entries[0].refresh_token = NULL;
    restart();
    token_endpoint_begin(takes_only_new);
    gets_none(0, ERR_TOKEN_REFUSED);
    gets_none(0, ERR_TOKEN_REFUSED);
    cr_assert_eq(token_endpoint_requests(), 1, "no storm of retries");
    cr_assert_gt(status(0).retry_in_ms, 11 * 60 * 1000);
    cr_assert_eq(strncmp(status(0).last_error.detail, "invalid_grant", 13), 0);
    cr_assert_eq(vault_put(vault, "m365", "new", &err), 0);
    comes_to(0, "fresh");
    gets(0, "token-2");
}

/* The one in the settings is new: a person has put it there instead of logging in. */
Test(cache, a_refresh_token_put_into_the_settings_heals_a_dead_grant)
{
    cr_assert_eq(vault_put(vault, "m365", "dead", &err), 0);
    entries[0].refresh_token = "new";
    restart();
    token_endpoint_begin(takes_only_new);
    gets(0, "token-2");
    cr_assert_str_eq(used[1], "dead");
    stored_is("m365", "new");
    restart();
    gets(0, "token-3");
    cr_assert_str_eq(used[3], "new");
}

static void rotates_once(unsigned n, const char *form, struct token_reply *reply)
{
    note_used(n, form);
    if (n == 1)
        rotates(n, form, reply);
    else
        token_reply_error(reply, 400, "invalid_grant");
}

/* Else a server that notices reuse revokes what was not dead yet. */
Test(cache, a_refresh_token_that_was_exchanged_is_never_used_again)
{
    token_endpoint_begin(rotates_once);
    gets(0, "token-1");
    restart();
    gets_none(0, ERR_TOKEN_REFUSED);
    cr_assert_eq(token_endpoint_requests(), 2);
    cr_assert_str_eq(used[1], "first");
    cr_assert_str_eq(used[2], "refresh-1");
}

Test(cache, a_vault_that_cannot_store_costs_no_token)
{
    char away[96];
    snprintf(away, sizeof(away), "%s-away", folder);
    token_endpoint_begin(rotates_and_notes);
    use_file();
    cr_assert_eq(rename(folder, away), 0);
    gets(0, "token-1");
    cr_assert_eq(rename(away, folder), 0);
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (access(vault_path, F_OK) < 0) {
        cr_assert_lt(clock_mono_ms(), until_ms, "not stored");
        usleep(2000);
    }
    stored_is("m365", "refresh-1");
    usleep(200000);
    cr_assert_eq(token_endpoint_requests(), 1, "what we stored ourselves is no news");
}

/* A person logs in while the answer is on its way: that is newer, and perhaps another account. */
static void rotates_while_somebody_logs_in(unsigned n, const char *form, struct token_reply *reply)
{
    rotates_and_notes(n, form, reply);
    if (n == 1)
        vault_put(vault, "m365", "by-login", NULL);
}

Test(cache, a_login_is_not_overwritten)
{
    token_endpoint_begin(rotates_while_somebody_logs_in);
    gets(0, "token-1");
    stored_is("m365", "by-login");
    restart();
    gets(0, "token-2");
    cr_assert_str_eq(used[2], "by-login");
}

Test(cache, a_vault_that_cannot_be_read_is_no_reason_to_use_an_old_grant)
{
    use_file();
    cr_assert_eq(vault_put(vault, "m365", "newest", &err), 0);
    cr_assert_eq(truncate(vault_path, 20), 0);
    gets_none(0, ERR_TOKEN_UNAVAILABLE);
    cr_assert_eq(token_endpoint_requests(), 0);
}

/* --- a token that somebody else obtains ----------------------------------------------------- */

static void write_file(const char *text)
{
    char fresh[128];
    snprintf(fresh, sizeof(fresh), "%s.new", vault_path);
    FILE *file = fopen(fresh, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    cr_assert_eq(rename(fresh, file_path), 0);
}

Test(cache, a_token_file_is_read_again_when_it_changes)
{
    entries[1].grant = CONFIG_OAUTH_TOKEN_FILE;
    entries[1].token_file = file_path;
    restart();
    gets_none(1, ERR_TOKEN_UNAVAILABLE);
    write_file("from-outside-1\n");
    comes_to(1, "fresh");
    gets(1, "from-outside-1");
    write_file("from-outside-2\n");
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    for (bool seen = false; !seen; usleep(10000)) {
        struct asker asker = ask_and_wait(1);
        cr_assert_not_null(asker.ask.token);
        seen = strcmp(oauth_token_secret(asker.ask.token), "from-outside-2") == 0;
        oauth_token_unref(asker.ask.token);
        cr_assert_lt(clock_mono_ms(), until_ms);
    }
    cr_assert_eq(token_endpoint_requests(), 0);
}

/* --- the end ------------------------------------------------------------------------------- */

Test(cache, who_waits_at_the_end_is_told)
{
    struct asker asker;
    token_endpoint_hold(true);
    asker_init(&asker);
    cr_assert_not(asker_ask(&asker, at.cache, 1));
    comes_to_requests(1);
    cache_thread_stop(&at);
    cr_assert(asker_wait(&asker));
    cr_assert_null(asker.ask.token);
    cr_assert_eq(asker.ask.err.code, ERR_DRAINING);
    cr_assert_eq(token_endpoint_cancelled(), 1);
    asker_clear(&asker);
    token_endpoint_hold(false);
}

static void rotates_late(unsigned n, const char *form, struct token_reply *reply)
{
    rotates(n, form, reply);
    reply->delay_ms = 200;
}

Test(cache, a_refresh_token_that_comes_at_the_end_is_stored)
{
    struct asker asker;
    token_endpoint_begin(rotates_late);
    asker_init(&asker);
    cr_assert_not(asker_ask(&asker, at.cache, 0));
    comes_to_requests(1);
    cache_thread_stop(&at);
    cr_assert_eq(asker.ask.err.code, ERR_DRAINING);
    stored_is("m365", "refresh-1");
    cr_assert_eq(token_endpoint_cancelled(), 0);
    asker_clear(&asker);
}

Test(cache, an_endpoint_that_hangs_does_not_hold_up_the_end_for_ever)
{
    struct asker asker;
    token_endpoint_hold(true);
    asker_init(&asker);
    cr_assert_not(asker_ask(&asker, at.cache, 0));
    comes_to_requests(1);
    cache_thread_stop(&at);
    cr_assert_eq(token_endpoint_cancelled(), 1);
    asker_clear(&asker);
}

/* --- what is told -------------------------------------------------------------------------- */

static int log_fd = -1, stderr_fd = -1;

static void catch_log(void)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/log", folder);
    log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(log_fd, 0);
    stderr_fd = dup(STDERR_FILENO);
    dup2(log_fd, STDERR_FILENO);
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT);
}

static void release_log(char *out, size_t size)
{
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    ssize_t n = pread(log_fd, out, size - 1, 0);
    cr_assert_geq(n, 0);
    out[n] = '\0';
    close(log_fd);
}

static unsigned occurrences(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
        n++;
    return n;
}

static void says_who_must_log_in(unsigned n, const char *form, struct token_reply *reply)
{
    note_used(n, form);
    if (strcmp(used[n % 16], "new-hunter2") == 0)
        token_reply_rotated(reply, n, "rotated-hunter2");
    else
        token_reply_error(reply, 400, "invalid_grant");
}

Test(cache, the_log_says_what_a_person_must_do_and_no_secret)
{
    char text[16384];
    cr_assert_eq(vault_put(vault, "m365", "old-hunter2", &err), 0);
    entries[0].refresh_token = NULL;
    restart();
    token_endpoint_begin(says_who_must_log_in);
    catch_log();
    gets_none(0, ERR_TOKEN_REFUSED);
    cr_assert_eq(vault_put(vault, "m365", "new-hunter2", &err), 0);
    comes_to(0, "fresh");
    cache_thread_stop(&at);
    release_log(text, sizeof(text));
    cr_assert_eq(occurrences(text, "level=error"), 1, "%s", text);
    cr_assert_not_null(strstr(text, "postern login m365"), "%s", text);
    cr_assert_not_null(strstr(text, "invalid_grant"), "%s", text);
    cr_assert_eq(occurrences(text, "in order again"), 1, "%s", text);
    cr_assert_null(strstr(text, "hunter2"), "%s", text);
    cr_assert_null(strstr(text, "token-2"), "%s", text);
}

Test(cache, an_outage_is_told_once)
{
    char text[16384];
    token_endpoint_begin(fails_twice);
    catch_log();
    gets_none(1, ERR_TOKEN_UNAVAILABLE);
    comes_to(1, "fresh");
    cache_thread_stop(&at);
    release_log(text, sizeof(text));
    cr_assert_eq(occurrences(text, "level=warn"), 1, "%s", text);
    cr_assert_eq(occurrences(text, "level=info"), 1, "%s", text);
}

static bool has_metric(const char *line)
{
    CLEANUP(buffer_clear) struct buffer text;
    buffer_init(&text, 1 << 20);
    metric_render(&text);
    return memmem(text.data, text.len, line, strlen(line)) != NULL;
}

Test(cache, requests_are_counted_by_result)
{
    cr_assert_eq(vault_put(vault, "m365", "old", &err), 0);
    token_endpoint_begin(is_renewed_meanwhile);
    gets(0, "token-2");
    token_endpoint_begin(NULL);
    gets(1, "token-1");
    token_endpoint_begin(is_down);
    gets_none(2, ERR_TOKEN_UNAVAILABLE);
    cr_assert(has_metric("postern_oauth_requests_total{oauth=\"m365\",result=\"refused\"} 1\n"));
    cr_assert(has_metric("postern_oauth_requests_total{oauth=\"m365\",result=\"ok\"} 1\n"));
    cr_assert(
        has_metric("postern_oauth_requests_total{oauth=\"other\",result=\"unavailable\"} 1\n"));
    cr_assert(has_metric("postern_oauth_seconds_to_expiry{oauth=\"app\"} 3"));
    cr_assert(has_metric("postern_oauth_seconds_to_expiry{oauth=\"other\"} 0\n"));
}

/* --- over HTTP ------------------------------------------------------------------------------ */

Test(cache, an_endpoint_that_is_out_of_order_is_an_outage)
{
    static const char *const paths[] = {"redirect", "gigabyte",  "html",      "429",     "503",
                                        "hang-up",  "truncated", "cut-chunk", "garbage", "silent"};
    enum { N = sizeof(paths) / sizeof(paths[0]), N_ANSWERED = N - 1 };
    struct config_oauth bad[N];
    const struct config bad_config = {.oauth = bad, .n_oauth = N};
    char urls[N][64];
    struct http_peer *peer = http_peer_start(NULL);
    cache_thread_stop(&at);
    for (size_t i = 0; i < N; i++) {
        snprintf(urls[i], sizeof(urls[i]), "http://127.0.0.1:%u/%s", http_peer_port(peer),
                 paths[i]);
        bad[i] = entries[i % 2];
        bad[i].name = paths[i];
        bad[i].token_url = urls[i];
    }
    at.wire = &FETCH_OVER_HTTP;
    cr_assert_eq(cache_thread_start(&at, &bad_config, vault, &err), 0, "%s", err.detail);
    for (size_t i = 0; i < N_ANSWERED; i++) {
        gets_none(i, ERR_TOKEN_UNAVAILABLE);
        cr_assert_gt(status(i).retry_in_ms, 0, "%s", paths[i]);
    }
    cr_assert_gt(status(3).retry_in_ms, 5000, "Retry-After: 7");
    struct asker asker; /* the end comes while its endpoint says nothing */
    asker_init(&asker);
    cr_assert_not(asker_ask(&asker, at.cache, N_ANSWERED));
    cache_thread_stop(&at);
    cr_assert_eq(asker.ask.err.code, ERR_DRAINING);
    asker_clear(&asker);
    http_peer_stop(peer);
}

/* --- SIGKILL ------------------------------------------------------------------------------- */

/* The server's side, which outlives the client. A new refresh token ends the one it came for when
 * it is used: so its loss before that is no harm, and using it before it is stored would be. */
static struct provider {
    atomic_uint newest, in_use, n_reuses, n_answers;
} * provider;

static void is_strict(unsigned n, const char *form, struct token_reply *reply)
{
    char text[TOKEN_ENDPOINT_TEXT];
    token_form_refresh_token(form, text);
    unsigned number = (unsigned)strtoul(text + strcspn(text, "0123456789"), NULL, 10);
    if (number != atomic_load(&provider->in_use) && number != atomic_load(&provider->newest)) {
        atomic_fetch_add(&provider->n_reuses, 1);
        token_reply_error(reply, 400, "invalid_grant");
        return;
    }
    atomic_store(&provider->in_use, number);
    snprintf(text, sizeof(text), "refresh-%u", atomic_fetch_add(&provider->newest, 1) + 1);
    token_reply_rotated(reply, n, text);
    atomic_fetch_add(&provider->n_answers, 1);
}

static _Noreturn void refresh_until_killed(void)
{
    const struct vault_settings settings = {.path = vault_path, .key = KEY};
    if (vault_open(&settings, &vault, NULL) < 0)
        _exit(1);
    for (;;) {
        struct asker asker;
        asker_init(&asker);
        if (cache_thread_start(&at, &config, vault, NULL) < 0)
            _exit(2);
        if (!asker_ask(&asker, at.cache, 0) && !asker_wait(&asker))
            _exit(3);
        if (asker.ask.token == NULL)
            _exit(4);
        asker_clear(&asker);
        cache_thread_stop(&at);
    }
}

static void comes_to_more_answers(unsigned n)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(&provider->n_answers) <= n) {
        cr_assert_lt(clock_mono_ms(), until_ms, "nothing was asked");
        usleep(500);
    }
}

Test(cache, killed_at_any_instant_the_grant_is_not_lost)
{
    cache_thread_stop(&at);
    provider =
        mmap(NULL, sizeof(*provider), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(provider, MAP_FAILED);
    entries[0].refresh_token = "refresh-0";
    token_endpoint_begin(is_strict);
    for (int i = 0; i < N_KILLS; i++) {
        int result;
        unsigned n_before = atomic_load(&provider->n_answers);
        pid_t child = fork();
        if (child == 0)
            refresh_until_killed();
        if (i % 2 == 0) /* the others may die before there is anything to lose */
            comes_to_more_answers(n_before);
        usleep((useconds_t)(2000 + i * 1931 % 20000));
        kill(child, SIGKILL);
        cr_assert_eq(waitpid(child, &result, 0), child);
        cr_assert(WIFSIGNALED(result), "%d: ended with %d", i, WEXITSTATUS(result));
    }
    cr_assert_eq(atomic_load(&provider->n_reuses), 0);
    use_file();
    oauth_token_unref(ask_and_wait(0).ask.token);
    cr_assert_str_eq(status(0).state, "fresh");
    munmap(provider, sizeof(*provider));
}
