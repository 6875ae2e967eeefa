#include "config/check_oauth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/loopback.h"
#include "base/nearest.h"
#include "config/check.h"
#include "config/pem.h"
#include "config/provider.h"
#include "config/proxy.h"

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* --- grants ------------------------------------------------------------------------------- */

static const char *client_credentials_fault(const struct config_oauth *o)
{
    if (!is_given(o->client_id))
        return "client_id is missing: the provider gave it when the application was registered";
    if (!is_given(o->client_secret) && !is_given(o->private_key_file))
        return "client_secret, client_secret_file or private_key_file is missing";
    return NULL;
}

static const char *jwt_bearer_fault(const struct config_oauth *o)
{
    if (!is_given(o->service_account_file) && !is_given(o->private_key_file))
        return "service_account_file (Google's JSON) or private_key_file is missing";
    if (!is_given(o->service_account_file) && !is_given(o->client_id))
        return "client_id is missing: it is the issuer of what private_key_file signs";
    return NULL;
}

/* Without a refresh_token: `postern login` obtains one. */
static const char *refresh_token_fault(const struct config_oauth *o)
{
    if (is_given(o->token_file))
        return "token_file is given: set grant: token_file";
    if (is_given(o->service_account_file))
        return "service_account_file is given: set grant: jwt_bearer";
    if (!is_given(o->client_id))
        return "client_id is missing: the provider gave it when the application was registered";
    return NULL;
}

/* What the grant needs and has not; NULL: nothing. */
static const char *grant_fault(const struct config_oauth *o)
{
    switch ((enum config_oauth_grant)o->grant) {
    case CONFIG_OAUTH_REFRESH_TOKEN:
        return refresh_token_fault(o);
    case CONFIG_OAUTH_CLIENT_CREDENTIALS:
        return client_credentials_fault(o);
    case CONFIG_OAUTH_JWT_BEARER:
        return jwt_bearer_fault(o);
    case CONFIG_OAUTH_TOKEN_FILE:
        return is_given(o->token_file)
                   ? NULL
                   : "token_file is missing: the file that somebody else keeps a token in";
    }
    return NULL;
}

static const char *key_fault(const struct config_oauth *o)
{
    if (o->grant != CONFIG_OAUTH_JWT_BEARER && is_given(o->client_secret) &&
        is_given(o->private_key_file))
        return "client_secret and private_key_file are both given: one is wanted";
    if (is_given(o->certificate_file) && !is_given(o->private_key_file))
        return "certificate_file is given, but no private_key_file";
    return NULL;
}

/* --- endpoints ---------------------------------------------------------------------------- */

/* https, or http that does not leave this machine: what goes there is as good as a password. */
static bool is_endpoint(const char *url)
{
    char host[256];
    bool https = strncasecmp(url, "https://", 8) == 0;
    if (!https && strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *authority = url + (https ? 8 : 7);
    size_t len = strcspn(authority, "/?#");
    bool in_brackets = authority[0] == '[';
    size_t n = strcspn(authority + in_brackets, in_brackets ? "]" : ":/?#");
    if (n == 0 || n >= sizeof(host) || memchr(authority, '@', len) != NULL || strchr(url, '#'))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)n, authority + in_brackets);
    return https || loopback_is(host);
}

static bool has_space_or_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return true;
    return false;
}

static void check_endpoints(const struct config_oauth *o, size_t i, struct error_list *errors)
{
    const struct {
        const char *name, *url;
    } endpoints[] = {{"token_url", o->token_url},
                     {"device_url", o->device_url},
                     {"authorize_url", o->authorize_url}};
    char where[64];
    for (size_t k = 0; k < sizeof(endpoints) / sizeof(endpoints[0]); k++) {
        const char *url = endpoints[k].url;
        snprintf(where, sizeof(where), "oauth[%zu].%s", i, endpoints[k].name);
        if (url != NULL && (has_space_or_control(url) || !is_endpoint(url)))
            error_list_add(errors, where,
                           "write https://HOST/PATH, without a login; http:// only to this "
                           "machine");
    }
}

static void check_proxy(const struct config *config, size_t i, struct error_list *errors)
{
    struct config_proxy proxy;
    struct error err;
    char where[64];
    snprintf(where, sizeof(where), "oauth[%zu].proxy", i);
    if (config->oauth[i].proxy != NULL &&
        config_proxy_parse(config->oauth[i].proxy, config->arena, &proxy, &err) < 0)
        error_list_add(errors, where, "%s", err.detail);
}

/* --- an entry ----------------------------------------------------------------------------- */

static int load_key(const char *path, struct error *err)
{
    return config_pem_key(path, NULL, err);
}

static int can_be_read(const char *path, struct error *err)
{
    return access(path, R_OK) == 0 ? 0
                                   : error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno));
}

