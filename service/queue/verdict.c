#include "queue/verdict.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/id.h"
#include "queue/retry.h"

bool verdicts_untouched(const struct mail *delivery, int64_t now_ms)
{
    if (now_ms >= delivery->expires_ms)
        return false;
    for (size_t i = 0; i < delivery->n_recipients; i++)
        if (delivery->recipients[i].verdict != DELIVERY_UNTRIED)
            return false;
    return true;
}

/* "72h", "90m" or "30s": the largest unit that says it without a rest. */
static void format_age(int64_t age_ms, char *out, size_t size)
{
    int64_t s = age_ms / 1000;
    if (s >= 3600 && s % 3600 == 0)
        snprintf(out, size, "%" PRId64 "h", s / 3600);
    else if (s >= 60 && s % 60 == 0)
        snprintf(out, size, "%" PRId64 "m", s / 60);
    else
        snprintf(out, size, "%" PRId64 "s", s);
}

static void say_expired(const struct mail *delivery, struct reply_record *reply)
{
    char age[32];
    format_age(delivery->expires_ms - delivery->created_ms, age, sizeof(age));
    *reply = (struct reply_record){0};
    snprintf(reply->text, sizeof(reply->text), "expired after %s: the relay could not be used",
             age);
}

static int64_t next_attempt(const struct mail_recipient *recipient,
                            const struct queue_settings *settings, int64_t now_ms)
{
    uint32_t dice;
    id_random(&dice, sizeof(dice));
    return now_ms +
           retry_wait_ms(settings->retry_ms, settings->n_retry, recipient->attempts + 1, dice);
}

static enum recipient_status decide_one(const struct mail *delivery,
                                        struct mail_recipient *recipient,
                                        const struct queue_settings *settings, int64_t now_ms,
                                        int64_t *next_ms)
{
    *next_ms = 0;
    switch (recipient->verdict) {
    case DELIVERY_SENT:
        return RECIPIENT_SENT;
    case DELIVERY_FAILED:
        return RECIPIENT_FAILED;
    case DELIVERY_DEFERRED:
        *next_ms = next_attempt(recipient, settings, now_ms);
        if (*next_ms <= delivery->expires_ms)
            return RECIPIENT_DEFERRED;
        *next_ms = 0; /* its last reply says why */
        return RECIPIENT_FAILED;
    case DELIVERY_IN_DOUBT:
        *next_ms = next_attempt(recipient, settings, now_ms);
        if (delivery->hold_in_doubt || *next_ms > delivery->expires_ms)
            *next_ms = 0; /* held: nobody knows whether it arrived */
        return RECIPIENT_IN_DOUBT;
    case DELIVERY_UNTRIED:
        break;
    }
    if (now_ms < delivery->expires_ms)
        return RECIPIENT_QUEUED;
    say_expired(delivery, &recipient->reply);
    return RECIPIENT_FAILED;
}

void verdicts_decide(struct mail *delivery, const struct queue_settings *settings, int64_t now_ms,
                     enum recipient_status *status, int64_t *next_ms)
{
    delivery->n_ended = delivery->n_sent = 0;
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        status[i] = decide_one(delivery, &delivery->recipients[i], settings, now_ms, &next_ms[i]);
        delivery->n_ended += recipient_status_is_final(status[i]);
        delivery->n_sent += status[i] == RECIPIENT_SENT;
    }
}
