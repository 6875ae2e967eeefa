/*
 * CRAM-MD5 (RFC 2195): the user, and an HMAC over the password's octets as they are.
 *
 * Why not libgsasl's: it prepares the password first (RFC 4013), of which RFC 2195 knows nothing
 * and servers neither: "m²" would be signed as "m2", and what cannot be prepared could not log in.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/sasl_engine.h"

enum { HMAC_OCTETS = 16 };

static int begin(struct sasl *sasl, const struct sasl_offer *offer, struct error *err)
{
    sasl->state = (void *)(uintptr_t)offer->credentials; /* borrowed */
    return 0;
}

static int step(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                struct error *err)
{
    const struct sasl_credentials *c = sasl->state;
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (sasl->done || len == 0)
        return error_set(err, ERR_PROTOCOL, "AUTH CRAM-MD5: %s",
                         sasl->done ? "the server asks for more than there is"
                                    : "an empty challenge");
    /* There is no MD5 where OpenSSL keeps to FIPS. */
    if (HMAC(EVP_md5(), c->password, (int)strlen(c->password), (const unsigned char *)challenge,
             len, signature, &n) == NULL ||
        n != HMAC_OCTETS)
        return sasl_unusable(sasl, err, "OpenSSL does no MD5 here");
    buffer_append_str(out, c->user);
    buffer_append_char(out, ' ');
    for (size_t i = 0; i < HMAC_OCTETS; i++)
        buffer_printf(out, "%02x", signature[i]);
    sasl->done = true;
    return 0;
}

static void end(struct sasl *sasl)
{
}

const struct sasl_engine sasl_cram = {begin, step, end};
