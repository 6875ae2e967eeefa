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
#include "base/loopback.h"
#include "base/nearest.h"
#include "config/check_oauth.h"
#include "config/ehlo_name.h"
#include "config/host.h"
#include "config/pem.h"
#include "config/proxy.h"
#include "config/service.h"

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

/* What is written of TLS, in one way or another. */
struct tls_said {
    const char *word;
    bool automatic, ambiguous; /* "auto", or nothing; "tls" */
    bool by_port;              /* the word alone does not decide */
    bool silent;               /* nothing is said at all */
    enum config_tls tls;       /* what it comes to if nothing is known of the port; AUTO: any */
};

static struct tls_said read_tls(const struct config_relay *relay)
{
    struct tls_said said = {.word = relay->tls_word != NULL ? relay->tls_word : "auto"};
    size_t i = 0;
    while (i < N_TLS_WORDS && strcasecmp(said.word, tls_words[i].word) != 0)
        i++;
    said.automatic = strcasecmp(said.word, "auto") == 0;
    said.ambiguous = strcasecmp(said.word, "tls") == 0;
    said.by_port = i == N_TLS_WORDS;
    said.silent = said.automatic && relay->secure < 0;
    said.tls = !said.by_port        ? tls_words[i].tls
               : relay->secure == 1 ? CONFIG_TLS_IMPLICIT
               : said.silent        ? CONFIG_TLS_AUTO
                                    : CONFIG_TLS_STARTTLS;
    return said;
}

static void note_from_service(struct config_relay *relay, const char *setting)
{
    relay->from_service.items[relay->from_service.n_items++] = setting;
}

/* The port of its service that fits what is said of port and TLS; NULL: none is known to. */
static const struct service_port *known_port(struct config_relay *relay,
                                             const struct tls_said *said)
{
    const struct service *service = relay->service != NULL ? service_find(relay->service) : NULL;
    const struct service_port *known =
        service != NULL ? service_port(service, relay->port, said->tls) : NULL;
    if (known != NULL && relay->port == 0)
        note_from_service(relay, "port");
    if (known != NULL && said->silent)
        note_from_service(relay, "tls");
    return known;
}

static void tell_tls_faults(const struct config_relay *relay, const struct tls_said *said,
                            bool known, const char *where, struct error_list *errors)
{
    if (said->by_port && !said->automatic && !said->ambiguous)
        error_list_add(errors, where, "\"%s\" is none of: implicit, starttls, none, auto",
                       said->word);
    else if (said->ambiguous && relay->port != 465 && relay->port != 587)
        error_list_add(errors, where,
                       "tls: tls means TLS from the first byte to some and STARTTLS to others: "
                       "write implicit (as on port 465) or starttls (as on port 587)");
    else if (said->automatic && relay->secure == 0 && relay->port != 587 && !known)
        error_list_add(errors, where,
                       "secure: false can mean STARTTLS or no TLS: write tls: starttls or tls: "
                       "none instead");
    else if ((relay->secure == 1 && relay->tls != CONFIG_TLS_IMPLICIT) ||
             (relay->secure == 0 && relay->tls == CONFIG_TLS_IMPLICIT))
        error_list_add(errors, where,
                       "secure: %s and tls: %s on port %u contradict each other: leave secure out",
                       relay->secure == 1 ? "true" : "false", said->word, relay->port);
}

/* The port too, where none is given: the service's; else 465 for TLS from the first byte, and
 * 587. */
static void decide_tls(struct config_relay *relay, const char *where, struct error_list *errors)
{
    const struct tls_said said = read_tls(relay);
    const struct service_port *known = known_port(relay, &said);
    if (relay->port == 0)
        relay->port = known != NULL ? known->port : said.tls == CONFIG_TLS_IMPLICIT ? 465 : 587;
    if (!said.by_port || (said.automatic && relay->secure == 1))
        relay->tls = said.tls;
    else if (said.automatic && known != NULL)
        relay->tls = known->tls;
    else
        relay->tls = tls_by_port(relay->port);
    tell_tls_faults(relay, &said, known != NULL, where, errors);
}

/* --- addresses ---------------------------------------------------------------------------- */

