#include "smtp/diagnosis.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "smtp/reaction.h"

/* {host}, {port}, {offered} and {oauth} stand for the relay's. A code that is not here has nothing
 * to change but to wait. */
static const struct {
    enum error_code code;
    const char *hint;
} hints[] = {
    {ERR_DNS_FAILED, "check host: \"{host}\" has no address that could be found"},
    {ERR_CONNECT_REFUSED, "nothing listens on {host} port {port}: check host and port (587 with "
                          "tls: starttls, 465 with tls: implicit)"},
    {ERR_CONNECT_TIMEOUT, "no way to {host} port {port}: check both, and whether a firewall "
                          "forbids it"},
    {ERR_CONNECT_FAILED, "no way to {host} port {port}: check both, and whether a firewall "
                         "forbids it"},
    {ERR_PROXY_FAILED, "check proxy: {proxy} opens no way to {host} port {port}"},
    {ERR_GREETING_TIMEOUT, "check host and port: nothing on {host} port {port} greets as a mail "
                           "server does"},
    {ERR_TLS_REQUIRED_FROM_START, "set tls: implicit: port {port} waits for TLS"},
    {ERR_TLS_ON_PLAIN_PORT, "set tls: starttls: port {port} speaks plain text first"},
    {ERR_STARTTLS_NOT_OFFERED,
     "port {port} has no STARTTLS: use one that has it ({starttls_port}), or 465 with "
     "tls: implicit; tls: none only inside a network you trust"},
    {ERR_STARTTLS_REFUSED, "the relay cannot do TLS on port {port} just now, which its operator "
                           "has to mend; port: 465 with tls: implicit may work meanwhile"},
    {ERR_CERTIFICATE_NAME_MISMATCH, "set host, or tls_options.server_name, to a name the "
                                    "certificate is for (now {host})"},
    {ERR_CERTIFICATE_UNTRUSTED, "if the relay has a certificate authority of its own, set "
                                "tls_options.ca_file to its certificate"},
    {ERR_CERTIFICATE_EXPIRED, "the relay's operator has to renew it, or this machine's clock is "
                              "wrong"},
    {ERR_CERTIFICATE_NOT_YET_VALID, "check this machine's clock"},
    {ERR_TLS_VERSION,
     "the relay speaks nothing newer than TLS 1.1, which is not safe: its operator "
     "has to mend it, no setting takes it"},
    {ERR_TLS_FAILED, "check host, port and tls: {host} port {port} did not get on with TLS"},
    {ERR_TLS_TIMEOUT, "if port {port} speaks plain text first, set tls: starttls"},
    {ERR_AUTH_FAILED, "check auth.username and auth.password"},
    {ERR_AUTH_NEEDS_TLS, "set tls: starttls or tls: implicit"},
    {ERR_TOKEN_REFUSED, "run postern login {oauth}, or check client_id, its secret and scope in "
                        "that entry of oauth"},
    {ERR_TOKEN_UNAVAILABLE, "check token_url in the entry {oauth} of oauth; if it is right, there "
                            "is nothing to do but to wait until it answers"},
    {ERR_RELAY_REFUSED, "check hostname, which some relays want to find in the DNS, and whether "
                        "the relay takes mail from this machine's address"},
    {ERR_PROTOCOL, "check host and port: what {host} port {port} says is not SMTP"},
    {ERR_INJECTED_RESPONSE,
     "something between here and {host} puts in replies of its own before "
     "TLS begins: use port: 465 with tls: implicit, and find out what it is"},
};

static const char *hint_by_code(enum error_code code)
{
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
        if (hints[i].code == code)
            return hints[i].hint;
    return "";
}

static const char too_weak[] = "no setting takes so weak a key or signature: the relay's operator "
                               "has to renew it (RSA of 2048 "
                               "bits or more, or an elliptic curve, signed with SHA-256)";
static const char fewer[] = "fewer connections may help: lower connections.max";
static const char locked_out[] = "too many logins have failed, so that the relay lets nobody in "
                                 "for a while: check auth.username "
                                 "and auth.password";
static const char client_unknown[] =
    "check client_id, and client_secret or private_key_file, in the entry {oauth} of oauth: the "
    "endpoint does not know this application";
static const char client_may_not[] =
    "check scope and grant in the entry {oauth} of oauth: the endpoint knows the application, and "
    "does not give it what it asks for";

