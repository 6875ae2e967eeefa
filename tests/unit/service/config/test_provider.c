#include "config/provider.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect_text(const char *got, const char *wanted, const char *name)
{
    cr_expect((got == NULL) == (wanted == NULL), "%s: %s", name, got);
    if (got != NULL && wanted != NULL)
        cr_expect_str_eq(got, wanted, "%s: %s", name, got);
}

Test(provider, filled)
{
    static const struct {
        const char *name;
        int provider, grant;
        const char *cloud, *tenant;
        const char *token_url, *device_url, *authorize_url, *scope;
        int client_auth;
        bool device;
        const char *mail_host;
    } rows[] = {
        {"google", CONFIG_OAUTH_GOOGLE, CONFIG_OAUTH_REFRESH_TOKEN, NULL, NULL,
         "https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/device/code",
         "https://accounts.google.com/o/oauth2/v2/auth", "https://mail.google.com/",
         CONFIG_OAUTH_CLIENT_POST, false, "smtp.gmail.com"},
        {"google app", CONFIG_OAUTH_GOOGLE, CONFIG_OAUTH_JWT_BEARER, NULL, NULL,
         "https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/device/code",
         "https://accounts.google.com/o/oauth2/v2/auth", "https://mail.google.com/",
         CONFIG_OAUTH_CLIENT_POST, false, "smtp.gmail.com"},
        {"microsoft", CONFIG_OAUTH_MICROSOFT, CONFIG_OAUTH_REFRESH_TOKEN, NULL, NULL,
         "https://login.microsoftonline.com/common/oauth2/v2.0/token",
         "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
         "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
         "https://outlook.office.com/SMTP.Send offline_access", CONFIG_OAUTH_CLIENT_POST, true,
         "smtp.office365.com"},
        {"microsoft app", CONFIG_OAUTH_MICROSOFT, CONFIG_OAUTH_CLIENT_CREDENTIALS, "global",
         "contoso.onmicrosoft.com",
         "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
         "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/devicecode",
         "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/authorize",
         "https://outlook.office365.com/.default", CONFIG_OAUTH_CLIENT_POST, true,
         "smtp.office365.com"},
        {"microsoft us", CONFIG_OAUTH_MICROSOFT, CONFIG_OAUTH_CLIENT_CREDENTIALS, "us", "t",
         "https://login.microsoftonline.us/t/oauth2/v2.0/token",
         "https://login.microsoftonline.us/t/oauth2/v2.0/devicecode",
         "https://login.microsoftonline.us/t/oauth2/v2.0/authorize",
         "https://outlook.office365.us/.default", CONFIG_OAUTH_CLIENT_POST, true,
         "smtp.office365.us"},
        {"microsoft china", CONFIG_OAUTH_MICROSOFT, CONFIG_OAUTH_REFRESH_TOKEN, "china", "t",
         "https://login.partner.microsoftonline.cn/t/oauth2/v2.0/token",
         "https://login.partner.microsoftonline.cn/t/oauth2/v2.0/devicecode",
         "https://login.partner.microsoftonline.cn/t/oauth2/v2.0/authorize",
         "https://partner.outlook.cn/SMTP.Send offline_access", CONFIG_OAUTH_CLIENT_POST, true,
         "smtp.partner.outlook.cn"},
        {"yahoo", CONFIG_OAUTH_YAHOO, CONFIG_OAUTH_REFRESH_TOKEN, NULL, NULL,
         "https://api.login.yahoo.com/oauth2/get_token", NULL,
         "https://api.login.yahoo.com/oauth2/request_auth", "mail-w", CONFIG_OAUTH_CLIENT_BASIC,
         false, "smtp.mail.yahoo.com"},
        {"aol", CONFIG_OAUTH_AOL, CONFIG_OAUTH_REFRESH_TOKEN, NULL, NULL,
         "https://api.login.aol.com/oauth2/get_token", NULL,
         "https://api.login.aol.com/oauth2/request_auth", "mail-w", CONFIG_OAUTH_CLIENT_BASIC,
         false, "smtp.aol.com"},
        {"fastmail", CONFIG_OAUTH_FASTMAIL, CONFIG_OAUTH_REFRESH_TOKEN, NULL, NULL,
         "https://api.fastmail.com/oauth/refresh", NULL, "https://api.fastmail.com/oauth/authorize",
         "https://www.fastmail.com/dev/protocol-smtp", CONFIG_OAUTH_CLIENT_POST, false,
         "smtp.fastmail.com"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct config_oauth oauth = {.provider = rows[i].provider,
                                     .grant = rows[i].grant,
                                     .cloud = rows[i].cloud,
                                     .tenant = rows[i].tenant,
                                     .client_auth = CONFIG_OAUTH_CLIENT_UNSAID};
        const char *fault = provider_fill(&oauth, arena);
        cr_assert_null(fault, "%s: %s", rows[i].name, fault);
        expect_text(oauth.token_url, rows[i].token_url, rows[i].name);
        expect_text(oauth.device_url, rows[i].device_url, rows[i].name);
        expect_text(oauth.authorize_url, rows[i].authorize_url, rows[i].name);
        expect_text(oauth.scope, rows[i].scope, rows[i].name);
        cr_expect_eq(oauth.client_auth, rows[i].client_auth, "%s", rows[i].name);
        const struct provider *provider = provider_find(&oauth);
        cr_assert_not_null(provider);
        cr_expect_eq(provider->device, rows[i].device, "%s", rows[i].name);
        cr_expect_str_eq(provider->mail_host, rows[i].mail_host, "%s", rows[i].name);
    }
}

Test(provider, what_was_written_wins)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct config_oauth oauth = {.provider = CONFIG_OAUTH_MICROSOFT,
                                 .token_url = "https://t/",
                                 .device_url = "https://d/",
                                 .authorize_url = "https://a/",
                                 .scope = "s",
                                 .client_auth = CONFIG_OAUTH_CLIENT_BASIC};
    cr_assert_null(provider_fill(&oauth, arena));
    cr_expect_str_eq(oauth.token_url, "https://t/");
    cr_expect_str_eq(oauth.device_url, "https://d/");
    cr_expect_str_eq(oauth.authorize_url, "https://a/");
    cr_expect_str_eq(oauth.scope, "s");
    cr_expect_eq(oauth.client_auth, CONFIG_OAUTH_CLIENT_BASIC);
}

