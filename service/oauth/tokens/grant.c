#include "oauth/tokens/grant.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/id.h"
#include "config/provider.h"
#include "config/secret.h"
#include "oauth/tokens/jwt.h"

enum {
    TIMEOUT_MS = 30 * 1000,
    RESPONSE_MAX = 64 * 1024,
    FILE_MAX = 64 * 1024,
    /* An assertion is used at once. It begins a little in the past, for a server whose clock is
     * behind ours, and ends soon, as RFC 7523, 3 wants it; Google's limit is an hour. */
    BACKDATED_S = 30,
    ASSERTION_LIFETIME_S = 600,
    FILE_TOKEN_LIFETIME_MS = 5 * 60 * 1000,
};

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)

static int no_memory(struct error *err)
{
    return error_set(err, ERR_NOMEM, "a request for a token");
}

/* --- files --------------------------------------------------------------------------------- */

/* Its text, the arena's, NUL-terminated; no part of it is told. */
static int read_file(const char *path, struct arena *arena, enum error_code code, char **text_out,
                     struct error *err)
{
    char *text = arena_alloc(arena, FILE_MAX + 1);
    if (text == NULL)
        return no_memory(err);
    ssize_t len = file_read(path, text, FILE_MAX + 1);
    if (len < 0)
        return error_set(err, code, "%s: %s", path, strerror(errno));
    if (len > FILE_MAX)
        return error_set(err, code, "%s: too large", path);
    if (strlen(text) != (size_t)len)
        return error_set(err, code, "%s: not a text", path);
    *text_out = text;
    return 0;
}

int grant_read_file(const struct config_oauth *oauth, int64_t now_ms,
                    struct oauth_token **token_out, struct error *err)
{
    static const char space[] = " \t\r\n";
    struct error why;
    char *text;
    CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
    if (arena == NULL)
        return no_memory(err);
    if (read_file(oauth->token_file, arena, ERR_TOKEN_UNAVAILABLE, &text, &why) < 0)
        return error_set(err, why.code, "token_file %s", why.detail);
    size_t len = strlen(text);
    text = (char *)bytes_behind_mark(text, &len);
    text += strspn(text, space);
    len = strlen(text);
    while (len > 0 && strchr(space, text[len - 1]) != NULL)
        len--;
    if (text[0] == '{')
        return error_set(err, ERR_TOKEN_UNAVAILABLE,
                         "token_file %s holds JSON, and not the access token alone",
                         oauth->token_file);
    if (oauth_token_new(text, len, now_ms, FILE_TOKEN_LIFETIME_MS, token_out, &why) < 0)
        return error_set(err, why.code, "token_file %s: %s", oauth->token_file, why.detail);
    return 0;
}

/* --- assertions ---------------------------------------------------------------------------- */

struct issuer { /* who signs */
    const char *name, *key_id;
    const char *token_url;
    EVP_PKEY *key; /* owned */
};

static void issuer_clear(struct issuer *issuer)
{
    EVP_PKEY_free(issuer->key);
}
DEFINE_CLEANUP_CLEAR(struct issuer, issuer_clear)

/* RFC 7519, 4.1; `scope` is Google's. */
static int make_claims(const struct issuer *issuer, const char *subject, const char *scope,
                       int64_t now_s, json_t **claims_out, struct error *err)
{
    char id[ID_SIZE];
    json_error_t why;
    json_int_t from_s = now_s - BACKDATED_S;
    id_new(1000 * now_s, id);
    json_t *claims =
        json_pack_ex(&why, 0, "{s:s, s:s*, s:s, s:s*, s:s, s:I, s:I, s:I}", "iss", issuer->name,
                     "sub", subject, "aud", issuer->token_url, "scope", scope, "jti", id, "iat",
                     from_s, "nbf", from_s, "exp", from_s + ASSERTION_LIFETIME_S);
    if (claims == NULL)
        return error_set(err,
                         json_error_code(&why) == json_error_out_of_memory ? ERR_NOMEM : ERR_CONFIG,
                         "assertion: %s", why.text);
    *claims_out = claims;
    return 0;
}

