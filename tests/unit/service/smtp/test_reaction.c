#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "smtp/diagnosis.h"
#include "smtp/reaction.h"
#include "smtp/reply.h"

enum { S = 1000, M = 60 * S, H = 60 * M };

static const struct row {
    const char *wire; /* without its line end; "|" stands for one inside */
    enum reaction_kind kind;
    const char *hint; /* occurs in it; NULL: there is none */
    int64_t pause_ms, rate_n, rate_ms;
} rows[] = {
    /* what users meet (providers.md, section 4) */
    {"432 4.3.2 Concurrent connections limit exceeded", REACTION_FEWER, "connections.max: 3"},
    {"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", REACTION_FEWER,
     "connections.max: 3"},
    {"421 4.3.2 The maximum number of concurrent connections has exceeded a limit per resource "
     "forest",
     REACTION_FEWER, "connections.max", M},
    {"421 Too many concurrent SMTP connections", REACTION_FEWER, "connections.max"},
    {"421 4.7.0 Too many connections", REACTION_FEWER, "connections.max"},
    {"421 4.4.2 Timeout", REACTION_RECONNECT, "connections.idle"},
    {"451 4.4.2 Timeout waiting for data from client.", REACTION_RECONNECT, "connections.idle"},
    {"421 SMTP session maximum lifetime reached", REACTION_RECONNECT, "connections.lifetime"},
    {"454 4.7.0 Too many login attempts, please try again later.", REACTION_NO_NEW, NULL, 10 * M},
    {"454 4.7.0 Temporary authentication failure", REACTION_SLOW_DOWN, NULL},
    {"421-4.7.0 Try again later, closing connection. (EHLO)|421 4.7.0 x1-2 - gsmtp",
     REACTION_SLOW_DOWN, "hostname"},
    {"421 4.3.0 Temporary System Problem. Try again later", REACTION_SLOW_DOWN, NULL},
    {"421 4.4.5 Server busy, try again later.", REACTION_SLOW_DOWN, NULL},
    {"451 4.7.500 Server busy. Please try again later", REACTION_SLOW_DOWN, NULL},
    {"451 4.7.0 Temporary server error. Please try again later. PRX4", REACTION_SLOW_DOWN, NULL},
    {"421 4.4.2 Message submission rate exceeded", REACTION_RATE, "rate.messages: 30/m", M, 30, M},
    {"450-4.2.1 The user you are trying to contact is receiving mail at a rate that|450 4.2.1 "
     "prevents additional messages from being delivered.",
     REACTION_NONE, NULL},
    {"450-4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary|450 4.2.1 error.",
     REACTION_RATE, "rate.messages", M},
    {"452 4.5.3 Too many recipients", REACTION_TOO_MANY_RECIPIENTS, NULL},
    {"454 Throttling failure: Maximum sending rate exceeded.", REACTION_RATE, "rate.messages", S},
    {"454 Throttling failure: Daily message quota exceeded.", REACTION_QUOTA, "rate.recipients",
     10 * M},
    {"550-5.4.5 Daily user sending limit exceeded. For more information on Gmail|550 5.4.5 sending "
     "limits go to",
     REACTION_QUOTA, "500/d", 24 * H},
    {"550 5.1.90 Your message can't be sent because you've reached your daily limit",
     REACTION_QUOTA, "rate.recipients: 10000/d", H},
    {"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed",
     REACTION_QUOTA, "rate.recipients: 10000/d", H},
    {"535 5.7.3 Authentication unsuccessful", REACTION_LOGIN, "SMTP.SendAsApp"},
    {"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
     "Tenant. Visit https://aka.ms/smtp_auth_disabled",
     REACTION_LOGIN, "Set-TransportConfig -SmtpClientAuthenticationDisabled $false"},
    {"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
     "Mailbox. Visit https://aka.ms/smtp_auth_disabled",
     REACTION_LOGIN, "Set-CASMailbox USER -SmtpClientAuthenticationDisabled $false"},
    {"535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", REACTION_LOGIN,
     "postern login microsoft"},
    {"550 5.7.30 Basic authentication is not supported for Client Submission", REACTION_LOGIN,
     "postern login microsoft"},
    {"530 5.7.57 Client not authenticated to send mail", REACTION_LOGIN, "auth.username"},
    {"535-5.7.8 Username and Password not accepted. For more information, go to|535 5.7.8 "
     "https://support.google.com/mail/?p=BadCredentials",
     REACTION_LOGIN, "app password"},
    {"534-5.7.9 Application-specific password required. For more information, go to|534 5.7.9 "
     "https://support.google.com/mail/?p=InvalidSecondFactor",
     REACTION_LOGIN, "app password"},
    {"554 5.2.252 SendAsDenied; a@example.com not allowed to send as b@example.com", REACTION_FAIL,
     "Add-RecipientPermission"},
    {"550 5.7.60 SMTP; Client does not have permissions to send as this sender", REACTION_FAIL,
     "Add-RecipientPermission"},
    {"550 5.2.251 Continuous errors", REACTION_QUOTA, "administrator", H},
    {"550 5.2.252 Continuous errors", REACTION_QUOTA, "administrator", H},
    {"550 5.2.253 Continuous errors", REACTION_QUOTA, "administrator", H},
    {"550 5.2.254 Continuous errors", REACTION_QUOTA, "administrator", H},
    {"550 5.2.255 Continuous errors", REACTION_QUOTA, "administrator", H},
    {"552 5.3.4 Message size exceeds fixed limit", REACTION_FAIL, "size"},
    {"554 5.2.2 Mailbox full", REACTION_NONE, NULL},

    /* and others of the kind */
    {"421 4.3.2 Too many open connections.", REACTION_FEWER, "connections.max"},
    {"421 4.7.0 Error: too many new TLS sessions from 192.0.2.1", REACTION_FEWER,
     "connections.max"},
    {"421 4.7.0 Too many login attempts", REACTION_NO_NEW, NULL, 10 * M},
    {"421 4.3.2 Connection rate limit exceeded.", REACTION_NO_NEW, NULL, M},
    {"421 4.4.1 Connection timed out. Total session duration: 00:10:00", REACTION_RECONNECT,
     "connections.idle"},
    {"421 Timeout waiting for data from client.", REACTION_RECONNECT, "connections.idle"},
    {"421 4.7.0 Error: too many errors", REACTION_SLOW_DOWN, NULL},
    {"421 bye", REACTION_SLOW_DOWN, NULL},
    {"431 4.3.1 Not enough disk space", REACTION_SLOW_DOWN, NULL},
    {"432 4.7.12 A password transition is needed", REACTION_LOGIN, "auth.mechanism: plain"},
    {"432 later", REACTION_FEWER, "connections.max: 3"},
    {"450 4.3.2 Service currently unavailable", REACTION_SLOW_DOWN, NULL},
    {"451 4.3.2 Please try again later", REACTION_SLOW_DOWN, NULL},
    {"452 4.3.2 System not accepting messages", REACTION_SLOW_DOWN, NULL},
    {"452 4.3.1 Insufficient system storage", REACTION_SLOW_DOWN, NULL},
    {"452 Too many recipients received this hour", REACTION_TOO_MANY_RECIPIENTS, NULL},
    {"552 too many recipients", REACTION_TOO_MANY_RECIPIENTS, NULL},
    {"552 5.5.3 Too many recipients", REACTION_TOO_MANY_RECIPIENTS, NULL},
    {"454 Throttling failure: something new", REACTION_SLOW_DOWN, NULL},
    {"530 5.7.0 Must issue a STARTTLS command first", REACTION_LOGIN, "tls: starttls"},
    {"530 5.7.0 Authentication required", REACTION_LOGIN, "auth.username"},
    {"534 5.7.14 Please log in via your web browser and then try again.", REACTION_LOGIN,
     "browser"},
    {"534 5.7.9 Authentication mechanism is too weak", REACTION_LOGIN, "auth.mechanism"},
    {"535 5.7.139 Authentication unsuccessful, the request did not meet the criteria",
     REACTION_LOGIN, "policy"},
    {"535 5.7.8 Error: authentication failed:", REACTION_LOGIN, "auth.password"},
    {"535 no", REACTION_LOGIN, "auth.password"},
    {"550 5.7.57 Client not authenticated", REACTION_LOGIN, "auth.username"},
    {"550-5.7.1 Daily SMTP relay limit exceeded for customer. For more|550 5.7.1 information",
     REACTION_QUOTA, "500/d", 24 * H},
    {"554 5.1.0 SendAsDenied", REACTION_FAIL, "Add-RecipientPermission"},

    /* what one recipient has to do with alone; see also outcome */
    {"421 4.2.1 mailbox busy", REACTION_NONE, NULL},
    {"421 4.2.2 mailbox over quota, timeout", REACTION_NONE, NULL},
    {"421 4.1.8 domain of sender not found", REACTION_NONE, NULL},
    {"421 4.7.1 Greylisted, try again in 300 s", REACTION_NONE, NULL},
    {"450 4.2.1 mailbox disabled for now", REACTION_NONE, NULL},
    {"450 4.2.0 greylisted", REACTION_NONE, NULL},
    {"450 4.7.1 recipient rate limit exceeded", REACTION_NONE, NULL},
    {"451 4.7.0 Temporary lookup failure", REACTION_NONE, NULL},
    {"451 4.7.1 Greylisting in action", REACTION_NONE, NULL},
    {"452 4.2.2 over quota", REACTION_NONE, NULL},
    {"452 4.2.2 too many messages in the mailbox", REACTION_NONE, NULL},
    {"550 5.1.1 unknown user", REACTION_NONE, NULL},
    {"550 5.7.30 REQUIRETLS needed", REACTION_NONE, NULL},
    {"550 5.7.30 the message requires TLS on its whole way, and the server has no REQUIRETLS",
     REACTION_NONE, NULL},
    {"550 5.2.1 daily limit of this mailbox exceeded", REACTION_NONE, NULL},
    {"550 5.2.2 full", REACTION_NONE, NULL},
    {"552 5.2.2 too many messages", REACTION_NONE, NULL},
    {"250 2.0.0 Ok", REACTION_NONE, NULL},

    /* what hosters allow an account in an hour or a day */
    {"554 5.7.0 Your message could not be sent. The limit on the number of allowed outgoing "
     "messages was exceeded. Try again later.",
     REACTION_QUOTA, "rate.messages", H},
    {"550 Domain example.com has exceeded the max emails per hour (101/100 (101%)) allowed. "
     "Message discarded.",
     REACTION_QUOTA, "rate.messages", H},
    {"550 Domain example.org has exceeded the max defers and failures per hour (5/5 (100%)) "
     "allowed.",
     REACTION_QUOTA, "rate.messages", H},
    {"550 sorry, too many emails", REACTION_QUOTA, "rate.messages", H},
    {"554 5.7.1 too many emails from this account", REACTION_QUOTA, "rate.messages", H},
    {"550 user has exceeded hour limit", REACTION_QUOTA, "rate.messages", H},
    {"550 5.7.1 You have exceeded your hourly sending limit", REACTION_QUOTA, "rate.messages", H},
    {"552 Sending quota exceeded for this account", REACTION_QUOTA, "rate.messages", H},
    {"550 Hourly limit reached", REACTION_QUOTA, "rate.messages", H},
    {"550 Outgoing mail quota exceeded", REACTION_QUOTA, "rate.messages", H},
    {"554 5.7.1 Account info@example.com exceeded its daily message limit", REACTION_QUOTA,
     "rate.messages", H},
    {"550 5.7.1 exceeded 300 recipients per day", REACTION_QUOTA, "rate.messages", H},
    {"550 you exceeded your mail quota", REACTION_QUOTA, "rate.messages", H},
    {"554 mailbox exceeded its sending limit", REACTION_QUOTA, "rate.messages", H},
    /* ... and what is a recipient's own */
    {"550 mailbox quota exceeded", REACTION_NONE, NULL},
    {"552 5.2.2 user over quota", REACTION_NONE, NULL},
    {"550 5.2.2 <bob@example.net>: user is over the daily limit: exceeded", REACTION_NONE, NULL},
    {"552 Requested mail action aborted: exceeded storage allocation", REACTION_NONE, NULL},
    {"550 User has exceeded disk quota", REACTION_NONE, NULL},
    {"550 recipient's mailbox exceeded its daily limit", REACTION_NONE, NULL},
    {"550 The user you are trying to reach is receiving mail too fast: exceeded 10 per hour",
     REACTION_NONE, NULL},
    {"552 5.3.4 message size exceeds limit", REACTION_FAIL, "this size"},
    {"552 message size exceeds the outgoing limit", REACTION_NONE, NULL},
    {"550 account is over quota", REACTION_NONE, NULL},
    {"550 quota exceeded", REACTION_NONE, NULL},
    {"550 5.1.1 too many emails to this unknown user", REACTION_NONE, NULL},

    /* an idle session that ends, without the code for it */
    {"451 Timeout waiting for data from client.", REACTION_RECONNECT, "connections.idle"},
    {"451 timed out waiting for a command", REACTION_RECONNECT, "connections.idle"},
    {"451 Idle too long, closing", REACTION_RECONNECT, "connections.idle"},
    {"451 Session closed for inactivity", REACTION_RECONNECT, "connections.idle"},
    {"451 Timeout: closing connection", REACTION_RECONNECT, "connections.idle"},
    {"451 Timeout contacting the policy server", REACTION_NONE, NULL},
    {"451 DNS timeout, try later", REACTION_NONE, NULL},
    {"451 4.3.0 timeout waiting for the scanner", REACTION_NONE, NULL},

    /* who we are */
    {"504 5.5.2 <25aea30808b2>: Helo command rejected: need fully-qualified hostname",
     REACTION_SETUP, "hostname"},
    {"450 4.7.1 <gw>: Helo command rejected: Host not found", REACTION_SETUP, "hostname"},
    {"550 5.7.1 <localhost>: Helo command rejected: go away", REACTION_SETUP, "hostname"},
    {"550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", REACTION_SETUP, "hostname"},
    {"501 5.5.4 Invalid domain name", REACTION_SETUP, "hostname"},
    {"504 5.5.2 <bob>: Recipient address rejected: need fully-qualified address", REACTION_NONE,
     NULL},
    {"550 5.7.1 unknown user: helo", REACTION_NONE, NULL},

    /* a login that was not wanted before */
    {"550 5.7.0 Authentication required", REACTION_LOGIN, "auth.username"},
    {"550 Please turn on SMTP Authentication in your mail client", REACTION_LOGIN, "auth.username"},
    {"554 5.7.1 you must authenticate first", REACTION_LOGIN, "auth.username"},
    {"550-5.7.26 This mail is unauthenticated|550 5.7.26 DKIM: authentication required",
     REACTION_NONE, NULL},
    {"550 SPF authentication required for example.com", REACTION_NONE, NULL},

    {"503 5.5.0 improper command pipelining", REACTION_RECONNECT, "without"},
    {"554 SMTP synchronization error (input sent without waiting for greeting)", REACTION_RECONNECT,
     "without"},
};