Test(provider, faults)
{
    static const struct {
        struct config_oauth oauth;
        const char *fault; /* begins so; NULL: none */
    } rows[] = {
        {{.provider = CONFIG_OAUTH_CUSTOM}, "token_url is missing"},
        {{.provider = CONFIG_OAUTH_CUSTOM, .token_url = "https://t/"}, NULL},
        {{.provider = CONFIG_OAUTH_CUSTOM,
          .grant = CONFIG_OAUTH_JWT_BEARER,
          .service_account_file = "f"},
         NULL}, /* it stands in there */
        {{.provider = CONFIG_OAUTH_CUSTOM, .grant = CONFIG_OAUTH_TOKEN_FILE}, NULL},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .grant = CONFIG_OAUTH_TOKEN_FILE}, NULL},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .cloud = "mars"}, "cloud: write global, us or china"},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .grant = CONFIG_OAUTH_CLIENT_CREDENTIALS},
         "tenant is missing"},
        {{.provider = CONFIG_OAUTH_MICROSOFT,
          .grant = CONFIG_OAUTH_CLIENT_CREDENTIALS,
          .tenant = "common"},
         "tenant: an application belongs to one tenant"},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .tenant = "organizations"}, NULL},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .tenant = ""}, "tenant: write"},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .tenant = "a/../b"}, "tenant: write"},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .tenant = "a?b"}, "tenant: write"},
        {{.provider = CONFIG_OAUTH_MICROSOFT, .tenant = ".."}, "tenant: write"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct config_oauth oauth = rows[i].oauth;
        const char *fault = provider_fill(&oauth, arena);
        cr_expect_eq(fault != NULL, rows[i].fault != NULL, "%zu: %s", i, fault);
        if (fault != NULL && rows[i].fault != NULL)
            cr_expect_eq(strncmp(fault, rows[i].fault, strlen(rows[i].fault)), 0, "%zu: %s", i,
                         fault);
    }
}

Test(provider, custom_is_none)
{
    const struct config_oauth oauth = {.provider = CONFIG_OAUTH_CUSTOM};
    cr_expect_null(provider_find(&oauth));
}
