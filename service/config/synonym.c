#include "config/synonym.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

enum { NAME_SIZE = 48, PREFIX_MIN = 3 };

/* As nodemailer, PHPMailer, Spring, Django, Rails, msmtp, Grafana and the like write them. */
static const struct {
    const char *section, *name, *setting;
} synonyms[] = {
    {"relays[]", "user", "auth.username"},
    {"relays[]", "login", "auth.username"},
    {"relays[]", "email", "auth.username"},
    {"relays[]", "account", "auth.username"},
    {"relays[]", "smtpuser", "auth.username"},
    {"relays[]", "emailhostuser", "auth.username"},
    {"relays[]", "pass", "auth.password"},
    {"relays[]", "passwd", "auth.password"},
    {"relays[]", "pwd", "auth.password"},
    {"relays[]", "secret", "auth.password"},
    {"relays[]", "apikey", "auth.password"},
    {"relays[]", "smtppass", "auth.password"},
    {"relays[]", "smtppassword", "auth.password"},
    {"relays[]", "emailhostpassword", "auth.password"},
    {"relays[]", "authtype", "auth.mechanism"},
    {"relays[]", "authmethod", "auth.mechanism"},
    {"relays[]", "authentication", "auth.mechanism"},
    {"relays[]", "type", "auth.mechanism"},
    {"relays[]", "method", "auth.mechanism"},
    {"relays[]", "oauth2", "auth.oauth"},
    {"relays[]", "xoauth2", "auth.oauth"},
    {"relays[]", "server", "host"},
    {"relays[]", "address", "host"},
    {"relays[]", "smtphost", "host"},
    {"relays[]", "smtpserver", "host"},
    {"relays[]", "emailhost", "host"},
    {"relays[]", "mailhost", "host"},
    {"relays[]", "smarthost", "host"},
    {"relays[]", "smtpport", "port"},
    {"relays[]", "emailport", "port"},
    {"relays[]", "ssl", "tls"},
    {"relays[]", "security", "tls"},
    {"relays[]", "encryption", "tls"},
    {"relays[]", "smtpsecure", "tls"},
    {"relays[]", "secureconnection", "tls"},
    {"relays[]", "starttls", "tls"},
    {"relays[]", "enablestarttlsauto", "tls"},
    {"relays[]", "requiretls", "tls"},
    {"relays[]", "ignoretls", "tls"},
    {"relays[]", "usetls", "tls"},
    {"relays[]", "usessl", "tls"},
    {"relays[]", "emailusetls", "tls"},
    {"relays[]", "emailusessl", "tls"},
    {"relays[]", "ca", "tls_options.ca_file"},
    {"relays[]", "cafile", "tls_options.ca_file"},
    {"relays[]", "tlstrustfile", "tls_options.ca_file"},
    {"relays[]", "cert", "tls_options.certificate"},
    {"relays[]", "certfile", "tls_options.certificate"},
    {"relays[]", "keyfile", "tls_options.key"},
    {"relays[]", "rejectunauthorized", "tls_options.verify"},
    {"relays[]", "skipverify", "tls_options.verify"},
    {"relays[]", "insecure", "tls_options.verify"},
    {"relays[]", "minversion", "tls_options.min_version"},
    {"relays[]", "pool", "connections.max"},
    {"relays[]", "maxconnections", "connections.max"},
    {"relays[]", "maxmessages", "connections.max_messages"},
    {"relays[]", "ratelimit", "rate.messages"},
    {"relays[]", "helo", "hostname"},
    {"relays[]", "ehlo", "hostname"},
    {"relays[]", "heloname", "hostname"},
    {"relays[]", "ehloname", "hostname"},
    {"relays[]", "ehloidentity", "hostname"},
    {"relays[]", "localhostname", "hostname"},
    {"relays[]", "clienthostname", "hostname"},
    {"relays[]", "connectiontimeout", "timeouts.connect"},
    {"relays[]", "opentimeout", "timeouts.connect"},
    {"relays[]", "greetingtimeout", "timeouts.greeting"},
    {"relays[]", "sockettimeout", "timeouts.command"},
    {"relays[]", "readtimeout", "timeouts.command"},
    {"relays[]", "localaddress", "source_address"},
    {"relays[]", "bindaddress", "source_address"},
    {"", "port", "listen"},
    {"", "bind", "listen"},
    {"", "address", "listen"},
    {"", "addr", "listen"},
    {"", "relay", "relays"},
    {"", "transport", "relays"},
    {"", "apikey", "api_keys"},
    {"", "tokens", "api_keys"},
    {"", "database", "queue.store"},
    {"", "loglevel", "log.level"},
    {"", "logformat", "log.format"},
    {"", "logging", "log"},
    {"api_keys[]", "token", "key"},
    {"api_keys[]", "secret", "key"},
    {"api_keys[]", "hash", "sha256"},
    {"api_keys[]", "permissions", "scopes"},
    {"api_keys[]", "roles", "scopes"},
    {"oauth[]", "client", "client_id"},
    {"oauth[]", "appid", "client_id"},
    {"oauth[]", "secret", "client_secret"},
    {"oauth[]", "tokenuri", "token_url"},
    {"oauth[]", "tokenendpoint", "token_url"},
    {"oauth[]", "accessurl", "token_url"},
    {"oauth[]", "authuri", "authorize_url"},
    {"oauth[]", "scopes", "scope"},
    {"oauth[]", "granttype", "grant"},
    {"oauth[]", "type", "grant"},
    {"oauth[]", "privatekey", "private_key_file"},
    {"oauth[]", "serviceaccount", "service_account_file"},
};

/* The last part of a path, in lower case, letters and digits alone. */
static void plain(const char *path, char out[NAME_SIZE])
{
    const char *dot = strrchr(path, '.');
    size_t n = 0;
    for (const char *s = dot != NULL ? dot + 1 : path; *s != '\0' && n + 1 < NAME_SIZE; s++)
        if (*s != '_' && *s != '-')
            out[n++] = (char)tolower((unsigned char)*s);
    out[n] = '\0';
}

/* The one setting whose name is `name`, or begins so; NULL: none, or several. */
static const char *find_by_name(const struct section *section, const char *name, bool whole)
{
    const char *found = NULL;
    for (size_t i = 0; i < section->n_settings; i++) {
        char known[NAME_SIZE];
        plain(section->settings[i].path, known);
        if (whole ? strcmp(known, name) != 0 : strncmp(known, name, strlen(name)) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = section->settings[i].path;
    }
    return found;
}

const char *synonym_find(const struct section *section, const char *path)
{
    char name[NAME_SIZE];
    plain(path, name);
    for (size_t i = 0; i < sizeof(synonyms) / sizeof(synonyms[0]); i++)
        if (strcmp(synonyms[i].section, section->path) == 0 && strcmp(synonyms[i].name, name) == 0)
            return synonyms[i].setting;
    const char *same = find_by_name(section, name, true);
    return same != NULL || strlen(name) < PREFIX_MIN ? same : find_by_name(section, name, false);
}
