#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/outcome.h"

static const struct row {
    const char *name;
    enum smtp_step step;
    int code;
    const char *enhanced, *text;
    bool untouched, in_doubt, shrinks;
    enum delivery_verdict verdict;
    enum reaction_kind kind;
} rows[] = {
    {"taken", SMTP_STEP_CONTENT, 250, "2.0.0", "Ok", 0, 0, 1, DELIVERY_SENT, REACTION_NONE},
    {"other 2xx", SMTP_STEP_CONTENT, 251, "", "", 0, 0, 1, DELIVERY_SENT, REACTION_NONE},
    {"content 4xx", SMTP_STEP_CONTENT, 451, "4.3.0", "later", 0, 0, 1, DELIVERY_DEFERRED,
     REACTION_NONE},
    {"content 5xx", SMTP_STEP_CONTENT, 554, "5.7.1", "spam", 0, 0, 1, DELIVERY_FAILED,
     REACTION_NONE},
    {"content 421", SMTP_STEP_CONTENT, 421, "4.3.2", "bye", 0, 0, 1, DELIVERY_UNTRIED,
     REACTION_SLOW_DOWN},
    {"sender 4xx", SMTP_STEP_MAIL, 450, "4.7.1", "later", 0, 0, 0, DELIVERY_DEFERRED,
     REACTION_NONE},
    {"sender 5xx", SMTP_STEP_MAIL, 550, "5.7.1", "no", 0, 0, 0, DELIVERY_FAILED, REACTION_NONE},
    {"login wanted", SMTP_STEP_MAIL, 530, "5.7.0", "login", 0, 0, 0, DELIVERY_UNTRIED,
     REACTION_LOGIN},
    {"rcpt 4xx", SMTP_STEP_RCPT, 450, "4.2.0", "greylisted", 0, 0, 1, DELIVERY_DEFERRED,
     REACTION_NONE},
    {"rcpt 5xx", SMTP_STEP_RCPT, 550, "5.1.1", "unknown", 0, 0, 1, DELIVERY_FAILED, REACTION_NONE},
    {"mailbox full", SMTP_STEP_RCPT, 552, "5.2.2", "full", 0, 0, 1, DELIVERY_FAILED, REACTION_NONE},
    {"over quota", SMTP_STEP_RCPT, 452, "4.2.2", "quota", 0, 0, 1, DELIVERY_DEFERRED,
     REACTION_NONE},
    {"too many", SMTP_STEP_RCPT, 452, "4.5.3", "too many", 0, 0, 1, DELIVERY_UNTRIED,
     REACTION_TOO_MANY_RECIPIENTS},
    {"too many, 552", SMTP_STEP_RCPT, 552, "5.5.3", "too many", 0, 0, 1, DELIVERY_UNTRIED,
     REACTION_TOO_MANY_RECIPIENTS},
    {"too many, bare", SMTP_STEP_RCPT, 452, "", "Too many recipients", 0, 0, 1, DELIVERY_UNTRIED,
     REACTION_TOO_MANY_RECIPIENTS},
    /* nobody was accepted: at once again would be for ever */
    {"too many of one", SMTP_STEP_RCPT, 452, "4.5.3", "too many", 0, 0, 0, DELIVERY_DEFERRED,
     REACTION_TOO_MANY_RECIPIENTS},
    {"disk full there", SMTP_STEP_MAIL, 452, "4.3.1", "no space", 0, 0, 0, DELIVERY_UNTRIED,
     REACTION_SLOW_DOWN},
    {"throttled", SMTP_STEP_RCPT, 432, "4.3.2", "slow", 0, 0, 1, DELIVERY_UNTRIED, REACTION_FEWER},
    {"idle too long", SMTP_STEP_MAIL, 451, "4.4.2", "timeout", 0, 0, 0, DELIVERY_UNTRIED,
     REACTION_RECONNECT},
    {"SES", SMTP_STEP_CONTENT, 454, "", "Throttling failure: rate", 0, 0, 1, DELIVERY_UNTRIED,
     REACTION_SLOW_DOWN},
    {"never begun", SMTP_STEP_MAIL, 0, "", "", 1, 0, 0, DELIVERY_UNTRIED, REACTION_NONE},
    {"cut at MAIL", SMTP_STEP_MAIL, 0, "", "", 0, 0, 0, DELIVERY_DEFERRED, REACTION_NONE},
    {"cut in content", SMTP_STEP_CONTENT, 0, "", "", 0, 0, 1, DELIVERY_DEFERRED, REACTION_NONE},
    {"cut behind the dot", SMTP_STEP_CONTENT, 0, "", "", 0, 1, 1, DELIVERY_IN_DOUBT, REACTION_NONE},
    /* another recipient is in doubt, this one never got so far */
    {"cut at RCPT", SMTP_STEP_RCPT, 0, "", "", 0, 1, 1, DELIVERY_DEFERRED, REACTION_NONE},
    {"too many of one, 552", SMTP_STEP_RCPT, 552, "5.5.3", "too many", 0, 0, 0, DELIVERY_DEFERRED,
     REACTION_TOO_MANY_RECIPIENTS},
    /* of the whole message: there is no rest that another transaction could take */
    {"too many, at its end", SMTP_STEP_CONTENT, 552, "5.5.3", "too many", 0, 0, 1, DELIVERY_FAILED,
     REACTION_TOO_MANY_RECIPIENTS},
    {"too many, for now", SMTP_STEP_CONTENT, 452, "4.5.3", "too many", 0, 0, 1, DELIVERY_DEFERRED,
     REACTION_TOO_MANY_RECIPIENTS},
    {"a quota as 5xx", SMTP_STEP_MAIL, 550, "5.4.5", "Daily user sending limit exceeded", 0, 0, 0,
     DELIVERY_UNTRIED, REACTION_QUOTA},
    {"a quota behind the content", SMTP_STEP_CONTENT, 554, "5.2.0",
     "SubmissionQuotaExceededException", 0, 0, 1, DELIVERY_UNTRIED, REACTION_QUOTA},
    {"a rate", SMTP_STEP_CONTENT, 454, "", "Throttling failure: Maximum sending rate exceeded.", 0,
     0, 1, DELIVERY_UNTRIED, REACTION_RATE},
    {"no passwords any more", SMTP_STEP_MAIL, 550, "5.7.30", "Basic authentication", 0, 0, 0,
     DELIVERY_UNTRIED, REACTION_LOGIN},
    {"TLS is required, and not to be had", SMTP_STEP_MAIL, 550, "5.7.30",
     "REQUIRETLS support required", 0, 0, 0, DELIVERY_FAILED, REACTION_NONE},
    {"not its From", SMTP_STEP_CONTENT, 554, "5.2.252", "SendAsDenied", 0, 0, 1, DELIVERY_FAILED,
     REACTION_FAIL},
    {"a full mailbox's 421", SMTP_STEP_RCPT, 421, "4.2.2", "over quota", 0, 0, 1, DELIVERY_DEFERRED,
     REACTION_NONE},
    {"Google, of a recipient", SMTP_STEP_RCPT, 450, "4.2.1", "is receiving mail at a rate that", 0,
     0, 1, DELIVERY_DEFERRED, REACTION_NONE},
};

