#include "relay/batch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/attribution.h"
#include "relay/outcome.h"
#include "relay/pool.h"

enum { SAID_MAX = 16 * 1024 };

struct batch *batch_new(void)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    if (batch != NULL)
        buffer_init(&batch->said, SAID_MAX);
    return batch;
}

void batch_free(struct batch *batch)
{
    if (batch == NULL)
        return;
    buffer_clear(&batch->said);
    free(batch->addresses);
    free(batch);
}

/* --- the envelope ------------------------------------------------------------------------- */

static int reserve_addresses(struct batch *batch, size_t n)
{
    if (n <= batch->size)
        return 0;
    const char **addresses = reallocarray(batch->addresses, n, sizeof(*addresses));
    if (addresses == NULL)
        return -1;
    batch->addresses = addresses;
    batch->size = n;
    return 0;
}

int batch_load(struct batch *batch, struct mail *delivery, struct smtp_envelope *envelope_out)
{
    if (reserve_addresses(batch, delivery->n_recipients) < 0)
        return -1;
    batch->n_addresses = 0;
    for (size_t i = 0; i < delivery->n_recipients; i++)
        if (!delivery->recipients[i].held_back)
            batch->addresses[batch->n_addresses++] = delivery->recipients[i].address;
    *envelope_out = (struct smtp_envelope){
        .sender = delivery->sender,
        .recipients = batch->addresses,
        .n_recipients = batch->n_addresses,
        .content = delivery->content->data,
        .content_len = delivery->content->len,
        .smtputf8 = delivery->smtputf8,
        .require_tls = delivery->options.require_tls,
        .dsn = delivery->options.dsn,
        .owner = batch,
    };
    batch->delivery = delivery;
    batch->begun_us = clock_mono_us();
    buffer_reset(&batch->said);
    return 0;
}

struct mail *batch_unload(struct batch *batch)
{
    return TAKE(batch->delivery);
}

/* --- the verdicts ------------------------------------------------------------------------- */

static void count_reply(struct relay *relay, const struct reply_record *reply)
{
    int class = reply->code / 100;
    if (class >= 2 && class <= 5)
        metric_add(relay->metrics.replies[class], 1);
}

static void log_outcome(const struct relay *relay, const struct mail *delivery,
                        const struct mail_recipient *recipient, enum smtp_step step)
{
    static const struct {
        const char *msg;
        enum log_level level;
    } of_verdict[] = {
        [DELIVERY_UNTRIED] = {"recipient again", LOG_LEVEL_DEBUG},
        [DELIVERY_SENT] = {"recipient sent", LOG_LEVEL_INFO},
        [DELIVERY_DEFERRED] = {"recipient deferred", LOG_LEVEL_INFO},
        [DELIVERY_FAILED] = {"recipient failed", LOG_LEVEL_WARN},
        [DELIVERY_IN_DOUBT] = {"recipient in doubt", LOG_LEVEL_WARN},
    };
    const struct reply_record *reply = &recipient->reply;
    char id[4 + ID_SIZE], text[sizeof(reply->text) + 24];
    snprintf(id, sizeof(id), "msg_%s", delivery->id);
    snprintf(text, sizeof(text), "%d %s%s%s", reply->code, reply->enhanced,
             reply->enhanced[0] != '\0' ? " " : "", reply->text);
    LOG_AT(of_verdict[recipient->verdict].level, of_verdict[recipient->verdict].msg,
           LOG_STR("message", id), LOG_STR("relay", relay->settings->name),
           LOG_STR("recipient", recipient->address), LOG_STR("step", smtp_step_word(step)),
           LOG_STR("reply", reply->code != 0 ? text : NULL));
}

static struct metric *counter_of(const struct relay_metrics *metrics, enum delivery_verdict verdict)
{
    switch (verdict) {
    case DELIVERY_UNTRIED:
        return metrics->untried;
    case DELIVERY_SENT:
        return metrics->sent;
    case DELIVERY_DEFERRED:
        return metrics->deferred;
    case DELIVERY_FAILED:
        return metrics->failed;
    case DELIVERY_IN_DOUBT:
        return metrics->in_doubt;
    }
    return NULL;
}

static bool is_one_too_many(const struct smtp_recipient_result *said)
{
    return said->step == SMTP_STEP_RCPT &&
           reaction_to(&said->reply)->kind == REACTION_TOO_MANY_RECIPIENTS;
}

static bool shrinks(const struct smtp_result *result)
{
    for (size_t i = 0; i < result->n_recipients; i++)
        if (!is_one_too_many(&result->recipients[i]))
            return true;
    return false;
}

/* Does the relay complain of itself, or cut the line at a message's beginning? */
static bool is_complaint(const struct smtp_result *result, bool fresh)
{
    if (result->untouched)
        return fresh;
    for (size_t i = 0; i < result->n_recipients; i++)
        if (attribution_applies(reaction_to(&result->recipients[i].reply)))
            return true;
    return false;
}

static bool attributes(struct relay *relay, struct mail *delivery, const struct smtp_result *result,
                       bool fresh)
{
    return is_complaint(result, fresh) &&
           attribute_to_message(&delivery->complaints, pool_took_ms(relay), clock_mono_ms());
}

static void judge_one(struct relay *relay, const struct mail *delivery,
                      struct mail_recipient *recipient, const struct smtp_recipient_result *said,
                      const struct outcome *outcome, struct batch_news *news)
{
    recipient->verdict = outcome->verdict;
    recipient->reply = said->reply;
    if (outcome->verdict == DELIVERY_UNTRIED)
        news->n_untried++;
    news->any_sent |= outcome->verdict == DELIVERY_SENT;
    if (reaction_is_of_relay(outcome->reaction)) {
        news->reaction = outcome->reaction;
        news->reply = &recipient->reply;
        news->step = said->step;
    }
    count_reply(relay, &recipient->reply);
    metric_add(counter_of(&relay->metrics, outcome->verdict), 1);
    if (outcome->verdict == DELIVERY_SENT)
        metric_observe(relay->metrics.latency_seconds,
                       (double)(clock_steady_ms() - delivery->created_ms) / 1000);
    log_outcome(relay, delivery, recipient, said->step);
}

void batch_judge(struct batch *batch, struct relay *relay, const struct smtp_result *result,
                 bool fresh, struct batch_news *news_out)
{
    struct mail *delivery = batch->delivery;
    bool fewer = shrinks(result), attributed = attributes(relay, delivery, result, fresh);
    size_t n = 0; /* of the transaction's recipients */
    *news_out = (struct batch_news){0};
    for (size_t i = 0; i < delivery->n_recipients; i++) {
        if (delivery->recipients[i].held_back)
            continue;
        const struct smtp_recipient_result *said = &result->recipients[n++];
        struct outcome outcome = outcome_of(said, result, fewer);
        if (attributed && !is_one_too_many(said))
            outcome = outcome_attributed(&outcome);
        judge_one(relay, delivery, &delivery->recipients[i], said, &outcome, news_out);
    }
    news_out->none_tried = news_out->n_untried == (int64_t)n;
    if (!result->untouched)
        metric_observe(relay->metrics.transaction_seconds,
                       (double)(clock_mono_us() - batch->begun_us) / 1e6);
}
