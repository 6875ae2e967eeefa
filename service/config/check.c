#include "config/check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"

/* --- TLS words (contract section 3) ------------------------------------------------------- */

static bool port_is_starttls(uint16_t port)
{
    return port == 587 || port == 2525 || port == 2500 || port == 25;
}

static enum config_tls tls_by_port(uint16_t port)
{
    return port == 465              ? CONFIG_TLS_IMPLICIT
           : port_is_starttls(port) ? CONFIG_TLS_STARTTLS
                                    : CONFIG_TLS_AUTO;
}

static const struct {
    const char *word;
    enum config_tls tls;
} tls_words[] = {
    {"implicit", CONFIG_TLS_IMPLICIT}, {"ssl", CONFIG_TLS_IMPLICIT}, {"smtps", CONFIG_TLS_IMPLICIT},
    {"starttls", CONFIG_TLS_STARTTLS}, {"none", CONFIG_TLS_NONE},    {"plain", CONFIG_TLS_NONE},
};

static void decide_tls(struct config_relay *relay, const char *where, struct error_list *errors)
{
    const char *word = relay->tls_word;
    relay->tls = tls_by_port(relay->port);
    if (relay->secure == 1)
        relay->tls = CONFIG_TLS_IMPLICIT;
    else if (relay->secure == 0 && relay->port == 587)
        relay->tls = CONFIG_TLS_STARTTLS;
    else if (relay->secure == 0 && word == NULL)
        error_list_add(errors, where,
                       "secure: false can mean STARTTLS or no TLS: write tls: "
                       "starttls or tls: none");
    if (word == NULL || strcmp(word, "auto") == 0)
        return;
    for (size_t i = 0; i < sizeof(tls_words) / sizeof(tls_words[0]); i++)
        if (strcmp(word, tls_words[i].word) == 0) {
            relay->tls = tls_words[i].tls;
            return;
        }
    if (strcmp(word, "tls") == 0 && (relay->port == 465 || relay->port == 587))
        return; /* by the port */
    if (strcmp(word, "tls") == 0)
        error_list_add(errors, where,
                       "tls: tls means TLS from the first byte to some and STARTTLS to others: "
                       "write implicit (as on port 465) or starttls (as on port 587)");
    else
        error_list_add(errors, where, "\"%s\" is none of: implicit, starttls, none, auto", word);
}

/* --- addresses ---------------------------------------------------------------------------- */

static bool host_is_local(const char *host)
{
    struct in_addr v4;
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127);
}

bool config_address_is_local(const char *listen)
{
    char host[256];
    if (strncmp(listen, "unix:", 5) == 0)
        return true;
    const char *colon = strrchr(listen, ':');
    size_t n = colon != NULL ? (size_t)(colon - listen) : strlen(listen);
    if (n >= 2 && listen[0] == '[' && listen[n - 1] == ']')
        listen++, n -= 2;
    snprintf(host, sizeof(host), "%.*s", (int)n, listen);
    return host_is_local(host);
}

/* --- relays ------------------------------------------------------------------------------- */

static const char *machine_name(struct arena *arena)
{
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    bool usable = name[0] != '\0' && name[0] != '-' &&
                  name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789.-")] == '\0';
    return usable ? arena_strdup(arena, name) : "localhost";
}

static bool is_clean(const char *text)
{
    for (; text != NULL && *text != '\0'; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return false;
    return true;
}

static void check_relay(struct config *config, size_t i, struct error_list *errors)
{
    struct config_relay *relay = &config->relays[i];
    char where[64];
    snprintf(where, sizeof(where), "relays[%zu].tls", i);
    decide_tls(relay, where, errors);
    snprintf(where, sizeof(where), "relays[%zu]", i);
    if (relay->hostname == NULL)
        relay->hostname = machine_name(config->arena);
    if (strcmp(relay->auth.mechanism, "none") == 0)
        relay->auth.username = NULL;
    else if (strcmp(relay->auth.mechanism, "auto") != 0 &&
             strcmp(relay->auth.mechanism, "plain") != 0 &&
             strcmp(relay->auth.mechanism, "login") != 0)
        error_list_add(errors, where,
                       "auth.mechanism \"%s\" is not supported yet: auto, plain, "
                       "login or none",
                       relay->auth.mechanism);
    if (relay->host == NULL || relay->host[0] == '\0')
        error_list_add(errors, where, "host is missing");
    else if (!is_clean(relay->host) || !is_clean(relay->hostname))
        error_list_add(errors, where, "host and hostname hold no spaces");
    bool login = relay->auth.username != NULL;
    if (login && relay->port == 25 && !relay->allow_port_25)
        error_list_add(errors, where,
                       "port 25 is for traffic between mail servers and commonly "
                       "blocked: use 587 with tls: starttls, or set "
                       "allow_port_25: true");
    if (login && relay->tls == CONFIG_TLS_NONE && relay->host != NULL &&
        !host_is_local(relay->host) && !relay->allow_plaintext_auth)
        error_list_add(errors, where,
                       "the password would go out in the clear: set tls: starttls "
                       "or tls: implicit, or allow_plaintext_auth: true");
    if (login && relay->host != NULL && host_is_local(relay->host))
        relay->allow_plaintext_auth = 1;
    for (size_t k = 0; k < i; k++)
        if (strcmp(relay->name, config->relays[k].name) == 0)
            error_list_add(errors, where, "two relays are named \"%s\"", relay->name);
}

static void check_api_key(const struct config *config, size_t i, struct error_list *errors)
{
    static const uint8_t none[32];
    char where[64];
    snprintf(where, sizeof(where), "api_keys[%zu]", i);
    if (config->api_keys[i].name == NULL)
        error_list_add(errors, where, "name is missing");
    if (memcmp(config->api_keys[i].sha256, none, sizeof(none)) == 0)
        error_list_add(errors, where,
                       "sha256, key or key_file is missing: postern key NAME makes "
                       "one");
}

void config_check(struct config *config, struct error_list *errors)
{
    for (size_t i = 0; i < config->n_relays; i++)
        check_relay(config, i, errors);
    for (size_t i = 0; i < config->n_api_keys; i++)
        check_api_key(config, i, errors);
    for (size_t i = 0; i < config->listen.n_items; i++)
        if (config->n_api_keys == 0 && !config->allow_anonymous &&
            !config_address_is_local(config->listen.items[i]))
            error_list_add(errors, "listen",
                           "others can reach %s: set an API key (POSTERN_API_KEY, or api_keys; "
                           "postern key NAME makes one), or allow_anonymous: true",
                           config->listen.items[i]);
    if (config->listen.n_items == 0)
        error_list_add(errors, "listen", "at least one address is wanted");
}
