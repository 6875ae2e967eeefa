/* The breaker: what goes wrong with a relay, and what follows for it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "relay/connect.h"
#include "relay/state.h"
#include "smtp/diagnosis.h"

enum {
    RATE_PAUSE_MS = 1000,
    TOKEN_RETRY_MS = 1000,
    LOOK_AGAIN_MS = 10 * 60 * 1000, /* what was found out about an outage may not hold for ever */
};

static uint32_t dice(void)
{
    uint32_t number;
    id_random(&number, sizeof(number));
    return number;
}

/* So long, and up to a fifth more, so that many who heard the same do not come back at once. */
static int64_t rest(struct backoff *backoff, int64_t now_ms, int64_t pause_ms)
{
    backoff_pause(backoff, now_ms, pause_ms + pause_ms * (int64_t)(dice() % 201) / 1000);
    return backoff->until_ms - now_ms;
}

/* What to change: as the reply's row says, where there is one; else as the whole error does. */
static void find_hint(const struct relay *relay, const struct reaction *reaction,
                      struct relay_failure *failure)
{
    struct diagnosis_context context;
    connect_diagnosis(relay->settings, &context);
    if (reaction != NULL && reaction->hint != NULL)
        snprintf(failure->hint, sizeof(failure->hint), "%s", reaction->hint);
    else
        diagnosis_hint(&failure->error, &context, failure->hint, sizeof(failure->hint));
}

static void note(struct relay *relay, enum smtp_step step, const struct error *why,
                 const struct reaction *reaction)
{
    struct relay_failure *failure = &relay->failure;
    failure->error = *why;
    error_at(&failure->error, "%s", smtp_step_word(step));
    failure->hint_proved = false;
    failure->at_ms = clock_wall_ms();
    relay->found_out = false;
    find_hint(relay, reaction, failure);
}

void breaker_log(const struct relay *relay, const struct relay_failure *failure, int64_t pause_ms)
{
    log_warn("relay failure", LOG_STR("relay", relay->settings->name),
             LOG_STR("step", failure->error.where),
             LOG_STR("code", error_word(failure->error.code)),
             LOG_STR("detail", failure->error.detail),
             LOG_STR("hint", failure->hint[0] != '\0' ? failure->hint : NULL),
             LOG_STR("proved", failure->hint_proved ? "yes" : NULL), LOG_INT("pause_ms", pause_ms));
}

/* --- connections that fail ---------------------------------------------------------------- */

static void keep_transcript(struct relay *relay, const char *transcript)
{
    if (transcript == NULL)
        return;
    free(relay->failure.transcript);
    relay->failure.transcript = strdup(transcript);
}

/* Is this what was looked into? */
static bool looks_the_same(struct relay *relay, const struct error *why, int64_t now_ms)
{
    if (!relay->explained || now_ms - relay->explained_ms > LOOK_AGAIN_MS)
        return false;
    if (relay->explained_code == ERR_NONE)
        relay->explained_code = why->code;
    return relay->explained_code == why->code;
}

/* A refusal while others are connected teaches how many the relay bears; else it is down. */
static void learn_from_refusal(struct relay *relay, int64_t now_ms)
{
    size_t n_inside = relay->n_connections - relay->n_opening;
    relay->down = n_inside == 0;
    if (relay->down) {
        relay->limit = 1;
    } else {
        relay->cap = n_inside < relay->cap ? n_inside : relay->cap;
        relay->cap_ms = now_ms;
    }
}

static bool lacks_token(const struct error *why)
{
    return why->code == ERR_TOKEN_UNAVAILABLE || why->code == ERR_TOKEN_REFUSED;
}

/* The endpoint has a backoff of its own; there is no use in a probe before. */
static int64_t token_retry_ms(const struct relay *relay)
{
    struct oauth_status status = {0};
    if (relay->around.tokens != NULL)
        oauth_cache_status(relay->around.tokens, (size_t)relay->settings->auth.oauth_index,
                           &status);
    return status.retry_in_ms > TOKEN_RETRY_MS ? status.retry_in_ms : TOKEN_RETRY_MS;
}

