#include "config/environment.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *environment_get(const char *const *environ_, const char *name)
{
    size_t n = strlen(name);
    for (; *environ_ != NULL; environ_++)
        if (strncmp(*environ_, name, n) == 0 && (*environ_)[n] == '=')
            return *environ_ + n + 1;
    return NULL;
}

/* For our own variables: one that is empty is not set, as container tools write it. */
static const char *given(const char *const *environ_, const char *name)
{
    const char *value = environment_get(environ_, name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* The object at `key`, made if it is not there. */
static json_t *child(json_t *parent, const char *key)
{
    json_t *object = json_object_get(parent, key);
    if (!json_is_object(object)) {
        object = json_object();
        json_object_set_new(parent, key, object);
    }
    return object;
}

/* A value taken literally: "${" in the environment means nothing special. */
static json_t *literal(const char *text, size_t len)
{
    json_t *value = NULL;
    char *escaped = malloc(2 * len + 1);
    size_t n = 0;
    for (size_t i = 0; escaped != NULL && i < len; i++) {
        if (text[i] == '$' && i + 1 < len && text[i + 1] == '{')
            escaped[n++] = '$';
        escaped[n++] = text[i];
    }
    if (escaped != NULL)
        value = json_stringn(escaped, n);
    free(escaped);
    return value;
}

static void set(json_t *object, const char *key, const char *text, const char *variable,
                struct error_list *errors)
{
    if (json_object_set_new(object, key, literal(text, strlen(text))) < 0)
        error_list_add(errors, variable, "is not UTF-8");
}

/* --- POSTERN_RELAY ------------------------------------------------------------------------ */

static int hex(char c)
{
    const char *at = c != '\0' ? strchr("0123456789abcdefABCDEF", c) : NULL;
    if (at == NULL)
        return -1;
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* RFC 3986, 2.1. -1: a percent sign without two digits. */
static int set_decoded(json_t *object, const char *key, const char *text, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;
    bool bad = out == NULL;
    for (size_t i = 0; !bad && i < len; i++) {
        if (text[i] != '%') {
            out[n++] = text[i];
            continue;
        }
        int high = i + 2 < len ? hex(text[i + 1]) : -1;
        int low = high >= 0 ? hex(text[i + 2]) : -1;
        bad = low < 0;
        if (!bad)
            out[n++] = (char)(high * 16 + low);
        i += 2;
    }
    if (!bad)
        bad = json_object_set_new(object, key, literal(out, n)) < 0;
    free(out);
    return bad ? -1 : 0;
}

static const struct {
    const char *scheme, *tls, *port;
} schemes[] = {{"smtps://", "implicit", "465"},
               {"smtp://", "starttls", "587"},
               {"smtp+none://", "none", "25"}}; /* in any case: RFC 3986, 3.1 */

static int set_query(json_t *relay, const char *query, struct error_list *errors)
{
    while (*query != '\0') {
        size_t n = strcspn(query, "&");
        const char *value = memchr(query, '=', n);
        size_t name = value != NULL ? (size_t)(value - query) : n;
        value = value != NULL ? value + 1 : query + n;
        size_t value_len = (size_t)(query + n - value);
        int rc = -1;
        if (name == 4 && strncmp(query, "auth", 4) == 0)
            rc = set_decoded(child(relay, "auth"), "mechanism", value, value_len);
        else if (name == 8 && strncmp(query, "hostname", 8) == 0)
            rc = set_decoded(relay, "hostname", value, value_len);
        if (rc < 0)
            return error_list_add(errors, "POSTERN_RELAY",
                                  "behind the ? only auth= and hostname= may stand");
        query += n + (query[n] == '&' ? 1 : 0);
    }
    return 0;
}

static int set_login(json_t *relay, const char *text, size_t len)
{
    const char *colon = memchr(text, ':', len);
    size_t user = colon != NULL ? (size_t)(colon - text) : len;
    json_t *auth = child(relay, "auth");
    if (set_decoded(auth, "username", text, user) < 0)
        return -1;
    return colon == NULL ? 0 : set_decoded(auth, "password", colon + 1, len - user - 1);
}

static int set_host(json_t *relay, const char *text, size_t len, const char *default_port)
{
    size_t host = len;
    if (len > 0 && text[0] == '[') { /* RFC 3986: [IPv6] */
        const char *close = memchr(text, ']', len);
        if (close == NULL)
            return -1;
        host = (size_t)(close - text) + 1;
        if (host < len && text[host] != ':')
            return -1;
    } else if (memrchr(text, ':', len) != NULL) {
        host = (size_t)((const char *)memrchr(text, ':', len) - text);
    }
    char port[8];
    const char *digits = host < len && text[host] == ':' ? text + host + 1 : default_port;
    size_t n_digits = digits == default_port ? strlen(digits) : len - host - 1;
    if (n_digits == 0 || n_digits > 5 || strspn(digits, "0123456789") < n_digits || host == 0)
        return -1;
    snprintf(port, sizeof(port), "%.*s", (int)n_digits, digits);
    json_object_set_new(relay, "port", json_integer(strtol(port, NULL, 10)));
    if (text[0] == '[')
        return json_object_set_new(relay, "host", json_stringn(text + 1, host - 2));
    return set_decoded(relay, "host", text, host);
}

static int set_relay(json_t *relay, const char *url, struct error_list *errors)
{
    static const char want[] =
        "write smtps://user:password@host:465, smtp://user:password@host:587 "
        "or smtp+none://host:2525, with special characters percent-encoded";
    size_t i = 0, n_schemes = sizeof(schemes) / sizeof(schemes[0]);
    while (i < n_schemes && strncasecmp(url, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
        i++;
    if (i == n_schemes)
        return error_list_add(errors, "POSTERN_RELAY", want);
    const char *at = url + strlen(schemes[i].scheme);
    size_t len = strcspn(at, "/?");
    const char *query = at + len + (at[len] == '/' ? 1 : 0);
    const char *host = memrchr(at, '@', len);
    if (*query != '\0' && *query != '?') /* a path; or a password with a / in it */
        return error_list_add(errors, "POSTERN_RELAY", want);
    json_object_set_new(relay, "tls", json_string(schemes[i].tls));
    if (host != NULL && set_login(relay, at, (size_t)(host - at)) < 0)
        return error_list_add(errors, "POSTERN_RELAY", want);
    host = host != NULL ? host + 1 : at;
    if (set_host(relay, host, len - (size_t)(host - at), schemes[i].port) < 0)
        return error_list_add(errors, "POSTERN_RELAY", want);
    return *query == '?' ? set_query(relay, query + 1, errors) : 0;
}

/* --- all ---------------------------------------------------------------------------------- */

/* A secret or its _FILE, in the place of whichever of the two a file gives. */
static void set_secret(json_t *object, const char *key, const char *variable,
                       const char *const *environ_, struct error_list *errors)
{
    char twin[64], twin_key[64];
    snprintf(twin, sizeof(twin), "%s_FILE", variable);
    snprintf(twin_key, sizeof(twin_key), "%s_file", key);
    const char *secret = given(environ_, variable), *file = given(environ_, twin);
    if (secret == NULL && file == NULL)
        return;
    json_object_del(object, key);
    json_object_del(object, twin_key);
    if (secret != NULL && file != NULL)
        error_list_add(errors, twin, "%s is given too: one of them is wanted", variable);
    else if (secret != NULL)
        set(object, key, secret, variable, errors);
    else
        set(object, twin_key, file, twin, errors);
}

static void apply_relay(json_t *tree, const char *const *environ_, struct error_list *errors)
{
    const char *url = given(environ_, "POSTERN_RELAY");
    bool password = given(environ_, "POSTERN_RELAY_PASSWORD") != NULL ||
                    given(environ_, "POSTERN_RELAY_PASSWORD_FILE") != NULL;
    json_t *relay = json_array_get(json_object_get(tree, "relays"), 0);
    if (url != NULL) { /* it takes the place of the file's relays */
        relay = json_object();
        json_object_set_new(tree, "relays", json_pack("[o]", relay));
        set_relay(relay, url, errors);
    }
    if (password && json_is_object(relay))
        set_secret(child(relay, "auth"), "password", "POSTERN_RELAY_PASSWORD", environ_, errors);
    else if (password && relay == NULL)
        error_list_add(errors, "POSTERN_RELAY_PASSWORD",
                       "there is no relay it could be for: set POSTERN_RELAY, or relays");
}

/* It takes the place of the file's keys. */
static void apply_api_key(json_t *tree, const char *const *environ_, struct error_list *errors)
{
    if (given(environ_, "POSTERN_API_KEY") == NULL &&
        given(environ_, "POSTERN_API_KEY_FILE") == NULL)
        return;
    json_t *entry =
        json_pack("{s:s, s:[s,s,s]}", "name", "default", "scopes", "send", "read", "admin");
    set_secret(entry, "key", "POSTERN_API_KEY", environ_, errors);
    json_object_set_new(tree, "api_keys", json_pack("[o]", entry));
}

static json_t *words_of(const char *text)
{
    json_t *list = json_array();
    while (*text != '\0') {
        size_t n = strcspn(text, ", ");
        if (n > 0)
            json_array_append_new(list, literal(text, n));
        text += n + (text[n] != '\0' ? 1 : 0);
    }
    return list;
}

void environment_apply(json_t *tree, const char *const *environ_, struct error_list *errors)
{
    static const struct {
        const char *variable, *mapping, *key;
    } plain[] = {{"POSTERN_STORE", "queue", "store"},
                 {"POSTERN_LOG_LEVEL", "log", "level"},
                 {"POSTERN_LOG_FORMAT", "log", "format"}};
    const char *listen = given(environ_, "POSTERN_LISTEN");
    apply_relay(tree, environ_, errors);
    apply_api_key(tree, environ_, errors);
    if (listen != NULL)
        json_object_set_new(tree, "listen", words_of(listen));
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        const char *value = given(environ_, plain[i].variable);
        if (value != NULL)
            set(child(tree, plain[i].mapping), plain[i].key, value, plain[i].variable, errors);
    }
}
