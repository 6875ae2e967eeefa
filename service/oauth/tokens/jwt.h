#ifndef POSTERN_OAUTH_TOKENS_JWT_H
#define POSTERN_OAUTH_TOKENS_JWT_H

/*
 * Signed assertions (RFC 7523): a JSON Web Token (RFC 7519) in the compact form of RFC 7515, with
 * RS256, PS256 or ES256 (RFC 7518, 3) by the kind of the key.
 */

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/error.h"

enum { JWT_THUMBPRINT_SIZE = ENCODE_BASE64URL_SIZE(32) };

/*
 * A private key: RSA of 2048 bits and more, or of the curve P-256; PEM, without a passphrase. The
 * caller frees it with EVP_PKEY_free(). ERR_CONFIG, of which `name` says where the key was.
 */
int jwt_read_key(const char *path, EVP_PKEY **key_out, struct error *err);
int jwt_parse_key(const char *pem, const char *name, EVP_PKEY **key_out, struct error *err);

/* x5t#S256 of the certificate in a PEM file (RFC 7515, 4.1.8). ERR_CONFIG. */
int jwt_read_thumbprint(const char *path, char thumbprint_out[JWT_THUMBPRINT_SIZE],
                        struct error *err);

struct jwt {
    const json_t *claims;
    const char *key_id;     /* kid; NULL: none */
    const char *thumbprint; /* x5t#S256; NULL: none */
    bool pss;               /* with an RSA key: PS256 */
};

/* "header.payload.signature", the arena's. ERR_NOMEM, ERR_INTERNAL. */
int jwt_sign(const struct jwt *jwt, EVP_PKEY *key, struct arena *arena, char **token_out,
             struct error *err);

#endif
