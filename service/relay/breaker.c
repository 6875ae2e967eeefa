#include "relay/breaker.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "relay/availability.h"
#include "relay/connect.h"

enum {
    RATE_PAUSE_MS = 1000,
    TOKEN_RETRY_MS = 1000,
    LOOK_AGAIN_MS = 10 * 60 * 1000, /* what was found out about an outage may not hold for ever */
};

static uint32_t roll_dice(void)
{
    uint32_t number;
    id_random(&number, sizeof(number));
    return number;
}

/* So long, and up to a fifth more, so that many who heard the same do not come back at once. */
static int64_t rest(struct backoff *backoff, int64_t now_ms, int64_t pause_ms, uint32_t dice)
{
    assert(pause_ms >= 0);
    backoff_pause(backoff, now_ms, pause_ms + pause_ms * (int64_t)(dice % 201) / 1000);
    return backoff->until_ms - now_ms;
}

/* What to change: as the reply's row says, where there is one; else as the whole error does. */
static void describe(const struct relay *relay, enum smtp_step step, const struct error *why,
                     const struct reaction *reaction, struct relay_failure *failure_out)
{
    struct diagnosis_context context;
    assert(!lock_held_by_me(&relay->lock));
    *failure_out = (struct relay_failure){.error = *why, .at_ms = clock_wall_ms()};
    error_at(&failure_out->error, "%s", smtp_step_word(step));
    connect_diagnosis(relay->settings, &context);
    if (reaction != NULL && reaction->hint != NULL)
        snprintf(failure_out->hint, sizeof(failure_out->hint), "%s", reaction->hint);
    else
        diagnosis_hint(&failure_out->error, &context, failure_out->hint, sizeof(failure_out->hint));
}

static void log_failure(const struct relay *relay, const struct relay_failure *failure,
                        int64_t pause_ms)
{
    log_warn("relay failure", LOG_STR("relay", relay->settings->name),
             LOG_STR("step", failure->error.where),
             LOG_STR("code", error_word(failure->error.code)),
             LOG_STR("detail", failure->error.detail),
             LOG_STR("hint", failure->hint[0] != '\0' ? failure->hint : NULL),
             LOG_STR("proved", failure->hint_proved ? "yes" : NULL), LOG_INT("pause_ms", pause_ms));
}

/* --- connections that fail ---------------------------------------------------------------- */

static bool lacks_token(enum error_code code)
{
    return code == ERR_TOKEN_UNAVAILABLE || code == ERR_TOKEN_REFUSED;
}

void breaker_prepare(const struct relay *relay, enum smtp_step step, const struct error *why,
                     const char *transcript, struct breaker_failure *failure_out)
{
    *failure_out = (struct breaker_failure){
        .code = why->code,
        .reaction = reaction_to_error(why),
        .transcript = transcript != NULL ? bytes_copy(transcript, strlen(transcript)) : NULL,
        .dice = roll_dice(),
    };
    describe(relay, step, why, NULL, &failure_out->failure);
    if (lacks_token(
            why->code)) { /* its endpoint has a backoff of its own: no use in coming before */
        struct oauth_status status = {0};
        if (relay->around.tokens != NULL)
            oauth_cache_status(relay->around.tokens, (size_t)relay->settings->auth.oauth_index,
                               &status);
        failure_out->token_retry_ms =
            status.retry_in_ms > TOKEN_RETRY_MS ? status.retry_in_ms : TOKEN_RETRY_MS;
    }
}

