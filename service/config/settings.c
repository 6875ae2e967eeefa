#include "config/settings.h"

#include <string.h>

#include "config/config.h"

static const char *const sandbox_words[] = {"auto", "on", "off", NULL};
static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_words[] = {"logfmt", "json", NULL};
static const char *const in_doubt_words[] = {"retry", "hold", NULL};
static const char *const provider_words[] = {"custom",   "google", "microsoft", "yahoo",
                                             "fastmail", "aol",    NULL};
static const char *const grant_words[] = {"refresh_token", "client_credentials", "jwt_bearer",
                                          "token_file", NULL};
static const char *const client_auth_words[] = {"basic", "post", NULL};

static const char *const extension_words[] = {"chunking", "pipelining", "smtputf8", "8bitmime",
                                              "dsn",      "size",       NULL};

#define AT(member) offsetof(struct config, member)
static const struct setting top[] = {
    {"listen", SETTING_STRINGS, AT(listen), "127.0.0.1:8080",
     "Where HTTP is served: host:port, [::1]:port, unix:/path; a list is fine."},
    {"allow_anonymous", SETTING_BOOLEAN, AT(allow_anonymous), "false",
     "Serve without API keys on an address that others can reach."},
    {"http.max_body", SETTING_SIZE, AT(http.max_body), "32MiB", "The largest request body."},
    {"http.max_connections", SETTING_INTEGER, AT(http.max_connections), "1024",
     "HTTP connections at once.", NULL, 1, 100000},
    {"http.timeouts.header", SETTING_DURATION, AT(http.header_ms), "10s",
     "Within which a request's header must be in.", NULL, 1},
    {"http.timeouts.body", SETTING_DURATION, AT(http.body_ms), "60s",
     "Within which its body must be in.", NULL, 1},
    {"http.timeouts.idle", SETTING_DURATION, AT(http.idle_ms), "60s",
     "How long a connection may wait for its next request.", NULL, 1},
    {"http.memory", SETTING_SIZE, AT(http.memory), "256MiB",
     "Bodies held at once; over it requests get 503."},
    {"queue.store", SETTING_STRING, AT(queue.store), "sqlite:/var/lib/postern/queue.db",
     "sqlite:PATH (its folder must exist) or memory:."},
    {"queue.retry", SETTING_DURATIONS, AT(queue.retry_ms), "30s 1m 2m 5m 10m 20m 30m 1h",
     "The waits between attempts; the last repeats; each +-20 %."},
    {"queue.max_age", SETTING_DURATION, AT(queue.max_age_ms), "72h",
     "After which what is not delivered has failed.", NULL, 1},
    {"queue.retention.content", SETTING_DURATION, AT(queue.retain_content_ms), "0s",
     "How long contents stay after the end."},
    {"queue.retention.record", SETTING_DURATION, AT(queue.retain_record_ms), "7d",
     "How long records and idempotency keys stay after the end."},
    {"queue.min_free", SETTING_SIZE, AT(queue.min_free), "64MiB",
     "With less free space on the store's disk no mail is taken in."},
    {"queue.in_memory", SETTING_SIZE, AT(queue.in_memory), "64MiB",
     "Contents of ready messages held in memory."},
    {"secret_key", SETTING_SECRET, AT(secret_key), NULL,
     "What the grants of oauth are stored encrypted with: 32 octets in hexadecimal or base64. If "
     "not given one is made and kept beside the queue.",
     .file_offset = AT(secret_key_file)},
    {"sandbox", SETTING_WORD, AT(sandbox), "auto",
     "The receiver inside; auto: on when no relay is configured.", sandbox_words},
    {"drain", SETTING_DURATION, AT(drain_ms), "25s",
     "How long transactions under way may take when the gateway ends."},
    {"log.level", SETTING_WORD, AT(log_level), "info", "debug, info, warn or error.", level_words},
    {"log.format", SETTING_WORD, AT(log_format), "logfmt", "logfmt or json.", format_words},
};
#undef AT

