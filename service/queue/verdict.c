#include "queue/verdict.h"

#include <stdio.h>

#include "base/id.h"
#include "queue/retry.h"

static int64_t next_attempt(const struct delivery_recipient *recipient,
                            const struct queue_settings *settings, int64_t now_ms)
{
    uint32_t dice;
    id_random(&dice, sizeof(dice));
    return now_ms +
           retry_wait_ms(settings->retry_ms, settings->n_retry, recipient->attempts + 1, dice);
}

static enum recipient_status decide_one(struct delivery *delivery,
                                        struct delivery_recipient *recipient,
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
        if (settings->hold_in_doubt || *next_ms > delivery->expires_ms)
            *next_ms = 0; /* held: nobody knows whether it arrived */
        return RECIPIENT_IN_DOUBT;
    case DELIVERY_UNTRIED:
        break;
    }
    if (now_ms < delivery->expires_ms)
        return RECIPIENT_QUEUED;
    recipient->reply = (struct reply_record){0};
    snprintf(recipient->reply.text, sizeof(recipient->reply.text),
             "expired: the relay could not be used before the message's max_age ended");
    return RECIPIENT_FAILED;
}

void verdicts_decide(struct delivery *delivery, const struct queue_settings *settings,
                     int64_t now_ms, struct verdicts *verdicts)
{
    verdicts->n_untried = 0;
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        enum recipient_status status =
            decide_one(delivery, &delivery->recipients[i], settings, now_ms, &verdicts->next_ms[i]);
        verdicts->status[i] = status;
        verdicts->n_untried += status == RECIPIENT_QUEUED;
    }
}