static struct reply_record read_wire(const char *wire)
{
    char line[512];
    struct smtp_reply reply;
    struct reply_record record;
    struct error err;
    size_t used;
    enum smtp_feed fed = SMTP_FEED_MORE;
    smtp_reply_init(&reply);
    for (size_t len; fed == SMTP_FEED_MORE && *wire != '\0'; wire += len + (wire[len] == '|')) {
        len = strcspn(wire, "|");
        int n = snprintf(line, sizeof(line), "%.*s\r\n", (int)len, wire);
        fed = smtp_reply_feed(&reply, line, (size_t)n, &used, &err);
    }
    cr_assert_eq(fed, SMTP_FEED_REPLY);
    smtp_reply_record(&reply, &record);
    smtp_reply_clear(&reply);
    return record;
}

Test(reaction, to_known_replies)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        const struct reply_record reply = read_wire(row->wire);
        const struct reaction *reaction = reaction_to(&reply);
        cr_expect_eq(reaction->kind, row->kind, "%s: %d", row->wire, (int)reaction->kind);
        cr_expect_eq(reaction->pause_ms, row->pause_ms, "%s", row->wire);
        cr_expect_eq(reaction->rate_n, row->rate_n, "%s", row->wire);
        cr_expect_eq(reaction->rate_ms, row->rate_ms, "%s", row->wire);
        if (row->hint == NULL)
            cr_expect_null(reaction->hint, "%s: %s", row->wire, reaction->hint);
        else
            cr_expect(reaction->hint != NULL && strstr(reaction->hint, row->hint) != NULL, "%s: %s",
                      row->wire, reaction->hint != NULL ? reaction->hint : "no hint");
    }
}