#define AT(member) offsetof(struct config_api_key, member)
static const struct setting api_key[] = {
    {"name", SETTING_STRING, AT(name), NULL, "Whose key it is; shown in logs and records."},
    {"sha256", SETTING_SHA256, AT(sha256), NULL, "SHA-256 of the key, in hex."},
    {"key", SETTING_SECRET, AT(key), NULL, "The key itself, instead of sha256."},
    {"scopes", SETTING_SCOPES, AT(scopes), "send read", "send, read, admin (implies the others)."},
    {"from", SETTING_STRINGS, AT(from), NULL, "Senders it may use: a@b, *@b. None: any."},
    {"to", SETTING_STRINGS, AT(to), NULL, "Recipients it may use. None: any."},
    {"relay", SETTING_STRING, AT(relay), NULL,
     "The relay that all its mail goes through, whatever the routes say."},
};
#undef AT

#define AT(member) offsetof(struct config_relay, member)
static const struct setting relay[] = {
    {"name", SETTING_STRING, AT(name), "default", "Its name in logs, metrics and records."},
    {"service", SETTING_STRING, AT(service), NULL,
     "A well-known service: fills in what is not given here. postern check --services lists them."},
    {"host", SETTING_STRING, AT(host), NULL, "Host name or IP address."},
    {"port", SETTING_PORT, AT(port), NULL,
     "TCP port; if not given 465 for tls: implicit, else 587."},
    {"tls", SETTING_STRING, AT(tls_word), NULL,
     "implicit (TLS first), starttls (required), none, or auto."},
    {"secure", SETTING_BOOLEAN, AT(secure), NULL,
     "As other clients say it: true is tls: implicit, false on port 587 is tls: starttls."},
    {"tls_options.ca_file", SETTING_STRING, AT(tls_options.ca_file), NULL,
     "Certificate authorities to trust, PEM; the system's if not given."},
    {"tls_options.certificate", SETTING_STRING, AT(tls_options.certificate), NULL,
     "Our certificate, PEM."},
    {"tls_options.key", SETTING_STRING, AT(tls_options.key), NULL, "Its key, PEM."},
    {"tls_options.min_version", SETTING_STRING, AT(tls_options.min_version), "1.2",
     "\"1.2\" or \"1.3\"."},
    {"tls_options.server_name", SETTING_STRING, AT(tls_options.server_name), NULL,
     "The name the certificate must have; host if not given."},
    {"tls_options.verify", SETTING_BOOLEAN, AT(tls_options.verify), "true",
     "Verify the certificate. false only for tests."},
    {"tls_options.pins", SETTING_STRINGS, AT(tls_options.pins), NULL,
     "sha256/BASE64 of public keys, one of which the server must show, besides what is verified."},
    {"auth.mechanism", SETTING_STRING, AT(auth.mechanism), "auto",
     "auto (the best that both sides have), none, or one of: plain, login, cram-md5, digest-md5, "
     "scram-sha-1, scram-sha-256, ntlm, gssapi, external, xoauth2, oauthbearer."},
    {"auth.username", SETTING_STRING, AT(auth.username), NULL, "User of the login."},
    {"auth.password", SETTING_SECRET, AT(auth.password), NULL, "Its password.",
     .file_offset = AT(auth.password_file)},
    {"auth.domain", SETTING_STRING, AT(auth.domain), NULL, "Domain of the user; for ntlm."},
    {"auth.oauth", SETTING_STRING, AT(auth.oauth), NULL,
     "Name of the entry in oauth whose token is the login, instead of a password."},
    {"connections.max", SETTING_INTEGER, AT(connections.max), "4", "Connections at once.", NULL, 1,
     1000},
    {"connections.idle", SETTING_DURATION, AT(connections.idle_ms), "30s",
     "After which an idle connection is closed; 0: never."},
    {"connections.max_messages", SETTING_INTEGER, AT(connections.max_messages), "100",
     "Messages on one connection; 0: no bound.", NULL, 0, 1000000000},
    {"connections.lifetime", SETTING_DURATION, AT(connections.lifetime_ms), "300s",
     "Age of a connection; 0: no bound."},
    {"window", SETTING_INTEGER, AT(window), "16",
     "Most messages under way on a connection; 1: the next waits for the reply to the last.", NULL,
     1, 1000},
    {"max_recipients", SETTING_INTEGER, AT(max_recipients), "0",
     "Most recipients of one transaction; 0: as the server says.", NULL, 0, 100000},
    {"rate.messages", SETTING_RATES, AT(rate.messages), NULL,
     "Most messages: 100/s, 30/m, 1000/h, 10000/d; a list is fine, [] is no bound."},
    {"rate.recipients", SETTING_RATES, AT(rate.recipients), NULL, "The same for recipients."},
    {"proxy", SETTING_URL, AT(proxy_url), NULL,
     "The way to the relay: socks5://user:password@host:port or http://host:port (CONNECT)."},
    {"source_address", SETTING_STRING, AT(source_address), NULL,
     "IP address of this machine that connections come from."},
    {"hostname", SETTING_STRING, AT(hostname), NULL,
     "Our name in EHLO; if not given the machine's if it has a dot, else the connection's "
     "address."},
    {"without", SETTING_WORDS, AT(without), NULL,
     "Extensions not to be used though the server offers them: chunking, pipelining, smtputf8, "
     "8bitmime, dsn, size; a list is fine.",
     extension_words},
    {"timeouts.connect", SETTING_DURATION, AT(timeouts.connect_ms), "10s", "For DNS and TCP.", NULL,
     1},
    {"timeouts.tls", SETTING_DURATION, AT(timeouts.tls_ms), "15s", "For the TLS handshake.", NULL,
     1},
    {"timeouts.greeting", SETTING_DURATION, AT(timeouts.greeting_ms), "30s", "For the greeting.",
     NULL, 1},
    {"timeouts.command", SETTING_DURATION, AT(timeouts.command_ms), "60s",
     "For the reply to a command.", NULL, 1},
    {"timeouts.data", SETTING_DURATION, AT(timeouts.data_ms), "120s",
     "For the reply to DATA, and for each piece of content to go out.", NULL, 1},
    {"timeouts.final", SETTING_DURATION, AT(timeouts.final_ms), "600s",
     "For the reply to the content.", NULL, 1},
    {"on_in_doubt", SETTING_WORD, AT(on_in_doubt), "retry",
     "retry (a duplicate is possible) or hold.", in_doubt_words},
    {"allow_port_25", SETTING_BOOLEAN, AT(allow_port_25), "false", "Allow a login on port 25."},
    {"allow_plaintext_auth", SETTING_BOOLEAN, AT(allow_plaintext_auth), "false",
     "Allow a password to go out without TLS."},
};
#undef AT