/* Can nobody but this machine reach it? "127.0.0.1:8080", "[::1]:80", "localhost:80", "unix:/p". */
static bool is_local(const char *listen)
{
    char host[256];
    if (strncmp(listen, "unix:", 5) == 0)
        return true;
    const char *colon = strrchr(listen, ':');
    size_t n = colon != NULL ? (size_t)(colon - listen) : strlen(listen);
    if (n >= 2 && listen[0] == '[' && listen[n - 1] == ']')
        listen++, n -= 2;
    snprintf(host, sizeof(host), "%.*s", (int)n, listen);
    return loopback_is(host);
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

/* What we say in EHLO. Where neither the file nor the machine has a name that the world may know,
 * it stays NULL: each connection then says the address it comes from. */
static void decide_hostname(struct config_relay *relay, size_t i, struct arena *arena,
                            struct error_list *errors)
{
    char where[64], machine[256] = "";
    if (relay->hostname == NULL) {
        gethostname(machine, sizeof(machine) - 1);
        relay->hostname = config_ehlo_name_of_machine(machine, arena);
        return;
    }
    const char *name = config_ehlo_name(relay->hostname, arena);
    snprintf(where, sizeof(where), "relays[%zu].hostname", i);
    if (name != NULL)
        relay->hostname = name;
    else
        error_list_add(errors, where,
                       "\"%s\" is no name to say in EHLO: write a domain name of letters, digits, "
                       "hyphens and dots, such as gw.example.com, or an IP address",
                       relay->hostname);
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

static const char *token_fault(const struct config_relay *relay, enum login_by by)
{
    if (by != BY_TOKEN && strcasecmp(relay->auth.mechanism, "auto") != 0)
        return "with oauth a token is the login: mechanism is auto, xoauth2 or oauthbearer";
    if (relay->auth.password != NULL)
        return "with oauth a token is the login: leave password out";
    if (relay->auth.username == NULL || relay->auth.username[0] == '\0')
        return "username is missing: the mailbox that the token is for";
    return NULL;
}

/* Why the login cannot be as it is written; NULL: it can. */
static const char *auth_fault(const struct config_relay *relay)
{
    size_t i = find_mechanism(relay->auth.mechanism);
    if (i == N_MECHANISMS)
        return "mechanism: write auto, plain, login, cram-md5, digest-md5, scram-sha-1, "
               "scram-sha-256, ntlm, gssapi, external, xoauth2, oauthbearer or none";
    if (relay->auth.oauth != NULL && mechanisms[i].by != BY_NOBODY)
        return token_fault(relay, mechanisms[i].by);
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
        return "mechanism: xoauth2 and oauthbearer log in by a token: set oauth to the name of an "
               "entry in oauth";
    }
    return NULL;
}

/* The refusals of contract section 2 that concern one relay's login. */
static void check_login(struct config_relay *relay, const char *where, struct error_list *errors)
{
    bool local = loopback_is(relay->host), token = relay->auth.oauth != NULL;
    bool secret = relay->auth.password != NULL || token;
    if (relay->port == 25 && !relay->allow_port_25)
        error_list_add(errors, where,
                       "port 25 is for traffic between mail servers and commonly blocked: use 587 "
                       "with tls: starttls, or set allow_port_25: true");
    if (relay->tls == CONFIG_TLS_NONE && secret && !local && !relay->allow_plaintext_auth)
        error_list_add(errors, where,
                       "the %s would go out in the clear: set tls: starttls or tls: implicit, or "
                       "allow_plaintext_auth: true",
                       token ? "token" : "password");
    if (local)
        relay->allow_plaintext_auth = 1;
}

/* "sha256/" and 32 octets in base64 (RFC 4648, 4), as it is made: no stray bits in its end. */
static bool is_pin(const char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (strncmp(text, "sha256/", 7) != 0)
        return false;
    text += 7;
    return strspn(text, alphabet) == 43 && strchr("AEIMQUYcgkosw048", text[42]) != NULL &&
           strcmp(text + 43, "=") == 0;
}

static void check_pins(const struct config_relay *relay, const char *where,
                       struct error_list *errors)
{
    const struct config_strings *pins = &relay->tls_options.pins;
    for (size_t i = 0; i < pins->n_items; i++)
        if (!is_pin(pins->items[i]))
            error_list_add(errors, where,
                           "pins: \"%s\" is no pin: write sha256/ and the SHA-256 of a public key "
                           "in base64 (44 characters)",
                           pins->items[i]);
    if (pins->n_items > 0 && relay->tls == CONFIG_TLS_NONE)
        error_list_add(errors, where,
                       "pins: with tls: none no key is shown: set tls: starttls or tls: implicit");
}

static void check_files(const struct config_relay *relay, const char *where,
                        struct error_list *errors)
{
    const char *ca_file = relay->tls_options.ca_file, *key = relay->tls_options.key;
    const char *certificate = relay->tls_options.certificate;
    struct error err;
    if (ca_file != NULL && config_pem_authorities(ca_file, &err) < 0)
        error_list_add(errors, where, "ca_file %s", err.detail);
    if (certificate != NULL && config_pem_certificate(certificate, &err) < 0)
        error_list_add(errors, where, "certificate %s", err.detail);
    else if (certificate != NULL &&
             config_pem_key(key != NULL ? key : certificate, certificate, &err) < 0)
        error_list_add(errors, where, "key %s", err.detail);
    if (relay->tls_options.key != NULL && relay->tls_options.certificate == NULL)
        error_list_add(errors, where, "key is given, but no certificate");
    if (strcmp(relay->tls_options.min_version, "1.2") != 0 &&
        strcmp(relay->tls_options.min_version, "1.3") != 0)
        error_list_add(errors, where, "min_version: write \"1.2\" or \"1.3\"");
}

/* Where connections come from, and what they lead through. */
static void check_way(struct config_relay *relay, size_t i, struct arena *arena,
                      struct error_list *errors)
{
    struct in6_addr address;
    struct error err;
    char where[64];
    snprintf(where, sizeof(where), "relays[%zu].proxy", i);
    if (relay->proxy_url != NULL &&
        config_proxy_parse(relay->proxy_url, arena, &relay->proxy, &err) < 0)
        error_list_add(errors, where, "%s", err.detail);
    snprintf(where, sizeof(where), "relays[%zu].source_address", i);
    if (relay->source_address != NULL && inet_pton(AF_INET, relay->source_address, &address) != 1 &&
        inet_pton(AF_INET6, relay->source_address, &address) != 1)
        error_list_add(errors, where,
                       "\"%s\" is not an IP address: write one of this machine's, such as "
                       "192.0.2.1 or 2001:db8::1",
                       relay->source_address);
}

static void check_name(const struct config *config, size_t i, const char *where,
                       struct error_list *errors)
{
    const char *name = config->relays[i].name;
    if (name[0] == '\0')
        error_list_add(errors, where, "name is empty");
    if (strcmp(name, "sandbox") == 0 && config->sandbox == CONFIG_SANDBOX_ON)
        error_list_add(errors, where,
                       "the sandbox has the name \"sandbox\": give the relay another, or set "
                       "sandbox: off");
    for (size_t k = 0; k < i; k++)
        if (strcmp(name, config->relays[k].name) == 0)
            error_list_add(errors, where, "two relays are named \"%s\": give each a name", name);
}

/* In place of what was written: what DNS and certificates know. */
static void check_host(const char **host, const char *where, struct arena *arena,
                       struct error_list *errors)
{
    struct error err;
    const char *name = config_host_of(*host, arena, &err);
    if (name != NULL)
        *host = name;
    else
        error_list_add(errors, where, "%s", err.detail);
}

static void check_hosts(struct config_relay *relay, size_t i, struct arena *arena,
                        struct error_list *errors)
{
    char where[64];
    snprintf(where, sizeof(where), "relays[%zu].host", i);
    if (relay->host != NULL && relay->host[0] != '\0')
        check_host(&relay->host, where, arena, errors);
    snprintf(where, sizeof(where), "relays[%zu].tls_options.server_name", i);
    if (relay->tls_options.server_name != NULL)
        check_host(&relay->tls_options.server_name, where, arena, errors);
    snprintf(where, sizeof(where), "relays[%zu].proxy", i);
    if (relay->proxy.kind != CONFIG_PROXY_NONE)
        check_host(&relay->proxy.host, where, arena, errors);
}

/* As compose files write what is not set. */
static void drop_empty_login(struct config_relay *relay)
{
    const char *user = relay->auth.username, *password = relay->auth.password;
    if (user != NULL && user[0] == '\0' && (password == NULL || password[0] == '\0') &&
        relay->auth.oauth == NULL)
        relay->auth.username = relay->auth.password = NULL;
    else if (user == NULL && password != NULL && password[0] == '\0')
        relay->auth.password = NULL;
}

static void check_relay(struct config *config, size_t i, struct error_list *errors)
{
    struct config_relay *relay = &config->relays[i];
    char where[64];
    snprintf(where, sizeof(where), "relays[%zu].tls", i);
    decide_tls(relay, where, errors);
    snprintf(where, sizeof(where), "relays[%zu].tls_options", i);
    check_files(relay, where, errors);
    check_pins(relay, where, errors);
    check_way(relay, i, config->arena, errors);
    check_hosts(relay, i, config->arena, errors);
    drop_empty_login(relay);
    config_find_oauth(config, i, errors);
    snprintf(where, sizeof(where), "relays[%zu].auth", i);
    const char *fault = auth_fault(relay);
    if (fault != NULL)
        error_list_add(errors, where, "%s", fault);
    if (strcasecmp(relay->auth.mechanism, "none") == 0)
        relay->auth.username = NULL;

    snprintf(where, sizeof(where), "relays[%zu]", i);
    decide_hostname(relay, i, config->arena, errors);
    check_name(config, i, where, errors);
    if (relay->host == NULL || relay->host[0] == '\0')
        error_list_add(errors, where, "host is missing");
    else if (logs_in(relay))
        check_login(relay, where, errors);
}

/* --- routes and keys ---------------------------------------------------------------------- */

static void check_relay_name(const struct config *config, const char *name, const char *where,
                             struct error_list *errors)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (size_t i = 0; i < config->n_relays; i++) {
        if (strcmp(name, config->relays[i].name) == 0)
            return;
        nearest_offer(&nearest, config->relays[i].name);
    }
    if (nearest.word != NULL)
        error_list_add(errors, where, "no relay is named \"%s\"; did you mean %s?", name,
                       nearest.word);
    else
        error_list_add(errors, where, "no relay is named \"%s\": write the name of one in relays",
                       name);
}