static int set_thumbprint(const struct config_oauth *oauth, char thumbprint[JWT_THUMBPRINT_SIZE],
                          struct jwt *jwt, struct error *err)
{
    if (oauth->certificate_file == NULL)
        return 0;
    if (jwt_read_thumbprint(oauth->certificate_file, thumbprint, err) < 0)
        return -1;
    jwt->thumbprint = thumbprint;
    return 0;
}

static int make_assertion(const struct config_oauth *oauth, const struct issuer *issuer,
                          const char *subject, const char *scope, int64_t now_s,
                          struct arena *arena, char **assertion_out, struct error *err)
{
    const struct provider *provider = provider_find(oauth);
    char thumbprint[JWT_THUMBPRINT_SIZE];
    json_auto_t *claims = NULL;
    struct jwt jwt = {.key_id = issuer->key_id, .pss = provider != NULL && provider->pss};
    if (make_claims(issuer, subject, scope, now_s, &claims, err) < 0 ||
        set_thumbprint(oauth, thumbprint, &jwt, err) < 0)
        return -1;
    jwt.claims = claims;
    return jwt_sign(&jwt, issuer->key, arena, assertion_out, err);
}

/* What Google gives out as JSON, the key in PEM among it. */
static int take_account(json_t *root, const char *path, struct arena *arena, struct issuer *issuer,
                        struct error *err)
{
    const char *type = "service_account", *email = NULL, *pem = NULL, *key_id = NULL, *url = NULL;
    if (json_unpack(root, "{s?s, s?s, s?s, s?s, s?s}", "type", &type, "client_email", &email,
                    "private_key", &pem, "private_key_id", &key_id, "token_uri", &url) < 0 ||
        strcmp(type, "service_account") != 0 || email == NULL || pem == NULL)
        return error_set(err, ERR_CONFIG,
                         "%s: not the JSON of a service account, which has client_email and "
                         "private_key",
                         path);
    issuer->name = arena_strdup(arena, email);
    issuer->key_id = key_id != NULL ? arena_strdup(arena, key_id) : NULL;
    issuer->token_url = url != NULL ? arena_strdup(arena, url) : NULL;
    if (issuer->name == NULL)
        return no_memory(err);
    int rc = jwt_parse_key(pem, path, &issuer->key, err);
    explicit_bzero((char *)pem, strlen(pem));
    return rc;
}

static int read_account(const char *path, struct arena *arena, struct issuer *issuer,
                        struct error *err)
{
    char *text;
    if (read_file(path, arena, ERR_CONFIG, &text, err) < 0)
        return -1;
    size_t len = strlen(text);
    const char *json = bytes_behind_mark(text, &len);
    json_auto_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
    return take_account(root, path, arena, issuer, err);
}

/* --- who the client is --------------------------------------------------------------------- */

/* The newest: who mounts it as a file may have changed it. What was read last stays good while a
 * new one is being written. */
static int client_secret(const struct config_oauth *oauth, struct arena *arena,
                         const char **secret_out, struct error *err)
{
    char secret[CONFIG_SECRET_SIZE];
    *secret_out = oauth->client_secret;
    if (oauth->client_secret_file == NULL ||
        config_read_secret_file(oauth->client_secret_file, secret, NULL) < 0)
        return 0;
    *secret_out = arena_strdup(arena, secret);
    explicit_bzero(secret, sizeof(secret));
    return *secret_out != NULL ? 0 : no_memory(err);
}

