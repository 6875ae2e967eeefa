/*
 * SCRAM (RFC 5802, RFC 7677), with channel binding (-PLUS) by tls-exporter or tls-unique.
 *
 * Why not libgsasl's: 2.2 never sends the flag 'y', by which the server finds out that somebody in
 * between took the -PLUS mechanisms from its offer (it fails instead when it knows a binding and
 * the mechanism has none); and it computes as many iterations as a server likes to ask for. The
 * tests have its server side as the peer.
 */
#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "smtp/sasl.h"
#include "smtp/sasl_engine.h"

enum {
    NONCE_OCTETS = 18,
    ITERATIONS_MIN = 4096,    /* RFC 7677, 4: fewer would serve who wants to guess passwords */
    ITERATIONS_MAX = 2000000, /* about a second of a thread's time */
    SALT_MAX = 1024,
    MESSAGES_MAX = 16 * 1024,
    BINDING_MAX = 64,
};

struct key {
    unsigned char octets[EVP_MAX_MD_SIZE];
};

struct scram {
    char *password;
    const EVP_MD *hash;
    unsigned hash_len;
    enum { FIRST, FINAL, PROOF } next;  /* the message to be sent, or the server's to be read */
    char header[32];                    /* gs2-header: "p=tls-exporter,,", "y,,", "n,," */
    unsigned char binding[BINDING_MAX]; /* what the connection is bound to */
    size_t binding_len;
    char nonce[NONCE_OCTETS / 3 * 4 + 1];
    struct buffer messages; /* AuthMessage, as far as it is known */
    struct key server_signature;
};

static int refuse(const struct sasl *sasl, const char *what, struct error *err)
{
    return error_set(err, ERR_PROTOCOL, "AUTH %s: %s", sasl->mechanism->name, what);
}

/* --- the beginning ------------------------------------------------------------------------ */

static bool offers_plus(const char *mechanisms)
{
    for (const char *s = mechanisms; (s = strstr(s, "-PLUS")) != NULL; s++)
        if (s[5] == ' ' || s[5] == '\0')
            return true;
    return false;
}

/* RFC 5802, 6: 'p' binds; 'y' says that we would have, but were not offered it; 'n' that we do
 * not. Bound or not, the header is part of what both sides sign. */
static int choose_binding(struct scram *s, const struct sasl_offer *offer, bool plus)
{
    const struct sasl_binding *binding = offer->binding;
    bool exporter = binding->tls_exporter[0] != '\0';
    const char *value = exporter ? binding->tls_exporter : binding->tls_unique;
    snprintf(s->header, sizeof(s->header), "%s,,",
             plus && exporter                                      ? "p=tls-exporter"
             : plus                                                ? "p=tls-unique"
             : value[0] != '\0' && !offers_plus(offer->mechanisms) ? "y"
                                                                   : "n");
    if (!plus)
        return 0;
    char *octets = NULL;
    int rc = gsasl_base64_from(value, strlen(value), &octets, &s->binding_len);
    if (rc == GSASL_OK && s->binding_len <= sizeof(s->binding))
        memcpy(s->binding, octets, s->binding_len);
    else
        s->binding_len = 0;
    gsasl_free(octets);
    return s->binding_len > 0 ? 0 : -1;
}

/* SASLprep (RFC 4013), if it can be done: what is no UTF-8 is sent as it is, for a server may have
 * stored it so. The caller frees; NULL without memory. */
static char *prepared(const char *text)
{
    char *out = NULL;
    return gsasl_saslprep(text, GSASL_ALLOW_UNASSIGNED, &out, NULL) == GSASL_OK ? out
                                                                                : strdup(text);
}

/* client-first-message-bare. */
static int begin_messages(struct scram *s, const char *user)
{
    char *name = prepared(user);
    if (name == NULL)
        return -1;
    buffer_append_str(&s->messages, "n=");
    for (const char *c = name; *c != '\0'; c++)
        if (*c == '=' || *c == ',')
            buffer_append_str(&s->messages, *c == '=' ? "=3D" : "=2C");
        else
            buffer_append_char(&s->messages, *c);
    buffer_append_str(&s->messages, ",r=");
    buffer_append_str(&s->messages, s->nonce);
    free(name);
    return s->messages.failed ? -1 : 0;
}

