#include "oauth/vault/image.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"

enum {
    MAGIC_SIZE = 8,
    KEY_ID_SIZE = 8,
    NONCE_SIZE = 12,
    TAG_SIZE = 16,
    NAMED_SIZE = MAGIC_SIZE + KEY_ID_SIZE, /* of the head, before its nonce */
    RECORD_HEAD_SIZE = 3 + NONCE_SIZE + TAG_SIZE,
};

static const char MAGIC[MAGIC_SIZE] = "PSTNVLT1";

struct part { /* of the additional data */
    const void *data;
    size_t len;
};

struct record { /* borrows from the image */
    const unsigned char *nonce, *tag, *secret;
    const char *name;
    size_t name_len, secret_len;
    size_t size; /* all of it */
};

/* --- AES-256-GCM -------------------------------------------------------------------------- */

enum direction { DECRYPT, ENCRYPT }; /* as EVP_CipherInit_ex() counts them */

/* Encrypting, `tag` is a result; decrypting, what must come out. false: it does not, or no memory.
 */
static bool run_gcm(enum direction direction, const unsigned char *key, const unsigned char *nonce,
                    const struct part aad[2], const void *in, size_t len, unsigned char *out,
                    unsigned char *tag)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char none[1];
    int n;
    bool good =
        ctx != NULL && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, direction) == 1;
    for (size_t i = 0; good && i < 2; i++)
        good = EVP_CipherUpdate(ctx, NULL, &n, aad[i].data, (int)aad[i].len) == 1;
    if (good && len > 0)
        good = EVP_CipherUpdate(ctx, out, &n, in, (int)len) == 1;
    if (good && direction == DECRYPT)
        good = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1;
    good = good && EVP_CipherFinal_ex(ctx, none, &n) == 1;
    if (good && direction == ENCRYPT)
        good = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, tag) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return good;
}

/* Eight octets of a hash of the key: enough to know it again, of no use to guess 256 bits. */
static void make_key_id(const unsigned char *key, unsigned char out[KEY_ID_SIZE])
{
    static const char label[] = "postern vault";
    unsigned char text[sizeof(label) + VAULT_KEY_SIZE], hash[SHA256_DIGEST_LENGTH];
    memcpy(text, label, sizeof(label));
    memcpy(text + sizeof(label), key, VAULT_KEY_SIZE);
    SHA256(text, sizeof(text), hash);
    memcpy(out, hash, KEY_ID_SIZE);
    explicit_bzero(text, sizeof(text));
}

/* --- the head ----------------------------------------------------------------------------- */

static bool run_seal(enum direction direction, unsigned char *data, size_t len,
                     const unsigned char *key)
{
    unsigned char *nonce = data + NAMED_SIZE;
    const struct part aad[2] = {{data, NAMED_SIZE},
                                {data + VAULT_HEAD_SIZE, len - VAULT_HEAD_SIZE}};
    return run_gcm(direction, key, nonce, aad, NULL, 0, NULL, nonce + NONCE_SIZE);
}

int vault_image_check(const struct buffer *image, const unsigned char key[VAULT_KEY_SIZE],
                      struct error *err)
{
    unsigned char id[KEY_ID_SIZE], *data = (unsigned char *)image->data;
    if (image->len == 0)
        return 0;
    if (image->len < VAULT_HEAD_SIZE)
        return error_set(err, ERR_STORE_BROKEN, "damaged: %zu octets are too few", image->len);
    if (memcmp(data, MAGIC, MAGIC_SIZE) != 0)
        return error_set(err, ERR_CONFIG, "not a file of grants, or a newer version's");
    make_key_id(key, id);
    if (memcmp(data + MAGIC_SIZE, id, KEY_ID_SIZE) != 0)
        return error_set(err, ERR_CONFIG, "written with another key");
    if (!run_seal(DECRYPT, data, image->len, key))
        return error_set(err, ERR_STORE_BROKEN, "damaged: its seal does not fit");
    return 0;
}

static int append_head(struct buffer *image, const unsigned char *key)
{
    unsigned char head[VAULT_HEAD_SIZE] = {0};
    memcpy(head, MAGIC, MAGIC_SIZE);
    make_key_id(key, head + MAGIC_SIZE);
    id_random(head + NAMED_SIZE, NONCE_SIZE);
    return buffer_append(image, head, sizeof(head));
}

/* --- records ------------------------------------------------------------------------------ */

