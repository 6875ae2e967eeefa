#ifndef POSTERN_CONFIG_CONFIG_H
#define POSTERN_CONFIG_CONFIG_H

/*
 * The checked settings: what came of the YAML file, the environment and the defaults. Read-only
 * once loaded. One table (settings.c) describes every setting; this is what it fills.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"

enum config_tls { CONFIG_TLS_IMPLICIT, CONFIG_TLS_STARTTLS, CONFIG_TLS_NONE, CONFIG_TLS_AUTO };
enum config_sandbox { CONFIG_SANDBOX_AUTO, CONFIG_SANDBOX_ON, CONFIG_SANDBOX_OFF };

/* So many in so long a time: "30/m" is 30 in 60,000 ms. */
struct config_rate {
    int64_t n, per_ms;
};

struct config_rates {
    struct config_rate *items;
    size_t n_items;
};

struct config_strings {
    const char **items;
    size_t n_items;
};

enum config_scope { SCOPE_SEND = 1, SCOPE_READ = 2, SCOPE_ADMIN = 4 };

struct config_api_key {
    const char *name;
    uint8_t sha256[32]; /* of the key */
    const char *key;    /* as it was given, if it was */
    unsigned scopes;    /* enum config_scope; admin implies the others; default send and read */
    struct config_strings from; /* allow-lists; empty: any */
    struct config_strings to;
    const char *relay; /* its mail goes through this one; NULL: by the routes */
};

/* The way to a relay leads through it. */
enum config_proxy_kind { CONFIG_PROXY_NONE, CONFIG_PROXY_SOCKS5, CONFIG_PROXY_HTTP };

struct config_proxy {
    enum config_proxy_kind kind;
    const char *host;
    uint16_t port;
    const char *user, *password; /* NULL: none; the password is a secret */
};

struct config_relay {
    const char *name;
    const char *service;                /* which filled in what was not given; NULL: none */
    struct config_strings from_service; /* the settings that it filled in */
    const char *host;
    uint16_t port;
    enum config_tls tls;  /* AUTO only where the port does not decide */
    const char *tls_word; /* as it was written */
    int secure;           /* the same said as a boolean; -1: not said */
    struct {
        const char *ca_file, *certificate, *key, *server_name; /* server_name: host by default */
        const char *min_version;
        struct config_strings pins; /* "sha256/BASE64" of a SubjectPublicKeyInfo; empty: none */
        int verify;
    } tls_options;
    struct {
        const char *mechanism;     /* "auto", or one by its name: "scram-sha-256"; "none" */
        const char *username;      /* NULL: no login */
        const char *password;      /* secret */
        const char *password_file; /* where it was read from; NULL: it was given as it is */
        const char *domain;        /* of NTLM; NULL: none */
        const char *oauth;         /* name of an oauth entry; NULL: none */
        ptrdiff_t oauth_index;     /* into config->oauth; -1: none */
    } auth;
    struct {
        int64_t max, max_messages; /* max_messages 0: no bound */
        int64_t idle_ms, lifetime_ms;
    } connections;
    int64_t window;         /* most transactions in flight on a connection */
    int64_t max_recipients; /* of one transaction; 0: as the server says */
    struct {
        struct config_rates messages, recipients;
    } rate;
    const char *proxy_url; /* as it was written; secret */
    struct config_proxy proxy;
    const char *source_address; /* IP address connections come from; NULL: the system's choice */
    const char *hostname;       /* EHLO; the machine's name by default */
    struct {
        int64_t connect_ms, tls_ms, greeting_ms, command_ms, data_ms, final_ms;
    } timeouts;
    int on_in_doubt; /* 0: retry, 1: hold */
    int allow_port_25, allow_plaintext_auth;
};

enum { CONFIG_ROUTE_RELAYS_MAX = 16 };

enum config_oauth_provider {
    CONFIG_OAUTH_CUSTOM,
    CONFIG_OAUTH_GOOGLE,
    CONFIG_OAUTH_MICROSOFT,
    CONFIG_OAUTH_YAHOO,
    CONFIG_OAUTH_FASTMAIL,
    CONFIG_OAUTH_AOL,
};

