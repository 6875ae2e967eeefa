#include "config/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
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

enum { N_TLS_WORDS = sizeof(tls_words) / sizeof(tls_words[0]) };

/* The port too, where none is given: 465 for TLS from the first byte, else 587. */
static void decide_tls(struct config_relay *relay, const char *where, struct error_list *errors)
{
    const char *word = relay->tls_word != NULL ? relay->tls_word : "auto";
    bool automatic = strcasecmp(word, "auto") == 0, ambiguous = strcasecmp(word, "tls") == 0;
    size_t i = 0;
    while (i < N_TLS_WORDS && strcasecmp(word, tls_words[i].word) != 0)
        i++;
    bool by_port = i == N_TLS_WORDS;
    bool implicit = by_port ? relay->secure == 1 : tls_words[i].tls == CONFIG_TLS_IMPLICIT;
    if (relay->port == 0)
        relay->port = implicit ? 465 : 587;
    relay->tls = !by_port                ? tls_words[i].tls
                 : automatic && implicit ? CONFIG_TLS_IMPLICIT
                                         : tls_by_port(relay->port);

    if (by_port && !automatic && !ambiguous)
        error_list_add(errors, where, "\"%s\" is none of: implicit, starttls, none, auto", word);
    else if (ambiguous && relay->port != 465 && relay->port != 587)
        error_list_add(errors, where,
                       "tls: tls means TLS from the first byte to some and STARTTLS to others: "
                       "write implicit (as on port 465) or starttls (as on port 587)");
    else if (automatic && relay->secure == 0 && relay->port != 587)
        error_list_add(errors, where,
                       "secure: false can mean STARTTLS or no TLS: write tls: starttls or tls: "
                       "none instead");
    else if ((relay->secure == 1 && relay->tls != CONFIG_TLS_IMPLICIT) ||
             (relay->secure == 0 && relay->tls == CONFIG_TLS_IMPLICIT))
        error_list_add(errors, where,
                       "secure: %s and tls: %s on port %u contradict each other: leave secure out",
                       relay->secure == 1 ? "true" : "false", word, relay->port);
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

/* What the server can listen on; whether it exists shows when it starts. */
static bool is_address(const char *listen)
{
    if (strncmp(listen, "unix:", 5) == 0)
        return listen[5] != '\0' &&
               strlen(listen + 5) < sizeof(((struct sockaddr_un *)0)->sun_path);
    const char *colon = strrchr(listen, ':');
    size_t n = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    return n > 0 && n <= 5 && colon[1 + n] == '\0' && strtoul(colon + 1, NULL, 10) <= UINT16_MAX;
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

/* What a login by each mechanism is made of. */
enum login_by { BY_NOBODY, BY_PASSWORD, BY_CERTIFICATE, BY_TICKET, BY_TOKEN };

static const struct {
    const char *word;
    enum login_by by;
} mechanisms[] = {
    {"auto", BY_PASSWORD},
    {"plain", BY_PASSWORD},
    {"login", BY_PASSWORD},
    {"cram-md5", BY_PASSWORD},
    {"digest-md5", BY_PASSWORD},
    {"scram-sha-1", BY_PASSWORD},
    {"scram-sha-256", BY_PASSWORD},
    {"scram-sha-1-plus", BY_PASSWORD},
    {"ntlm", BY_PASSWORD},
    {"scram-sha-256-plus", BY_PASSWORD},
    {"external", BY_CERTIFICATE},
    {"gssapi", BY_TICKET},
    {"xoauth2", BY_TOKEN},
    {"oauthbearer", BY_TOKEN},
    {"none", BY_NOBODY},
};

enum { N_MECHANISMS = sizeof(mechanisms) / sizeof(mechanisms[0]) };

/* N_MECHANISMS: there is none of that name. */
static size_t find_mechanism(const char *word)
{
    size_t i = 0;
    while (i < N_MECHANISMS && strcasecmp(word, mechanisms[i].word) != 0)
        i++;
    return i;
}

static bool logs_in(const struct config_relay *relay)
{
    size_t i = find_mechanism(relay->auth.mechanism);
    return relay->auth.username != NULL ||
           (i < N_MECHANISMS &&
            (mechanisms[i].by == BY_CERTIFICATE || mechanisms[i].by == BY_TICKET));
}

static const char *password_fault(const struct config_relay *relay)
{
    const char *user = relay->auth.username, *password = relay->auth.password;
    bool automatic = strcasecmp(relay->auth.mechanism, "auto") == 0;
    if (user == NULL && password == NULL && automatic)
        return NULL; /* no login is wanted */
    if (user == NULL || user[0] == '\0')
        return "username is missing";
    if (password == NULL || password[0] == '\0')
        return "password, or password_file, is missing";
    return NULL;
}

static const char *certificate_fault(const struct config_relay *relay)
{
    if (relay->auth.password != NULL)
        return "with mechanism: external the client certificate is the login: leave password out";
    if (relay->tls == CONFIG_TLS_NONE)
        return "mechanism: external logs in by a client certificate: set tls: starttls or tls: "
               "implicit";
    if (relay->tls_options.certificate == NULL)
        return "mechanism: external logs in by a client certificate: set tls_options.certificate "
               "and tls_options.key";
    return NULL;
}

/* Why the login cannot be as it is written; NULL: it can. */
static const char *auth_fault(const struct config_relay *relay)
{
    size_t i = find_mechanism(relay->auth.mechanism);
    if (i == N_MECHANISMS)
        return "mechanism: write auto, plain, login, cram-md5, digest-md5, scram-sha-1, "
               "scram-sha-256, ntlm, gssapi, external or none";
    switch (mechanisms[i].by) {
    case BY_NOBODY:
        return NULL;
    case BY_PASSWORD:
        return password_fault(relay);
    case BY_CERTIFICATE:
        return certificate_fault(relay);
    case BY_TICKET:
        return relay->auth.password != NULL
                   ? "with mechanism: gssapi the ticket cache (KRB5CCNAME) is the login: leave "
                     "password out"
                   : NULL;
    case BY_TOKEN:
        return "mechanism: xoauth2 and oauthbearer are not supported yet in this version";
    }
    return NULL;
}

/* The refusals of contract section 2 that concern one relay's login. */
static void check_login(struct config_relay *relay, const char *where, struct error_list *errors)
{
    bool local = host_is_local(relay->host), secret = relay->auth.password != NULL;
    if (relay->port == 25 && !relay->allow_port_25)
        error_list_add(errors, where,
                       "port 25 is for traffic between mail servers and commonly blocked: use 587 "
                       "with tls: starttls, or set allow_port_25: true");
    if (relay->tls == CONFIG_TLS_NONE && secret && !local && !relay->allow_plaintext_auth)
        error_list_add(errors, where,
                       "the password would go out in the clear: set tls: starttls or tls: "
                       "implicit, or allow_plaintext_auth: true");
    if (local)
        relay->allow_plaintext_auth = 1;
}

static void check_files(const struct config_relay *relay, const char *where,
                        struct error_list *errors)
{
    const struct {
        const char *name, *path;
    } files[] = {{"ca_file", relay->tls_options.ca_file},
                 {"certificate", relay->tls_options.certificate},
                 {"key", relay->tls_options.key}};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (files[i].path != NULL && access(files[i].path, R_OK) < 0)
            error_list_add(errors, where, "%s %s: %s", files[i].name, files[i].path,
                           strerror(errno));
    if (relay->tls_options.key != NULL && relay->tls_options.certificate == NULL)
        error_list_add(errors, where, "key is given, but no certificate");
    if (strcmp(relay->tls_options.min_version, "1.2") != 0 &&
        strcmp(relay->tls_options.min_version, "1.3") != 0)
        error_list_add(errors, where, "min_version: write \"1.2\" or \"1.3\"");
}

static void check_relay(struct config *config, size_t i, struct error_list *errors)
{
    struct config_relay *relay = &config->relays[i];
    char where[64];
    snprintf(where, sizeof(where), "relays[%zu].tls", i);
    decide_tls(relay, where, errors);
    snprintf(where, sizeof(where), "relays[%zu].tls_options", i);
    check_files(relay, where, errors);
    snprintf(where, sizeof(where), "relays[%zu].auth", i);
    const char *fault = auth_fault(relay);
    if (fault != NULL)
        error_list_add(errors, where, "%s", fault);
    if (strcasecmp(relay->auth.mechanism, "none") == 0)
        relay->auth.username = NULL;

    snprintf(where, sizeof(where), "relays[%zu]", i);
    if (relay->hostname == NULL)
        relay->hostname = machine_name(config->arena);
    if (relay->name[0] == '\0')
        error_list_add(errors, where, "name is empty");
    if (relay->host == NULL || relay->host[0] == '\0')
        error_list_add(errors, where, "host is missing");
    else if (!is_clean(relay->host) || !is_clean(relay->hostname) || relay->hostname[0] == '\0')
        error_list_add(errors, where, "host and hostname hold no spaces");
    else if (logs_in(relay))
        check_login(relay, where, errors);
    for (size_t k = 0; k < i; k++)
        if (strcmp(relay->name, config->relays[k].name) == 0)
            error_list_add(errors, where, "two relays are named \"%s\": give each a name",
                           relay->name);
}

static void check_api_key(const struct config *config, size_t i, struct error_list *errors)
{
    static const uint8_t none[32];
    const struct config_api_key *key = &config->api_keys[i];
    char where[64];
    snprintf(where, sizeof(where), "api_keys[%zu]", i);
    if (key->name == NULL || key->name[0] == '\0')
        error_list_add(errors, where, "name is missing");
    if (key->scopes == 0)
        error_list_add(errors, where, "scopes is empty: send, read, admin");
    if (key->key != NULL && key->key[0] == '\0')
        error_list_add(errors, where, "key is empty: postern key NAME makes one");
    if (memcmp(key->sha256, none, sizeof(none)) == 0)
        error_list_add(errors, where,
                       "sha256, key or key_file is missing: postern key NAME makes one");
}

static void check_listen(const struct config *config, struct error_list *errors)
{
    for (size_t i = 0; i < config->listen.n_items; i++) {
        const char *address = config->listen.items[i];
        if (!is_address(address))
            error_list_add(errors, "listen", "%s is none of host:port, [::1]:port, unix:/path",
                           address);
        else if (config->n_api_keys == 0 && !config->allow_anonymous &&
                 !config_address_is_local(address))
            error_list_add(errors, "listen",
                           "others can reach %s: set an API key (POSTERN_API_KEY, or api_keys; "
                           "postern key NAME makes one), or allow_anonymous: true",
                           address);
    }
    if (config->listen.n_items == 0)
        error_list_add(errors, "listen", "at least one address is wanted");
}

/* The value is not repeated: a URL may hold a password. */
static void check_store(const char *store, struct error_list *errors)
{
    bool sqlite = strncmp(store, "sqlite:", 7) == 0 && store[7] != '\0';
    if (strncmp(store, "postgres:", 9) == 0 || strncmp(store, "postgresql:", 11) == 0)
        error_list_add(errors, "queue.store", "PostgreSQL is not supported yet in this version");
    else if (!sqlite && strcmp(store, "memory:") != 0)
        error_list_add(errors, "queue.store", "write sqlite:PATH or memory:");
}

void config_check(struct config *config, struct error_list *errors)
{
    check_listen(config, errors);
    check_store(config->queue.store, errors);
    for (size_t i = 0; i < config->n_relays; i++)
        check_relay(config, i, errors);
    for (size_t i = 0; i < config->n_api_keys; i++)
        check_api_key(config, i, errors);
}
