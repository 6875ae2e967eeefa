#include "smtp/reaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60 * SECOND_MS,
    HOUR_MS = 60 * MINUTE_MS,
    DAY_MS = 24 * HOUR_MS,
};

/* --- what to change ----------------------------------------------------------------------- */

static const char fewer_connections[] = "lower connections.max: the relay takes no more at once";
static const char three_connections[] =
    "set connections.max: 3: Microsoft 365 takes no more at once for a mailbox";
static const char younger_connections[] = "set connections.lifetime and connections.max_messages "
                                          "below what the relay allows, and it need "
                                          "not cut connections";
static const char shorter_idling[] =
    "set connections.idle below the relay's own limit (10s with Amazon SES)";
static const char our_name[] = "the relay mistrusts the address or the name we come with: set "
                               "hostname to a name that leads to "
                               "this machine";

static const char thirty_a_minute[] =
    "set rate.messages: 30/m, which is what Microsoft 365 allows a mailbox";
static const char google_peak[] =
    "lower rate.messages: Google limits how fast its SMTP relay may be used";
static const char ses_rate[] =
    "set rate.messages to the sending rate that the SES console shows (1/s in its sandbox)";
static const char ses_quota[] =
    "set rate.recipients to the daily quota that the SES console shows (200/d in its sandbox)";
static const char google_quota[] =
    "Google takes 500 messages a day (Workspace 2000): set rate.messages: 500/d, or add a relay to "
    "the route";
static const char microsoft_quota[] =
    "Microsoft 365 takes 10000 recipients a day of a mailbox: set rate.recipients: 10000/d, or add "
    "a relay to the route";
static const char microsoft_stop[] = "Microsoft has stopped this mailbox because errors went on "
                                     "and on: an administrator has to look "
                                     "at it";

static const char hoster_quota[] =
    "the relay limits how much this account may send in an hour or a day: set rate.messages or "
    "rate.recipients to what it allows, or add a relay to the route";
static const char ehlo_name[] =
    "the relay does not like the name we come with: set hostname to a full name that the DNS "
    "knows, such as gw.example.com";
static const char no_pipelining[] = "set without: [pipelining]";

static const char check_login[] = "check auth.username and auth.password";
static const char login_wanted[] = "the relay wants a login: set auth.username and auth.password";
static const char tls_wanted[] =
    "the relay wants TLS first: set tls: starttls (or tls: implicit, port 465)";
static const char plain_once[] =
    "log in once with auth.mechanism: plain: the server has to keep this password in another form "
    "(RFC 4954, 6)";
static const char too_weak[] =
    "the server refuses this mechanism for this account: set auth.mechanism to a stronger one";
static const char app_password[] =
    "with Google set auth.password to an app password (account settings, with 2-step verification "
    "on), not the account's own, or use OAuth2 (postern login google)";
static const char browser_once[] =
    "Google holds this login up: sign in to the account once with a browser, and use an app "
    "password";
static const char no_passwords[] =
    "this provider takes no passwords any more: use OAuth2 (postern login microsoft, then "
    "auth.oauth)";
static const char switched_off[] =
    "the administrator has to allow SMTP AUTH for this mailbox: Set-CASMailbox USER "
    "-SmtpClientAuthenticationDisabled $false";
static const char switched_off_for_all[] =
    "the administrator has to allow SMTP AUTH, for this mailbox: Set-CASMailbox USER "
    "-SmtpClientAuthenticationDisabled $false, or for all: Set-TransportConfig "
    "-SmtpClientAuthenticationDisabled $false";
static const char tenant_policy[] =
    "a policy of the tenant forbids this login (security defaults, conditional access): the "
    "administrator has to except this account, or use OAuth2 (postern login microsoft)";
static const char microsoft_setup[] =
    "check auth.username and auth.password; with OAuth2 the token must be for "
    "https://outlook.office365.com, and an application needs SMTP.SendAsApp, New-ServicePrincipal "
    "and Add-MailboxPermission -AccessRights FullAccess";

static const char send_as[] = "this account may not send as that From: write its own address "
                              "there, or have the administrator "
                              "run Add-RecipientPermission -AccessRights SendAs";
static const char too_large[] = "the relay takes no message of this size";

/* --- the table ---------------------------------------------------------------------------- */