/* RFC 6749, 2.3.1: both are form-encoded first, and so a ":" in the id does no harm. */
static char *basic(const char *id, const char *secret, struct arena *arena)
{
    static const char scheme[] = "Basic ";
    const char *id_form = form_encode_value(id, arena);
    const char *secret_form = form_encode_value(secret, arena);
    if (id_form == NULL || secret_form == NULL)
        return NULL;
    const char *login = arena_printf(arena, "%s:%s", id_form, secret_form);
    if (login == NULL)
        return NULL;
    size_t len = strlen(login);
    char *value = arena_alloc(arena, sizeof(scheme) + (len + 2) / 3 * 4);
    if (value == NULL)
        return NULL;
    memcpy(value, scheme, sizeof(scheme));
    EVP_EncodeBlock((unsigned char *)value + strlen(scheme), (const unsigned char *)login,
                    (int)len);
    return value;
}

/* RFC 7523, 2.2. */
static int add_client_assertion(const struct config_oauth *oauth, int64_t now_s,
                                struct arena *arena, struct form *form, struct error *err)
{
    CLEANUP(issuer_clear)
    struct issuer issuer = {
        .name = oauth->client_id, .key_id = oauth->key_id, .token_url = oauth->token_url};
    char *assertion;
    if (jwt_read_key(oauth->private_key_file, &issuer.key, err) < 0 ||
        make_assertion(oauth, &issuer, oauth->client_id, NULL, now_s, arena, &assertion, err) < 0)
        return -1;
    form_add(form, "client_id", oauth->client_id);
    form_add(form, "client_assertion_type", ASSERTION_TYPE);
    form_add(form, "client_assertion", assertion);
    return 0;
}

/* `authorization_out` NULL: the form says it all. With grant jwt_bearer the assertion says who
 * asks, and the key is its key (RFC 7521, 4.1); a secret may go along. */
static int identify(const struct config_oauth *oauth, int64_t now_s, struct arena *arena,
                    struct form *form, char **authorization_out, struct error *err)
{
    bool by_bearer = oauth->grant == CONFIG_OAUTH_JWT_BEARER;
    const char *secret = NULL;
    *authorization_out = NULL;
    if (client_secret(oauth, arena, &secret, err) < 0)
        return -1;
    if (by_bearer && secret == NULL)
        return 0;
    if (oauth->client_id == NULL)
        return error_set(err, ERR_CONFIG, "client_id is missing");
    if (oauth->private_key_file != NULL && !by_bearer)
        return add_client_assertion(oauth, now_s, arena, form, err);
    if (secret != NULL && oauth->client_auth != CONFIG_OAUTH_CLIENT_POST) {
        *authorization_out = basic(oauth->client_id, secret, arena);
        return *authorization_out != NULL ? 0 : no_memory(err);
    }
    form_add(form, "client_id", oauth->client_id);
    form_add(form, "client_secret", secret);
    return 0;
}

/* --- the request --------------------------------------------------------------------------- */

static int make_request(const char *url, const struct form *form, const char *authorization,
                        struct arena *arena, struct http_request *request_out, struct error *err)
{
    struct http_header *headers = arena_alloc_array(arena, 3, sizeof(*headers));
    const char *body = form_encode(form, arena), *url_copy = arena_strdup(arena, url);
    if (headers == NULL || body == NULL || url_copy == NULL)
        return no_memory(err);
    headers[0] = (struct http_header){"Content-Type", "application/x-www-form-urlencoded"};
    headers[1] = (struct http_header){"Accept", "application/json"};
    headers[2] = (struct http_header){"Authorization", authorization};
    *request_out = (struct http_request){.url = url_copy,
                                         .method = "POST",
                                         .headers = headers,
                                         .n_headers = authorization != NULL ? 3 : 2,
                                         .body = body,
                                         .body_len = strlen(body),
                                         .timeout_ms = TIMEOUT_MS,
                                         .response_max = RESPONSE_MAX,
                                         .once = true};
    return 0;
}

int grant_form_request(const struct config_oauth *oauth, const char *url, const struct form *form,
                       int64_t now_s, struct arena *arena, struct http_request *request_out,
                       struct error *err)
{
    struct form whole = *form;
    char *authorization;
    if (url == NULL)
        return error_set(err, ERR_CONFIG, "token_url is missing");
    if (identify(oauth, now_s, arena, &whole, &authorization, err) < 0)
        return -1;
    return make_request(url, &whole, authorization, arena, request_out, err);
}

