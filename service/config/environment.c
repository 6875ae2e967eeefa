#include "config/environment.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "config/secret.h"
#include "config/url.h"
#include "config/yaml.h"

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
    if (escaped != NULL)
        explicit_bzero(escaped, n);
    free(escaped);
    return value;
}

static void set(json_t *object, const char *key, const char *text, const char *variable,
                struct error_list *errors)
{
    size_t len = bytes_len_without_line_end(text, strlen(text));
    if (json_object_set_new(object, key, literal(text, len)) < 0)
        error_list_add(errors, variable, "is not UTF-8");
}

/* --- POSTERN_RELAY ------------------------------------------------------------------------ */

static int set_decoded(json_t *object, const char *key, struct url_part part)
{
    char *text = malloc(part.len + 1);
    int rc = -1;
    if (text != NULL && url_decode(part, text) == 0)
        rc = json_object_set_new(object, key, literal(text, strlen(text)));
    if (text != NULL)
        explicit_bzero(text, part.len + 1);
    free(text);
    return rc;
}

static const struct {
    const char *word, *tls;
    int port;
} schemes[] = {{"smtps", "implicit", 465},
               {"smtp", "starttls", 587},
               {"smtp+none", "none", 25}}; /* in any case: RFC 3986, 3.1 */

enum { N_SCHEMES = sizeof(schemes) / sizeof(schemes[0]) };

static bool is_word(struct url_part part, const char *word)
{
    return part.len == strlen(word) && strncasecmp(part.at, word, part.len) == 0;
}

/* "auth=plain&hostname=gw.example.com", either of them or none. */
static int set_query(json_t *relay, struct url_part query)
{
    const char *at = query.at, *end = query.at + query.len;
    for (const char *next; at < end; at = next) {
        size_t n = strcspn(at, "&");
        size_t name = strcspn(at, "=&");
        const struct url_part key = {at, name};
        const struct url_part value = {at + name + 1, name < n ? n - name - 1 : 0};
        json_t *object = is_word(key, "auth") ? child(relay, "auth") : relay;
        if (name == n || (object == relay && !is_word(key, "hostname")) ||
            set_decoded(object, object == relay ? "hostname" : "mechanism", value) < 0)
            return -1;
        next = at + n + (at[n] == '&' ? 1 : 0);
    }
    return 0;
}

static int set_login(json_t *relay, const struct url *url)
{
    json_t *auth = child(relay, "auth");
    if (set_decoded(auth, "username", url->user) < 0)
        return -1;
    return url->password.at == NULL ? 0 : set_decoded(auth, "password", url->password);
}

static int set_relay(json_t *relay, const char *text, struct error_list *errors)
{
    static const char want[] =
        "write smtps://user:password@host:465, smtp://user:password@host:587 "
        "or smtp+none://host:2525, with special characters percent-encoded";
    struct url url;
    size_t i = 0;
    if (url_split(text, &url) < 0)
        return error_list_add(errors, "POSTERN_RELAY", want);
    while (i < N_SCHEMES && !is_word(url.scheme, schemes[i].word))
        i++;
    if (i == N_SCHEMES || set_decoded(relay, "host", url.host) < 0 ||
        (url.user.at != NULL && set_login(relay, &url) < 0))
        return error_list_add(errors, "POSTERN_RELAY", want);
    json_object_set_new(relay, "tls", json_string(schemes[i].tls));
    json_object_set_new(relay, "port", json_integer(url.port != 0 ? url.port : schemes[i].port));
    if (url.query.at != NULL && set_query(relay, url.query) < 0)
        return error_list_add(errors, "POSTERN_RELAY",
                              "behind the ? only auth= and hostname= may stand");
    return 0;
}

/* --- all ---------------------------------------------------------------------------------- */

static void drop(json_t *object, const char *key)
{
    yaml_tree_free(json_incref(json_object_get(object, key)));
    json_object_del(object, key);
}

/* A secret or its _FILE, in the place of whichever of the two a file gives. */
static void set_secret(json_t *object, const char *key, const char *variable,
                       const char *const *environ_, struct error_list *errors)
{
    char twin[64], twin_key[64];
    snprintf(twin, sizeof(twin), "%s_FILE", variable);
    snprintf(twin_key, sizeof(twin_key), "%s_file", key);
    const char *secret = given(environ_, variable), *file = given(environ_, twin);
    struct error err;
    size_t len;
    if (secret == NULL && file == NULL)
        return;
    drop(object, key);
    drop(object, twin_key);
    if (secret != NULL && file != NULL)
        error_list_add(errors, twin, "%s is given too: one of them is wanted", variable);
    else if (secret != NULL &&
             config_secret_line(variable, secret, strlen(secret), &secret, &len, &err) < 0)
        error_list_add(errors, variable, "%s", err.detail);
    else if (secret != NULL)
        set(object, key, secret, variable, errors);
    else
        set(object, twin_key, file, twin, errors);
}

static void apply_relay(json_t *tree, const char *const *environ_, struct error_list *errors)
{
    const char *text = given(environ_, "POSTERN_RELAY");
    char *url = text != NULL ? strndup(text, bytes_len_without_line_end(text, strlen(text))) : NULL;
    bool password = given(environ_, "POSTERN_RELAY_PASSWORD") != NULL ||
                    given(environ_, "POSTERN_RELAY_PASSWORD_FILE") != NULL;
    json_t *relay = json_array_get(json_object_get(tree, "relays"), 0);
    if (url != NULL) { /* it takes the place of the file's relays */
        relay = json_object();
        drop(tree, "relays");
        json_object_set_new(tree, "relays", json_pack("[o]", relay));
        set_relay(relay, url, errors);
    }
    if (password && json_is_object(relay))
        set_secret(child(relay, "auth"), "password", "POSTERN_RELAY_PASSWORD", environ_, errors);
    else if (password && relay == NULL)
        error_list_add(errors, "POSTERN_RELAY_PASSWORD",
                       "there is no relay it could be for: set POSTERN_RELAY, or relays");
    if (url != NULL)
        explicit_bzero(url, strlen(url));
    free(url);
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
    drop(tree, "api_keys");
    json_object_set_new(tree, "api_keys", json_pack("[o]", entry));
}

static json_t *words_of(const char *text)
{
    json_t *list = json_array();
    while (*text != '\0') {
        size_t n = strcspn(text, ", \r\n");
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
    set_secret(tree, "secret_key", "POSTERN_SECRET_KEY", environ_, errors);
    if (listen != NULL)
        json_object_set_new(tree, "listen", words_of(listen));
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        const char *value = given(environ_, plain[i].variable);
        if (value != NULL)
            set(child(tree, plain[i].mapping), plain[i].key, value, plain[i].variable, errors);
    }
}