Test(reaction, hints_fit_where_they_are_shown)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct reply_record reply = read_wire(rows[i].wire);
        const char *hint = reaction_to(&reply)->hint;
        cr_expect(hint == NULL || strlen(hint) < DIAGNOSIS_HINT_SIZE, "%s", hint);
        cr_expect(hint == NULL || strchr(hint, '{') == NULL, "diagnosis would expand it: %s", hint);
    }
}

/* As the dialogue tells why a connection is of no use: "535 5.7.8 text". */
Test(reaction, to_what_ended_a_connection)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct reply_record reply = read_wire(rows[i].wire);
        struct error why;
        error_set(&why, ERR_RELAY_REFUSED, "%d%s%s %s", reply.code,
                  reply.enhanced[0] != '\0' ? " " : "", reply.enhanced, reply.text);
        cr_expect_eq(reaction_to_error(&why), reaction_to(&reply), "%s", rows[i].wire);
    }
}

static const struct {
    enum error_code code;
    const char *detail;
} not_replies[] = {
    {ERR_PROTOCOL, "535 answers nothing we sent"},
    {ERR_PROTOCOL, "421 and 250 in one reply"},
    {ERR_CONNECTION_LOST, "the server closed the connection"},
    {ERR_CONNECT_TIMEOUT, ""},
    {ERR_CONNECT_REFUSED, "42100 is no port"},
    {ERR_CONNECT_REFUSED, " 421 4.3.2 indented"},
    {ERR_CONNECT_REFUSED, "421"},
    {ERR_CONNECT_REFUSED, "-21 x"},
};