void breaker_connect_failed(struct relay *relay, struct breaker_failure *failure)
{
    assert(lock_held_by_me(&relay->lock));
    assert(relay->n_opening <= relay->n_connections);
    const struct reaction *reaction = failure->reaction;
    int64_t now_ms = clock_mono_ms();

    /* A refusal while others are connected teaches how many the relay bears; else it is down. */
    size_t n_inside = relay->n_connections - relay->n_opening;
    relay->down = n_inside == 0;
    if (relay->down) {
        relay->limit = 1;
    } else {
        relay->cap = n_inside < relay->cap ? n_inside : relay->cap;
        relay->cap_ms = now_ms;
    }
    if (failure->transcript != NULL) {
        struct bytes *before = relay->transcript;
        relay->transcript = failure->transcript;
        failure->transcript = before; /* freed behind the lock */
    }

    /* Is this what was looked into? */
    if (relay->explained && now_ms - relay->explained_ms <= LOOK_AGAIN_MS) {
        if (relay->explained_code == ERR_NONE)
            relay->explained_code = failure->code;
        relay->explained = relay->explained_code == failure->code;
    } else {
        relay->explained = false;
    }
    if (relay->explained && relay->found_out) { /* not now the cause, now the symptom */
        relay->failure.at_ms = failure->failure.at_ms;
        failure->failure = relay->failure;
    } else {
        relay->failure = failure->failure;
        relay->found_out = false;
    }

    bool login = failure->code == ERR_AUTH_FAILED || reaction->kind == REACTION_LOGIN;
    if (reaction->pause_ms > 0)
        failure->pause_ms = rest(&relay->entry, now_ms, reaction->pause_ms, failure->dice);
    else if (failure->token_retry_ms > 0)
        failure->pause_ms = rest(&relay->entry, now_ms, failure->token_retry_ms, failure->dice);
    else
        failure->pause_ms = backoff_failed(&relay->entry, now_ms, login, failure->dice);
}

void breaker_finish(const struct relay *relay, struct breaker_failure *failure, bool happened)
{
    assert(!lock_held_by_me(&relay->lock));
    bytes_unref(TAKE(failure->transcript));
    if (happened)
        log_failure(relay, &failure->failure, failure->pause_ms);
}

void breaker_look_for_token(struct relay *relay)
{
    struct oauth_status status;
    if (relay->around.tokens == NULL || relay->settings->auth.oauth == NULL)
        return;
    oauth_cache_status(relay->around.tokens, (size_t)relay->settings->auth.oauth_index, &status);
    lock_take(&relay->lock);
    if (relay->down && lacks_token(relay->failure.error.code) && status.seconds_left > 0)
        relay->entry.until_ms = 0;
    lock_drop(&relay->lock);
}

/* --- replies to transactions -------------------------------------------------------------- */

/* What the reaction's kind asks for; the pause it means. */
static int64_t react(struct relay *relay, const struct reaction *reaction, uint32_t dice)
{
    assert(lock_held_by_me(&relay->lock));
    int64_t now_ms = clock_mono_ms();
    size_t n_inside = relay->n_connections - relay->n_opening;
    size_t fewer = n_inside > 1 ? n_inside - 1 : 1;
    switch (reaction->kind) {
    case REACTION_FEWER:
        relay->cap = fewer < relay->cap ? fewer : relay->cap; /* some inside may be leaving */
        relay->cap_ms = now_ms;
        return n_inside > 1 ? 0 : backoff_failed(&relay->traffic, now_ms, false, dice);
    case REACTION_NO_NEW:
        rest(&relay->entry, now_ms, reaction->pause_ms, dice);
        return backoff_failed(&relay->traffic, now_ms, false, dice);
    case REACTION_RATE:
        if (reaction->rate_n > 0)
            rate_learn(relay->messages, reaction->rate_n, reaction->rate_ms, now_ms);
        return rest(&relay->traffic, now_ms,
                    reaction->pause_ms > 0 ? reaction->pause_ms : RATE_PAUSE_MS, dice);
    case REACTION_QUOTA:
        return rest(&relay->traffic, now_ms, reaction->pause_ms, dice);
    case REACTION_LOGIN:
    case REACTION_SETUP:
        return backoff_failed(&relay->traffic, now_ms, true, dice);
    case REACTION_SLOW_DOWN:
    case REACTION_RECONNECT:
        return backoff_failed(&relay->traffic, now_ms, false, dice);
    case REACTION_NONE:
    case REACTION_TOO_MANY_RECIPIENTS:
    case REACTION_FAIL:
        break;
    }
    return 0;
}

