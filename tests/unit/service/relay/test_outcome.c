#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/outcome.h"

static const struct row {
    const char *name;
    enum smtp_step step;
    int code;
    const char *enhanced, *text;
    bool untouched, in_doubt, some_accepted;
    enum delivery_verdict verdict;
    bool trouble;
} rows[] = {
    {"taken", SMTP_STEP_CONTENT, 250, "2.0.0", "Ok", 0, 0, 1, DELIVERY_SENT, false},
    {"other 2xx", SMTP_STEP_CONTENT, 251, "", "", 0, 0, 1, DELIVERY_SENT, false},
    {"content 4xx", SMTP_STEP_CONTENT, 451, "4.3.0", "later", 0, 0, 1, DELIVERY_DEFERRED, false},
    {"content 5xx", SMTP_STEP_CONTENT, 554, "5.7.1", "spam", 0, 0, 1, DELIVERY_FAILED, false},
    {"content 421", SMTP_STEP_CONTENT, 421, "4.3.2", "bye", 0, 0, 1, DELIVERY_UNTRIED, true},
    {"sender 4xx", SMTP_STEP_MAIL, 450, "4.7.1", "later", 0, 0, 0, DELIVERY_DEFERRED, false},
    {"sender 5xx", SMTP_STEP_MAIL, 550, "5.7.1", "no", 0, 0, 0, DELIVERY_FAILED, false},
    {"login wanted", SMTP_STEP_MAIL, 530, "5.7.0", "login", 0, 0, 0, DELIVERY_UNTRIED, true},
    {"rcpt 4xx", SMTP_STEP_RCPT, 450, "4.2.0", "greylisted", 0, 0, 1, DELIVERY_DEFERRED, false},
    {"rcpt 5xx", SMTP_STEP_RCPT, 550, "5.1.1", "unknown", 0, 0, 1, DELIVERY_FAILED, false},
    {"mailbox full", SMTP_STEP_RCPT, 552, "5.2.2", "full", 0, 0, 1, DELIVERY_FAILED, false},
    {"over quota", SMTP_STEP_RCPT, 452, "4.2.2", "quota", 0, 0, 1, DELIVERY_DEFERRED, false},
    {"too many", SMTP_STEP_RCPT, 452, "4.5.3", "too many", 0, 0, 1, DELIVERY_UNTRIED, false},
    {"too many, 552", SMTP_STEP_RCPT, 552, "5.5.3", "too many", 0, 0, 1, DELIVERY_UNTRIED, false},
    {"too many, bare", SMTP_STEP_RCPT, 452, "", "Too many recipients", 0, 0, 1, DELIVERY_UNTRIED,
     false},
    /* nobody was accepted: at once again would be for ever */
    {"too many of one", SMTP_STEP_RCPT, 452, "4.5.3", "too many", 0, 0, 0, DELIVERY_DEFERRED,
     false},
    {"disk full there", SMTP_STEP_MAIL, 452, "4.3.1", "no space", 0, 0, 0, DELIVERY_UNTRIED, true},
    {"throttled", SMTP_STEP_RCPT, 432, "4.3.2", "slow", 0, 0, 1, DELIVERY_UNTRIED, true},
    {"idle too long", SMTP_STEP_MAIL, 451, "4.4.2", "timeout", 0, 0, 0, DELIVERY_UNTRIED, true},
    {"SES", SMTP_STEP_CONTENT, 454, "", "Throttling failure: rate", 0, 0, 1, DELIVERY_UNTRIED,
     true},
    {"never begun", SMTP_STEP_MAIL, 0, "", "", 1, 0, 0, DELIVERY_UNTRIED, false},
    {"cut at MAIL", SMTP_STEP_MAIL, 0, "", "", 0, 0, 0, DELIVERY_DEFERRED, false},
    {"cut in content", SMTP_STEP_CONTENT, 0, "", "", 0, 0, 1, DELIVERY_DEFERRED, false},
    {"cut behind the dot", SMTP_STEP_CONTENT, 0, "", "", 0, 1, 1, DELIVERY_IN_DOUBT, false},
    /* another recipient is in doubt, this one never got so far */
    {"cut at RCPT", SMTP_STEP_RCPT, 0, "", "", 0, 1, 1, DELIVERY_DEFERRED, false},
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
        struct outcome outcome = outcome_of(&recipient, &result, row->some_accepted);
        cr_expect_eq(outcome.verdict, row->verdict, "%s: %d", row->name, (int)outcome.verdict);
        cr_expect_eq(outcome.relay_trouble, row->trouble, "%s", row->name);
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