#define AT(member) offsetof(struct config_route, member)
static const struct setting route[] = {
    {"match.from", SETTING_STRINGS, AT(match.from), NULL,
     "Senders (the header's From): a@b, *@b; a list is fine. None: any."},
    {"match.to", SETTING_STRINGS, AT(match.to), NULL, "Recipients, likewise."},
    {"match.tag", SETTING_STRINGS, AT(match.tag), NULL, "Tags, one of which it has. None: any."},
    {"match.api_key", SETTING_STRINGS, AT(match.api_key), NULL,
     "Names of the API keys it came with. None: any."},
    {"match.priority", SETTING_STRINGS, AT(match.priority), NULL, "high, normal, low. None: any."},
    {"relays", SETTING_STRINGS, AT(relays), NULL, "Names of relays, in the order they are tried."},
};
#undef AT

#define AT(member) offsetof(struct config_oauth, member)
static const struct setting oauth[] = {
    {"name", SETTING_STRING, AT(name), NULL, "What auth.oauth of relays, and postern login, name."},
    {"provider", SETTING_WORD, AT(provider), "custom",
     "google, microsoft, yahoo, fastmail, aol: fills in what is not given of the URLs and scope.",
     provider_words},
    {"grant", SETTING_WORD, AT(grant), "refresh_token",
     "refresh_token (a person logs in once), client_credentials, jwt_bearer (Google's service "
     "accounts) or token_file (somebody else renews it).",
     grant_words},
    {"tenant", SETTING_STRING, AT(tenant), NULL, "Microsoft's directory: its id or domain."},
    {"cloud", SETTING_STRING, AT(cloud), "global", "Of Microsoft: global, us or china."},
    {"client_id", SETTING_STRING, AT(client_id), NULL, "The application, as it is registered."},
    {"client_secret", SETTING_SECRET, AT(client_secret), NULL, "Its secret.",
     .file_offset = AT(client_secret_file)},
    {"client_auth", SETTING_WORD, AT(client_auth), NULL,
     "Where the secret goes: basic (the header) or post (the body); the provider's way, or basic, "
     "if not given.",
     client_auth_words},
    {"private_key_file", SETTING_STRING, AT(private_key_file), NULL,
     "PEM; instead of a secret the application signs who it is, and with jwt_bearer what it asks."},
    {"certificate_file", SETTING_STRING, AT(certificate_file), NULL,
     "PEM; the key's certificate, which Microsoft wants named."},
    {"key_id", SETTING_STRING, AT(key_id), NULL, "The key's id (kid), where there is one."},
    {"refresh_token", SETTING_SECRET, AT(refresh_token), NULL,
     "The first one, if it was not obtained by postern login."},
    {"subject", SETTING_STRING, AT(subject), NULL, "With jwt_bearer: whose mailbox it is."},
    {"service_account_file", SETTING_STRING, AT(service_account_file), NULL,
     "With jwt_bearer: Google's JSON file of the service account."},
    {"token_url", SETTING_STRING, AT(token_url), NULL, "Where tokens are obtained."},
    {"device_url", SETTING_STRING, AT(device_url), NULL,
     "Where postern login asks for a code that a person types in elsewhere."},
    {"authorize_url", SETTING_STRING, AT(authorize_url), NULL,
     "Where postern login sends a person's browser."},
    {"scope", SETTING_STRING, AT(scope), NULL, "What the token is to be good for."},
    {"token_file", SETTING_STRING, AT(token_file), NULL,
     "With grant: token_file: where the token stands; read again when it changes."},
    {"ca_file", SETTING_STRING, AT(ca_file), NULL,
     "Certificate authorities of these URLs, PEM; the system's if not given."},
    {"proxy", SETTING_URL, AT(proxy), NULL,
     "The way to these URLs: http://host:port or socks5://host:port. The environment's is not "
     "taken."},
};
#undef AT

#define SECTION(path, table, type)                                                                 \
    {                                                                                              \
        path, table, sizeof(table) / sizeof(table[0]), sizeof(type)                                \
    }
const struct section section_top = SECTION("", top, struct config);
const struct section section_api_key = SECTION("api_keys[]", api_key, struct config_api_key);
const struct section section_relay = SECTION("relays[]", relay, struct config_relay);
const struct section section_route = SECTION("routes[]", route, struct config_route);
const struct section section_oauth = SECTION("oauth[]", oauth, struct config_oauth);

bool setting_has_twin(const struct setting *setting)
{
    return setting->type == SETTING_SECRET || setting->type == SETTING_URL;
}

const char *setting_is_planned(const char *section, const char *path)
{
    static const char *const planned[] = {
        "dkim", "templates", "webhooks", "hooks", "http.tls", "api_keys[]rate",
    };
    for (size_t i = 0; i < sizeof(planned) / sizeof(planned[0]); i++) {
        size_t n = strlen(section);
        if (strncmp(planned[i], section, n) == 0 && strcmp(planned[i] + n, path) == 0)
            return planned[i];
    }
    return NULL;
}
