#include "smtp/diagnosis.h"

#include <stdio.h>
#include <string.h>

/* What known providers mean by their refusals; the first whose text occurs. */
static const struct {
    const char *text, *hint;
} known_refusals[] = {
    {"SmtpClientAuthentication is disabled",
     "the administrator has to allow SMTP AUTH for this mailbox: "
     "Set-CASMailbox -SmtpClientAuthenticationDisabled $false"},
    {"asic authentication is", "this provider takes no passwords any more: use OAuth2"},
    {"5.7.30", "this provider takes no passwords any more: use OAuth2"},
    {"5.7.9", "Google wants an app password here (account settings, with 2-step verification on)"},
    {"BadCredentials", "with Google use an app password, not the account's own, as auth.password"},
    {"5.7.57", "the relay wants a login: set auth.username and auth.password"},
};

static const char *hint_of_login(const char *detail)
{
    for (size_t i = 0; i < sizeof(known_refusals) / sizeof(known_refusals[0]); i++)
        if (strstr(detail, known_refusals[i].text) != NULL)
            return known_refusals[i].hint;
    return "check auth.username and auth.password";
}

/* {host} and {port} stand for the relay's. A code that is not here has nothing to change but to
 * wait. */
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
    {ERR_TLS_REQUIRED_FROM_START, "set tls: implicit: port {port} waits for TLS"},
    {ERR_TLS_ON_PLAIN_PORT, "set tls: starttls: port {port} speaks plain text first"},
    {ERR_TLS_TIMEOUT, "if port {port} speaks plain text first, set tls: starttls"},
    {ERR_STARTTLS_NOT_OFFERED,
     "port {port} has no STARTTLS: use one that has it (587), or 465 with "
     "tls: implicit; tls: none only inside a network you trust"},
    {ERR_CERTIFICATE_NAME_MISMATCH, "set host, or tls_options.server_name, to a name the "
                                    "certificate is for (now {host})"},
    {ERR_CERTIFICATE_UNTRUSTED, "if the relay has a certificate authority of its own, set "
                                "tls_options.ca_file to its certificate"},
    {ERR_CERTIFICATE_EXPIRED, "the relay's operator has to renew it, or this machine's clock is "
                              "wrong"},
    {ERR_CERTIFICATE_NOT_YET_VALID, "check this machine's clock"},
    {ERR_TLS_VERSION, "the relay speaks none that tls_options.min_version allows"},
    {ERR_AUTH_MECHANISM_UNAVAILABLE, "set auth.mechanism to one the server offers, or to auto"},
    {ERR_AUTH_NEEDS_TLS, "set tls: starttls or tls: implicit"},
    {ERR_THROTTLED, "fewer connections may help: lower connections.max"},
};

static void expand(const char *template, const struct diagnosis_context *c, char *out, size_t size)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", c->port);
    size_t len = 0;
    while (*template != '\0' && len + 1 < size) {
        const char *value = strncmp(template, "{host}", 6) == 0   ? c->host
                            : strncmp(template, "{port}", 6) == 0 ? port
                                                                  : NULL;
        if (value == NULL) {
            out[len++] = *template ++;
            continue;
        }
        int n = snprintf(out + len, size - len, "%s", value);
        len += (size_t)n < size - len ? (size_t)n : size - len - 1;
        template += 6;
    }
    out[len] = '\0';
}

static const char *hint_of(const struct error *why, const struct diagnosis_context *c)
{
    if (why->code == ERR_AUTH_FAILED)
        return hint_of_login(why->detail);
    if (why->code == ERR_GREETING_TIMEOUT && strcmp(c->tls, "implicit") != 0)
        return "a server that says nothing on port {port} often waits for TLS: set tls: implicit";
    if (why->code == ERR_THROTTLED && strncmp(why->detail, "530", 3) == 0)
        return c->username == NULL ? "the relay wants a login: set auth.username and auth.password"
                                   : "the relay wants a login and TLS: set tls: starttls";
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
        if (hints[i].code == why->code)
            return hints[i].hint;
    return "";
}

void diagnosis_hint(const struct error *why, const struct diagnosis_context *context,
                    char *hint_out, size_t size)
{
    expand(hint_of(why, context), context, hint_out, size);
}
