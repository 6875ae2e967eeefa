#include "relay/outcome.h"

#include <string.h>
#include <strings.h>

/* Replies that are about the relay. A row with an empty `enhanced` fits only a reply without an
 * enhanced status code; NULL fits any. */
static const struct {
    int code;
    const char *enhanced;
    const char *text; /* NULL: any; else must occur in it */
} of_relay[] = {
    {421, NULL, NULL},                                 /* closing (RFC 5321, 3.8) */
    {451, "4.4.2", NULL},                              /* connection timed out */
    {452, "4.3.1", NULL},                              /* its disk is full */
    {431, "4.3.1", NULL},      {451, "4.7.500", NULL}, /* Microsoft: server busy */
    {432, NULL, NULL},    /* too many connections or messages of this mailbox */
    {450, "4.3.2", NULL}, /* not accepting messages now */
    {451, "4.3.2", NULL},      {452, "4.3.2", NULL},
    {454, "4.7.0", NULL},      /* too many logins, temporary authentication failure */
    {454, NULL, "Throttling"}, /* Amazon SES */
    {530, NULL, NULL},         /* a login or STARTTLS is wanted first: a setting's fault */
};

bool outcome_reply_is_of_relay(const struct reply_record *reply)
{
    for (size_t i = 0; i < sizeof(of_relay) / sizeof(of_relay[0]); i++)
        if (reply->code == of_relay[i].code &&
            (of_relay[i].enhanced == NULL || strcmp(reply->enhanced, of_relay[i].enhanced) == 0) &&
            (of_relay[i].text == NULL || strcasestr(reply->text, of_relay[i].text) != NULL))
            return true;
    return false;
}

bool outcome_reply_is_too_many(const struct reply_record *reply)
{
    if (reply->code != 452 && reply->code != 552)
        return false;
    if (reply->enhanced[0] != '\0')
        return strcmp(reply->enhanced + 1, ".5.3") == 0;
    return strcasestr(reply->text, "too many") != NULL;
}

static struct outcome of_silence(const struct smtp_recipient_result *recipient,
                                 const struct smtp_result *result)
{
    if (result->untouched)
        return (struct outcome){DELIVERY_UNTRIED, false};
    if (recipient->step == SMTP_STEP_CONTENT && result->in_doubt)
        return (struct outcome){DELIVERY_IN_DOUBT, false};
    /* The connection broke while this message was under way. It counts, because a message on which
     * some filter always cuts the line would else be tried for ever, ahead of all others. */
    return (struct outcome){DELIVERY_DEFERRED, false};
}

struct outcome outcome_of(const struct smtp_recipient_result *recipient,
                          const struct smtp_result *result, bool some_accepted)
{
    const struct reply_record *reply = &recipient->reply;
    if (reply->code == 0)
        return of_silence(recipient, result);
    if (recipient->step == SMTP_STEP_CONTENT && reply->code >= 200 && reply->code < 300)
        return (struct outcome){DELIVERY_SENT, false};
    if (outcome_reply_is_of_relay(reply))
        return (struct outcome){DELIVERY_UNTRIED, true};
    if (recipient->step == SMTP_STEP_RCPT && some_accepted && outcome_reply_is_too_many(reply))
        return (struct outcome){DELIVERY_UNTRIED, false};
    if (reply->code >= 500)
        return (struct outcome){DELIVERY_FAILED, false};
    return (struct outcome){DELIVERY_DEFERRED, false};
}