/* Words of the detail that say more than its code. The first row that fits counts. */
static const struct {
    enum error_code code;
    const char *where; /* NULL: anywhere */
    const char *words; /* NULL: any; they are looked for in any case */
    const char *hint;
} details[] = {
    {ERR_CERTIFICATE_UNTRUSTED, NULL, "tls_options.pins",
     "if the relay has changed its key on purpose, put the new pin into tls_options.pins"},
    {ERR_CERTIFICATE_UNTRUSTED, NULL, "too weak", too_weak},
    {ERR_CERTIFICATE_UNTRUSTED, NULL, "certificate purpose",
     "the certificate is not one for TLS servers (its extended key usage says so): the relay's "
     "operator has to get another"},
    {ERR_CERTIFICATE_UNTRUSTED, NULL, "invalid CA certificate",
     "the certificate was issued by one that is no authority's: the relay's operator has to get "
     "another"},
    {ERR_CERTIFICATE_UNTRUSTED, NULL, "does not send",
     "the server does not send the certificate of {issuer}: if that is an intermediate, the "
     "relay's operator has to add it to what the server sends (or put it into "
     "tls_options.ca_file); "
     "if it is the relay's own authority, set tls_options.ca_file to its certificate"},
    {ERR_CERTIFICATE_UNTRUSTED, NULL, "self-signed certificate:",
     "the relay's certificate is signed by itself: if it is the right one, set tls_options.ca_file "
     "to it"},
    {ERR_CERTIFICATE_NAME_MISMATCH, NULL, "no name at all",
     "the certificate has no subjectAltName, and a common name does not count (RFC 9525): the "
     "relay's operator has to renew it with one"},
    {ERR_CERTIFICATE_EXPIRED, NULL, "above the server's own",
     "an authority between the server and the root has expired: the relay's operator has to put "
     "the new one into what the server sends, or this machine's clock is wrong"},
    {ERR_TLS_FAILED, NULL, "too small", too_weak},
    {ERR_TLS_FAILED, NULL, "too weak", too_weak},
    {ERR_AUTH_FAILED, "auth", "503 ",
     "the relay takes no login on a connection like this, though it offers one: with tls: none set "
     "tls: starttls; else its operator has to mend it"},
    {ERR_AUTH_FAILED, "auth", "invalid authentication mechanism",
     "the relay cannot do what it offers: set auth.mechanism to another (it offers {offered})"},
    {ERR_RELAY_REFUSED, "auth", NULL,
     "the relay cannot check logins just now, whatever they are: nothing is to be changed here"},
    {ERR_THROTTLED, NULL, "authentication failures", locked_out},
    {ERR_THROTTLED, NULL, "failed login", locked_out},
    {ERR_THROTTLED, NULL, "authentication attempts", locked_out},
    {ERR_RELAY_CLOSING, NULL, "authentication failures", locked_out},
    {ERR_RELAY_CLOSING, NULL, "failed login", locked_out},
    {ERR_RELAY_CLOSING, NULL, "authentication attempts", locked_out},
    {ERR_TOKEN_REFUSED, NULL, "invalid_client", client_unknown},
    {ERR_TOKEN_REFUSED, NULL, "unauthorized_client", client_may_not},
    {ERR_TOKEN_REFUSED, NULL, "invalid_scope", client_may_not},
    {ERR_TOKEN_REFUSED, NULL, "unsupported_grant_type", client_may_not},
    {ERR_TOKEN_UNAVAILABLE, NULL, "token_file ",
     "check token_file in the entry {oauth} of oauth: it has to hold the access token, and nothing "
     "else"},
    {ERR_TOKEN_UNAVAILABLE, NULL, "the stored grant",
     "check the file of grants beside the queue's, and secret_key"},
};

/* What is left when the reply's own row (reaction.c) has said nothing. */
static const struct {
    enum error_code code;
    const char *words, *hint;
} afterthoughts[] = {
    {ERR_THROTTLED, "connection", fewer},     {ERR_THROTTLED, "session", fewer},
    {ERR_THROTTLED, "login attempts", fewer}, /* each connection is one */
    {ERR_THROTTLED, "concurrent", fewer},     {ERR_THROTTLED, "simultaneous", fewer},
    {ERR_THROTTLED, "parallel", fewer},
};

