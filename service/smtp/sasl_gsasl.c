/* The mechanisms that libgsasl does as we need them. */
#include <gsasl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/sasl_engine.h"

struct exchange {
    Gsasl *library; /* one per login: nothing is shared between threads */
    Gsasl_session *session;
};

static int failed(int rc, struct sasl *sasl, struct error *err)
{
    const char *name = sasl->mechanism->name;
    if (rc == GSASL_MALLOC_ERROR)
        return error_set(err, ERR_NOMEM, "AUTH %s", name);
    if (rc == GSASL_SASLPREP_ERROR) /* RFC 4013: not UTF-8, or control characters */
        return sasl_unusable(sasl, err, "it cannot carry the characters of this user or password");
    return error_set(err, ERR_PROTOCOL, "AUTH %s: %s", name, gsasl_strerror(rc));
}

static int set_property(Gsasl_session *session, Gsasl_property property, const char *value)
{
    return value != NULL ? gsasl_property_set(session, property, value) : GSASL_OK;
}

/* With EXTERNAL the certificate says who we are, and the user, if one is given, as whom we want to
 * act (RFC 4422, appendix A). */
static int set_properties(Gsasl_session *session, const struct sasl_credentials *c,
                          const char *mechanism)
{
    char host[256];
    bool external = strcmp(mechanism, "EXTERNAL") == 0;
    int rc = set_property(session, external ? GSASL_AUTHZID : GSASL_AUTHID, c->user);
    if (rc == GSASL_OK && !external)
        rc = set_property(session, GSASL_PASSWORD, c->password);
    if (rc == GSASL_OK)
        rc = set_property(session, GSASL_SERVICE, "smtp");
    sasl_host_name(c, host);
    if (rc == GSASL_OK)
        rc = set_property(session, GSASL_HOSTNAME, host);
    return rc;
}

static int begin(struct sasl *sasl, const struct sasl_offer *offer, struct error *err)
{
    const char *name = sasl->mechanism->name;
    struct exchange *x = sasl->state = calloc(1, sizeof(*x));
    if (x == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", name);
    int rc = gsasl_init(&x->library);
    if (rc == GSASL_OK)
        rc = gsasl_client_start(x->library, name, &x->session);
    if (rc == GSASL_OK)
        rc = set_properties(x->session, offer->credentials, name);
    return rc == GSASL_OK ? 0 : failed(rc, sasl, err);
}

static int step(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                struct error *err)
{
    struct exchange *x = sasl->state;
    char *response = NULL;
    size_t response_len = 0;
    int rc = gsasl_step(x->session, challenge, len, &response, &response_len);
    if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
        return failed(rc, sasl, err);
    sasl->done = rc == GSASL_OK;
    buffer_append(out, response, response_len);
    if (response != NULL)
        explicit_bzero(response, response_len);
    gsasl_free(response);
    return 0;
}

static void end(struct sasl *sasl)
{
    struct exchange *x = sasl->state;
    if (x->session != NULL) { /* libgsasl frees its copy of the password without wiping it */
        char *secret = (char *)(uintptr_t)gsasl_property_fast(x->session, GSASL_PASSWORD);
        if (secret != NULL)
            explicit_bzero(secret, strlen(secret));
        gsasl_finish(x->session);
    }
    if (x->library != NULL)
        gsasl_done(x->library);
    free(x);
}

const struct sasl_engine sasl_gsasl = {begin, step, end};