/* Not the token file: who keeps it may begin after us. */
static void check_files(const struct config_oauth *o, size_t i, struct error_list *errors)
{
    const struct {
        const char *name, *path;
        int (*load)(const char *path, struct error *err);
    } files[] = {{"private_key_file", o->private_key_file, load_key},
                 {"certificate_file", o->certificate_file, config_pem_certificate},
                 {"service_account_file", o->service_account_file, can_be_read},
                 {"ca_file", o->ca_file, config_pem_authorities}};
    struct error err;
    char where[64];
    for (size_t k = 0; k < sizeof(files) / sizeof(files[0]); k++) {
        snprintf(where, sizeof(where), "oauth[%zu].%s", i, files[k].name);
        if (is_given(files[k].path) && files[k].load(files[k].path, &err) < 0)
            error_list_add(errors, where, "%s", err.detail);
    }
}

static void check_name(const struct config *config, size_t i, const char *where,
                       struct error_list *errors)
{
    const char *name = config->oauth[i].name;
    if (!is_given(name)) {
        error_list_add(errors, where, "name is missing: relays name it in auth.oauth");
        return;
    }
    for (size_t k = 0; k < i; k++)
        if (config->oauth[k].name != NULL && strcmp(name, config->oauth[k].name) == 0)
            error_list_add(errors, where, "two entries are named \"%s\": give each a name", name);
}

/* Where the provider is not known to like another way better: RFC 6749, 2.3.1, has every server
 * know the header. */
static const char *fill(struct config_oauth *o, struct arena *arena)
{
    const char *fault = provider_fill(o, arena);
    if (o->client_auth == CONFIG_OAUTH_CLIENT_UNSAID)
        o->client_auth = CONFIG_OAUTH_CLIENT_BASIC;
    return fault;
}

void config_check_oauth(struct config *config, size_t i, struct error_list *errors)
{
    struct config_oauth *o = &config->oauth[i];
    const char *const faults[] = {fill(o, config->arena), grant_fault(o), key_fault(o)};
    char where[64];
    snprintf(where, sizeof(where), "oauth[%zu]", i);
    check_name(config, i, where, errors);
    for (size_t k = 0; k < sizeof(faults) / sizeof(faults[0]); k++)
        if (faults[k] != NULL)
            error_list_add(errors, where, "%s", faults[k]);
    check_endpoints(o, i, errors);
    check_files(o, i, errors);
    check_proxy(config, i, errors);
}

/* 32 octets, as hex or base64 (also that of RFC 4648, 5) can hold them. */
static bool is_secret_key(const char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
    size_t n_hex = strspn(text, "0123456789abcdefABCDEF"), n = strspn(text, alphabet);
    return (n_hex == 64 && text[64] == '\0') ||
           (n == 43 && (text[43] == '\0' || strcmp(text + 43, "=") == 0));
}

void config_check_secret_key(const struct config *config, struct error_list *errors)
{
    if (config->secret_key != NULL && !is_secret_key(config->secret_key))
        error_list_add(errors, "secret_key",
                       "32 octets are wanted, in hexadecimal (64 digits) or base64 (44 "
                       "characters): openssl rand -hex 32 makes them");
}

/* --- who logs in by it -------------------------------------------------------------------- */

static ptrdiff_t find_entry(const struct config *config, const char *name, struct nearest *nearest)
{
    nearest_init(nearest, name);
    for (size_t i = 0; i < config->n_oauth; i++) {
        const char *known = config->oauth[i].name;
        if (known != NULL && strcmp(name, known) == 0)
            return (ptrdiff_t)i;
        if (known != NULL)
            nearest_offer(nearest, known);
    }
    return -1;
}

static void tell_no_entry(const char *name, const char *near, const char *where,
                          struct error_list *errors)
{
    if (near != NULL)
        error_list_add(errors, where, "no oauth entry is named \"%s\"; did you mean %s?", name,
                       near);
    else
        error_list_add(errors, where,
                       "no oauth entry is named \"%s\": write the name of one in oauth", name);
}

static const char *subject_of(const struct config_oauth *o)
{
    return o->grant == CONFIG_OAUTH_JWT_BEARER ? o->subject : NULL;
}

void config_find_oauth(struct config *config, size_t i, struct error_list *errors)
{
    struct config_relay *relay = &config->relays[i];
    struct nearest nearest;
    char where[64];
    snprintf(where, sizeof(where), "relays[%zu].auth.oauth", i);
    relay->auth.oauth_index = -1;
    if (relay->auth.oauth == NULL)
        return;
    relay->auth.oauth_index = find_entry(config, relay->auth.oauth, &nearest);
    if (relay->auth.oauth_index < 0)
        tell_no_entry(relay->auth.oauth, nearest.word, where, errors);
    else if (relay->auth.username == NULL)
        relay->auth.username = subject_of(&config->oauth[relay->auth.oauth_index]);
}