/* Where the other ports were tried, in vain: they are not to be advised. */
static const struct {
    enum error_code code;
    const char *hint;
} hints_when_tried[] = {
    {ERR_CONNECT_REFUSED,
     "nothing listens on {host} port {port}, nor on the usual ports: check host "
     "and port"},
    {ERR_STARTTLS_NOT_OFFERED, "port {port} has no STARTTLS, and no usual port of {host} has TLS: "
                               "the relay's operator has to "
                               "offer it; tls: none only inside a network you trust"},
    {ERR_STARTTLS_REFUSED,
     "the relay cannot do TLS on port {port} just now, which its operator has to mend"},
    {ERR_INJECTED_RESPONSE, "something between here and {host} puts in replies of its own before "
                            "TLS begins: find out what "
                            "it is; no other usual port can be reached"},
};

/* --- where the code alone does not say enough ---------------------------------------------- */

static bool mentions(const struct error *why, const char *text)
{
    return strstr(why->detail, text) != NULL;
}

static const char *hint_of_mechanism(const struct diagnosis_context *c)
{
    bool is_auto = c->mechanism == NULL || strcmp(c->mechanism, "auto") == 0;
    bool takes_tokens = c->offered != NULL && (strstr(c->offered, "XOAUTH2") != NULL ||
                                               strstr(c->offered, "OAUTHBEARER") != NULL);
    if (c->offered != NULL && c->offered[0] == '\0')
        return "port {port} offers no login: use 587 or 465, or leave out auth.username if the "
               "relay knows you by your address";
    if (!is_auto)
        return "set auth.mechanism to one the server offers, or to auto";
    if (c->oauth != NULL && c->offered != NULL && !takes_tokens)
        return "the relay takes no tokens (it offers {offered}): set auth.password in place of "
               "auth.oauth";
    if (takes_tokens)
        return "the relay wants OAuth2 (it offers {offered})";
    return "the relay offers no mechanism that postern has";
}

/* Its codes for a login say more than that it failed, also of a token. */
static bool is_of_microsoft(const struct error *why)
{
    return mentions(why, "535 5.7.3 ") || mentions(why, "535 5.7.139 ");
}

/* A login without a password; NULL: it is not one. */
static const char *hint_of_passwordless(const struct diagnosis_context *c)
{
    if (c->oauth != NULL)
        return "check auth.username and the scope of {oauth}: the token has to be for that "
               "mailbox, "
               "and for SMTP";
    if (c->mechanism == NULL)
        return NULL;
    if (strcasecmp(c->mechanism, "gssapi") == 0)
        return "get a ticket (kinit) into the cache that KRB5CCNAME names; the relay has to be "
               "smtp/{host} in its realm";
    if (strcasecmp(c->mechanism, "external") == 0)
        return "check that the relay takes tls_options.certificate for a login, and auth.username "
               "if it is set";
    return NULL;
}

static const char *hint_of_detail(const struct error *why)
{
    for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++)
        if (why->code == details[i].code &&
            (details[i].where == NULL || strcmp(why->where, details[i].where) == 0) &&
            (details[i].words == NULL || strcasestr(why->detail, details[i].words) != NULL))
            return details[i].hint;
    return NULL;
}

static const char *afterthought(const struct error *why)
{
    for (size_t i = 0; i < sizeof(afterthoughts) / sizeof(afterthoughts[0]); i++)
        if (why->code == afterthoughts[i].code &&
            strcasestr(why->detail, afterthoughts[i].words) != NULL)
            return afterthoughts[i].hint;
    return NULL;
}

static const char *hint_when_tried(const struct error *why)
{
    for (size_t i = 0; i < sizeof(hints_when_tried) / sizeof(hints_when_tried[0]); i++)
        if (why->code == hints_when_tried[i].code)
            return hints_when_tried[i].hint;
    return NULL;
}

/* It has TLS: nobody is to be told to do without, or that the port is another's. */
static const char *hint_behind_starttls(const struct error *why, const struct diagnosis_context *c)
{
    bool agreed = c->starttls || strcmp(c->tls, "starttls") == 0;
    bool failed = why->code == ERR_TLS_FAILED || why->code == ERR_TLS_TIMEOUT ||
                  why->code == ERR_CONNECTION_LOST;
    if (!agreed || !failed || strcmp(why->where, "tls") != 0)
        return NULL;
    return "the relay offers STARTTLS, but the handshake behind it fails: its operator has to mend "
           "it";
}