static int begin(struct sasl *sasl, const struct sasl_offer *offer, struct error *err)
{
    struct scram *s = sasl->state = calloc(1, sizeof(*s));
    if (s == NULL)
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    buffer_init(&s->messages, MESSAGES_MAX);
    s->hash = strstr(sasl->mechanism->name, "256") != NULL ? EVP_sha256() : EVP_sha1();
    s->hash_len = (unsigned)EVP_MD_get_size(s->hash);

    unsigned char random[NONCE_OCTETS];
    id_random(random, sizeof(random));
    EVP_EncodeBlock((unsigned char *)s->nonce, random, sizeof(random));
    if (choose_binding(s, offer, sasl_is_bound(sasl)) < 0)
        return error_set(err, ERR_INTERNAL, "AUTH %s: a binding that is not base64",
                         sasl->mechanism->name);
    s->password = prepared(offer->credentials->password);
    if (s->password == NULL || begin_messages(s, offer->credentials->user) < 0)
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    return 0;
}

/* --- the server's challenge --------------------------------------------------------------- */

struct challenge { /* server-first-message; points into it */
    const char *nonce;
    size_t nonce_len;
    unsigned char salt[SALT_MAX];
    size_t salt_len;
    int iterations;
};

/* The attribute `name` at `*at`, which is moved behind it; its value ends at a comma or at `end`.
 * NULL if something else stands there. */
static const char *take_attribute(char name, const char **at, const char *end, size_t *len_out)
{
    const char *value = *at + 2;
    if (end - *at < 2 || (*at)[0] != name || (*at)[1] != '=')
        return NULL;
    const char *comma = memchr(value, ',', (size_t)(end - value));
    *len_out = (size_t)((comma != NULL ? comma : end) - value);
    *at = comma != NULL ? comma + 1 : end;
    return value;
}

static bool decode(const char *base64, size_t len, unsigned char *out, size_t size, size_t *len_out)
{
    char *octets = NULL;
    bool good = gsasl_base64_from(base64, len, &octets, len_out) == GSASL_OK && *len_out <= size;
    if (good)
        memcpy(out, octets, *len_out);
    gsasl_free(octets);
    return good;
}

static int read_number(const char *digits, size_t len)
{
    int number = 0;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9' || number > ITERATIONS_MAX)
            return -1;
        number = 10 * number + (digits[i] - '0');
    }
    return number;
}

/* What is wrong with it; NULL: nothing. An extension that must be understood comes first
 * ("m="), and so is something else than the nonce; others may follow and are ignored. */
static const char *read_challenge(const struct scram *s, const char *text, size_t len,
                                  struct challenge *out)
{
    const char *end = text + len, *value;
    size_t n;
    if ((out->nonce = take_attribute('r', &text, end, &out->nonce_len)) == NULL ||
        out->nonce_len <= strlen(s->nonce) || memcmp(out->nonce, s->nonce, strlen(s->nonce)) != 0)
        return "the server's nonce does not begin with ours";
    if ((value = take_attribute('s', &text, end, &n)) == NULL ||
        !decode(value, n, out->salt, sizeof(out->salt), &out->salt_len) || out->salt_len == 0)
        return "no salt in the challenge";
    if ((value = take_attribute('i', &text, end, &n)) == NULL)
        return "no iteration count in the challenge";
    out->iterations = read_number(value, n);
    if (out->iterations < ITERATIONS_MIN || out->iterations > ITERATIONS_MAX)
        return "an iteration count below 4096 or above 2000000";
    return NULL;
}

/* --- our answer --------------------------------------------------------------------------- */

static bool sign(const struct scram *s, const struct key *key, const char *text, size_t len,
                 struct key *out)
{
    return HMAC(s->hash, key->octets, (int)s->hash_len, (const unsigned char *)text, len,
                out->octets, NULL) != NULL;
}

static bool hash_password(const struct scram *s, const struct challenge *challenge,
                          struct key *salted)
{
    return PKCS5_PBKDF2_HMAC(s->password, (int)strlen(s->password), challenge->salt,
                             (int)challenge->salt_len, challenge->iterations, s->hash,
                             (int)s->hash_len, salted->octets) == 1;
}

