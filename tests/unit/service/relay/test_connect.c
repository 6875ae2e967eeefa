#include <criterion/criterion.h>
#include <string.h>

#include "relay/connect.h"

static const char *const pins[] = {"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};

static struct config_relay a_relay(void)
{
    return (struct config_relay){
        .name = "primary",
        .host = "smtp.example.com",
        .port = 587,
        .tls = CONFIG_TLS_STARTTLS,
        .tls_options = {.min_version = "1.2", .verify = 1},
        .auth = {.mechanism = "auto", .username = "alice", .password = "secret", .domain = "WORK"},
        .window = 16,
        .hostname = "gw.example.com",
        .timeouts = {10, 20, 30, 40, 50, 60},
    };
}

Test(connect, everything_reaches_the_session)
{
    struct config_relay relay = a_relay();
    struct session_settings s;
    relay.source_address = "192.0.2.1";
    relay.allow_plaintext_auth = 1;
    connect_settings(&relay, &s);
    cr_expect_str_eq(s.host, "smtp.example.com");
    cr_expect_eq(s.port, 587);
    cr_expect_str_eq(s.source_address, "192.0.2.1");
    cr_expect_null(s.proxy.host);
    cr_expect_null(s.addresses);
    cr_expect_null(s.tls_context);
    cr_expect_eq(s.tls, SESSION_TLS_STARTTLS);
    cr_expect_str_eq(s.smtp.hostname, "gw.example.com");
    cr_expect(s.smtp.allow_plaintext_auth);
    cr_expect_eq(s.smtp.window, 16);
    cr_expect_str_eq(s.smtp.credentials.mechanism, "auto");
    cr_expect_str_eq(s.smtp.credentials.user, "alice");
    cr_expect_str_eq(s.smtp.credentials.password, "secret");
    cr_expect_str_eq(s.smtp.credentials.domain, "WORK");
    cr_expect_str_eq(s.smtp.credentials.host, "smtp.example.com");
    cr_expect_eq(s.smtp.credentials.port, 587);
    cr_expect_not(s.smtp.credentials.bearer);
    cr_expect_eq(s.connect_timeout_ms, 10);
    cr_expect_eq(s.tls_timeout_ms, 20);
    cr_expect_eq(s.smtp.timeouts.greeting, 30);
    cr_expect_eq(s.smtp.timeouts.command, 40);
    cr_expect_eq(s.smtp.timeouts.data, 50);
    cr_expect_eq(s.smtp.timeouts.final, 60);
}

Test(connect, tls_words)
{
    static const struct {
        enum config_tls tls;
        enum session_tls session;
        const char *word;
    } rows[] = {{CONFIG_TLS_IMPLICIT, SESSION_TLS_IMPLICIT, "implicit"},
                {CONFIG_TLS_STARTTLS, SESSION_TLS_STARTTLS, "starttls"},
                {CONFIG_TLS_NONE, SESSION_TLS_NONE, "none"},
                {CONFIG_TLS_AUTO, SESSION_TLS_AUTO, "auto"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config_relay relay = a_relay();
        struct session_settings s;
        struct diagnosis_context context;
        relay.tls = rows[i].tls;
        connect_settings(&relay, &s);
        connect_diagnosis(&relay, &context);
        cr_expect_eq(s.tls, rows[i].session);
        cr_expect_str_eq(context.tls, rows[i].word);
    }
}

Test(connect, an_oauth_entry_is_a_login_by_token)
{
    struct config_relay relay = a_relay();
    struct session_settings s;
    struct diagnosis_context context;
    relay.auth.password = NULL;
    relay.auth.oauth = "m365";
    connect_settings(&relay, &s);
    connect_diagnosis(&relay, &context);
    cr_expect_str_eq(context.oauth, "m365");
    cr_expect_str_eq(s.smtp.credentials.user, "alice");
    cr_expect(s.smtp.credentials.bearer);
    cr_expect_null(s.smtp.credentials.token);
    cr_expect_null(s.smtp.credentials.password);
}

Test(connect, mechanism_none_is_no_login)
{
    struct config_relay relay = a_relay();
    struct session_settings s;
    relay.auth.mechanism = "none";
    connect_settings(&relay, &s);
    cr_expect_null(s.smtp.credentials.user);
    cr_expect_null(s.smtp.credentials.password);
}

Test(connect, proxies)
{
    static const struct {
        enum config_proxy_kind kind;
        bool http;
    } rows[] = {{CONFIG_PROXY_SOCKS5, false}, {CONFIG_PROXY_HTTP, true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config_relay relay = a_relay();
        struct session_settings s;
        struct diagnosis_context context;
        relay.proxy = (struct config_proxy){rows[i].kind, "proxy.test", 1080, "u", "p"};
        connect_settings(&relay, &s);
        connect_diagnosis(&relay, &context);
        cr_expect_str_eq(s.proxy.host, "proxy.test");
        cr_expect_eq(s.proxy.port, 1080);
        cr_expect_eq(s.proxy.http, rows[i].http);
        cr_expect_str_eq(s.proxy.user, "u");
        cr_expect_str_eq(s.proxy.password, "p");
        cr_expect_str_eq(context.proxy, "proxy.test");
    }
}

Test(connect, contexts)
{
    struct transport_tls *tls = NULL;
    struct error err;
    struct config_relay relay = a_relay();
    relay.tls_options.pins = (struct config_strings){(const char **)pins, 1};
    cr_assert_eq(connect_tls_new(&relay, NULL, NULL, &tls, &err), 0, "%s", err.detail);
    cr_expect_not_null(tls);
    transport_tls_free(tls);

    relay.tls = CONFIG_TLS_NONE;
    cr_expect_eq(connect_tls_new(&relay, NULL, NULL, &tls, &err), 0);
    cr_expect_null(tls);
}

Test(connect, contexts_that_cannot_be)
{
    struct transport_tls *tls = NULL;
    struct error err;
    struct config_relay relay = a_relay();
    relay.tls_options.min_version = "1.1";
    cr_expect_eq(connect_tls_new(&relay, NULL, NULL, &tls, &err), -1);
    cr_expect_eq(err.code, ERR_CONFIG);
    cr_expect_not_null(strstr(err.detail, "min_version"));

    relay = a_relay();
    relay.tls_options.ca_file = "/nowhere/ca.pem";
    cr_expect_eq(connect_tls_new(&relay, NULL, NULL, &tls, &err), -1);
    cr_expect_eq(err.code, ERR_CONFIG);
    cr_expect_not_null(strstr(err.detail, "/nowhere/ca.pem"));
    cr_expect_null(tls);
}
