#ifndef POSTERN_SMTP_SASL_H
#define POSTERN_SMTP_SASL_H

/*
 * One login's exchange (RFC 4954, RFC 4422). No I/O of SMTP; secrets are wiped on free.
 *
 * `auto` takes the strongest mechanism that both sides have:
 *
 *   SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 DIGEST-MD5 CRAM-MD5
 *   NTLM (of a user with a domain) PLAIN LOGIN (over TLS) NTLM (of a user without one)
 *
 * or OAUTHBEARER, XOAUTH2 if it is by token, and then no other. OAUTHBEARER first: it is the one
 * with an RFC, with one way for the server to say why not (XOAUTH2's is each server's own), and
 * where both are offered curl has long sent it. (Gmail and Yahoo have both, Microsoft 365 XOAUTH2
 * alone.) EXTERNAL and GSSAPI are taken only if they are asked
 * for by name: which user they log in depends on a certificate or a ticket cache, so that a cache
 * that appears in the environment would change who sends, and GSSAPI may have to ask a KDC.
 *
 * Passwords go by their octets with PLAIN, LOGIN and CRAM-MD5. DIGEST-MD5 has them in ISO 8859-1
 * where that can hold them (RFC 2831, 2.1.2.1: so has Cyrus, but not Dovecot), SCRAM prepares them
 * (RFC 5802, 2.2), NTLM makes UTF-16 of them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "smtp/credentials.h"

/* There is somebody to log in. */
bool sasl_wanted(const struct sasl_credentials *credentials);
bool sasl_automatic(const struct sasl_credentials *credentials); /* mechanism: auto */

struct sasl;

/*
 * Choose a mechanism both sides have (`offered`: smtp_extensions.auth) and start it. The
 * credentials are borrowed until sasl_free(), but not by one that sasl_waits(): that may outlive
 * them. ERR_AUTH_MECHANISM_UNAVAILABLE names what the server offers and what was wanted, or what is
 * not installed here; ERR_AUTH_NEEDS_TLS if a secret would go out in the clear and that is not
 * allowed (for TLS is up, or the user said so); ERR_AUTH_FAILED if the credentials cannot be used
 * with it (no ticket, a token with a line end). Where a token is yet to come, this says whether it
 * would be of use; to make a step of it, start anew with the token.
 */
int sasl_start(const struct sasl_credentials *credentials, const struct sasl_binding *binding,
               const char *offered, bool clear_allowed, struct sasl **sasl_out, struct error *err);
void sasl_free(struct sasl *sasl);
DEFINE_CLEANUP(struct sasl *, sasl_free)

const char *sasl_mechanism(const struct sasl *sasl); /* "PLAIN" */
bool sasl_client_first(const struct sasl *sasl);     /* has an initial response */
bool sasl_goes_alone(const struct sasl *sasl);       /* ... that is not sent with the command */
bool sasl_is_bound(const struct sasl *sasl);         /* a -PLUS one */
bool sasl_challenges(const struct sasl *sasl);       /* the server is not shown the secret */
bool sasl_is_unusable(const struct sasl *sasl); /* a step failed, and not by the server's fault */
bool sasl_waits(const struct sasl *sasl); /* a step may wait for others, or compute for long */

/* One step: the server's challenge (base64, as it stood behind "334 "; NULL for the initial
 * response) to our response in base64, appended to `out`. `out` then holds a secret: wipe it when
 * sent. ERR_PROTOCOL: the challenge makes no sense; ERR_AUTH_FAILED: no login with these
 * credentials. */
int sasl_step(struct sasl *sasl, const char *challenge, struct buffer *out, struct error *err);

/* The server said that we are in: may it, by what it has shown? SCRAM, DIGEST-MD5 and GSSAPI end
 * with its proof that it knows the secret too; who skips that is not the server. ERR_PROTOCOL. */
int sasl_accept(const struct sasl *sasl, struct error *err);

/* Does `text` repeat the password or the token, or how a long one begins, as it is or inside
 * something in base64? Servers quote the command they did not like, or as much of it as fits into
 * their line; such a text is not to be shown. */
bool sasl_text_reveals(const struct sasl_credentials *credentials, const char *text);

#endif
