#include <criterion/criterion.h>
#include <string.h>

#include "smtp/diagnosis.h"

static const struct diagnosis_context usual = {
    .host = "smtp.example.com", .port = 2500, .tls = "starttls"};

static const char *hint_in(const struct diagnosis_context *context, enum error_code code,
                           const char *where, const char *detail)
{
    static char hint[DIAGNOSIS_HINT_SIZE];
    struct error why;
    error_set(&why, code, "%s", detail);
    error_at(&why, "%s", where);
    diagnosis_hint(&why, context, hint, sizeof(hint));
    return hint;
}

/* --- one vocabulary ------------------------------------------------------------------------ */

/* Every code of a relay, and what its hint names; NULL: nothing can be changed, it is to wait. */
static const struct {
    enum error_code code;
    const char *names;
} codes[] = {
    {ERR_DNS_FAILED, "check host: \"smtp.example.com\""},
    {ERR_CONNECT_REFUSED, "smtp.example.com port 2500: check host and port"},
    {ERR_CONNECT_TIMEOUT, "firewall"},
    {ERR_CONNECT_FAILED, "firewall"},
    {ERR_PROXY_FAILED, "check proxy"},
    {ERR_GREETING_TIMEOUT, "set tls: implicit"},
    {ERR_TLS_REQUIRED_FROM_START, "set tls: implicit: port 2500 waits for TLS"},
    {ERR_TLS_ON_PLAIN_PORT, "set tls: starttls: port 2500 speaks plain text first"},
    {ERR_STARTTLS_NOT_OFFERED, "465 with tls: implicit"},
    {ERR_STARTTLS_REFUSED, "port: 465 with tls: implicit"},
    {ERR_CERTIFICATE_NAME_MISMATCH, "tls_options.server_name"},
    {ERR_CERTIFICATE_EXPIRED, "renew"},
    {ERR_CERTIFICATE_NOT_YET_VALID, "clock"},
    {ERR_CERTIFICATE_UNTRUSTED, "tls_options.ca_file"},
    {ERR_TLS_VERSION, "nothing newer than TLS 1.1"},
    {ERR_TLS_FAILED, "check host, port and tls"},
    {ERR_TLS_TIMEOUT, "set tls: starttls"},
    {ERR_AUTH_MECHANISM_UNAVAILABLE, "mechanism"},
    {ERR_AUTH_FAILED, "auth.password"},
    {ERR_AUTH_NEEDS_TLS, "set tls: starttls"},
    {ERR_TOKEN_REFUSED, "postern login NAME"},
    {ERR_TOKEN_UNAVAILABLE, "check token_url"},
    {ERR_RELAY_REFUSED, "hostname"},
    {ERR_RELAY_CLOSING, NULL},
    {ERR_THROTTLED, NULL},
    {ERR_CONNECTION_LOST, NULL},
    {ERR_TIMEOUT, NULL},
    {ERR_PROTOCOL, "is not SMTP"},
    {ERR_INJECTED_RESPONSE, "tls: implicit"},
};

enum { N_CODES = sizeof(codes) / sizeof(codes[0]) };

Test(diagnosis, every_code_of_a_relay_has_its_hint_or_none)
{
    static const enum error_code all[] = {
#define X(code, word) code,
        ERROR_CODES(X)
#undef X
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        size_t k = 0;
        while (k < N_CODES && codes[k].code != all[i])
            k++;
        const char *hint = hint_in(&usual, all[i], "ehlo", "something");
        if (all[i] < ERR_DNS_FAILED || (k < N_CODES && codes[k].names == NULL)) {
            cr_expect_str_eq(hint, "", "%s: %s", error_word(all[i]), hint);
            continue;
        }
        cr_assert_lt(k, N_CODES, "%s is not in the table above", error_word(all[i]));
        cr_expect_not_null(strstr(hint, codes[k].names), "%s: %s", error_word(all[i]), hint);
        cr_expect_null(strpbrk(hint, "{}"), "%s: %s", error_word(all[i]), hint);
    }
}

Test(diagnosis, the_contract_s_words_are_ours)
{
    static const char *const words[] = {"dns_failed",
                                        "connect_refused",
                                        "connect_timeout",
                                        "greeting_timeout",
                                        "tls_required_from_start",
                                        "tls_on_plain_port",
                                        "starttls_not_offered",
                                        "starttls_refused",
                                        "certificate_name_mismatch",
                                        "certificate_expired",
                                        "certificate_not_yet_valid",
                                        "certificate_untrusted",
                                        "tls_version",
                                        "auth_mechanism_unavailable",
                                        "auth_failed",
                                        "auth_needs_tls",
                                        "token_refused",
                                        "token_unavailable",
                                        "relay_refused",
                                        "throttled",
                                        "protocol_error",
                                        "injected_response"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t k = 0;
        while (k < N_CODES && strcmp(error_word(codes[k].code), words[i]) != 0)
            k++;
        cr_expect_lt(k, N_CODES, "%s", words[i]);
    }
}