static void check_key_name(const struct config *config, const char *name, const char *where,
                           struct error_list *errors)
{
    for (size_t i = 0; i < config->n_api_keys; i++)
        if (config->api_keys[i].name != NULL && strcmp(name, config->api_keys[i].name) == 0)
            return;
    error_list_add(errors, where, "no API key is named \"%s\": write the name of one in api_keys",
                   name);
}

static void check_priority(const char *word, const char *where, struct error_list *errors)
{
    if (strcmp(word, "high") != 0 && strcmp(word, "normal") != 0 && strcmp(word, "low") != 0)
        error_list_add(errors, where, "\"%s\" is none of: high, normal, low", word);
}

/* What matches nothing would send mail where it was not meant to go: say so. */
static void check_patterns(const struct config_strings *patterns, const char *where,
                           struct error_list *errors)
{
    for (size_t i = 0; i < patterns->n_items; i++) {
        const char *pattern = patterns->items[i], *at = strrchr(pattern, '@');
        bool address = at != NULL && at != pattern && at[1] != '\0' && is_clean(pattern) &&
                       strchr(pattern + 1, '*') == NULL && (pattern[0] != '*' || at == pattern + 1);
        if (!address && strcmp(pattern, "*") != 0)
            error_list_add(errors, where,
                           "\"%s\" is no address: write name@example.com or *@example.com",
                           pattern);
    }
}

