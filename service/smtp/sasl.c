#include "smtp/sasl.h"

#include <gsasl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/extensions.h"

/* What `auto` tries, the strongest first. More mechanisms are more rows. */
static const struct mechanism {
    const char *word; /* in settings */
    const char *name; /* on the wire, and libgsasl's */
    bool client_first;
    bool plaintext; /* shows the password to whoever listens */
} mechanisms[] = {
    {"plain", "PLAIN", true, true},
    {"login", "LOGIN", false, true},
};

struct sasl {
    Gsasl *context;
    Gsasl_session *session;
    const struct mechanism *mechanism;
};

static bool is_wanted(const struct sasl_credentials *credentials, const struct mechanism *m)
{
    return credentials->mechanism == NULL || strcasecmp(credentials->mechanism, "auto") == 0 ||
           strcasecmp(credentials->mechanism, m->word) == 0;
}

static const struct mechanism *choose(const struct sasl_credentials *credentials,
                                      const char *offered)
{
    struct smtp_extensions extensions = {0};
    strncpy(extensions.auth, offered, sizeof(extensions.auth) - 1);
    for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
        if (is_wanted(credentials, &mechanisms[i]) &&
            smtp_extensions_offer_auth(&extensions, mechanisms[i].name))
            return &mechanisms[i];
    return NULL;
}

int sasl_start(const struct sasl_credentials *credentials, const char *offered, bool tls,
               bool allow_plaintext, struct sasl **sasl_out, struct error *err)
{
    const struct mechanism *mechanism = choose(credentials, offered);
    const char *wanted = credentials->mechanism != NULL ? credentials->mechanism : "auto";
    if (mechanism == NULL)
        return error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE, "wanted %s, the server offers %s",
                         wanted, offered[0] != '\0' ? offered : "no login at all");
    if (mechanism->plaintext && !tls && !allow_plaintext)
        return error_set(err, ERR_AUTH_NEEDS_TLS, "%s would send the password in the clear",
                         mechanism->name);

    struct sasl *sasl = calloc(1, sizeof(*sasl));
    if (sasl == NULL)
        return error_set(err, ERR_NOMEM, "login");
    sasl->mechanism = mechanism;
    if (gsasl_init(&sasl->context) != GSASL_OK ||
        gsasl_client_start(sasl->context, mechanism->name, &sasl->session) != GSASL_OK) {
        sasl_free(sasl);
        return error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE, "%s cannot be started",
                         mechanism->name);
    }
    if (gsasl_property_set(sasl->session, GSASL_AUTHID, credentials->user) != GSASL_OK ||
        gsasl_property_set(sasl->session, GSASL_PASSWORD,
                           credentials->password != NULL ? credentials->password : "") !=
            GSASL_OK) {
        sasl_free(sasl);
        return error_set(err, ERR_NOMEM, "login");
    }
    *sasl_out = sasl;
    return 0;
}

void sasl_free(struct sasl *sasl)
{
    if (sasl == NULL)
        return;
    if (sasl->session != NULL)
        gsasl_finish(sasl->session); /* wipes its properties */
    if (sasl->context != NULL)
        gsasl_done(sasl->context);
    free(sasl);
}

const char *sasl_mechanism(const struct sasl *sasl)
{
    return sasl->mechanism->name;
}

bool sasl_client_first(const struct sasl *sasl)
{
    return sasl->mechanism->client_first;
}

int sasl_step(struct sasl *sasl, const char *challenge, struct buffer *out, struct error *err)
{
    char *response = NULL;
    int rc = gsasl_step64(sasl->session, challenge != NULL ? challenge : "", &response);
    if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
        return error_set(err, rc == GSASL_BASE64_ERROR ? ERR_PROTOCOL : ERR_AUTH_FAILED, "%s: %s",
                         sasl->mechanism->name, gsasl_strerror(rc));
    size_t len = strlen(response);
    int appended = buffer_append(out, response, len);
    explicit_bzero(response, len);
    gsasl_free(response);
    return appended == 0 ? 0 : error_set(err, ERR_PROTOCOL, "login: the response is too long");
}
