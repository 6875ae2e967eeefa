#include "oauth/tokens/fetch.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/background.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/thread.h"
#include "oauth/tokens/grant.h"

enum {
    TRIES_MAX = 4, /* refresh tokens in an attempt */
    MARK_SIZE = 32,
    NAME_SIZE = 300,
    CONTENT_MAX = 256 * 1024, /* of a file that is looked at */
};

enum stage { IDLE, PREPARING, ASKING, KEEPING, LOOKING };

struct fetch {
    const struct config_oauth *oauth;
    struct vault *vault;
    const struct fetch_wire *wire;
    const struct fetch_listener *listener;
    uv_loop_t *loop;
    struct http_client *client;

    enum stage stage;
    bool wanted; /* an attempt, as soon as it has looked */
    bool ending;
    struct reload *trust;
    bool attached;
    struct background_job job; /* to the vault's thread */
    uv_async_t back;           /* from there */
    bool dropped;              /* it did not get there */
    atomic_bool came_back;     /* hands the two, and what `run` made, to the loop */
    uv_work_cb run;
    uv_after_work_cb ran;
    uv_work_t work; /* while it is away, what follows is not the loop's */

    struct arena *arena; /* owns the request; NULL: there is none */
    struct http_request request;
    struct http_exchange *exchange;
    int64_t asked_ms;
    char *tried[TRIES_MAX]; /* the last is the one under way */
    size_t n_tried;
    bool nothing_left; /* no refresh token that was not tried */
    struct fetch_outcome outcome;

    char *stored;  /* what the vault holds, as far as we have read or written; NULL: nothing */
    char *rotated; /* the newest refresh token, as long as it is not in the vault; NULL: it is */
    bool from_settings; /* it came for the one of the settings */
    struct error keep_err;
    unsigned char mark[MARK_SIZE]; /* of the files that the last request was made from */
    bool changed;                  /* found by looking */
};

const struct fetch_wire FETCH_OVER_HTTP = {http_client_new, http_client_free, http_start,
                                           http_cancel, .trusts = true};

