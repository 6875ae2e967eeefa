#ifndef POSTERN_OAUTH_VAULT_KEY_H
#define POSTERN_OAUTH_VAULT_KEY_H

/* The key of the vault: 32 octets, as 64 hexadecimal digits or in base64 (either alphabet, padded
 * or not). */

#include "base/error.h"
#include "oauth/vault/image.h"

/* ERR_CONFIG with nothing of `text` in it; `key_out` is then untouched. */
int vault_key_parse(const char *text, unsigned char key_out[VAULT_KEY_SIZE], struct error *err);
/* From a file of one line. ERR_CONFIG. */
int vault_key_read(const char *path, unsigned char key_out[VAULT_KEY_SIZE], struct error *err);
/* A new one, durably in a file of mode 0600. The caller holds the lock and has seen that there is
 * no such file. */
int vault_key_make(const char *path, unsigned char key_out[VAULT_KEY_SIZE], struct error *err);

#endif