/* RFC 5802, 3. `proof` shows that we know the password, the server's signature that it does. */
static bool compute(struct scram *s, const struct challenge *challenge, struct key *proof)
{
    struct key salted, client, stored, signature, server;
    const char *all = s->messages.data;
    size_t len = s->messages.len;
    bool good = hash_password(s, challenge, &salted) &&
                sign(s, &salted, "Client Key", strlen("Client Key"), &client) &&
                EVP_Digest(client.octets, s->hash_len, stored.octets, NULL, s->hash, NULL) == 1 &&
                sign(s, &stored, all, len, &signature) &&
                sign(s, &salted, "Server Key", strlen("Server Key"), &server) &&
                sign(s, &server, all, len, &s->server_signature);
    for (unsigned i = 0; good && i < s->hash_len; i++)
        proof->octets[i] = client.octets[i] ^ signature.octets[i];
    explicit_bzero(&salted, sizeof(salted));
    explicit_bzero(&client, sizeof(client));
    explicit_bzero(&server, sizeof(server));
    return good;
}

static void append_base64(struct buffer *out, const void *octets, size_t len)
{
    unsigned char text[(sizeof(struct key) + BINDING_MAX) * 2];
    int n = EVP_EncodeBlock(text, octets, (int)len);
    buffer_append(out, text, (size_t)n);
}

/* client-final-message-without-proof: the header and the binding once more, now to be signed. */
static void append_final(const struct scram *s, const struct challenge *challenge,
                         struct buffer *out)
{
    unsigned char bound[sizeof(s->header) + sizeof(s->binding)];
    size_t header_len = strlen(s->header);
    memcpy(bound, s->header, header_len);
    memcpy(bound + header_len, s->binding, s->binding_len);
    buffer_append_str(out, "c=");
    append_base64(out, bound, header_len + s->binding_len);
    buffer_append_str(out, ",r=");
    buffer_append(out, challenge->nonce, challenge->nonce_len);
}

static int answer(struct sasl *sasl, const char *text, size_t len, struct buffer *out,
                  struct error *err)
{
    struct scram *s = sasl->state;
    struct challenge challenge;
    const char *fault = read_challenge(s, text, len, &challenge);
    if (fault != NULL)
        return refuse(sasl, fault, err);
    append_final(s, &challenge, out);
    buffer_append_str(&s->messages, ",");
    buffer_append(&s->messages, text, len);
    buffer_append_str(&s->messages, ",");
    buffer_append(&s->messages, out->data, out->len);
    if (out->failed || s->messages.failed)
        return refuse(sasl, "a challenge that is too long", err);

    struct key proof;
    if (!compute(s, &challenge, &proof))
        return error_set(err, ERR_NOMEM, "AUTH %s", sasl->mechanism->name);
    buffer_append_str(out, ",p=");
    append_base64(out, proof.octets, s->hash_len);
    return 0;
}

static int check_proof(struct sasl *sasl, const char *text, size_t len, struct error *err)
{
    const struct scram *s = sasl->state;
    const char *end = text + len, *value;
    unsigned char signature[EVP_MAX_MD_SIZE];
    size_t n = 0, signature_len = 0;
    if ((value = take_attribute('e', &text, end, &n)) != NULL)
        return error_set(err, ERR_AUTH_FAILED, "AUTH %s: the server says %.*s",
                         sasl->mechanism->name, (int)(n < 100 ? n : 100), value);
    if ((value = take_attribute('v', &text, end, &n)) == NULL ||
        !decode(value, n, signature, sizeof(signature), &signature_len) ||
        signature_len != s->hash_len ||
        CRYPTO_memcmp(signature, s->server_signature.octets, s->hash_len) != 0)
        return refuse(sasl, "the server's signature is wrong: it does not know the password", err);
    sasl->done = true;
    return 0;
}

static int step(struct sasl *sasl, const char *challenge, size_t len, struct buffer *out,
                struct error *err)
{
    struct scram *s = sasl->state;
    switch (s->next++) {
    case FIRST:
        buffer_append_str(out, s->header);
        buffer_append(out, s->messages.data, s->messages.len);
        return 0;
    case FINAL:
        return answer(sasl, challenge, len, out, err);
    case PROOF:
        return check_proof(sasl, challenge, len, err);
    }
    return refuse(sasl, "the server asks for more than there is", err);
}

static void end(struct sasl *sasl)
{
    struct scram *s = sasl->state;
    if (s->password != NULL)
        explicit_bzero(s->password, strlen(s->password));
    free(s->password);
    buffer_clear(&s->messages);
    explicit_bzero(s, sizeof(*s));
    free(s);
}

const struct sasl_engine sasl_scram = {begin, step, end, .waits = true};