static void check_match(const struct config *config, size_t i, struct error_list *errors)
{
    const struct config_route *route = &config->routes[i];
    char where[64];
    snprintf(where, sizeof(where), "routes[%zu].match.from", i);
    check_patterns(&route->match.from, where, errors);
    snprintf(where, sizeof(where), "routes[%zu].match.to", i);
    check_patterns(&route->match.to, where, errors);
    snprintf(where, sizeof(where), "routes[%zu].match.api_key", i);
    for (size_t k = 0; k < route->match.api_key.n_items; k++)
        check_key_name(config, route->match.api_key.items[k], where, errors);
    snprintf(where, sizeof(where), "routes[%zu].match.priority", i);
    for (size_t k = 0; k < route->match.priority.n_items; k++)
        check_priority(route->match.priority.items[k], where, errors);
}

static void check_route(const struct config *config, size_t i, struct error_list *errors)
{
    const struct config_strings *relays = &config->routes[i].relays;
    char where[64];
    check_match(config, i, errors);
    snprintf(where, sizeof(where), "routes[%zu].relays", i);
    if (relays->n_items == 0)
        error_list_add(errors, where, "a route leads to at least one relay: write relays: [NAME]");
    if (relays->n_items > CONFIG_ROUTE_RELAYS_MAX)
        error_list_add(errors, where, "a route leads to at most %d relays",
                       CONFIG_ROUTE_RELAYS_MAX);
    for (size_t k = 0; k < relays->n_items; k++) {
        check_relay_name(config, relays->items[k], where, errors);
        for (size_t m = 0; m < k; m++)
            if (strcmp(relays->items[k], relays->items[m]) == 0)
                error_list_add(errors, where, "\"%s\" is in it twice: leave one out",
                               relays->items[k]);
    }
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
    snprintf(where, sizeof(where), "api_keys[%zu].relay", i);
    if (key->relay != NULL)
        check_relay_name(config, key->relay, where, errors);
}

static void check_listen(const struct config *config, struct error_list *errors)
{
    for (size_t i = 0; i < config->listen.n_items; i++) {
        const char *address = config->listen.items[i];
        if (!is_address(address))
            error_list_add(errors, "listen", "%s is none of host:port, [::1]:port, unix:/path",
                           address);
        else if (config->n_api_keys == 0 && !config->allow_anonymous && !is_local(address))
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
    config_check_secret_key(config, errors);
    for (size_t i = 0; i < config->n_oauth; i++)
        config_check_oauth(config, i, errors);
    for (size_t i = 0; i < config->n_relays; i++)
        check_relay(config, i, errors);
    for (size_t i = 0; i < config->n_api_keys; i++)
        check_api_key(config, i, errors);
    for (size_t i = 0; i < config->n_routes; i++)
        check_route(config, i, errors);
}