Test(outcome, every_step_and_class)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct smtp_recipient_result recipient = {.step = row->step, .reply.code = row->code};
        snprintf(recipient.reply.enhanced, sizeof(recipient.reply.enhanced), "%s", row->enhanced);
        snprintf(recipient.reply.text, sizeof(recipient.reply.text), "%s", row->text);
        const struct smtp_result result = {.recipients = &recipient,
                                           .n_recipients = 1,
                                           .untouched = row->untouched,
                                           .in_doubt = row->in_doubt};
        struct outcome outcome = outcome_of(&recipient, &result, row->shrinks);
        cr_expect_eq(outcome.verdict, row->verdict, "%s: %d", row->name, (int)outcome.verdict);
        cr_expect_eq(outcome.reaction->kind, row->kind, "%s: %d", row->name,
                     (int)outcome.reaction->kind);
    }
}

/* Whatever a server says before the content is through, it is never taken for a delivery. */
Test(outcome, only_the_reply_to_the_content_delivers)
{
    for (int step = SMTP_STEP_DNS; step <= SMTP_STEP_QUIT; step++)
        for (int code = 0; code < 600; code++) {
            const struct smtp_recipient_result recipient = {.step = (enum smtp_step)step,
                                                            .reply.code = code};
            const struct smtp_result result = {.recipients = &recipient, .n_recipients = 1};
            bool sent = outcome_of(&recipient, &result, true).verdict == DELIVERY_SENT;
            cr_assert_eq(sent, step == SMTP_STEP_CONTENT && code >= 200 && code < 300);
        }
}

/* A reply that nobody knows is judged by its class alone, at whichever step it comes. */
Test(outcome, an_unknown_reply_by_its_class)
{
    static const enum smtp_step steps[] = {SMTP_STEP_MAIL, SMTP_STEP_RCPT, SMTP_STEP_DATA,
                                           SMTP_STEP_CONTENT};
    static const struct {
        int code;
        enum delivery_verdict verdict;
    } classes[] = {{354, DELIVERY_DEFERRED}, {459, DELIVERY_DEFERRED}, {559, DELIVERY_FAILED}};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 3; j++)
            for (int flags = 0; flags < 8; flags++) {
                const struct smtp_recipient_result recipient = {.step = steps[i],
                                                                .reply.code = classes[j].code};
                const struct smtp_result result = {.recipients = &recipient,
                                                   .n_recipients = 1,
                                                   .untouched = flags & 1,
                                                   .in_doubt = flags & 2};
                struct outcome outcome = outcome_of(&recipient, &result, flags & 4);
                cr_expect_eq(outcome.verdict, classes[j].verdict, "%s: %d",
                             smtp_step_word(steps[i]), classes[j].code);
                cr_expect_eq(outcome.reaction->kind, REACTION_NONE);
            }
}

/* Only behind the final dot there is doubt; what was not begun costs nothing. */
Test(outcome, silence_at_every_step)
{
    for (int step = SMTP_STEP_DNS; step <= SMTP_STEP_QUIT; step++)
        for (int flags = 0; flags < 8; flags++) {
            const struct smtp_recipient_result recipient = {.step = (enum smtp_step)step};
            const struct smtp_result result = {.recipients = &recipient,
                                               .n_recipients = 1,
                                               .untouched = flags & 1,
                                               .in_doubt = flags & 2};
            enum delivery_verdict wanted = flags & 1 ? DELIVERY_UNTRIED
                                           : flags & 2 && step == SMTP_STEP_CONTENT
                                               ? DELIVERY_IN_DOUBT
                                               : DELIVERY_DEFERRED;
            struct outcome outcome = outcome_of(&recipient, &result, flags & 4);
            cr_expect_eq(outcome.verdict, wanted, "%s, flags %d",
                         smtp_step_word((enum smtp_step)step), flags);
            cr_expect_eq(outcome.reaction->kind, REACTION_NONE);
        }
}
