#ifndef POSTERN_SMTP_SASL_ENGINE_H
#define POSTERN_SMTP_SASL_ENGINE_H

/* What sasl.c chooses from and drives. The files sasl_*.c hold an engine or two each; only sasl.c
 * knows base64 and the table of mechanisms. */

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "smtp/credentials.h"

struct sasl;

struct sasl_offer { /* what a login can be made of */
    const struct sasl_credentials *credentials;
    const struct sasl_binding *binding; /* never NULL; its members may be "" */
    const char *mechanisms;             /* the server's, joined by one space */
};

struct sasl_engine {
    /* Sets `sasl->state`, which may be half-built when it fails. */
    int (*begin)(struct sasl *sasl, const struct sasl_offer *offer, struct error *err);
    /* `challenge` is decoded, and NULL for the initial response. Appends the response, and sets
     * `sasl->done` once everything is said and proven. What does not fit into `out` is the
     * caller's to notice (`out->failed`). */
    int (*step)(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                struct error *err);
    void (*end)(struct sasl *sasl); /* wipes; not called if there is no state */
    bool waits; /* a step may take long; the state then borrows nothing of the offer */
};

struct sasl_mechanism {
    const char *name; /* its setting is the same in lower case */
    const struct sasl_engine *engine;
    /* Are there credentials for it? `named`: it was asked for by name. */
    bool (*fits)(const struct sasl_offer *offer, bool named);
    bool client_first;   /* RFC 4422, 3: has an initial response */
    bool goes_alone;     /* ... which waits for a first challenge whose text means nothing */
    bool prompted;       /* what challenges say does not matter: they may be in plain words */
    bool reveals_secret; /* whoever listens has the password: TLS only */
    bool proves_server;  /* no success without the server's own proof */
};

struct sasl {
    const struct sasl_mechanism *mechanism;
    void *state; /* the engine's */
    bool done;
    bool unusable; /* a step failed for the credentials, or for what is missing here */
};

extern const struct sasl_engine sasl_gsasl;  /* PLAIN LOGIN DIGEST-MD5 EXTERNAL */
extern const struct sasl_engine sasl_cram;   /* CRAM-MD5 */
extern const struct sasl_engine sasl_scram;  /* SCRAM-SHA-1, SCRAM-SHA-256, and -PLUS */
extern const struct sasl_engine sasl_bearer; /* OAUTHBEARER XOAUTH2 */
extern const struct sasl_engine sasl_krb5;   /* GSSAPI */
extern const struct sasl_engine sasl_ntlm;   /* NTLM, version 2 */

bool sasl_ntlm_installed(void);

/* The server's name without the dot that it may end with in DNS; "localhost" if it is not known. */
void sasl_host_name(const struct sasl_credentials *credentials, char out[256]);

/* A step's failure that is not the server's: with these credentials, or on this machine, it cannot
 * be done. ERR_AUTH_FAILED. */
int sasl_unusable(struct sasl *sasl, struct error *err, const char *why);

#endif
