/*
 * OAUTHBEARER (RFC 7628) and XOAUTH2, which Google published before it and others took over: the
 * user and a bearer token in one response.
 *
 * A refusal comes in two steps: a challenge with JSON that says why, which wants an answer, and
 * then 535. Who does not answer is out of step with the server.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/sasl_engine.h"

struct bearer {
    const struct sasl_credentials *credentials;
    bool standard; /* OAUTHBEARER */
    bool said;
};

/* RFC 6750, 2.1. A control character would begin another field of the response. */
static bool is_b64token(const char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/");
    return n > 0 && s[n + strspn(s + n, "=")] == '\0';
}

static int begin(struct sasl *sasl, const struct sasl_offer *offer, struct error *err)
{
    const struct sasl_credentials *c = offer->credentials;
    if ((c->token != NULL && !is_b64token(c->token)) || strchr(c->user, '\x01') != NULL)
        return error_set(err, ERR_AUTH_FAILED, "AUTH %s: the token is none, or the user's name",
                         sasl->mechanism->name);
    struct bearer *b = sasl->state = calloc(1, sizeof(*b));
    if (b == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    b->credentials = c;
    b->standard = strcmp(sasl->mechanism->name, "OAUTHBEARER") == 0;
    return 0;
}

/* A saslname (RFC 5801, 4): '=' and ',' have a meaning in the header. */
static void append_saslname(struct buffer *out, const char *name)
{
    for (; *name != '\0'; name++)
        if (*name == '=')
            buffer_append_str(out, "=3D");
        else if (*name == ',')
            buffer_append_str(out, "=2C");
        else
            buffer_append_char(out, *name);
}

static void append_server(struct buffer *out, const struct sasl_credentials *c)
{
    char host[256];
    sasl_host_name(c, host);
    if (c->host != NULL)
        buffer_printf(out, "\x01host=%s", host);
    if (c->port != 0)
        buffer_printf(out, "\x01port=%u", c->port);
}

/* Piece by piece: buffer_printf() would leave a copy of the token in memory. */
static void append_response(const struct bearer *b, struct buffer *out)
{
    const struct sasl_credentials *c = b->credentials;
    if (b->standard) {
        buffer_append_str(out, "n,a=");
        append_saslname(out, c->user);
        buffer_append_str(out, ",");
    } else {
        buffer_append_str(out, "user=");
        buffer_append_str(out, c->user);
    }
    if (b->standard)
        append_server(out, c);
    buffer_append_str(out, "\x01"
                           "auth=Bearer ");
    buffer_append_str(out, c->token);
    buffer_append_str(out, "\x01\x01");
}

static int step(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                struct error *err)
{
    struct bearer *b = sasl->state;
    assert(b->credentials->token != NULL);
    if (!b->said)
        append_response(b, out);
    else if (b->standard)
        buffer_append_char(out, '\x01'); /* RFC 7628, 3.2.3; XOAUTH2 wants an empty line */
    sasl->done = b->said; /* now it may only say no, with what is read as any refusal is */
    b->said = true;
    return 0;
}

static void end(struct sasl *sasl)
{
    free(sasl->state);
}

const struct sasl_engine sasl_bearer = {begin, step, end};