static const struct row {
    int code;             /* 0: any refusal, 5: any 5xx */
    const char *enhanced; /* NULL: any; "": none was sent; "4.2.*": whatever begins so */
    const char *words;    /* NULL: any; else they occur, the parts around '*' in this order */
    struct reaction reaction;
} rows[] = {
    /* 421 ends the connection (RFC 5321, 3.8), but may say that it does so for a mailbox (RFC 3463,
     * X.1 and X.2) or for a sender and recipient never seen before: others need not wait. */
    {421, "4.1.*", NULL, {REACTION_NONE}},
    {421, "4.2.*", NULL, {REACTION_NONE}},
    {421, NULL, "greylist", {REACTION_NONE}},
    {421, "4.4.2", "submission rate", {REACTION_RATE, thirty_a_minute, MINUTE_MS, 30, MINUTE_MS}},
    {421, NULL, "concurrent*resource forest", {REACTION_FEWER, fewer_connections, MINUTE_MS}},
    {421, NULL, "concurrent", {REACTION_FEWER, fewer_connections}},
    {421, NULL, "too many*connections", {REACTION_FEWER, fewer_connections}},
    {421, NULL, "too many*sessions", {REACTION_FEWER, fewer_connections}},
    {421, NULL, "too many*login", {REACTION_NO_NEW, NULL, 10 * MINUTE_MS}},
    {421, NULL, "connection rate", {REACTION_NO_NEW, NULL, MINUTE_MS}},
    {421, NULL, "maximum lifetime", {REACTION_RECONNECT, younger_connections}},
    {421, "4.4.2", NULL, {REACTION_RECONNECT, shorter_idling}},
    {421, NULL, "timeout", {REACTION_RECONNECT, shorter_idling}},
    {421, NULL, "timed out", {REACTION_RECONNECT, shorter_idling}},
    {421, "4.7.0", "try again later", {REACTION_SLOW_DOWN, our_name}},
    {421, NULL, NULL, {REACTION_SLOW_DOWN}}, /* busy (4.3.0, 4.3.2, 4.4.5), or going down */

    {431, "4.3.1", NULL, {REACTION_SLOW_DOWN}}, /* Microsoft: no memory, no disk */
    {432, "4.7.12", NULL, {REACTION_LOGIN, plain_once}},
    {432, NULL, NULL, {REACTION_FEWER, three_connections}}, /* Microsoft, of a mailbox */

    /* What is left of 450 is about the recipient: greylisting, and Google's 450 4.2.1 of one who
     * "is receiving mail at a rate" that is too high. */
    {450, "4.2.1", "peak*relay", {REACTION_RATE, google_peak, MINUTE_MS}},
    {450, "4.3.2", NULL, {REACTION_SLOW_DOWN}}, /* takes no mail now (RFC 3463, X.3.2) */
    {451, "4.3.2", NULL, {REACTION_SLOW_DOWN}},
    {451, "4.4.2", NULL, {REACTION_RECONNECT, shorter_idling}},
    /* The same without the code. Not any timeout: it may be one behind the relay, of this message.
     */
    {451, "", "timeout waiting for", {REACTION_RECONNECT, shorter_idling}},
    {451, "", "timed out waiting for", {REACTION_RECONNECT, shorter_idling}},
    {451, "", "timeout*clos", {REACTION_RECONNECT, shorter_idling}},
    {451, "", "timed out*clos", {REACTION_RECONNECT, shorter_idling}},
    {451, "", "idle t", {REACTION_RECONNECT, shorter_idling}}, /* idle time(d) out, too long */
    {451, "", "session timeout", {REACTION_RECONNECT, shorter_idling}},
    {451, "", "inactivity", {REACTION_RECONNECT, shorter_idling}},
    {451, "4.7.500", NULL, {REACTION_SLOW_DOWN}}, /* Microsoft: server busy */
    {451, "4.7.0", "PRX", {REACTION_SLOW_DOWN}},  /* Microsoft: its front has lost its back */

    /* 452 4.2.2 is not here: that disk is one mailbox's. */
    {452, "4.3.1", NULL, {REACTION_SLOW_DOWN}},
    {452, "4.3.2", NULL, {REACTION_SLOW_DOWN}},
    {452, "4.5.3", NULL, {REACTION_TOO_MANY_RECIPIENTS}},
    {452, "", "too many", {REACTION_TOO_MANY_RECIPIENTS}},

    {454, "4.7.0", "too many*login", {REACTION_NO_NEW, NULL, 10 * MINUTE_MS}},
    {454, "4.7.0", NULL, {REACTION_SLOW_DOWN}}, /* its directory is away; the login is not wrong */
    {454, NULL, "throttling*sending rate", {REACTION_RATE, ses_rate, SECOND_MS}},
    {454, NULL, "throttling*daily", {REACTION_QUOTA, ses_quota, 10 * MINUTE_MS}},
    {454, NULL, "throttling", {REACTION_SLOW_DOWN}},

    {530, NULL, "STARTTLS", {REACTION_LOGIN, tls_wanted}},
    {530, NULL, NULL, {REACTION_LOGIN, login_wanted}},
    {534, NULL, "application-specific password", {REACTION_LOGIN, app_password}},
    {534, "5.7.14", NULL, {REACTION_LOGIN, browser_once}},
    {534, NULL, NULL, {REACTION_LOGIN, too_weak}}, /* RFC 4954, 6 */
    {535, NULL, "BadCredentials", {REACTION_LOGIN, app_password}},
    {535, NULL, "SmtpClientAuthentication*tenant", {REACTION_LOGIN, switched_off_for_all}},
    {535, NULL, "SmtpClientAuthentication", {REACTION_LOGIN, switched_off}},
    {535, NULL, "basic authentication is", {REACTION_LOGIN, no_passwords}},
    {535, "5.7.139", NULL, {REACTION_LOGIN, tenant_policy}},
    {535, "5.7.3", NULL, {REACTION_LOGIN, microsoft_setup}},
    {535, NULL, NULL, {REACTION_LOGIN, check_login}},

    /* Microsoft counts over the last 24 hours, so it opens little by little; Google shuts. */
    {550, "5.1.90", NULL, {REACTION_QUOTA, microsoft_quota, HOUR_MS}},
    {554, NULL, "SubmissionQuotaExceeded", {REACTION_QUOTA, microsoft_quota, HOUR_MS}},
    {550, "5.4.5", "daily", {REACTION_QUOTA, google_quota, DAY_MS}},
    {550, NULL, "daily SMTP relay", {REACTION_QUOTA, google_quota, DAY_MS}},
    /* Without these words 5.7.30 is about a message that requires TLS (RFC 8689, 5). */
    {550, "5.7.30", "basic authentication", {REACTION_LOGIN, no_passwords}},
    {550, "5.7.57", NULL, {REACTION_LOGIN, login_wanted}},
    {550, "5.7.60", NULL, {REACTION_FAIL, send_as}},
    {554, NULL, "SendAsDenied", {REACTION_FAIL, send_as}},
    {554, "5.2.252", NULL, {REACTION_FAIL, send_as}},
    {550, "5.2.25*", NULL, {REACTION_QUOTA, microsoft_stop, HOUR_MS}},

    {552, "5.3.4", NULL, {REACTION_FAIL, too_large}},
    {552, "5.5.3", NULL, {REACTION_TOO_MANY_RECIPIENTS}},
    {552, "", "too many", {REACTION_TOO_MANY_RECIPIENTS}},

    /* Exim and others close behind it; the dialogue does without PIPELINING from then on. */
    {5, NULL, "command pipelining", {REACTION_RECONNECT, no_pipelining}},
    {5, NULL, "synchronization error", {REACTION_RECONNECT, no_pipelining}},

    /* Postfix says so to RCPT, each time, and for each message. */
    {0, NULL, "helo command rejected", {REACTION_SETUP, ehlo_name}},
    {0, NULL, "need fully-qualified hostname", {REACTION_SETUP, ehlo_name}},
    {0, NULL, "invalid helo", {REACTION_SETUP, ehlo_name}},
    {0, NULL, "invalid ehlo", {REACTION_SETUP, ehlo_name}},
    {0, NULL, "bad helo", {REACTION_SETUP, ehlo_name}},
    {0, NULL, "bad ehlo", {REACTION_SETUP, ehlo_name}},
    {0, NULL, "helo name", {REACTION_SETUP, ehlo_name}},
    {0, NULL, "ehlo name", {REACTION_SETUP, ehlo_name}},
    {504, "5.5.2", "helo", {REACTION_SETUP, ehlo_name}},
    {501, "5.5.4", "invalid domain name", {REACTION_SETUP, ehlo_name}}, /* Exchange, to EHLO */

    /* A relay that wants a login and says so late. Who speaks of SPF, DKIM or DMARC means the
     * sender's domain. */
    {5, "5.7.26", NULL, {REACTION_NONE}},
    {5, NULL, "dmarc", {REACTION_NONE}},
    {5, NULL, "dkim", {REACTION_NONE}},
    {5, NULL, "spf", {REACTION_NONE}},
    {5, NULL, "authentication required", {REACTION_LOGIN, login_wanted}},
    {5, NULL, "authentication is required", {REACTION_LOGIN, login_wanted}},
    {5, NULL, "turn on smtp auth", {REACTION_LOGIN, login_wanted}},
    {5, NULL, "must authenticate", {REACTION_LOGIN, login_wanted}},
    {5, NULL, "need to authenticate", {REACTION_LOGIN, login_wanted}},
    {5, NULL, "please authenticate", {REACTION_LOGIN, login_wanted}},

    /* Hosters tell what an account may send by 5xx, some with "try again later" in it. What has the
     * codes of an address or a mailbox (RFC 3463, X.1 and X.2), or speaks of receiving, of a
     * mailbox or of a disk, is about the recipient. */
    {5, "5.1.*", NULL, {REACTION_NONE}},
    {5, "5.2.*", NULL, {REACTION_NONE}},
    {5, NULL, "receiv", {REACTION_NONE}},
    {5, NULL, "size", {REACTION_NONE}},
    {5, NULL, "trying to reach", {REACTION_NONE}},
    {5,
     NULL,
     "outgoing messages was exceeded",
     {REACTION_QUOTA, hoster_quota, HOUR_MS}}, /* Plesk */
    {5, NULL, "exceed*outgoing", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "outgoing*limit*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "outgoing*quota*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "per hour*allowed", {REACTION_QUOTA, hoster_quota, HOUR_MS}}, /* cPanel */
    {5, NULL, "exceed*per hour", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "per hour*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*per day", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*hour limit", {REACTION_QUOTA, hoster_quota, HOUR_MS}}, /* OVH */
    {5, NULL, "exceed*hourly", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "hourly*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "hourly*reached", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*sending", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "sending limit", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "sending quota", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "mailbox", {REACTION_NONE}},
    {5, NULL, "disk", {REACTION_NONE}},
    {5, NULL, "storage", {REACTION_NONE}},
    {5, NULL, "over quota", {REACTION_NONE}},
    {550, NULL, "too many emails", {REACTION_QUOTA, hoster_quota, HOUR_MS}}, /* OVH */
    {550, NULL, "too many mails", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {554, NULL, "too many emails", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*daily", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "daily*limit*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "daily*quota*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "message quota*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "mail quota*exceed", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*message quota", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*mail quota", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*emails quota", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
    {5, NULL, "exceed*your quota", {REACTION_QUOTA, hoster_quota, HOUR_MS}},
};

static const struct reaction by_its_class = {REACTION_NONE};

static bool enhanced_fits(const char *pattern, const char *enhanced)
{
    size_t len = strcspn(pattern, "*");
    return pattern[len] == '*' ? strncmp(pattern, enhanced, len) == 0
                               : strcmp(pattern, enhanced) == 0;
}

static bool words_occur(const char *pattern, const char *text)
{
    for (size_t len; text != NULL && *pattern != '\0'; pattern += len + (pattern[len] == '*')) {
        char part[64];
        len = strcspn(pattern, "*");
        snprintf(part, sizeof(part), "%.*s", (int)len, pattern);
        text = strcasestr(text, part);
        text = text != NULL ? text + len : NULL;
    }
    return text != NULL;
}

static bool code_fits(int code, int of_reply)
{
    return code == of_reply || (code == 5 && of_reply / 100 == 5) || (code == 0 && of_reply >= 400);
}

const struct reaction *reaction_to(const struct reply_record *reply)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        if (code_fits(row->code, reply->code) &&
            (row->enhanced == NULL || enhanced_fits(row->enhanced, reply->enhanced)) &&
            (row->words == NULL || words_occur(row->words, reply->text)))
            return &row->reaction;
    }
    return &by_its_class;
}

/* "535 5.7.8 text": octets of the enhanced code, 0 if there is none. */
static size_t enhanced_len(const char *s)
{
    size_t len = strspn(s, "0123456789.");
    bool is_one = len >= 5 && len < sizeof(((struct reply_record *)0)->enhanced) && s[1] == '.' &&
                  (s[len] == ' ' || s[len] == '\0');
    return is_one ? len : 0;
}

const struct reaction *reaction_to_error(const struct error *why)
{
    struct reply_record reply = {0};
    char *text;
    long code = strtol(why->detail, &text, 10);
    if (why->code == ERR_PROTOCOL || text != why->detail + 3 || *text != ' ')
        return &by_its_class; /* not the server's words, or such as cannot be trusted */
    text++;
    size_t len = enhanced_len(text);
    reply.code = (int)code;
    snprintf(reply.enhanced, sizeof(reply.enhanced), "%.*s", (int)len, text);
    snprintf(reply.text, sizeof(reply.text), "%.255s", text + len);
    return reaction_to(&reply);
}

bool reaction_is_of_relay(const struct reaction *reaction)
{
    switch (reaction->kind) {
    case REACTION_FEWER:
    case REACTION_NO_NEW:
    case REACTION_RECONNECT:
    case REACTION_SLOW_DOWN:
    case REACTION_RATE:
    case REACTION_QUOTA:
    case REACTION_LOGIN:
    case REACTION_SETUP:
        return true;
    case REACTION_NONE:
    case REACTION_TOO_MANY_RECIPIENTS:
    case REACTION_FAIL:
        return false;
    }
    return false;
}
