#include "config/provider.h"

#include <string.h>

#define LOGIN(host, what) "https://" host "/{tenant}/oauth2/v2.0/" what
#define MICROSOFT(cloud_, login, outlook, outlook_app, smtp)                                       \
    {                                                                                              \
        .id = CONFIG_OAUTH_MICROSOFT, .cloud = cloud_, .token_url = LOGIN(login, "token"),         \
        .device_url = LOGIN(login, "devicecode"), .authorize_url = LOGIN(login, "authorize"),      \
        .scope = "https://" outlook "/SMTP.Send offline_access",                                   \
        .app_scope = "https://" outlook_app "/.default", .authorize_extra = "",                    \
        .client_auth = CONFIG_OAUTH_CLIENT_POST, .device = true, .pss = true, .mail_host = smtp,   \
    }

/* Where documents of a provider show only one way of client authentication it is that one. */
static const struct provider providers[] = {
    {
        .id = CONFIG_OAUTH_GOOGLE,
        .token_url = "https://oauth2.googleapis.com/token",
        .device_url = "https://oauth2.googleapis.com/device/code",
        .authorize_url = "https://accounts.google.com/o/oauth2/v2/auth",
        .scope = "https://mail.google.com/",
        /* Without the first no refresh token comes; without the second only once. */
        .authorize_extra = "access_type=offline&prompt=consent",
        .client_auth = CONFIG_OAUTH_CLIENT_POST,
        .device = false, /* it refuses the mail scope to devices */
        .mail_host = "smtp.gmail.com",
    },
    MICROSOFT("global", "login.microsoftonline.com", "outlook.office.com", "outlook.office365.com",
              "smtp.office365.com"),
    MICROSOFT("us", "login.microsoftonline.us", "outlook.office365.us", "outlook.office365.us",
              "smtp.office365.us"),
    MICROSOFT("china", "login.partner.microsoftonline.cn", "partner.outlook.cn",
              "partner.outlook.cn", "smtp.partner.outlook.cn"),
    {
        .id = CONFIG_OAUTH_YAHOO,
        .token_url = "https://api.login.yahoo.com/oauth2/get_token",
        .authorize_url = "https://api.login.yahoo.com/oauth2/request_auth",
        .scope = "mail-w",
        .authorize_extra = "",
        .client_auth = CONFIG_OAUTH_CLIENT_BASIC,
        .mail_host = "smtp.mail.yahoo.com",
    },
    {
        .id = CONFIG_OAUTH_AOL,
        .token_url = "https://api.login.aol.com/oauth2/get_token",
        .authorize_url = "https://api.login.aol.com/oauth2/request_auth",
        .scope = "mail-w",
        .authorize_extra = "",
        .client_auth = CONFIG_OAUTH_CLIENT_BASIC,
        .mail_host = "smtp.aol.com",
    },
    {
        .id = CONFIG_OAUTH_FASTMAIL,
        .token_url = "https://api.fastmail.com/oauth/refresh",
        .authorize_url = "https://api.fastmail.com/oauth/authorize",
        .scope = "https://www.fastmail.com/dev/protocol-smtp",
        .authorize_extra = "",
        .client_auth = CONFIG_OAUTH_CLIENT_POST,
        .mail_host = "smtp.fastmail.com",
    },
};

const struct provider_name provider_names[] = {
    {"google", CONFIG_OAUTH_GOOGLE, "gmail"},
    {"microsoft", CONFIG_OAUTH_MICROSOFT, "office365"},
    {"yahoo", CONFIG_OAUTH_YAHOO, "yahoo"},
    {"aol", CONFIG_OAUTH_AOL, "aol"},
    {"fastmail", CONFIG_OAUTH_FASTMAIL, "fastmail"},
    {NULL},
};

const struct provider *provider_find(const struct config_oauth *oauth)
{
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
        const struct provider *p = &providers[i];
        if (p->id == oauth->provider &&
            (p->cloud == NULL || oauth->cloud == NULL || strcmp(p->cloud, oauth->cloud) == 0))
            return p;
    }
    return NULL;
}

static bool is_for_app(const struct config_oauth *oauth)
{
    return oauth->grant == CONFIG_OAUTH_CLIENT_CREDENTIALS ||
           oauth->grant == CONFIG_OAUTH_JWT_BEARER;
}

/* A tenant's id or one of its domains: nothing that would change the path it stands in. */
static bool is_tenant(const char *tenant)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
    return tenant[0] != '\0' && tenant[0] != '.' && tenant[strspn(tenant, alphabet)] == '\0';
}

static const char *fault_of_tenant(const struct config_oauth *oauth)
{
    if (oauth->provider != CONFIG_OAUTH_MICROSOFT)
        return NULL;
    if (oauth->tenant == NULL)
        return is_for_app(oauth) ? "tenant is missing: write the tenant's id, or one of its domains"
                                 : NULL;
    if (!is_tenant(oauth->tenant))
        return "tenant: write the tenant's id, or one of its domains";
    if (is_for_app(oauth) &&
        (strcmp(oauth->tenant, "common") == 0 || strcmp(oauth->tenant, "organizations") == 0))
        return "tenant: an application belongs to one tenant: write its id, or one of its domains";
    return NULL;
}

static const char *with_tenant(const char *url, const char *tenant, struct arena *arena)
{
    const char *at = url != NULL ? strstr(url, "{tenant}") : NULL;
    if (at == NULL)
        return url;
    return arena_printf(arena, "%.*s%s%s", (int)(at - url), url, tenant, at + strlen("{tenant}"));
}

static void fill_text(const char **text, const char *known)
{
    if (*text == NULL)
        *text = known;
}

static void fill(struct config_oauth *oauth, const struct provider *p, struct arena *arena)
{
    /* Anybody's account, for an application that is registered for all. */
    const char *tenant = oauth->tenant != NULL ? oauth->tenant : "common";
    const char *scope = is_for_app(oauth) && p->app_scope != NULL ? p->app_scope : p->scope;
    fill_text(&oauth->token_url, with_tenant(p->token_url, tenant, arena));
    fill_text(&oauth->device_url, with_tenant(p->device_url, tenant, arena));
    fill_text(&oauth->authorize_url, with_tenant(p->authorize_url, tenant, arena));
    fill_text(&oauth->scope, scope);
    if (oauth->client_auth == CONFIG_OAUTH_CLIENT_UNSAID)
        oauth->client_auth = p->client_auth;
}

const char *provider_fill(struct config_oauth *oauth, struct arena *arena)
{
    if (oauth->grant == CONFIG_OAUTH_TOKEN_FILE) /* nothing is asked of anybody */
        return NULL;
    const struct provider *p = provider_find(oauth);
    if (p == NULL && oauth->provider != CONFIG_OAUTH_CUSTOM)
        return "cloud: write global, us or china";
    const char *fault = fault_of_tenant(oauth);
    if (fault != NULL)
        return fault;
    if (p != NULL)
        fill(oauth, p, arena);
    if (oauth->token_url == NULL && p != NULL)
        return "out of memory";
    if (oauth->token_url == NULL && oauth->service_account_file == NULL)
        return "token_url is missing: write the provider's token endpoint";
    return NULL;
}
