#include "relay/outcome.h"

static enum delivery_verdict of_silence(const struct smtp_recipient_result *recipient,
                                        const struct smtp_result *result)
{
    if (result->untouched || recipient->again)
        return DELIVERY_UNTRIED;
    if (recipient->step == SMTP_STEP_CONTENT && result->in_doubt)
        return DELIVERY_IN_DOUBT;
    /* The connection broke while this message was under way. It counts, because a message on which
     * some filter always cuts the line would else be tried for ever, ahead of all others. */
    return DELIVERY_DEFERRED;
}

static enum delivery_verdict of_refusal(const struct smtp_recipient_result *recipient,
                                        const struct reaction *reaction, bool shrinks)
{
    if (reaction_is_of_relay(reaction))
        return DELIVERY_UNTRIED;
    /* 552 is no refusal for good here (RFC 5321, 4.5.3.1.10). Where all are too many, at once again
     * would be for ever. */
    if (reaction->kind == REACTION_TOO_MANY_RECIPIENTS && recipient->step == SMTP_STEP_RCPT)
        return shrinks ? DELIVERY_UNTRIED : DELIVERY_DEFERRED;
    if (reaction->kind == REACTION_FAIL || recipient->reply.code >= 500)
        return DELIVERY_FAILED;
    return DELIVERY_DEFERRED;
}

struct outcome outcome_of(const struct smtp_recipient_result *recipient,
                          const struct smtp_result *result, bool shrinks)
{
    int code = recipient->reply.code;
    const struct reaction *reaction = reaction_to(&recipient->reply);
    if (code == 0)
        return (struct outcome){of_silence(recipient, result), reaction};
    if (recipient->step == SMTP_STEP_CONTENT && code >= 200 && code < 300)
        return (struct outcome){DELIVERY_SENT, reaction};
    return (struct outcome){of_refusal(recipient, reaction, shrinks), reaction};
}

struct outcome outcome_attributed(const struct outcome *outcome)
{
    static const struct reaction none = {REACTION_NONE};
    return outcome->verdict == DELIVERY_UNTRIED ? (struct outcome){DELIVERY_DEFERRED, &none}
                                                : *outcome;
}
