#include "oauth/vault/key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/id.h"
#include "config/secret.h"
#include "oauth/vault/file.h"

enum {
    HEX_LEN = 2 * VAULT_KEY_SIZE,
    BASE64_LEN = 44, /* of 32 octets, the last of them padding */
};

static bool parse_hex(const char *text, unsigned char key[VAULT_KEY_SIZE])
{
    if (strlen(text) != HEX_LEN)
        return false;
    for (size_t i = 0; i < VAULT_KEY_SIZE; i++) {
        int high = OPENSSL_hexchar2int((unsigned char)text[2 * i]),
            low = OPENSSL_hexchar2int((unsigned char)text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool parse_base64(const char *text, unsigned char key[VAULT_KEY_SIZE])
{
    unsigned char plain[BASE64_LEN], decoded[BASE64_LEN / 4 * 3];
    size_t len = strlen(text);
    if (len != BASE64_LEN - 1 && (len != BASE64_LEN || text[len - 1] != '='))
        return false;
    for (size_t i = 0; i < BASE64_LEN - 1; i++)
        plain[i] = (unsigned char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
    plain[BASE64_LEN - 1] = '=';
    bool good = memchr(plain, '=', BASE64_LEN - 1) == NULL &&
                EVP_DecodeBlock(decoded, plain, BASE64_LEN) == sizeof(decoded);
    if (good)
        memcpy(key, decoded, VAULT_KEY_SIZE);
    explicit_bzero(plain, sizeof(plain));
    explicit_bzero(decoded, sizeof(decoded));
    return good;
}

int vault_key_parse(const char *text, unsigned char key_out[VAULT_KEY_SIZE], struct error *err)
{
    unsigned char key[VAULT_KEY_SIZE];
    bool good = parse_hex(text, key) || parse_base64(text, key);
    if (good)
        memcpy(key_out, key, sizeof(key));
    explicit_bzero(key, sizeof(key));
    return good ? 0
                : error_set(err, ERR_CONFIG,
                            "the secret key must be 32 octets, as 64 hexadecimal digits or in "
                            "base64; make one with: openssl rand -hex 32");
}

int vault_key_read(const char *path, unsigned char key_out[VAULT_KEY_SIZE], struct error *err)
{
    char text[CONFIG_SECRET_SIZE];
    int rc = config_read_secret_file(path, text, err);
    if (rc == 0)
        rc = vault_key_parse(text, key_out, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}

int vault_key_make(const char *path, unsigned char key_out[VAULT_KEY_SIZE], struct error *err)
{
    unsigned char key[VAULT_KEY_SIZE];
    char text[HEX_LEN + 2];
    id_random(key, sizeof(key));
    encode_hex(key, sizeof(key), text);
    memcpy(text + HEX_LEN, "\n", 2);
    int rc = vault_file_replace(path, text, HEX_LEN + 1, err);
    if (rc == 0)
        memcpy(key_out, key, sizeof(key));
    explicit_bzero(key, sizeof(key));
    explicit_bzero(text, sizeof(text));
    return rc;
}