void breaker_look_for_token(struct relay *relay)
{
    struct oauth_status status;
    if (relay->around.tokens == NULL || relay->settings->auth.oauth == NULL)
        return;
    oauth_cache_status(relay->around.tokens, (size_t)relay->settings->auth.oauth_index, &status);
    pthread_mutex_lock(&relay->lock);
    if (relay->down && lacks_token(&relay->failure.error) && status.seconds_left > 0)
        relay->entry.until_ms = 0;
    pthread_mutex_unlock(&relay->lock);
}

int64_t breaker_connect_failed(struct relay *relay, const struct pool_ending *ending)
{
    const struct reaction *reaction = reaction_to_error(ending->why);
    int64_t now_ms = clock_mono_ms();
    learn_from_refusal(relay, now_ms);
    keep_transcript(relay, ending->transcript);
    relay->explained = looks_the_same(relay, ending->why, now_ms);
    if (relay->explained && relay->found_out) /* not now the cause, now the symptom */
        relay->failure.at_ms = clock_wall_ms();
    else
        note(relay, ending->step, ending->why, NULL);
    if (reaction->pause_ms > 0)
        return rest(&relay->entry, now_ms, reaction->pause_ms);
    if (lacks_token(ending->why))
        return rest(&relay->entry, now_ms, token_retry_ms(relay));
    bool login = ending->why->code == ERR_AUTH_FAILED || reaction->kind == REACTION_LOGIN;
    return backoff_failed(&relay->entry, now_ms, login, dice());
}

/* --- replies to transactions -------------------------------------------------------------- */

static int64_t have_fewer(struct relay *relay, int64_t now_ms)
{
    size_t n_inside = relay->n_connections - relay->n_opening;
    size_t fewer = n_inside > 1 ? n_inside - 1 : 1;
    relay->cap = fewer < relay->cap ? fewer : relay->cap; /* some that are inside may be leaving */
    relay->cap_ms = now_ms;
    return n_inside > 1 ? 0 : backoff_failed(&relay->traffic, now_ms, false, dice());
}

static int64_t keep_to_rate(struct relay *relay, const struct reaction *reaction, int64_t now_ms)
{
    if (reaction->rate_n > 0)
        rate_learn(relay->messages, reaction->rate_n, reaction->rate_ms, now_ms);
    int64_t pause_ms = reaction->pause_ms > 0 ? reaction->pause_ms : RATE_PAUSE_MS;
    return rest(&relay->traffic, now_ms, pause_ms);
}

/* What the reaction's kind asks for; the pause it means. */
static int64_t react(struct relay *relay, const struct reaction *reaction)
{
    int64_t now_ms = clock_mono_ms();
    switch (reaction->kind) {
    case REACTION_FEWER:
        return have_fewer(relay, now_ms);
    case REACTION_NO_NEW:
        rest(&relay->entry, now_ms, reaction->pause_ms);
        return backoff_failed(&relay->traffic, now_ms, false, dice());
    case REACTION_RATE:
        return keep_to_rate(relay, reaction, now_ms);
    case REACTION_QUOTA:
        return rest(&relay->traffic, now_ms, reaction->pause_ms);
    case REACTION_LOGIN:
    case REACTION_SETUP:
        return backoff_failed(&relay->traffic, now_ms, true, dice());
    case REACTION_SLOW_DOWN:
    case REACTION_RECONNECT:
        return backoff_failed(&relay->traffic, now_ms, false, dice());
    case REACTION_NONE:
    case REACTION_TOO_MANY_RECIPIENTS:
    case REACTION_FAIL:
        break;
    }
    return 0;
}

static enum error_code code_of(const struct reaction *reaction)
{
    return reaction->kind == REACTION_LOGIN   ? ERR_AUTH_FAILED
           : reaction->kind == REACTION_SETUP ? ERR_RELAY_REFUSED
                                              : ERR_THROTTLED;
}

bool breaker_refused(struct relay *relay, enum smtp_step step, const struct reaction *reaction,
                     const struct reply_record *reply)
{
    struct error why;
    error_set(&why, code_of(reaction), "%d%s%s %s", reply->code,
              reply->enhanced[0] != '\0' ? " " : "", reply->enhanced, reply->text);
    pthread_mutex_lock(&relay->lock);
    note(relay, step, &why, reaction);
    int64_t pause_ms = react(relay, reaction);
    struct relay_failure failure = relay->failure;
    pthread_mutex_unlock(&relay->lock);
    breaker_log(relay, &failure, pause_ms);
    pool_tell_changes(relay);
    return reaction->kind != REACTION_RATE;
}

