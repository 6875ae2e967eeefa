#include "smtp/sasl.h"

#include <gsasl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/sasl_engine.h"

enum { OCTETS_MAX = 12288 / 4 * 3 }; /* of a line of base64 (RFC 4954, 4) */

/* --- who fits what ------------------------------------------------------------------------ */

static bool has_password(const struct sasl_offer *offer, bool named)
{
    const struct sasl_credentials *c = offer->credentials;
    return c->user != NULL && c->password != NULL && !c->bearer;
}

static bool has_token(const struct sasl_offer *offer, bool named)
{
    const struct sasl_credentials *c = offer->credentials;
    return c->user != NULL && (c->token != NULL || c->bearer);
}

static bool has_binding(const struct sasl_offer *offer, bool named)
{
    return has_password(offer, named) &&
           (offer->binding->tls_exporter[0] != '\0' || offer->binding->tls_unique[0] != '\0');
}

static bool has_domain(const struct sasl_offer *offer, bool named)
{
    const struct sasl_credentials *c = offer->credentials;
    return has_password(offer, named) && (c->domain != NULL || strchr(c->user, '\\') != NULL) &&
           sasl_ntlm_installed();
}

static bool is_named(const struct sasl_offer *offer, bool named)
{
    return named;
}

/* The preferred first. NTLM stands in it twice: for a user with a domain it goes before what shows
 * the password; without one it is a guess, for where there is nothing else. */
static const struct sasl_mechanism MECHANISMS[] = {
    {"OAUTHBEARER", &sasl_bearer, has_token, .client_first = true, .reveals_secret = true,
     .prompted = true},
    {"XOAUTH2", &sasl_bearer, has_token, .client_first = true, .reveals_secret = true,
     .prompted = true},
    {"SCRAM-SHA-256-PLUS", &sasl_scram, has_binding, .client_first = true, .proves_server = true},
    {"SCRAM-SHA-256", &sasl_scram, has_password, .client_first = true, .proves_server = true},
    {"SCRAM-SHA-1-PLUS", &sasl_scram, has_binding, .client_first = true, .proves_server = true},
    {"SCRAM-SHA-1", &sasl_scram, has_password, .client_first = true, .proves_server = true},
    {"DIGEST-MD5", &sasl_gsasl, has_password, .proves_server = true},
    {"CRAM-MD5", &sasl_cram, has_password},
    {"NTLM", &sasl_ntlm, has_domain, .client_first = true, .goes_alone = true},
    {"PLAIN", &sasl_gsasl, has_password, .client_first = true, .reveals_secret = true},
    {"LOGIN", &sasl_gsasl, has_password, .reveals_secret = true, .prompted = true},
    {"NTLM", &sasl_ntlm, has_password, .client_first = true, .goes_alone = true},
    {"EXTERNAL", &sasl_gsasl, is_named, .client_first = true},
    {"GSSAPI", &sasl_krb5, is_named, .client_first = true, .proves_server = true},
};

enum { N_MECHANISMS = sizeof(MECHANISMS) / sizeof(MECHANISMS[0]) };

/* --- the choice --------------------------------------------------------------------------- */

bool sasl_wanted(const struct sasl_credentials *credentials)
{
    const char *mechanism = credentials->mechanism != NULL ? credentials->mechanism : "auto";
    return credentials->user != NULL || strcasecmp(mechanism, "external") == 0 ||
           strcasecmp(mechanism, "gssapi") == 0;
}

bool sasl_automatic(const struct sasl_credentials *credentials)
{
    return credentials->mechanism == NULL || strcasecmp(credentials->mechanism, "auto") == 0;
}

static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);
    while (*list != '\0') {
        size_t n = strcspn(list, " ");
        if (n == len && strncasecmp(list, name, n) == 0)
            return true;
        list += n + strspn(list + n, " ");
    }
    return false;
}