/* A server that cannot check an answer to a challenge says the same as of a wrong password. */
static const char *hint_of_challenge(const struct diagnosis_context *c)
{
    static const char *const challenges[] = {"CRAM-MD5", "DIGEST-MD5", "SCRAM", "NTLM"};
    bool is_auto = c->mechanism == NULL || strcasecmp(c->mechanism, "auto") == 0;
    const char *used = !is_auto ? c->mechanism : c->used;
    for (size_t i = 0; used != NULL && i < sizeof(challenges) / sizeof(challenges[0]); i++)
        if (strncasecmp(used, challenges[i], strlen(challenges[i])) == 0)
            return is_auto ? "check auth.username and auth.password; if they are right the relay "
                             "cannot check them by {used}: set auth.mechanism: plain"
                           : "check auth.username and auth.password; if they are right the relay "
                             "cannot check them this way: set auth.mechanism: auto";
    return NULL;
}

static const char *hint_of_silence(const struct error *why, const struct diagnosis_context *c)
{
    bool implicit = strcmp(c->tls, "implicit") == 0;
    if (c->tried || (implicit && why->code == ERR_GREETING_TIMEOUT))
        return hint_by_code(ERR_GREETING_TIMEOUT);
    if (why->code == ERR_TLS_TIMEOUT)
        return hint_by_code(ERR_TLS_TIMEOUT);
    return "a server that says nothing on port {port} often waits for TLS: set tls: implicit";
}

/* TLS 1.3 servers that miss it say so only after the handshake (RFC 8446, 4.4.2.4), so it comes as
 * a lost connection too; Postfix says it in words. */
static const char *hint_of_client_certificate(const struct error *why)
{
    bool by_alert = mentions(why, "certificate required") || mentions(why, "alert bad certificate");
    bool in_words = strcasestr(why->detail, "client certificate") != NULL;
    if ((by_alert && (why->code == ERR_TLS_FAILED || why->code == ERR_CONNECTION_LOST)) ||
        (in_words && (why->code == ERR_RELAY_CLOSING || why->code == ERR_RELAY_REFUSED)))
        return "the relay wants a client certificate: set tls_options.certificate and "
               "tls_options.key";
    return NULL;
}

static const char *hint_of(const struct error *why, const struct diagnosis_context *c)
{
    const char *client_certificate = hint_of_client_certificate(why);
    if (client_certificate != NULL)
        return client_certificate;
    if (why->code == ERR_CONNECT_FAILED && mentions(why, "source_address"))
        return "set source_address to an address of this machine, or leave it out";
    if (why->code == ERR_AUTH_NEEDS_TLS)
        return hint_by_code(why->code);
    const char *passwordless = hint_of_passwordless(c);
    if (why->code == ERR_AUTH_FAILED && passwordless != NULL && !is_of_microsoft(why))
        return passwordless;
    const char *detail = hint_of_detail(why), *known = reaction_to_error(why)->hint;
    if (detail != NULL)
        return detail;
    bool plain_refusal = why->code == ERR_AUTH_FAILED &&
                         (known == NULL || strcmp(known, hint_by_code(ERR_AUTH_FAILED)) == 0);
    if (plain_refusal && hint_of_challenge(c) != NULL)
        return hint_of_challenge(c);
    if (known != NULL)
        return known;
    if (afterthought(why) != NULL)
        return afterthought(why);
    if (hint_behind_starttls(why, c) != NULL)
        return hint_behind_starttls(why, c);
    if (why->code == ERR_TLS_VERSION && c->min_version != NULL &&
        strcmp(c->min_version, "1.3") == 0 && !c->tried)
        return "the relay speaks no TLS 1.3, which tls_options.min_version demands: \"1.2\" may do";
    if (c->tried && hint_when_tried(why) != NULL)
        return hint_when_tried(why);
    if (why->code == ERR_AUTH_MECHANISM_UNAVAILABLE && mentions(why, "gss-ntlmssp"))
        return "install the package gss-ntlmssp, or set auth.mechanism to another that the relay "
               "offers";
    if (why->code == ERR_AUTH_MECHANISM_UNAVAILABLE)
        return hint_of_mechanism(c);
    if (why->code == ERR_GREETING_TIMEOUT || why->code == ERR_TLS_TIMEOUT)
        return hint_of_silence(why, c);
    if (why->code == ERR_CONNECTION_LOST && strcmp(why->where, "greeting") == 0)
        return "the server hangs up before it greets: it may take no mail from this machine's "
               "address, or port {port} is not for mail: check host and port";
    return hint_by_code(why->code);
}