static int ask_by_refresh_token(const struct config_oauth *oauth, const char *refresh_token,
                                int64_t now_s, struct arena *arena,
                                struct http_request *request_out, struct error *err)
{
    struct form form = {0};
    if (refresh_token == NULL)
        return error_set(err, ERR_TOKEN_REFUSED, "login is needed: nobody has logged in yet");
    form_add(&form, "grant_type", "refresh_token");
    form_add(&form, "refresh_token", refresh_token);
    form_add(&form, "scope", oauth->scope);
    return grant_form_request(oauth, oauth->token_url, &form, now_s, arena, request_out, err);
}

static int ask_by_client(const struct config_oauth *oauth, int64_t now_s, struct arena *arena,
                         struct http_request *request_out, struct error *err)
{
    struct form form = {0};
    form_add(&form, "grant_type", "client_credentials");
    form_add(&form, "scope", oauth->scope);
    return grant_form_request(oauth, oauth->token_url, &form, now_s, arena, request_out, err);
}

static int find_issuer(const struct config_oauth *oauth, struct arena *arena, struct issuer *issuer,
                       struct error *err)
{
    if (oauth->service_account_file != NULL) {
        if (read_account(oauth->service_account_file, arena, issuer, err) < 0)
            return -1;
    } else if (oauth->private_key_file == NULL || oauth->client_id == NULL) {
        return error_set(err, ERR_CONFIG,
                         "service_account_file, or private_key_file and client_id, is missing");
    } else {
        issuer->name = oauth->client_id;
        if (jwt_read_key(oauth->private_key_file, &issuer->key, err) < 0)
            return -1;
    }
    if (oauth->key_id != NULL)
        issuer->key_id = oauth->key_id;
    if (oauth->token_url != NULL)
        issuer->token_url = oauth->token_url;
    return issuer->token_url != NULL ? 0 : error_set(err, ERR_CONFIG, "token_url is missing");
}

/* RFC 7523, 2.1. The scope stands in the assertion, where Google reads it, and beside it, where
 * that RFC has it. Who names no subject speaks for itself. */
static int ask_by_assertion(const struct config_oauth *oauth, int64_t now_s, struct arena *arena,
                            struct http_request *request_out, struct error *err)
{
    CLEANUP(issuer_clear) struct issuer issuer = {0};
    struct form form = {0};
    char *assertion;
    if (find_issuer(oauth, arena, &issuer, err) < 0)
        return -1;
    const char *subject = oauth->subject != NULL ? oauth->subject : issuer.name;
    if (make_assertion(oauth, &issuer, subject, oauth->scope, now_s, arena, &assertion, err) < 0)
        return -1;
    form_add(&form, "grant_type", JWT_BEARER);
    form_add(&form, "assertion", assertion);
    form_add(&form, "scope", oauth->scope);
    return grant_form_request(oauth, issuer.token_url, &form, now_s, arena, request_out, err);
}

int grant_request(const struct config_oauth *oauth, const char *refresh_token, int64_t now_s,
                  struct arena *arena, struct http_request *request_out, struct error *err)
{
    switch ((enum config_oauth_grant)oauth->grant) {
    case CONFIG_OAUTH_REFRESH_TOKEN:
        return ask_by_refresh_token(oauth, refresh_token, now_s, arena, request_out, err);
    case CONFIG_OAUTH_CLIENT_CREDENTIALS:
        return ask_by_client(oauth, now_s, arena, request_out, err);
    case CONFIG_OAUTH_JWT_BEARER:
        return ask_by_assertion(oauth, now_s, arena, request_out, err);
    case CONFIG_OAUTH_TOKEN_FILE:
        break;
    }
    return error_set(err, ERR_INTERNAL, "grant token_file asks nobody");
}