void breaker_succeeded(struct relay *relay, bool took)
{
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&relay->lock);
    if (took)
        relay->took_ms = now_ms;
    if (relay->traffic.n_failures > 0 && backoff_open(&relay->traffic, now_ms)) {
        backoff_succeeded(&relay->traffic);
        relay->failure.error = (struct error){0};
    }
    pthread_mutex_unlock(&relay->lock);
}

/* --- finding out -------------------------------------------------------------------------- */

/* Where to look again, without a login, can tell more than the failure did. */
static bool may_be_explained(enum error_code code)
{
    static const enum error_code codes[] = {
        ERR_CONNECT_REFUSED,
        ERR_CONNECT_TIMEOUT,
        ERR_CONNECT_FAILED,
        ERR_PROXY_FAILED,
        ERR_GREETING_TIMEOUT,
        ERR_TLS_ON_PLAIN_PORT,
        ERR_TLS_FAILED,
        ERR_TLS_TIMEOUT,
        ERR_TLS_VERSION,
        ERR_STARTTLS_NOT_OFFERED,
        ERR_STARTTLS_REFUSED,
        ERR_INJECTED_RESPONSE,
        ERR_CONNECTION_LOST,
        ERR_CERTIFICATE_NAME_MISMATCH,
        ERR_CERTIFICATE_EXPIRED,
        ERR_CERTIFICATE_NOT_YET_VALID,
        ERR_CERTIFICATE_UNTRUSTED,
        ERR_PROTOCOL,
        ERR_AUTH_MECHANISM_UNAVAILABLE,
        ERR_AUTH_NEEDS_TLS,
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (code == codes[i])
            return true;
    return false;
}

/* A report without an error: it has passed, and what is known is all there is. */
static void on_explained(void *arg, const struct verify_report *report)
{
    struct relay_slot *slot = arg;
    struct relay *relay = slot->relay;
    struct relay_failure failure;
    slot->explaining = NULL;
    pthread_mutex_lock(&relay->lock);
    bool news = !report->ok && report->error.code != ERR_NONE && !relay->aborting &&
                relay->n_connections == relay->n_opening;
    if (news) {
        relay->failure.error = report->error;
        snprintf(relay->failure.hint, sizeof(relay->failure.hint), "%s", report->hint);
        relay->failure.hint_proved = report->hint_proved;
        relay->failure.at_ms = clock_wall_ms();
        relay->found_out = true;
    }
    failure = relay->failure;
    pthread_mutex_unlock(&relay->lock);
    if (news)
        breaker_log(relay, &failure, 0);
}

/* Is it time to? Then it counts as done. Under the lock. */
static bool take_explaining(struct relay *relay)
{
    bool probes = relay->probing_ms > 0 && relay->n_connections == relay->n_opening &&
                  !pool_available(relay, clock_mono_ms()) && !relay->paused;
    bool failed = relay->down && may_be_explained(relay->failure.error.code);
    if (relay->explained || relay->draining || relay->aborting || !(failed || probes))
        return false;
    relay->explained = true;
    relay->found_out = false;
    relay->explained_ms = clock_mono_ms();
    relay->explained_code = failed ? relay->failure.error.code : ERR_NONE;
    return true;
}

static bool is_at_login(const struct error *why)
{
    return strcmp(why->where, smtp_step_word(SMTP_STEP_AUTH)) == 0;
}

void breaker_explain(struct relay_slot *slot, uv_loop_t *loop)
{
    struct relay *relay = slot->relay;
    struct verify_options options = {.files = &relay->files, .no_login = true};
    pthread_mutex_lock(&relay->lock);
    bool wanted = slot->explaining == NULL && take_explaining(relay);
    if (wanted && relay->explained_code != ERR_NONE && is_at_login(&relay->failure.error))
        options.known = relay->failure.error;
    pthread_mutex_unlock(&relay->lock);
    if (wanted)
        slot->explaining = verify_start(loop, relay->settings, &options, on_explained, slot);
}