static void wipe(char **secret)
{
    if (*secret != NULL)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool has_refresh_token(const struct fetch *fetch)
{
    return fetch->oauth->grant == CONFIG_OAUTH_REFRESH_TOKEN;
}

/* --- life --------------------------------------------------------------------------------- */

struct fetch *fetch_new(const struct config_oauth *oauth, struct vault *vault,
                        const struct fetch_wire *wire, const struct fetch_listener *listener)
{
    struct fetch *fetch = calloc(1, sizeof(*fetch));
    if (fetch == NULL)
        return NULL;
    fetch->oauth = oauth;
    fetch->vault = vault;
    fetch->wire = wire;
    fetch->listener = listener;
    fetch->work.data = fetch;
    return fetch;
}

static void forget_attempt(struct fetch *fetch)
{
    arena_free(TAKE(fetch->arena));
    while (fetch->n_tried > 0)
        wipe(&fetch->tried[--fetch->n_tried]);
    fetch->nothing_left = false;
}

void fetch_free(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    assert(!fetch_busy(fetch));
    wipe(&fetch->stored);
    wipe(&fetch->rotated);
    free(fetch);
}

static void on_back(uv_async_t *back);

int fetch_attach(struct fetch *fetch, uv_loop_t *loop, struct http_client *client,
                 struct reload *trust, struct error *err)
{
    int rc = uv_async_init(loop, &fetch->back, on_back);
    if (rc < 0)
        return error_set(err, ERR_IO, "event loop: %s", uv_strerror(rc));
    fetch->back.data = fetch;
    fetch->loop = loop;
    fetch->client = client;
    fetch->trust = trust;
    fetch->attached = true;
    return 0;
}

void fetch_detach(struct fetch *fetch)
{
    if (fetch->attached)
        uv_close((uv_handle_t *)&fetch->back, NULL);
    fetch->attached = false;
}

bool fetch_busy(const struct fetch *fetch)
{
    return fetch->stage != IDLE;
}

bool fetch_keeps(const struct fetch *fetch)
{
    return fetch->stage == IDLE && fetch->rotated != NULL;
}

static struct fetch *of_job(struct background_job *job)
{
    return (struct fetch *)((char *)job - offsetof(struct fetch, job));
}

/* A wake-up that is under way already may be passed over without a barrier: it is no hand-over. */
static void come_back(struct fetch *fetch)
{
    atomic_store_explicit(&fetch->came_back, true, memory_order_release);
    uv_async_send(&fetch->back);
}

static void run_job(struct background_job *job)
{
    struct fetch *fetch = of_job(job);
    fetch->run(&fetch->work);
    come_back(fetch);
}

static void drop_job(struct background_job *job)
{
    struct fetch *fetch = of_job(job);
    fetch->dropped = true;
    come_back(fetch);
}

/* libuv's threads are begun by the loop's, and have its name. */
static void run_on_pool(uv_work_t *work)
{
    struct fetch *fetch = work->data;
    thread_name("pool");
    fetch->run(work);
}

/* It never fails with a function to run (libuv's only error here). */
static void go_to_pool(struct fetch *fetch)
{
    int rc = uv_queue_work(fetch->loop, &fetch->work, run_on_pool, fetch->ran);
    assert(rc == 0);
    (void)rc;
}

/* At the end of the vault's thread there is nobody left on the pool who could be held up. */
static void on_back(uv_async_t *back)
{
    struct fetch *fetch = back->data;
    if (!atomic_exchange_explicit(&fetch->came_back, false, memory_order_acquire))
        return;
    if (fetch->dropped)
        go_to_pool(fetch);
    else
        fetch->ran(&fetch->work, 0);
}

static void go_away(struct fetch *fetch, enum stage stage, uv_work_cb run, uv_after_work_cb ran)
{
    fetch->stage = stage;
    fetch->run = run;
    fetch->ran = ran;
    fetch->dropped = false;
    fetch->job = (struct background_job){.run = run_job, .drop = drop_job};
    if (!has_refresh_token(fetch) || vault_run(fetch->vault, &fetch->job, NULL) < 0)
        go_to_pool(fetch);
}

/* Whoever asked has to do with two: the grant is refused, or there is no token now. */
static void finish(struct fetch *fetch)
{
    struct fetch_outcome outcome = fetch->outcome;
    if (outcome.token == NULL && outcome.err.code != ERR_TOKEN_REFUSED &&
        outcome.err.code != ERR_DRAINING)
        outcome.err.code = ERR_TOKEN_UNAVAILABLE;
    outcome.keep_err = fetch->keep_err;
    fetch->outcome = (struct fetch_outcome){0};
    forget_attempt(fetch);
    fetch->stage = IDLE;
    fetch->listener->done(fetch->listener->arg, &outcome);
}

/* --- which refresh token (away from the loop) ---------------------------------------------- */

static int read_stored(struct fetch *fetch, struct error *err)
{
    struct error why;
    char *stored = NULL;
    if (vault_get(fetch->vault, fetch->oauth->name, &stored, &why) < 0 && why.code != ERR_NOT_FOUND)
        return error_set(err, ERR_TOKEN_UNAVAILABLE, "the stored grant: %s", why.detail);
    wipe(&fetch->stored);
    fetch->stored = stored;
    return 0;
}

/* Under this name stands a hash of the refresh token of the settings that was exchanged. */
static void name_exchanged(const struct fetch *fetch, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s exchanged", fetch->oauth->name);
}

static void hash(const char *secret, char out[2 * MARK_SIZE + 1])
{
    unsigned char digest[MARK_SIZE] = {0};
    EVP_Digest(secret, strlen(secret), digest, NULL, EVP_sha256(), NULL);
    encode_hex(digest, MARK_SIZE, out);
}

static bool was_exchanged(const struct fetch *fetch, const char *secret)
{
    char name[NAME_SIZE], text[2 * MARK_SIZE + 1], *known = NULL;
    name_exchanged(fetch, name);
    hash(secret, text);
    bool exchanged = vault_get(fetch->vault, name, &known, NULL) == 0 && same(known, text);
    free(known);
    return exchanged;
}

static bool was_tried(const struct fetch *fetch, const char *secret)
{
    for (size_t i = 0; i < fetch->n_tried; i++)
        if (same(fetch->tried[i], secret))
            return true;
    return false;
}

/* NULL: none that was not tried. */
static const char *newest(const struct fetch *fetch)
{
    const char *given = fetch->oauth->refresh_token;
    if (fetch->rotated != NULL && !was_tried(fetch, fetch->rotated))
        return fetch->rotated;
    if (fetch->stored != NULL && !was_tried(fetch, fetch->stored))
        return fetch->stored;
    if (given != NULL && !was_tried(fetch, given) && !was_exchanged(fetch, given))
        return given;
    return NULL;
}

/* Without one the request is made all the same, the first time: it fails and says what to do. */
static int choose(struct fetch *fetch, const char **secret_out, struct error *err)
{
    *secret_out = NULL;
    if (!has_refresh_token(fetch))
        return 0;
    if (read_stored(fetch, err) < 0)
        return -1;
    const char *secret = fetch->n_tried < TRIES_MAX ? newest(fetch) : NULL;
    fetch->nothing_left = secret == NULL && fetch->n_tried > 0;
    if (secret == NULL)
        return 0;
    char *copy = strdup(secret);
    if (copy == NULL)
        return error_set(err, ERR_NOMEM, "no memory");
    *secret_out = fetch->tried[fetch->n_tried++] = copy;
    return 0;
}

/* --- what requests are made from (away from the loop)
 * --------------------------------------------- */

/* Two changes in one tick of the file system's clock leave the same times. */
static void add_content(EVP_MD_CTX *ctx, const char *path)
{
    unsigned char step[4096];
    size_t n = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd >= 0 && n < CONTENT_MAX && (got = read(fd, step, sizeof(step))) > 0) {
        EVP_DigestUpdate(ctx, step, (size_t)got);
        n += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    explicit_bzero(step, sizeof(step));
}

static void add_file(EVP_MD_CTX *ctx, const char *path)
{
    struct stat st = {0};
    if (path == NULL || stat(path, &st) < 0)
        memset(&st, 0, sizeof(st));
    const int64_t facts[] = {(int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size,
                             st.st_mtim.tv_sec,  st.st_mtim.tv_nsec, st.st_ctim.tv_sec,
                             st.st_ctim.tv_nsec};
    EVP_DigestUpdate(ctx, facts, sizeof(facts));
    if (S_ISREG(st.st_mode))
        add_content(ctx, path);
}

static void make_mark(const struct config_oauth *oauth, unsigned char mark[MARK_SIZE])
{
    const char *const files[] = {oauth->client_secret_file, oauth->private_key_file,
                                 oauth->certificate_file, oauth->service_account_file,
                                 oauth->token_file};
    memset(mark, 0, MARK_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
            add_file(ctx, files[i]);
        EVP_DigestFinal_ex(ctx, mark, NULL);
    }
    EVP_MD_CTX_free(ctx);
}

/* --- keep (away from the loop)
 * -------------------------------------------------------------------- */

static void note_exchanged(struct fetch *fetch)
{
    char name[NAME_SIZE], text[2 * MARK_SIZE + 1];
    name_exchanged(fetch, name);
    hash(fetch->oauth->refresh_token, text);
    vault_put(fetch->vault, name, text, &fetch->keep_err);
}

/* What somebody else has stored since we looked is a newer login, or as good as ours. */
static bool is_superseded(struct fetch *fetch)
{
    char *stored = NULL;
    bool found = vault_get(fetch->vault, fetch->oauth->name, &stored, NULL) == 0;
    bool superseded = found && !same(stored, fetch->stored);
    wipe(&stored);
    return superseded;
}

static void keep(struct fetch *fetch)
{
    fetch->keep_err.code = ERR_NONE;
    if (fetch->rotated == NULL)
        return;
    if (is_superseded(fetch)) {
        wipe(&fetch->rotated);
        return;
    }
    if (vault_put(fetch->vault, fetch->oauth->name, fetch->rotated, &fetch->keep_err) < 0)
        return;
    wipe(&fetch->stored);
    fetch->stored = TAKE(fetch->rotated);
    if (fetch->from_settings)
        note_exchanged(fetch);
}

static void run_keep(uv_work_t *work)
{
    keep(work->data);
}

static void on_kept(uv_work_t *work, int status)
{
    finish(work->data);
}

/* --- ask ---------------------------------------------------------------------------------- */

static void prepare(struct fetch *fetch);

/* Whether there is something to store: a new refresh token; or the one of the settings, which has
 * just shown that it is better than the vault's. */
static bool take_refresh_token(struct fetch *fetch, char *refresh)
{
    const char *used = fetch->n_tried > 0 ? fetch->tried[fetch->n_tried - 1] : NULL;
    bool given = used != NULL && same(used, fetch->oauth->refresh_token);
    if (refresh == NULL && given && fetch->stored != NULL)
        refresh = strdup(used);
    if (refresh == NULL || same(refresh, fetch->stored != NULL ? fetch->stored : used)) {
        wipe(&refresh);
        return false;
    }
    wipe(&fetch->rotated);
    fetch->rotated = refresh;
    fetch->from_settings = given;
    return true;
}

static bool is_invalid_grant(const struct error *err)
{
    static const char word[] = "invalid_grant";
    return err->code == ERR_TOKEN_REFUSED && strncmp(err->detail, word, sizeof(word) - 1) == 0;
}

static void on_response(void *arg, const struct http_response *response, const struct error *why)
{
    struct fetch *fetch = arg;
    struct fetch_outcome *outcome = &fetch->outcome;
    char *refresh = NULL;
    fetch->exchange = NULL;
    outcome->retry_after_ms = response != NULL ? response->retry_after_ms : -1;
    if (response == NULL)
        error_set(&outcome->err, ERR_TOKEN_UNAVAILABLE, "token endpoint: %s", why->detail);
    else if (oauth_token_parse(response->status, response->body, response->body_len,
                               fetch->asked_ms, &outcome->token, &refresh, &outcome->err) == 0)
        outcome->err.code = ERR_NONE;
    arena_free(TAKE(fetch->arena));
    if (outcome->token != NULL && has_refresh_token(fetch) && take_refresh_token(fetch, refresh))
        go_away(fetch, KEEPING, run_keep, on_kept);
    else if (is_invalid_grant(&outcome->err) && has_refresh_token(fetch) && !fetch->ending)
        prepare(fetch);
    else
        finish(fetch);
}

static void ask(struct fetch *fetch)
{
    fetch->stage = ASKING;
    fetch->asked_ms = clock_mono_ms();
    fetch->exchange = fetch->wire->start(fetch->client, &fetch->request, on_response, fetch);
    if (fetch->exchange != NULL) {
        fetch->outcome.n_requests++;
        return;
    }
    error_set(&fetch->outcome.err, ERR_NOMEM, "no memory for a request");
    finish(fetch);
}

/* --- prepare ------------------------------------------------------------------------------ */

static int make_request(struct fetch *fetch, const char *secret, struct error *err)
{
    fetch->arena = arena_new_wiping();
    if (fetch->arena == NULL)
        return error_set(err, ERR_NOMEM, "no memory");
    return grant_request(fetch->oauth, secret, clock_wall_ms() / 1000, fetch->arena,
                         &fetch->request, err);
}

static void run_prepare(uv_work_t *work)
{
    struct fetch *fetch = work->data;
    struct fetch_outcome *outcome = &fetch->outcome;
    struct error err = {0};
    const char *secret;
    if (fetch->trust != NULL)
        reload_look(fetch->trust);
    keep(fetch); /* else a login that came meanwhile would be taken for what we know */
    int rc = choose(fetch, &secret, &err);
    make_mark(fetch->oauth, fetch->mark);
    if (fetch->nothing_left) /* the refusal of the last one stands */
        return;
    if (rc == 0 && fetch->oauth->grant == CONFIG_OAUTH_TOKEN_FILE)
        grant_read_file(fetch->oauth, clock_mono_ms(), &outcome->token, &err);
    else if (rc == 0)
        make_request(fetch, secret, &err);
    outcome->err = err;
}

static void on_prepared(uv_work_t *work, int status)
{
    struct fetch *fetch = work->data;
    if (fetch->outcome.token != NULL || fetch->outcome.err.code != ERR_NONE) {
        finish(fetch);
    } else if (fetch->ending) {
        error_set(&fetch->outcome.err, ERR_DRAINING, "the gateway ends");
        finish(fetch);
    } else {
        ask(fetch);
    }
}

static void prepare(struct fetch *fetch)
{
    go_away(fetch, PREPARING, run_prepare, on_prepared);
}

static void begin(struct fetch *fetch)
{
    fetch->wanted = false;
    fetch->outcome = (struct fetch_outcome){.retry_after_ms = -1};
    prepare(fetch);
}

/* --- look --------------------------------------------------------------------------------- */

/* Whether somebody else has stored a grant; what we have ourselves is no news. */
static bool finds_other_grant(struct fetch *fetch)
{
    char *before = TAKE(fetch->stored);
    struct error err;
    bool other = false;
    if (read_stored(fetch, &err) < 0) /* then it is looked at again */
        fetch->stored = TAKE(before);
    else
        other = !same(before, fetch->stored);
    wipe(&before);
    return other;
}

static void run_look(uv_work_t *work)
{
    struct fetch *fetch = work->data;
    unsigned char mark[MARK_SIZE];
    keep(fetch);
    make_mark(fetch->oauth, mark);
    fetch->changed = memcmp(mark, fetch->mark, MARK_SIZE) != 0 ||
                     (has_refresh_token(fetch) && finds_other_grant(fetch));
}

static void on_looked(uv_work_t *work, int status)
{
    struct fetch *fetch = work->data;
    fetch->stage = IDLE;
    fetch->listener->looked(fetch->listener->arg, fetch->changed, &fetch->keep_err);
    if (fetch->wanted && !fetch->ending)
        begin(fetch);
}

/* --- from outside ------------------------------------------------------------------------- */

void fetch_start(struct fetch *fetch)
{
    assert(fetch->stage == IDLE || (fetch->stage == LOOKING && !fetch->wanted));
    if (fetch->stage == IDLE)
        begin(fetch);
    else
        fetch->wanted = true;
}

void fetch_look(struct fetch *fetch)
{
    if (fetch->stage == IDLE)
        go_away(fetch, LOOKING, run_look, on_looked);
}

void fetch_abort(struct fetch *fetch)
{
    fetch->ending = true;
    if (fetch->stage != ASKING)
        return;
    fetch->wire->cancel(fetch->exchange);
    forget_attempt(fetch);
    fetch->stage = IDLE;
}

void fetch_end(struct fetch *fetch)
{
    fetch->ending = true;
    if (fetch_keeps(fetch))
        fetch_look(fetch); /* a last time */
    else if (!has_refresh_token(fetch))
        fetch_abort(fetch);
}