/* A name means its -PLUS too: the same login, only bound to the connection. */
static bool is_meant(const char *setting, const struct sasl_mechanism *mechanism)
{
    size_t len = strlen(setting);
    return strncasecmp(mechanism->name, setting, len) == 0 &&
           (mechanism->name[len] == '\0' || strcmp(mechanism->name + len, "-PLUS") == 0);
}

static void tell_why_none(const struct sasl_offer *offer, const char *setting,
                          const struct sasl_mechanism *in_the_clear,
                          const struct sasl_mechanism *unfit, struct error *err)
{
    if (in_the_clear != NULL)
        error_set(err, ERR_AUTH_NEEDS_TLS, "AUTH %s without TLS would show the %s",
                  in_the_clear->name, in_the_clear->fits == has_token ? "token" : "password");
    else if (unfit != NULL)
        error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE, "nothing to use AUTH %s with: %s",
                  unfit->name,
                  unfit->fits == has_token     ? "there is no token"
                  : unfit->fits == has_binding ? "this connection gives nothing to bind a login to"
                                               : "there is no password");
    else if (offer->credentials->bearer)
        error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE,
                  "the server offers %s%s; wanted is a login by token (%s)",
                  offer->mechanisms[0] != '\0' ? "AUTH " : "no AUTH", offer->mechanisms,
                  strcasecmp(setting, "auto") == 0 ? "OAUTHBEARER, XOAUTH2" : setting);
    else
        error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE,
                  "the server offers %s%s; wanted was auth.mechanism: %s",
                  offer->mechanisms[0] != '\0' ? "AUTH " : "no AUTH", offer->mechanisms, setting);
}

/* The best of those from `from` on. NULL with the reason in `err`. */
static const struct sasl_mechanism *choose(const struct sasl_offer *offer,
                                           const struct sasl_mechanism *from, bool clear_allowed,
                                           struct error *err)
{
    const char *setting =
        offer->credentials->mechanism != NULL ? offer->credentials->mechanism : "auto";
    bool named = !sasl_automatic(offer->credentials);
    const struct sasl_mechanism *in_the_clear = NULL, *unfit = NULL;
    for (const struct sasl_mechanism *m = from; m < MECHANISMS + N_MECHANISMS; m++) {
        if ((named && !is_meant(setting, m)) || !list_has(offer->mechanisms, m->name))
            continue;
        if (!m->fits(offer, named))
            unfit = named ? m : NULL;
        else if (!m->reveals_secret || clear_allowed)
            return m;
        else
            in_the_clear = m;
    }
    tell_why_none(offer, setting, in_the_clear, unfit, err);
    return NULL;
}

void sasl_host_name(const struct sasl_credentials *credentials, char out[256])
{
    const char *host = credentials->host != NULL ? credentials->host : "localhost";
    size_t len = strnlen(host, 255);
    len -= len > 1 && host[len - 1] == '.';
    memcpy(out, host, len);
    out[len] = '\0';
}

/* --- the exchange ------------------------------------------------------------------------- */

