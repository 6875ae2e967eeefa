#include "oauth/tokens/grant.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oauth/tokens/jwt.h"
#include "tests/unit/service/oauth/tokens/keys.h"

enum { NOW_S = 1800000000 };

#define URL "https://login.example/token"

/* A file of the test's own, gone at its end. */
struct file {
    char path[64];
};

static void file_clear(struct file *file)
{
    unlink(file->path);
}
DEFINE_CLEANUP_CLEAR(struct file, file_clear)

static void file_write(struct file *file, const char *text, size_t len)
{
    snprintf(file->path, sizeof(file->path), "/tmp/postern-grant-XXXXXX");
    int fd = mkstemp(file->path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, len), (ssize_t)len);
    close(fd);
}

static const char *header_of(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_headers; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

/* The value of a field whose value needs no decoding, malloc'd. */
static char *field_of(const struct http_request *request, const char *name)
{
    char begin[64];
    snprintf(begin, sizeof(begin), "%s=", name);
    const char *at = request->body;
    while (at != NULL && strncmp(at, begin, strlen(begin)) != 0) {
        at = strchr(at, '&');
        at = at != NULL ? at + 1 : NULL;
    }
    cr_assert_not_null(at, "%s in %s", name, request->body);
    at += strlen(begin);
    return strndup(at, strcspn(at, "&"));
}

/* Part 0 or 1 of a token. */
static json_t *part_of(const char *token, int part)
{
    unsigned char text[2048];
    char padded[2048];
    const char *at = token;
    for (int i = 0; i < part; i++)
        at = strchr(at, '.') + 1;
    size_t n = 0;
    for (; at[n] != '.'; n++)
        padded[n] = (char)(at[n] == '-' ? '+' : at[n] == '_' ? '/' : at[n]);
    size_t n_pads = (4 - n % 4) % 4;
    for (size_t i = 0; i < n_pads; i++)
        padded[n++] = '=';
    int len = EVP_DecodeBlock(text, (unsigned char *)padded, (int)n) - (int)n_pads;
    json_t *json = json_loadb((char *)text, (size_t)len, 0, NULL);
    cr_assert_not_null(json);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static void ask(const struct config_oauth *oauth, const char *refresh_token, struct arena *arena,
                struct http_request *request)
{
    struct error err = {0};
    cr_assert_eq(grant_request(oauth, refresh_token, NOW_S, arena, request, &err), 0, "%s",
                 err.detail);
    cr_expect_str_eq(request->method, "POST");
    cr_expect_eq(request->body_len, strlen(request->body));
    cr_expect(request->once, "a rotated refresh token must not go out twice");
    cr_expect_gt(request->timeout_ms, 0);
    cr_expect_gt(request->response_max, 0);
    cr_expect_str_eq(header_of(request, "Content-Type"), "application/x-www-form-urlencoded");
}

Test(oauth_grant, secrets)
{
    static const struct {
        const char *name;
        struct config_oauth oauth;
        const char *body, *authorization;
    } rows[] = {
        {"basic",
         {.grant = CONFIG_OAUTH_CLIENT_CREDENTIALS,
          .client_id = "postern",
          .client_secret = "postern-secret",
          .scope = "a b"},
         "grant_type=client_credentials&scope=a+b",
         "Basic cG9zdGVybjpwb3N0ZXJuLXNlY3JldA=="},
        {"basic, form-encoded first", /* postern%3Aodd:a%25b%2Bc+d%3Ae%26f%3D%2Fg */
         {.grant = CONFIG_OAUTH_CLIENT_CREDENTIALS,
          .client_id = "postern:odd",
          .client_secret = "a%b+c d:e&f=/g",
          .client_auth = CONFIG_OAUTH_CLIENT_UNSAID},
         "grant_type=client_credentials",
         "Basic cG9zdGVybiUzQW9kZDphJTI1YiUyQmMrZCUzQWUlMjZmJTNEJTJGZw=="},
        {"post",
         {.grant = CONFIG_OAUTH_CLIENT_CREDENTIALS,
          .client_id = "postern:odd",
          .client_secret = "a b",
          .client_auth = CONFIG_OAUTH_CLIENT_POST},
         "grant_type=client_credentials&client_id=postern%3Aodd&client_secret=a+b",
         NULL},
        {"refresh",
         {.grant = CONFIG_OAUTH_REFRESH_TOKEN,
          .client_id = "postern",
          .client_secret = "s",
          .scope = "https://mail.google.com/"},
         "grant_type=refresh_token&refresh_token=1%2F%2F0g%2Bx&scope=https%3A%2F%2Fmail.google.com%"
         "2F",
         "Basic cG9zdGVybjpz"},
        {"refresh of a public client",
         {.grant = CONFIG_OAUTH_REFRESH_TOKEN, .client_id = "p"},
         "grant_type=refresh_token&refresh_token=1%2F%2F0g%2Bx&client_id=p",
         NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
        struct config_oauth oauth = rows[i].oauth;
        struct http_request request;
        oauth.token_url = URL;
        ask(&oauth, "1//0g+x", arena, &request);
        cr_expect_str_eq(request.url, URL);
        cr_expect_str_eq(request.body, rows[i].body, "%s: %s", rows[i].name, request.body);
        const char *authorization = header_of(&request, "Authorization");
        cr_expect_eq(authorization != NULL, rows[i].authorization != NULL, "%s", rows[i].name);
        if (authorization != NULL && rows[i].authorization != NULL)
            cr_expect_str_eq(authorization, rows[i].authorization, "%s: %s", rows[i].name,
                             authorization);
    }
}

/* Whoever mounts it as a file may have changed it; while it is being written the last one is good.
 */
Test(oauth_grant, secret_file_is_read_anew)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    CLEANUP(file_clear) struct file file;
    file_write(&file, "newer\n", 6);
    const struct config_oauth oauth = {.grant = CONFIG_OAUTH_CLIENT_CREDENTIALS,
                                       .client_id = "p",
                                       .client_secret = "older",
                                       .client_secret_file = file.path,
                                       .client_auth = CONFIG_OAUTH_CLIENT_POST,
                                       .token_url = URL};
    struct http_request request;
    ask(&oauth, NULL, arena, &request);
    cr_expect_str_eq(request.body, "grant_type=client_credentials&client_id=p&client_secret=newer");
    cr_assert_eq(truncate(file.path, 0), 0);
    ask(&oauth, NULL, arena, &request);
    cr_expect_str_eq(request.body, "grant_type=client_credentials&client_id=p&client_secret=older");
}

Test(oauth_grant, client_assertion)
{
    static const struct {
        const char *pem;
        int provider;
        const char *algorithm;
    } rows[] = {
        {p256_pem, CONFIG_OAUTH_CUSTOM, "ES256"},
        {rsa_pem, CONFIG_OAUTH_CUSTOM, "RS256"},
        {rsa_pem, CONFIG_OAUTH_MICROSOFT, "PS256"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        CLEANUP(file_clear) struct file key;
        file_write(&key, rows[i].pem, strlen(rows[i].pem));
        const struct config_oauth oauth = {.provider = rows[i].provider,
                                           .grant = CONFIG_OAUTH_CLIENT_CREDENTIALS,
                                           .client_id = "postern-es256",
                                           .private_key_file = key.path,
                                           .key_id = "ck-1",
                                           .token_url = URL};
        struct http_request request;
        ask(&oauth, NULL, arena, &request);
        cr_expect_null(header_of(&request, "Authorization"));
        cr_expect_not_null(strstr(request.body, "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth"
                                                "%3Aclient-assertion-type%3Ajwt-bearer&"));
        char *id = field_of(&request, "client_id"), *token = field_of(&request, "client_assertion");
        cr_expect_str_eq(id, "postern-es256");
        json_auto_t *header = part_of(token, 0), *claims = part_of(token, 1);
        cr_expect_str_eq(text_of(header, "alg"), rows[i].algorithm);
        cr_expect_str_eq(text_of(header, "kid"), "ck-1");
        cr_expect_str_eq(text_of(claims, "iss"), "postern-es256");
        cr_expect_str_eq(text_of(claims, "sub"), "postern-es256");
        cr_expect_str_eq(text_of(claims, "aud"), URL);
        cr_expect_eq(strlen(text_of(claims, "jti")), 26);
        json_int_t iat = json_integer_value(json_object_get(claims, "iat"));
        json_int_t exp = json_integer_value(json_object_get(claims, "exp"));
        cr_expect(iat <= NOW_S && exp > NOW_S && exp - iat <= 3600, "%lld to %lld", iat, exp);
        cr_expect_eq(json_integer_value(json_object_get(claims, "nbf")), iat);
        free(id);
        free(token);
    }
}

/* No server takes one twice. */
Test(oauth_grant, assertions_differ)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    CLEANUP(file_clear) struct file key;
    file_write(&key, rsa_pem, strlen(rsa_pem));
    const struct config_oauth oauth = {.grant = CONFIG_OAUTH_JWT_BEARER,
                                       .client_id = "i",
                                       .private_key_file = key.path,
                                       .token_url = URL};
    struct http_request first, second;
    ask(&oauth, NULL, arena, &first);
    ask(&oauth, NULL, arena, &second);
    cr_expect_str_neq(first.body, second.body);
}

static char *account_json(const char *type, const char *pem, const char *url)
{
    json_auto_t *json =
        json_pack("{s:s, s:s*, s:s, s:s, s:s*}", "type", type, "private_key", pem, "client_email",
                  "svc@project.iam.example", "private_key_id", "sa-1", "token_uri", url);
    return json_dumps(json, 0);
}

Test(oauth_grant, service_account)
{
    static const struct {
        const char *token_url, *subject;
        const char *url, *sub;
        const char *mark; /* in front of the file */
    } rows[] = {
        {NULL, "user@example.com", "https://in.the.file/token", "user@example.com", ""},
        {URL, NULL, URL, "svc@project.iam.example", ""},
        {URL, NULL, URL, "svc@project.iam.example", "\xef\xbb\xbf"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(file_clear) struct file file;
        char *json = account_json("service_account", rsa_pem, "https://in.the.file/token"), *text;
        cr_assert_gt(asprintf(&text, "%s%s", rows[i].mark, json), 0);
        file_write(&file, text, strlen(text));
        free(text);
        free(json);
        CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
        const struct config_oauth oauth = {.provider = CONFIG_OAUTH_GOOGLE,
                                           .grant = CONFIG_OAUTH_JWT_BEARER,
                                           .service_account_file = file.path,
                                           .subject = rows[i].subject,
                                           .token_url = rows[i].token_url,
                                           .scope = "https://mail.google.com/"};
        struct http_request request;
        ask(&oauth, NULL, arena, &request);
        cr_expect_str_eq(request.url, rows[i].url);
        cr_expect_eq(strncmp(request.body,
                             "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"
                             "assertion=",
                             75),
                     0, "%s", request.body);
        cr_expect_null(strstr(request.body, "client_"), "the assertion says who asks");
        char *token = field_of(&request, "assertion");
        json_auto_t *header = part_of(token, 0), *claims = part_of(token, 1);
        cr_expect_str_eq(text_of(header, "alg"), "RS256");
        cr_expect_str_eq(text_of(header, "kid"), "sa-1");
        cr_expect_str_eq(text_of(claims, "iss"), "svc@project.iam.example");
        cr_expect_str_eq(text_of(claims, "sub"), rows[i].sub);
        cr_expect_str_eq(text_of(claims, "aud"), rows[i].url);
        cr_expect_str_eq(text_of(claims, "scope"), "https://mail.google.com/");
        free(token);
    }
}

Test(oauth_grant, a_secret_goes_along_with_an_assertion)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    CLEANUP(file_clear) struct file key;
    file_write(&key, p256_pem, strlen(p256_pem));
    const struct config_oauth oauth = {.grant = CONFIG_OAUTH_JWT_BEARER,
                                       .client_id = "i",
                                       .client_secret = "s",
                                       .private_key_file = key.path,
                                       .token_url = URL};
    struct http_request request;
    ask(&oauth, NULL, arena, &request);
    cr_expect_str_eq(header_of(&request, "Authorization"), "Basic aTpz");
    cr_expect_null(strstr(request.body, "client_assertion"), "%s", request.body);
}

/* As a login asks for a device code. */
Test(oauth_grant, other_forms)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    const struct config_oauth oauth = {.grant = CONFIG_OAUTH_REFRESH_TOKEN, .client_id = "p"};
    struct http_request request;
    struct form form = {0};
    struct error err;
    form_add(&form, "scope", "s");
    cr_assert_eq(grant_form_request(&oauth, "https://d/", &form, NOW_S, arena, &request, &err), 0);
    cr_expect_str_eq(request.url, "https://d/");
    cr_expect_str_eq(request.body, "scope=s&client_id=p");
    cr_expect_eq(form.n_fields, 1);
}

Test(oauth_grant, faults)
{
    struct file files[4];
    char *user = account_json("authorized_user", rsa_pem, NULL);
    char *keyless = account_json("service_account", NULL, NULL);
    char *broken = account_json("service_account", "s3cret", NULL);
    file_write(&files[0], user, strlen(user));
    file_write(&files[1], keyless, strlen(keyless));
    file_write(&files[2], broken, strlen(broken));
    file_write(&files[3], "{\"s3cret", 8);
    const struct {
        struct config_oauth oauth;
        enum error_code code;
        const char *why;
    } rows[] = {
        {{.grant = CONFIG_OAUTH_REFRESH_TOKEN, .client_id = "p"}, ERR_TOKEN_REFUSED, "login "},
        {{.grant = CONFIG_OAUTH_CLIENT_CREDENTIALS}, ERR_CONFIG, "client_id is missing"},
        {{.grant = CONFIG_OAUTH_CLIENT_CREDENTIALS,
          .client_id = "p",
          .private_key_file = "/nonexistent"},
         ERR_CONFIG,
         "/nonexistent: No such file"},
        {{.grant = CONFIG_OAUTH_JWT_BEARER, .client_id = "p"},
         ERR_CONFIG,
         "service_account_file, or"},
        {{.grant = CONFIG_OAUTH_JWT_BEARER, .service_account_file = "/nonexistent"},
         ERR_CONFIG,
         "/nonexistent: No such file"},
        {{.grant = CONFIG_OAUTH_JWT_BEARER, .service_account_file = "/dev/zero"},
         ERR_CONFIG,
         "/dev/zero: too large"},
        {{.grant = CONFIG_OAUTH_JWT_BEARER, .service_account_file = files[0].path},
         ERR_CONFIG,
         "not the JSON of a service account"},
        {{.grant = CONFIG_OAUTH_JWT_BEARER, .service_account_file = files[1].path},
         ERR_CONFIG,
         "not the JSON of a service account"},
        {{.grant = CONFIG_OAUTH_JWT_BEARER, .service_account_file = files[2].path},
         ERR_CONFIG,
         "no private key in PEM"},
        {{.grant = CONFIG_OAUTH_JWT_BEARER, .service_account_file = files[3].path},
         ERR_CONFIG,
         "not the JSON of a service account"},
        {{.grant = CONFIG_OAUTH_TOKEN_FILE}, ERR_INTERNAL, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct config_oauth oauth = rows[i].oauth;
        struct http_request request;
        struct error err = {0};
        oauth.token_url = URL;
        cr_expect_lt(grant_request(&oauth, NULL, NOW_S, arena, &request, &err), 0, "%zu", i);
        cr_expect_eq(err.code, rows[i].code, "%zu: %s", i, error_word(err.code));
        cr_expect_not_null(strstr(err.detail, rows[i].why), "%zu: %s", i, err.detail);
        cr_expect_null(strstr(err.detail, "s3cret"), "%s", err.detail);
    }
    for (size_t i = 0; i < 4; i++)
        file_clear(&files[i]);
    free(user);
    free(keyless);
    free(broken);
}

Test(oauth_grant, token_file)
{
    static const struct {
        const char *text;
        size_t len;
        const char *token; /* NULL: none */
    } rows[] = {
        {"ya29.abc", 8, "ya29.abc"},
        {" ya29.abc\r\n", 11, "ya29.abc"},
        {"\xef\xbb\xbfya29.abc\r\n", 13, "ya29.abc"}, /* as some editors save it */
        {"", 0, NULL},
        {"\n", 1, NULL},
        {"s3cret\ns3cret\n", 14, NULL},
        {"s3cret\0", 7, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(oauth_token_unref) struct oauth_token *token = NULL;
        CLEANUP(file_clear) struct file file;
        struct error err = {0};
        file_write(&file, rows[i].text, rows[i].len);
        const struct config_oauth oauth = {.grant = CONFIG_OAUTH_TOKEN_FILE,
                                           .token_file = file.path};
        int rc = grant_read_file(&oauth, 1000, &token, &err);
        cr_expect_eq(rc == 0, rows[i].token != NULL, "%zu: %s", i, err.detail);
        if (rc == 0) {
            cr_expect_str_eq(oauth_token_secret(token), rows[i].token);
            cr_expect_eq(oauth_token_expires_ms(token), 301000);
        } else {
            cr_expect_eq(err.code, ERR_TOKEN_UNAVAILABLE);
            cr_expect_not_null(strstr(err.detail, file.path), "%s", err.detail);
            cr_expect_null(strstr(err.detail, "s3cret"), "%s", err.detail);
        }
    }
}

Test(oauth_grant, token_file_that_is_not_there)
{
    const struct config_oauth oauth = {.token_file = "/nonexistent"};
    struct oauth_token *token = NULL;
    struct error err = {0};
    cr_expect_lt(grant_read_file(&oauth, 0, &token, &err), 0);
    cr_expect_eq(err.code, ERR_TOKEN_UNAVAILABLE);
    cr_expect_null(token);
}