/* --- where the code is not enough ----------------------------------------------------------- */

static const struct {
    const char *name;
    struct diagnosis_context context;
    enum error_code code;
    const char *where, *detail, *names;
} details[] = {
    {"silence on a port that was to speak TLS",
     {.tls = "implicit"},
     ERR_GREETING_TIMEOUT,
     "greeting",
     "no greeting",
     "check host and port"},
    {"silence, and TLS was tried",
     {.tls = "starttls", .tried = true},
     ERR_GREETING_TIMEOUT,
     "greeting",
     "no greeting",
     "check host and port"},
    {"no end of the handshake, and plain text was tried",
     {.tls = "implicit", .tried = true},
     ERR_TLS_TIMEOUT,
     "tls",
     "x",
     "check host and port"},
    {"the grant is no good",
     {.tls = "starttls", .oauth = "m365"},
     ERR_TOKEN_REFUSED,
     "auth",
     "invalid_grant",
     "run postern login m365"},
    {"a token is refused",
     {.tls = "starttls", .oauth = "g"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.8 Username and Password not accepted. BadCredentials",
     "the scope of g: the token has to be for that mailbox"},
    {"a token is refused by Microsoft",
     {.tls = "starttls", .oauth = "m365"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.3 Authentication unsuccessful",
     "New-ServicePrincipal"},
    {"tokens are not taken",
     {.tls = "starttls", .oauth = "m365", .offered = "PLAIN LOGIN"},
     ERR_AUTH_MECHANISM_UNAVAILABLE,
     "ehlo",
     "x",
     "(it offers PLAIN LOGIN): set auth.password in place of auth.oauth"},
    {"hangs up", {.tls = "none"}, ERR_CONNECTION_LOST, "greeting", "closed", "check host and port"},
    {"client certificate, TLS 1.2",
     {.tls = "implicit"},
     ERR_TLS_FAILED,
     "tls",
     "TLS handshake: sslv3 alert bad certificate",
     "tls_options.certificate"},
    {"client certificate, TLS 1.3",
     {.tls = "implicit"},
     ERR_CONNECTION_LOST,
     "greeting",
     "TLS: tlsv13 alert certificate required",
     "tls_options.certificate"},
    {"client certificate, in words",
     {.tls = "implicit"},
     ERR_RELAY_CLOSING,
     "greeting",
     "421 4.7.1 smtp.test Error: No client certificate presented",
     "tls_options.certificate"},
    {"another key than was pinned",
     {.tls = "implicit"},
     ERR_CERTIFICATE_UNTRUSTED,
     "tls",
     "the certificate's key is sha256/x, and no tls_options.pins is met",
     "put the new pin into tls_options.pins"},
    {"source address",
     {.tls = "none"},
     ERR_CONNECT_FAILED,
     "tcp",
     "source_address 192.0.2.1: Cannot assign requested address",
     "set source_address"},
    {"the proxy",
     {.tls = "none", .proxy = "proxy.test"},
     ERR_PROXY_FAILED,
     "tcp",
     "the proxy: Connection refused",
     "check proxy: proxy.test"},
    {"another mechanism",
     {.tls = "none", .mechanism = "login", .offered = "PLAIN"},
     ERR_AUTH_MECHANISM_UNAVAILABLE,
     "ehlo",
     "x",
     "or to auto"},
    {"no AUTH at all",
     {.tls = "none", .mechanism = "login", .offered = ""},
     ERR_AUTH_MECHANISM_UNAVAILABLE,
     "ehlo",
     "x",
     "leave out auth.username"},
    {"only OAuth2",
     {.tls = "none", .mechanism = "auto", .offered = "XOAUTH2 OAUTHBEARER"},
     ERR_AUTH_MECHANISM_UNAVAILABLE,
     "ehlo",
     "x",
     "OAuth2 (it offers XOAUTH2 OAUTHBEARER)"},
    {"NTLM that is not installed",
     {.tls = "none", .mechanism = "auto", .offered = "NTLM"},
     ERR_AUTH_MECHANISM_UNAVAILABLE,
     "ehlo",
     "AUTH NTLM is done by a plug-in of GSSAPI that is not installed here: install the package "
     "gss-ntlmssp",
     "install the package gss-ntlmssp"},
    {"no ticket",
     {.tls = "starttls", .mechanism = "gssapi"},
     ERR_AUTH_FAILED,
     "auth",
     "AUTH GSSAPI: No Kerberos credentials available",
     "KRB5CCNAME names; the relay has to be smtp/smtp.example.com"},
    {"a certificate that is no login",
     {.tls = "starttls", .mechanism = "external"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.8 Authentication failed",
     "tls_options.certificate"},
    {"Microsoft's switch",
     {.tls = "starttls"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
     "Mailbox.",
     "Set-CASMailbox"},
    {"Microsoft's end of passwords",
     {.tls = "starttls"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
     "OAuth2"},
    {"Google's",
     {.tls = "starttls"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.8 Username and Password not accepted. BadCredentials",
     "app password"},
    {"a login is wanted",
     {.tls = "starttls"},
     ERR_RELAY_REFUSED,
     "ehlo",
     "530 5.7.57 Client not authenticated",
     "set auth.username and auth.password"},
    {"AUTH that is not to be used",
     {.tls = "starttls"},
     ERR_AUTH_FAILED,
     "auth",
     "503 AUTH command used when not advertised",
     "takes no login on a connection like this"},
    {"the relay cannot check logins",
     {.tls = "starttls"},
     ERR_RELAY_REFUSED,
     "auth",
     "435 Unable to authenticate at present",
     "cannot check logins just now"},
    {"locked out",
     {.tls = "starttls"},
     ERR_THROTTLED,
     "auth",
     "421 4.7.0 Too many authentication failures",
     "too many logins have failed"},
    {"too many connections",
     {.tls = "starttls"},
     ERR_THROTTLED,
     "greeting",
     "450 4.7.0 simultaneous clients exceeded",
     "connections.max"},
    {"a common name only",
     {.tls = "starttls"},
     ERR_CERTIFICATE_NAME_MISMATCH,
     "tls",
     "the certificate is for: no name at all",
     "has to renew it with one"},
    {"a weak key",
     {.tls = "starttls"},
     ERR_CERTIFICATE_UNTRUSTED,
     "tls",
     "EE certificate key too weak: the certificate is issued by CN = x",
     "no setting takes so weak"},
    {"SHA-1",
     {.tls = "starttls"},
     ERR_CERTIFICATE_UNTRUSTED,
     "tls",
     "CA signature digest algorithm too weak: the certificate is issued by CN = x",
     "no setting takes so weak"},
    {"a weak key exchange",
     {.tls = "starttls"},
     ERR_TLS_FAILED,
     "tls",
     "TLS handshake: dh key too small",
     "no setting takes so weak"},
    {"for clients",
     {.tls = "starttls"},
     ERR_CERTIFICATE_UNTRUSTED,
     "tls",
     "unsuitable certificate purpose: the certificate is issued by CN = x",
     "not one for TLS servers"},
    {"no intermediate",
     {.tls = "starttls"},
     ERR_CERTIFICATE_UNTRUSTED,
     "tls",
     "unable to get local issuer certificate: its issuer is C = X, CN = Lab Intermediate, whose "
     "certificate the server does not send",
     "does not send the certificate of C = X, CN = Lab Intermediate:"},
    {"signed by itself",
     {.tls = "starttls"},
     ERR_CERTIFICATE_UNTRUSTED,
     "tls",
     "self-signed certificate: the certificate is issued by CN = x",
     "set tls_options.ca_file to it"},
    {"an expired authority",
     {.tls = "starttls"},
     ERR_CERTIFICATE_EXPIRED,
     "tls",
     "the certificate of CN = y, above the server's own, has expired: it was good until 2024-01-01",
     "an authority between"},
    {"old TLS where 1.3 is demanded",
     {.tls = "starttls", .min_version = "1.3"},
     ERR_TLS_VERSION,
     "tls",
     "x",
     "tls_options.min_version demands"},
    {"no handshake behind STARTTLS",
     {.tls = "starttls"},
     ERR_TLS_FAILED,
     "tls",
     "TLS handshake: sslv3 alert handshake failure",
     "offers STARTTLS, but the handshake behind it fails"},
    {"... nor an end of it, by tls: auto",
     {.tls = "auto", .starttls = true},
     ERR_TLS_TIMEOUT,
     "tls",
     "x",
     "offers STARTTLS, but the handshake behind it fails"},
    {"... hung up",
     {.tls = "starttls", .tried = true},
     ERR_CONNECTION_LOST,
     "tls",
     "closed",
     "offers STARTTLS, but the handshake behind it fails"},
    {"the application is not known",
     {.tls = "starttls", .oauth = "m365"},
     ERR_TOKEN_REFUSED,
     "auth",
     "invalid_client: AADSTS7000215: Invalid client secret provided",
     "check client_id, and client_secret or private_key_file, in the entry m365"},
    {"the application may not",
     {.tls = "starttls", .oauth = "m365"},
     ERR_TOKEN_REFUSED,
     "auth",
     "unauthorized_client: not for this tenant",
     "check scope and grant in the entry m365"},
    {"a token file with JSON in it",
     {.tls = "starttls", .oauth = "f"},
     ERR_TOKEN_UNAVAILABLE,
     "auth",
     "token_file /run/token holds JSON, and not the access token alone",
     "check token_file in the entry f"},
    {"a challenge by name",
     {.tls = "starttls", .mechanism = "cram-md5"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.8 no",
     "set auth.mechanism: auto"},
    {"a challenge, unverified",
     {.tls = "starttls", .used = "DIGEST-MD5"},
     ERR_AUTH_FAILED,
     "auth",
     "535 5.7.8 no",
     "cannot check them by DIGEST-MD5: set auth.mechanism: plain"},
    {"a mechanism that is not there",
     {.tls = "starttls", .offered = "LOGIN PLAIN"},
     ERR_AUTH_FAILED,
     "auth",
     "535 Invalid authentication mechanism",
     "set auth.mechanism to another (it offers LOGIN PLAIN)"},
    {"no STARTTLS, and nowhere else",
     {.tls = "starttls", .tried = true},
     ERR_STARTTLS_NOT_OFFERED,
     "ehlo",
     "x",
     "no usual port of smtp.example.com has TLS"},
    {"a login wants TLS",
     {.tls = "none"},
     ERR_AUTH_NEEDS_TLS,
     "auth",
     "530 5.7.0 Must issue a STARTTLS command first",
     "set tls: starttls"},
};

Test(diagnosis, details_are_told_apart)
{
    for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++) {
        struct diagnosis_context context = details[i].context;
        context.host = "smtp.example.com";
        context.port = 25;
        const char *hint = hint_in(&context, details[i].code, details[i].where, details[i].detail);
        cr_expect_not_null(strstr(hint, details[i].names), "%s: %s", details[i].name, hint);
    }
}

/* A passing trouble of the relay's own: whatever could be changed here, it would not help. */
Test(diagnosis, what_only_passes_has_no_hint)
{
    static const char *const replies[] = {
        "421 4.3.0 Temporary System Problem.  Try again later",
        "451 4.3.2 system not accepting messages",
        "452 4.3.1 Insufficient system resources",
        "454 4.7.0 Temporary authentication failure",
    };
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        const char *hint = hint_in(&usual, ERR_THROTTLED, "data", replies[i]);
        cr_expect_str_eq(hint, "", "%s: %s", replies[i], hint);
    }
}

/* --- what was tried ------------------------------------------------------------------------ */

static const struct {
    struct diagnosis_change change;
    const char *hint;
} changes[] = {
    {{.tls = "implicit"}, "set tls: implicit: port 2500 waits for TLS"},
    {{.tls = "starttls"}, "set tls: starttls: port 2500 speaks plain text first"},
    {{.tls = "none"}, "set tls: none, but only inside a network you trust: port 2500 has no TLS"},
    {{.port = 465, .tls = "implicit"},
     "set port: 465 and tls: implicit: there smtp.example.com answers"},
    {{.server_name = "mx.example.net"},
     "set tls_options.server_name: mx.example.net, if you know it: the certificate is for it, and "
     "it has the same address as smtp.example.com"},
    {{.min_version = "1.2"}, "set tls_options.min_version: \"1.2\": the relay speaks no newer TLS"},
    {{.mechanism = "plain"},
     "set auth.mechanism: plain: the relay refuses others that it offers (PLAIN LOGIN)"},
    {{.mechanism = "auto"}, "set auth.mechanism: auto: the relay offers PLAIN LOGIN"},
};

Test(diagnosis, a_change_that_was_tried_is_named)
{
    struct diagnosis_context context = usual;
    context.offered = "PLAIN LOGIN";
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char hint[DIAGNOSIS_HINT_SIZE];
        diagnosis_hint_change(&changes[i].change, &context, hint, sizeof(hint));
        cr_expect_str_eq(hint, changes[i].hint);
    }
}

/* A host's name may be as long as it likes, the hint keeps to its room. */
Test(diagnosis, hints_are_cut_to_their_size)
{
    char host[600], hint[32 + 1];
    memset(host, 'h', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    struct diagnosis_context context = usual;
    context.host = host;
    for (size_t size = 1; size < sizeof(hint); size++) {
        struct error why;
        error_set(&why, ERR_DNS_FAILED, "x");
        memset(hint, '!', sizeof(hint));
        diagnosis_hint(&why, &context, hint, size);
        cr_expect_eq(strlen(hint), size - 1);
        cr_expect_eq(hint[size], '!');
        diagnosis_hint_change(&(struct diagnosis_change){.server_name = "x"}, &context, hint, size);
        cr_expect_eq(strlen(hint), size - 1);
        cr_expect_eq(hint[size], '!');
    }
}
