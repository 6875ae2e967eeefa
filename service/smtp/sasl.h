#ifndef POSTERN_SMTP_SASL_H
#define POSTERN_SMTP_SASL_H

/* One login's exchange (RFC 4954), by libgsasl. No I/O; secrets are wiped on free. */

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

struct sasl_credentials {
    const char *mechanism; /* "auto" or a name: "plain", "scram-sha-256" */
    const char *user;      /* NULL: no login at all */
    const char *password;  /* NULL: none (EXTERNAL, GSSAPI) */
    const char *domain;    /* of NTLM; NULL: none */
    const char *host;      /* the server's name: digest-uri, GSSAPI's service */
    const char *token;     /* of XOAUTH2 and OAUTHBEARER; NULL: none */
};

/* What a -PLUS mechanism binds the login to (RFC 5929, RFC 9266), in base64; "": none to be had. */
struct sasl_binding {
    char tls_exporter[64], tls_unique[64];
};

struct sasl;

/*
 * Choose a mechanism both sides have (`offered`: smtp_extensions.auth) and start it.
 * ERR_AUTH_MECHANISM_UNAVAILABLE names what the server offers and what was wanted;
 * ERR_AUTH_NEEDS_TLS if a secret would go out in the clear and that is not allowed (for TLS is up,
 * or the user said so).
 */
int sasl_start(const struct sasl_credentials *credentials, const char *offered, bool clear_allowed,
               struct sasl **sasl_out, struct error *err);
void sasl_free(struct sasl *sasl);
DEFINE_CLEANUP(struct sasl *, sasl_free)

const char *sasl_mechanism(const struct sasl *sasl); /* "PLAIN" */
bool sasl_client_first(const struct sasl *sasl);     /* has an initial response */

/* One step: the server's challenge (base64, as it stood behind "334 "; NULL for the initial
 * response) to our response in base64, appended to `out`. `out` then holds a secret: wipe it when
 * sent. ERR_PROTOCOL: the challenge makes no sense. */
int sasl_step(struct sasl *sasl, const char *challenge, struct buffer *out, struct error *err);

/* Does `text` repeat the password, as it is or inside something in base64? Servers quote the
 * command they did not like; such a text is not to be shown. */
bool sasl_text_reveals(const struct sasl_credentials *credentials, const char *text);

#endif