bool breaker_refused(struct relay *relay, enum smtp_step step, const struct reaction *reaction,
                     const struct reply_record *reply)
{
    struct error why;
    struct relay_failure failure;
    enum error_code code = reaction->kind == REACTION_LOGIN   ? ERR_AUTH_FAILED
                           : reaction->kind == REACTION_SETUP ? ERR_RELAY_REFUSED
                                                              : ERR_THROTTLED;
    error_set(&why, code, "%d%s%s %s", reply->code, reply->enhanced[0] != '\0' ? " " : "",
              reply->enhanced, reply->text);
    describe(relay, step, &why, reaction, &failure);
    uint32_t dice = roll_dice();
    lock_take(&relay->lock);
    relay->failure = failure;
    relay->found_out = false;
    int64_t pause_ms = react(relay, reaction, dice);
    atomic_store(&relay->slowed, relay->traffic.n_failures > 0);
    lock_drop(&relay->lock);
    log_failure(relay, &failure, pause_ms);
    availability_announce(relay);
    return reaction->kind != REACTION_RATE;
}

void breaker_succeeded(struct relay *relay, bool took)
{
    int64_t now_ms = clock_mono_ms();
    if (took)
        atomic_store_explicit(&relay->took_ms, now_ms, memory_order_relaxed);
    if (!atomic_load_explicit(&relay->slowed, memory_order_relaxed))
        return;
    lock_take(&relay->lock);
    if (relay->traffic.n_failures > 0 && backoff_open(&relay->traffic, now_ms)) {
        backoff_succeeded(&relay->traffic);
        relay->failure.error = (struct error){0};
        atomic_store(&relay->slowed, false);
    }
    lock_drop(&relay->lock);
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

/* Nothing is found if a probe gets in now: what is known is all there is. */
static void on_explained(void *arg, const struct explanation *found)
{
    struct relay_slot *slot = arg;
    struct relay *relay = slot->relay;
    struct relay_failure failure = {.at_ms = clock_wall_ms()};
    assert(slot->explaining != NULL);
    slot->explaining = NULL;
    if (found == NULL)
        return;
    failure.error = found->error;
    failure.hint_proved = found->hint_proved;
    snprintf(failure.hint, sizeof(failure.hint), "%s", found->hint);
    lock_take(&relay->lock);
    bool news = !relay->aborting && relay->n_connections == relay->n_opening;
    if (news) {
        relay->failure = failure;
        relay->found_out = true;
    }
    lock_drop(&relay->lock);
    if (news)
        log_failure(relay, &failure, 0);
}

/* Is it time to? Then it counts as done. `*known_out`: how AUTH went, if that is what failed. */
static bool take_explaining(struct relay *relay, struct error *known_out)
{
    assert(lock_held_by_me(&relay->lock));
    int64_t now_ms = clock_mono_ms();
    const struct error *why = &relay->failure.error;
    bool probing = relay->probing_ms > 0 && relay->n_connections == relay->n_opening &&
                   !availability_good(relay, now_ms) && !relay->paused;
    bool failed = relay->down && may_be_explained(why->code);
    if (relay->explained || relay->draining || relay->aborting || !(failed || probing))
        return false;
    relay->explained = true;
    relay->found_out = false;
    relay->explained_ms = now_ms;
    relay->explained_code = failed ? why->code : ERR_NONE;
    if (failed && strcmp(why->where, smtp_step_word(SMTP_STEP_AUTH)) == 0)
        *known_out = *why;
    return true;
}

void breaker_explain(struct relay_slot *slot, uv_loop_t *loop)
{
    struct relay *relay = slot->relay;
    const struct explainer *explainer = relay->around.explainer;
    struct error known = {0};
    if (explainer == NULL || slot->explaining != NULL)
        return;
    lock_take(&relay->lock);
    bool wanted = take_explaining(relay, &known);
    lock_drop(&relay->lock);
    if (wanted)
        slot->explaining =
            explainer->start(loop, relay->settings, &relay->files,
                             known.code != ERR_NONE ? &known : NULL, on_explained, slot);
}
