#ifndef POSTERN_OAUTH_VAULT_IMAGE_H
#define POSTERN_OAUTH_VAULT_IMAGE_H

/*
 * The vault's file as octets, without I/O:
 *
 *     "PSTNVLT1"  key id (8)  nonce (12)  tag (16)                    the head
 *     name length (1)  secret length (2)  nonce (12)  tag (16)  name  secret       each record
 *
 * Lengths are big-endian. Each secret is encrypted by itself (AES-256-GCM, NIST SP 800-38D) under a
 * random nonce, with the magic and its name as additional data, so that no record can pass for
 * another's. The head's tag is over everything else: nothing can be cut out, added or put back
 * record by record. It changes with every write, so a look at the head tells whether a file is
 * the one that was read. The key's id tells a wrong key from a damaged file.
 */

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

enum {
    VAULT_KEY_SIZE = 32,
    VAULT_HEAD_SIZE = 44,
    VAULT_NAME_MAX = 255,
    VAULT_SECRET_MAX = 65535,
    VAULT_IMAGE_MAX = 64 << 20,
};

/* Nothing is read from an image that did not pass. An empty one is a vault without records.
 * ERR_CONFIG: another version's, another key's; ERR_STORE_BROKEN: damaged; ERR_NOMEM. */
int vault_image_check(const struct buffer *image, const unsigned char key[VAULT_KEY_SIZE],
                      struct error *err);

/* malloc'd, the caller's to wipe and free. ERR_NOT_FOUND, ERR_STORE_BROKEN, ERR_NOMEM. */
int vault_image_get(const struct buffer *image, const unsigned char key[VAULT_KEY_SIZE],
                    const char *name, char **secret_out, struct error *err);

/*
 * `image` with that record anew; `secret` NULL: without it. `image_out` is empty before, with
 * VAULT_IMAGE_MAX as its limit, and to be cleared after a failure. ERR_TOO_LARGE: the name, the
 * secret or all together; ERR_NOMEM.
 */
int vault_image_put(const struct buffer *image, const unsigned char key[VAULT_KEY_SIZE],
                    const char *name, const char *secret, struct buffer *image_out,
                    struct error *err);

#endif