/* --- words ---------------------------------------------------------------------------------- */

struct text {
    char *at;
    size_t len, size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text->at + text->len, text->size - text->len, format, args);
    va_end(args);
    size_t room = text->size - text->len - 1;
    text->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room;
}

static const char *or_empty(const char *s)
{
    return s != NULL ? s : "";
}

/* "unable ...: its issuer is CN = x, whose certificate ..." */
static void find_issuer(const struct error *why, char *out, size_t size)
{
    static const char before[] = "its issuer is ", after[] = ", whose certificate";
    const char *at = strstr(why->detail, before);
    const char *end = at != NULL ? strstr(at, after) : NULL;
    snprintf(out, size, "%.*s", end != NULL ? (int)(end - at - (long)strlen(before)) : 13,
             end != NULL ? at + strlen(before) : "its authority");
}

static void expand(const char *template, const struct error *why, const struct diagnosis_context *c,
                   char *out, size_t size)
{
    char port[8], issuer[200];
    find_issuer(why, issuer, sizeof(issuer));
    snprintf(port, sizeof(port), "%u", c->port);
    const struct {
        const char *name, *value;
    } values[] = {{"{host}", or_empty(c->host)},
                  {"{port}", port},
                  {"{offered}", c->offered != NULL ? c->offered : "others"},
                  {"{used}", or_empty(c->used)},
                  {"{issuer}", issuer},
                  {"{starttls_port}", c->port != 587 ? "587" : "2525"},
                  {"{proxy}", or_empty(c->proxy)},
                  {"{oauth}", c->oauth != NULL ? c->oauth : "NAME"}};
    enum { N = sizeof(values) / sizeof(values[0]) };
    struct text text = {out, 0, size};
    add(&text, "%s", "");
    while (*template != '\0') {
        size_t i = 0;
        while (i < N && strncmp(template, values[i].name, strlen(values[i].name)) != 0)
            i++;
        add(&text, "%.*s", i < N ? INT_MAX : 1, i < N ? values[i].value : template);
        template += i < N ? strlen(values[i].name) : 1;
    }
}

void diagnosis_hint(const struct error *why, const struct diagnosis_context *context,
                    char *hint_out, size_t size)
{
    expand(hint_of(why, context), why, context, hint_out, size);
}

/* --- what was tried ------------------------------------------------------------------------ */

/* Why that TLS word is right for this very port. */
static void add_tls_reason(struct text *text, const char *tls, unsigned port)
{
    if (strcmp(tls, "implicit") == 0)
        add(text, ": port %u waits for TLS", port);
    else if (strcmp(tls, "starttls") == 0)
        add(text, ": port %u speaks plain text first", port);
    else
        add(text, ", but only inside a network you trust: port %u has no TLS", port);
}

void diagnosis_hint_change(const struct diagnosis_change *change,
                           const struct diagnosis_context *context, char *hint_out, size_t size)
{
    struct text text = {hint_out, 0, size};
    if (change->server_name != NULL)
        add(&text,
            "set tls_options.server_name: %s, if you know it: the certificate is for it, and it "
            "has the same address as %s",
            change->server_name, context->host);
    else if (change->min_version != NULL)
        add(&text, "set tls_options.min_version: \"%s\": the relay speaks no newer TLS",
            change->min_version);
    else if (change->mechanism != NULL && strcmp(change->mechanism, "auto") != 0)
        add(&text, "set auth.mechanism: %s: the relay refuses others that it offers (%s)",
            change->mechanism, or_empty(context->offered));
    else if (change->mechanism != NULL)
        add(&text, "set auth.mechanism: %s: the relay offers %s", change->mechanism,
            or_empty(context->offered));
    else if (change->port != 0)
        add(&text, "set port: %u and tls: %s: there %s answers", change->port, change->tls,
            context->host);
    else {
        add(&text, "set tls: %s", change->tls);
        add_tls_reason(&text, change->tls, context->port);
    }
}