Test(reaction, only_to_what_the_server_said)
{
    for (size_t i = 0; i < sizeof(not_replies) / sizeof(not_replies[0]); i++) {
        struct error why;
        error_set(&why, not_replies[i].code, "%s", not_replies[i].detail);
        cr_expect_eq(reaction_to_error(&why)->kind, REACTION_NONE, "%s", not_replies[i].detail);
    }
}

Test(reaction, none_to_an_enhanced_code_of_another_shape)
{
    struct error why;
    error_set(&why, ERR_RELAY_REFUSED, "550 5.7.57.1.2.3.4.5.6 Client not authenticated");
    cr_assert_eq(reaction_to_error(&why)->kind, REACTION_NONE);
    error_set(&why, ERR_RELAY_REFUSED, "550 5.7.57"); /* without words */
    cr_assert_eq(reaction_to_error(&why)->kind, REACTION_LOGIN);
}

/* The contract's words (section 6): DNS, ..., login, 421, 451 4.4.2, 452 4.3.1, 4.3.2, throttling.
 */
Test(reaction, what_is_of_the_relay)
{
    static const enum reaction_kind of_relay[] = {
        REACTION_FEWER, REACTION_NO_NEW, REACTION_RECONNECT, REACTION_SLOW_DOWN,
        REACTION_RATE,  REACTION_QUOTA,  REACTION_LOGIN,     REACTION_SETUP,
    };
    static const enum reaction_kind of_message[] = {REACTION_NONE, REACTION_TOO_MANY_RECIPIENTS,
                                                    REACTION_FAIL};
    for (size_t i = 0; i < sizeof(of_relay) / sizeof(of_relay[0]); i++)
        cr_expect(reaction_is_of_relay(&(struct reaction){.kind = of_relay[i]}));
    for (size_t i = 0; i < sizeof(of_message) / sizeof(of_message[0]); i++)
        cr_expect_not(reaction_is_of_relay(&(struct reaction){.kind = of_message[i]}));
}