/* The one at `at`; false: it does not fit into what is left. */
static bool take_record(const struct buffer *image, size_t at, struct record *record_out)
{
    const unsigned char *data = (const unsigned char *)image->data + at;
    size_t left = image->len - at;
    if (left < RECORD_HEAD_SIZE)
        return false;
    struct record record = {.name_len = data[0],
                            .secret_len = (size_t)data[1] << 8 | data[2],
                            .nonce = data + 3,
                            .tag = data + 3 + NONCE_SIZE,
                            .name = (const char *)data + RECORD_HEAD_SIZE};
    record.size = RECORD_HEAD_SIZE + record.name_len + record.secret_len;
    record.secret = data + RECORD_HEAD_SIZE + record.name_len;
    if (left < record.size)
        return false;
    *record_out = record;
    return true;
}

static bool is_named(const struct record *record, const char *name)
{
    return record->name_len == strlen(name) && memcmp(record->name, name, record->name_len) == 0;
}

static int decrypt(const struct record *record, const unsigned char *key, char **secret_out,
                   struct error *err)
{
    const struct part aad[2] = {{MAGIC, MAGIC_SIZE}, {record->name, record->name_len}};
    char *secret = calloc(1, record->secret_len + 1);
    if (secret == NULL)
        return error_set(err, ERR_NOMEM, "a grant");
    if (!run_gcm(DECRYPT, key, record->nonce, aad, record->secret, record->secret_len,
                 (unsigned char *)secret, (unsigned char *)record->tag)) {
        explicit_bzero(secret, record->secret_len);
        free(secret);
        return error_set(err, ERR_STORE_BROKEN, "damaged: a record does not fit its name");
    }
    *secret_out = secret;
    return 0;
}

int vault_image_get(const struct buffer *image, const unsigned char key[VAULT_KEY_SIZE],
                    const char *name, char **secret_out, struct error *err)
{
    struct record record;
    size_t at = VAULT_HEAD_SIZE;
    for (; at < image->len && take_record(image, at, &record); at += record.size)
        if (is_named(&record, name))
            return decrypt(&record, key, secret_out, err);
    if (at < image->len)
        return error_set(err, ERR_STORE_BROKEN, "damaged: a record is cut off");
    return error_set(err, ERR_NOT_FOUND, "no grant is stored for %s", name);
}

static int append_record(struct buffer *image, const unsigned char *key, const char *name,
                         const char *secret)
{
    size_t name_len = strlen(name), len = strlen(secret);
    const struct part aad[2] = {{MAGIC, MAGIC_SIZE}, {name, name_len}};
    unsigned char *to = (unsigned char *)buffer_reserve(image, RECORD_HEAD_SIZE + name_len + len);
    if (to == NULL)
        return -1;
    to[0] = (unsigned char)name_len;
    to[1] = (unsigned char)(len >> 8);
    to[2] = (unsigned char)len;
    id_random(to + 3, NONCE_SIZE);
    memcpy(to + RECORD_HEAD_SIZE, name, name_len);
    buffer_grown(image, RECORD_HEAD_SIZE + name_len + len);
    return run_gcm(ENCRYPT, key, to + 3, aad, secret, len, to + RECORD_HEAD_SIZE + name_len,
                   to + 3 + NONCE_SIZE)
               ? 0
               : -1;
}

/* The others stay as they were encrypted. */
static int append_others(const struct buffer *image, const char *name, struct buffer *image_out)
{
    struct record record;
    for (size_t at = VAULT_HEAD_SIZE; at < image->len; at += record.size) {
        if (!take_record(image, at, &record))
            return -1;
        if (!is_named(&record, name) && buffer_append(image_out, image->data + at, record.size) < 0)
            return -1;
    }
    return 0;
}

int vault_image_put(const struct buffer *image, const unsigned char key[VAULT_KEY_SIZE],
                    const char *name, const char *secret, struct buffer *image_out,
                    struct error *err)
{
    if (strlen(name) > VAULT_NAME_MAX || (secret != NULL && strlen(secret) > VAULT_SECRET_MAX))
        return error_set(err, ERR_TOO_LARGE, "a name of %d or a grant of %d octets at most",
                         VAULT_NAME_MAX, VAULT_SECRET_MAX);
    if (append_head(image_out, key) < 0 || append_others(image, name, image_out) < 0 ||
        (secret != NULL && append_record(image_out, key, name, secret) < 0))
        return error_set(
            err, image->len + VAULT_SECRET_MAX > VAULT_IMAGE_MAX ? ERR_TOO_LARGE : ERR_NOMEM,
            "no room for another grant");
    if (!run_seal(ENCRYPT, (unsigned char *)image_out->data, image_out->len, key))
        return error_set(err, ERR_NOMEM, "sealing the grants");
    return 0;
}
