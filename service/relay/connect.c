#include "relay/connect.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)CONFIG_EXTENSION_CHUNKING == (int)SMTP_EXTENSION_CHUNKING &&
                   (int)CONFIG_EXTENSION_PIPELINING == (int)SMTP_EXTENSION_PIPELINING &&
                   (int)CONFIG_EXTENSION_SMTPUTF8 == (int)SMTP_EXTENSION_SMTPUTF8 &&
                   (int)CONFIG_EXTENSION_8BITMIME == (int)SMTP_EXTENSION_8BITMIME &&
                   (int)CONFIG_EXTENSION_DSN == (int)SMTP_EXTENSION_DSN &&
                   (int)CONFIG_EXTENSION_SIZE == (int)SMTP_EXTENSION_SIZE,
               "the settings' bits are the dialogue's");

static enum session_tls session_tls_of(enum config_tls tls)
{
    switch (tls) {
    case CONFIG_TLS_IMPLICIT:
        return SESSION_TLS_IMPLICIT;
    case CONFIG_TLS_STARTTLS:
        return SESSION_TLS_STARTTLS;
    case CONFIG_TLS_NONE:
        return SESSION_TLS_NONE;
    case CONFIG_TLS_AUTO:
        return SESSION_TLS_AUTO;
    }
    return SESSION_TLS_STARTTLS;
}

static struct session_proxy proxy_of(const struct config_proxy *proxy)
{
    if (proxy->kind == CONFIG_PROXY_NONE)
        return (struct session_proxy){0};
    return (struct session_proxy){
        .http = proxy->kind == CONFIG_PROXY_HTTP,
        .host = proxy->host,
        .port = proxy->port,
        .user = proxy->user,
        .password = proxy->password,
    };
}

/* "none" is how a user says that there is to be no login, whatever else is given. */
static struct sasl_credentials credentials_of(const struct config_relay *relay)
{
    if (strcmp(relay->auth.mechanism, "none") == 0)
        return (struct sasl_credentials){.mechanism = relay->auth.mechanism, .host = relay->host};
    return (struct sasl_credentials){
        .mechanism = relay->auth.mechanism,
        .user = relay->auth.username,
        .password = relay->auth.password,
        .domain = relay->auth.domain,
        .host = relay->host,
        .port = relay->port,
        .bearer = relay->auth.oauth != NULL,
    };
}

void connect_settings(const struct config_relay *relay, struct session_settings *settings_out)
{
    *settings_out = (struct session_settings){
        .host = relay->host,
        .port = relay->port,
        .proxy = proxy_of(&relay->proxy),
        .source_address = relay->source_address,
        .tls = session_tls_of(relay->tls),
        .smtp = {.hostname = relay->hostname,
                 .without = relay->without, /* the same bits */
                 .tls_verified = relay->tls_options.verify != 0,
                 .allow_plaintext_auth = relay->allow_plaintext_auth != 0,
                 .window = (unsigned)relay->window,
                 .credentials = credentials_of(relay),
                 .timeouts = {.greeting = relay->timeouts.greeting_ms,
                              .command = relay->timeouts.command_ms,
                              .data = relay->timeouts.data_ms,
                              .final = relay->timeouts.final_ms}},
        .connect_timeout_ms = relay->timeouts.connect_ms,
        .tls_timeout_ms = relay->timeouts.tls_ms,
    };
}

/* --- TLS ---------------------------------------------------------------------------------- */

static int min_version(const char *word, int *version_out, struct error *err)
{
    if (word == NULL || strcmp(word, "1.2") == 0)
        *version_out = TLS1_2_VERSION;
    else if (strcmp(word, "1.3") == 0)
        *version_out = TLS1_3_VERSION;
    else
        return error_set(err, ERR_CONFIG, "tls_options.min_version: write \"1.2\" or \"1.3\"");
    return 0;
}

/* Ended by NULL, as the transport takes them; the caller frees. */
static const char **list_of_pins(const struct config_strings *pins)
{
    const char **list = calloc(pins->n_items + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < pins->n_items; i++)
        list[i] = pins->items[i];
    return list;
}

int connect_tls_new(const struct config_relay *relay, struct reloader *reloader,
                    struct transport_tls *like, struct transport_tls **tls_out, struct error *err)
{
    if (relay->tls == CONFIG_TLS_NONE) {
        *tls_out = NULL;
        return 0;
    }
    const char *name = relay->tls_options.server_name;
    struct transport_tls_settings settings = {
        .ca_file = relay->tls_options.ca_file,
        .certificate = relay->tls_options.certificate,
        .key = relay->tls_options.key,
        .server_name = name != NULL ? name : relay->host,
        .verify = relay->tls_options.verify != 0,
        .reloader = reloader,
        .like = like,
    };
    if (min_version(relay->tls_options.min_version, &settings.min_version, err) < 0)
        return -1;
    const char **pins = list_of_pins(&relay->tls_options.pins);
    if (pins == NULL)
        return error_set(err, ERR_NOMEM, "TLS context");
    settings.pins = pins[0] != NULL ? pins : NULL;
    int rc = transport_tls_new(&settings, tls_out, err);
    free(pins);
    return rc;
}

/* --- diagnosis ---------------------------------------------------------------------------- */

const char *connect_tls_word(enum config_tls tls)
{
    switch (tls) {
    case CONFIG_TLS_IMPLICIT:
        return "implicit";
    case CONFIG_TLS_STARTTLS:
        return "starttls";
    case CONFIG_TLS_NONE:
        return "none";
    case CONFIG_TLS_AUTO:
        return "auto";
    }
    return "auto";
}

void connect_diagnosis(const struct config_relay *relay, struct diagnosis_context *context_out)
{
    *context_out = (struct diagnosis_context){
        .host = relay->host,
        .port = relay->port,
        .tls = connect_tls_word(relay->tls),
        .mechanism = relay->auth.mechanism,
        .oauth = relay->auth.oauth,
        .min_version = relay->tls_options.min_version,
        .proxy = relay->proxy.kind != CONFIG_PROXY_NONE ? relay->proxy.host : NULL,
    };
}