enum config_oauth_grant {
    CONFIG_OAUTH_REFRESH_TOKEN,
    CONFIG_OAUTH_CLIENT_CREDENTIALS,
    CONFIG_OAUTH_JWT_BEARER,
    CONFIG_OAUTH_TOKEN_FILE,
};

enum config_oauth_client_auth { /* how the client says who it is: RFC 6749, 2.3.1 */
                                CONFIG_OAUTH_CLIENT_UNSAID = -1, /* as the provider likes it */
                                CONFIG_OAUTH_CLIENT_BASIC,
                                CONFIG_OAUTH_CLIENT_POST,
};

/* What a provider gives is filled in; what was written wins. */
struct config_oauth {
    const char *name;
    int provider, grant, client_auth; /* the enums above */
    const char *tenant, *cloud;       /* of Microsoft; cloud: "global", "us", "china" */
    const char *client_id;
    const char *client_secret;        /* secret; NULL: none */
    const char *client_secret_file;   /* where it was read from; NULL: it was given as it is */
    const char *private_key_file;     /* a signed client assertion instead (RFC 7523, 2.2) */
    const char *certificate_file;     /* its certificate: x5t#S256 of the assertion; NULL: none */
    const char *key_id;               /* kid; NULL: none */
    const char *refresh_token;        /* secret; the first one; newer ones are in the vault */
    const char *subject;              /* jwt_bearer: on whose behalf */
    const char *service_account_file; /* Google's JSON */
    const char *token_url, *device_url, *authorize_url;
    const char *scope;      /* NULL: none is sent */
    const char *token_file; /* grant token_file */
    const char *ca_file;    /* of the endpoints; NULL: the system's */
    const char *proxy;      /* to the endpoints; secret; NULL: none */
};

/* First match wins. A list that is empty matches all. */
struct config_route {
    struct {
        struct config_strings from, to, tag, api_key, priority;
    } match;
    struct config_strings relays; /* names, in the order they are tried */
};

struct config {
    struct config_strings listen; /* "127.0.0.1:8080", "[::1]:8080", "unix:/path" */
    int allow_anonymous;
    struct {
        uint64_t max_body;
        int64_t max_connections;
        int64_t header_ms, body_ms, idle_ms;
        uint64_t memory;
    } http;
    struct config_api_key *api_keys;
    size_t n_api_keys;
    struct config_relay *relays;
    size_t n_relays;
    struct config_route *routes;
    size_t n_routes;
    struct config_oauth *oauth;
    size_t n_oauth;
    struct {
        const char *store;
        int64_t *retry_ms;
        size_t n_retry;
        int64_t max_age_ms, retain_content_ms, retain_record_ms;
        uint64_t min_free, in_memory;
    } queue;
    const char *secret_key; /* secret; what is kept of grants is encrypted with it; NULL: one is
                               made and kept beside the queue */
    const char *secret_key_file; /* where it was read from; NULL: it was given as it is */
    int sandbox;                 /* enum config_sandbox */
    int64_t drain_ms;
    int log_level;       /* enum log_level */
    int log_format;      /* enum log_format */
    struct arena *arena; /* owns all of the above */
};

/*
 * `path` NULL: POSTERN_CONFIG, else /etc/postern/postern.yaml if it exists, else none. `environ_`
 * is "NAME=value" strings ended by NULL. Every fault at once in `errors` (`where` is
 * "relays[0].tls", the detail has file and line and the nearest known key): of YAML the first; if
 * there is none, those of single settings; if there are none, those of settings together.
 */
int config_load(const char *path, const char *const *environ_, struct config **config_out,
                struct error_list *errors);
void config_free(struct config *config); /* wipes the secrets */
DEFINE_CLEANUP(struct config *, config_free)

/* What was understood, as YAML with secrets masked. */
void config_print(const struct config *config, FILE *out);
/* The reference of all settings, from the table, as Markdown. */
void config_print_reference(FILE *out);
/* The well-known services, likewise. */
void config_print_services(FILE *out);

#endif