static int begin(const struct sasl_mechanism *mechanism, const struct sasl_offer *offer,
                 struct sasl **sasl_out, struct error *err)
{
    CLEANUP(sasl_free) struct sasl *sasl = calloc(1, sizeof(*sasl));
    if (sasl == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", mechanism->name);
    sasl->mechanism = mechanism;
    if (mechanism->engine->begin(sasl, offer, err) < 0)
        return -1;
    *sasl_out = TAKE(sasl);
    return 0;
}

/* One that cannot be used with these credentials (NTLM and a password that is no text), or is not
 * installed, stands in nobody's way. */
int sasl_start(const struct sasl_credentials *credentials, const struct sasl_binding *binding,
               const char *offered, bool clear_allowed, struct sasl **sasl_out, struct error *err)
{
    static const struct sasl_binding none;
    const struct sasl_offer offer = {credentials, binding != NULL ? binding : &none, offered};
    const struct sasl_mechanism *mechanism = choose(&offer, MECHANISMS, clear_allowed, err);
    while (mechanism != NULL) {
        struct error ignored;
        if (begin(mechanism, &offer, sasl_out, err) == 0)
            return 0;
        bool its_own = err->code == ERR_AUTH_FAILED || err->code == ERR_AUTH_MECHANISM_UNAVAILABLE;
        mechanism = its_own && sasl_automatic(credentials)
                        ? choose(&offer, mechanism + 1, clear_allowed, &ignored)
                        : NULL;
    }
    return -1;
}

void sasl_free(struct sasl *sasl)
{
    if (sasl != NULL && sasl->state != NULL)
        sasl->mechanism->engine->end(sasl);
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

bool sasl_goes_alone(const struct sasl *sasl)
{
    return sasl->mechanism->goes_alone;
}

bool sasl_is_bound(const struct sasl *sasl)
{
    return sasl->mechanism->fits == has_binding;
}

bool sasl_challenges(const struct sasl *sasl)
{
    return !sasl->mechanism->reveals_secret;
}

bool sasl_is_unusable(const struct sasl *sasl)
{
    return sasl->unusable;
}

int sasl_unusable(struct sasl *sasl, struct error *err, const char *why)
{
    sasl->unusable = true;
    return error_set(err, ERR_AUTH_FAILED, "AUTH %s: %s", sasl->mechanism->name, why);
}

bool sasl_waits(const struct sasl *sasl)
{
    return sasl->mechanism->engine->waits;
}

static int append_base64(struct buffer *out, const struct buffer *octets, struct error *err)
{
    if (octets->len == 0)
        return 0;
    size_t len = (octets->len + 2) / 3 * 4;
    if (len + 1 > out->limit - out->len) /* and a NUL, which is not counted */
        return error_set(err, ERR_AUTH_FAILED, "a response of %zu octets does not fit into a line",
                         octets->len);
    char *to = buffer_reserve(out, len + 1);
    if (to == NULL)
        return error_set(err, ERR_NOMEM, "response of %zu octets", len);
    EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)octets->data, (int)octets->len);
    buffer_grown(out, len);
    return 0;
}

/* `octets` has room for the longest response from the start: growing would leave copies of a
 * secret behind. */
static int respond(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                   struct error *err)
{
    struct buffer octets;
    buffer_init(&octets, OCTETS_MAX);
    if (buffer_reserve(&octets, OCTETS_MAX) == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    int rc = sasl->mechanism->engine->step(sasl, challenge, len, &octets, err);
    if (rc == 0 && octets.failed)
        rc = sasl_unusable(sasl, err, "the credentials do not fit into a line");
    if (rc == 0)
        rc = append_base64(out, &octets, err);
    explicit_bzero(octets.data, octets.size);
    buffer_clear(&octets);
    return rc;
}

int sasl_step(struct sasl *sasl, const char *challenge, struct buffer *out, struct error *err)
{
    const char *name = sasl->mechanism->name;
    if (sasl->done)
        return error_set(err, ERR_PROTOCOL, "AUTH %s: the server asks for more than there is",
                         name);
    if (challenge == NULL)
        return respond(sasl, NULL, 0, out, err);
    if (sasl->mechanism->prompted)
        return respond(sasl, "", 0, out, err);
    char *octets = NULL;
    size_t len = 0;
    int rc = gsasl_base64_from(challenge, strlen(challenge), &octets, &len);
    if (rc == GSASL_MALLOC_ERROR)
        return error_set(err, ERR_NOMEM, "AUTH %s", name);
    if (rc != GSASL_OK || len > OCTETS_MAX) {
        gsasl_free(octets);
        return error_set(err, ERR_PROTOCOL, "AUTH %s: a challenge that is not base64, or too long",
                         name);
    }
    rc = respond(sasl, octets, len, out, err);
    gsasl_free(octets);
    return rc;
}

int sasl_accept(const struct sasl *sasl, struct error *err)
{
    if (!sasl->mechanism->proves_server || sasl->done)
        return 0;
    return error_set(err, ERR_PROTOCOL,
                     "AUTH %s: the server says yes without the proof that it knows the password",
                     sasl->mechanism->name);
}
