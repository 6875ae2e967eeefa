#include "smtp/sasl.h"

#include <gsasl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What we speak, the preferred first. A mechanism that is not libgsasl's (XOAUTH2, OAUTHBEARER)
 * gets a row with its own `begin` and `step`. */
struct mechanism {
    const char *name;    /* its setting is the same in lower case */
    bool client_first;   /* RFC 4422, 3: has an initial response */
    bool reveals_secret; /* whoever listens has the password: TLS only */
    int (*begin)(struct sasl *sasl, const struct sasl_credentials *credentials, struct error *err);
    int (*step)(struct sasl *sasl, const char *challenge, struct buffer *out, struct error *err);
};

struct sasl {
    const struct mechanism *mechanism;
    Gsasl *library; /* one per login: nothing is shared between threads */
    Gsasl_session *session;
    bool done; /* everything was said: the server is to decide */
};

static int failed(int rc, const struct sasl *sasl, struct error *err)
{
    if (rc == GSASL_MALLOC_ERROR)
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    return error_set(err, ERR_PROTOCOL, "AUTH %s: %s", sasl->mechanism->name, gsasl_strerror(rc));
}

static int gsasl_begin(struct sasl *sasl, const struct sasl_credentials *credentials,
                       struct error *err)
{
    int rc = gsasl_init(&sasl->library);
    if (rc == GSASL_OK)
        rc = gsasl_client_start(sasl->library, sasl->mechanism->name, &sasl->session);
    if (rc == GSASL_OK)
        rc = gsasl_property_set(sasl->session, GSASL_AUTHID, credentials->user);
    if (rc == GSASL_OK)
        rc = gsasl_property_set(sasl->session, GSASL_PASSWORD,
                                credentials->password != NULL ? credentials->password : "");
    return rc == GSASL_OK ? 0 : failed(rc, sasl, err);
}

static int gsasl_exchange(struct sasl *sasl, const char *challenge, struct buffer *out,
                          struct error *err)
{
    if (sasl->done)
        return error_set(err, ERR_PROTOCOL, "AUTH %s: the server asks for more than there is",
                         sasl->mechanism->name);
    char *response = NULL;
    int rc = gsasl_step64(sasl->session, challenge, &response);
    if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
        return failed(rc, sasl, err);

    sasl->done = rc == GSASL_OK;
    int appended = buffer_append_str(out, response);
    explicit_bzero(response, strlen(response));
    gsasl_free(response);
    return appended == 0
               ? 0
               : error_set(err, ERR_AUTH_FAILED,
                           "the credentials do not fit into a line of %zu octets", out->limit);
}

static const struct mechanism MECHANISMS[] = {
    {"PLAIN", true, true, gsasl_begin, gsasl_exchange},
    {"LOGIN", false, true, gsasl_begin, gsasl_exchange},
};

enum { N_MECHANISMS = sizeof(MECHANISMS) / sizeof(MECHANISMS[0]) };

static bool list_has(const char *offered, const char *name)
{
    size_t len = strlen(name);
    while (*offered != '\0') {
        size_t n = strcspn(offered, " ");
        if (n == len && strncasecmp(offered, name, n) == 0)
            return true;
        offered += n + strspn(offered + n, " ");
    }
    return false;
}

static bool is_wanted(const struct mechanism *mechanism, const char *setting)
{
    return strcasecmp(setting, "auto") == 0 || strcasecmp(setting, mechanism->name) == 0;
}

/* NULL with the reason in `err`. */
static const struct mechanism *choose(const struct sasl_credentials *credentials,
                                      const char *offered, bool clear_allowed, struct error *err)
{
    const char *setting = credentials->mechanism != NULL ? credentials->mechanism : "auto";
    const struct mechanism *in_the_clear = NULL;
    for (const struct mechanism *m = MECHANISMS; m < MECHANISMS + N_MECHANISMS; m++) {
        if (!is_wanted(m, setting) || !list_has(offered, m->name))
            continue;
        if (!m->reveals_secret || clear_allowed)
            return m;
        in_the_clear = m;
    }
    if (in_the_clear != NULL)
        error_set(err, ERR_AUTH_NEEDS_TLS, "AUTH %s without TLS would show the password",
                  in_the_clear->name);
    else
        error_set(err, ERR_AUTH_MECHANISM_UNAVAILABLE,
                  "the server offers %s%s; wanted was auth.mechanism: %s",
                  offered[0] != '\0' ? "AUTH " : "no AUTH", offered, setting);
    return NULL;
}

int sasl_start(const struct sasl_credentials *credentials, const char *offered, bool clear_allowed,
               struct sasl **sasl_out, struct error *err)
{
    const struct mechanism *mechanism = choose(credentials, offered, clear_allowed, err);
    if (mechanism == NULL)
        return -1;
    CLEANUP(sasl_free) struct sasl *sasl = calloc(1, sizeof(*sasl));
    if (sasl == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", mechanism->name);
    sasl->mechanism = mechanism;
    if (mechanism->begin(sasl, credentials, err) < 0)
        return -1;
    *sasl_out = TAKE(sasl);
    return 0;
}

void sasl_free(struct sasl *sasl)
{
    if (sasl == NULL)
        return;
    if (sasl->session != NULL) { /* libgsasl frees its copy of the password without wiping it */
        char *secret = (char *)(uintptr_t)gsasl_property_fast(sasl->session, GSASL_PASSWORD);
        if (secret != NULL)
            explicit_bzero(secret, strlen(secret));
        gsasl_finish(sasl->session);
    }
    if (sasl->library != NULL)
        gsasl_done(sasl->library);
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
    return sasl->mechanism->step(sasl, challenge, out, err);
}

static int base64_value(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

/* Does the run of base64 characters at `s`, read from there on, hold `secret`? */
static bool base64_holds(const char *s, const char *secret)
{
    char octets[512];
    size_t len = 0;
    unsigned bits = 0, n_bits = 0;
    for (; base64_value(*s) >= 0 && len < sizeof(octets); s++) {
        bits = bits << 6 | (unsigned)base64_value(*s);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            octets[len++] = (char)(bits >> n_bits & 0xff);
        }
    }
    bool holds = len == sizeof(octets) || memmem(octets, len, secret, strlen(secret)) != NULL;
    explicit_bzero(octets, sizeof(octets));
    return holds;
}

bool sasl_text_reveals(const struct sasl_credentials *credentials, const char *text)
{
    const char *secret = credentials->password;
    if (credentials->user == NULL || secret == NULL || secret[0] == '\0')
        return false;
    if (strstr(text, secret) != NULL)
        return true;
    size_t in_run = 0; /* something may be glued to its front, so four alignments are read */
    for (const char *s = text; *s != '\0'; s++) {
        in_run = base64_value(*s) >= 0 ? in_run + 1 : 0;
        if (in_run >= 1 && in_run <= 4 && base64_holds(s, secret))
            return true;
    }
    return false;
}
