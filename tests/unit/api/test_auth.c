#include <criterion/criterion.h>
#include <openssl/sha.h>
#include <string.h>

#include "api/auth.h"
#include "fake_request.h"

static struct config_api_key keys[] = {
    {.name = "sender", .scopes = SCOPE_SEND},
    {.name = "reader", .scopes = SCOPE_READ},
    {.name = "admin", .scopes = SCOPE_SEND | SCOPE_READ | SCOPE_ADMIN},
};
static struct config config = {.api_keys = keys, .n_api_keys = 3};
static const struct config open_config = {.n_api_keys = 0};

static void make_keys(void)
{
    static const char *const secrets[] = {"k-send", "k-read", "k-admin"};
    for (size_t i = 0; i < 3; i++)
        SHA256((const unsigned char *)secrets[i], strlen(secrets[i]), keys[i].sha256);
}

static const struct {
    const char *authorization; /* NULL: none */
    unsigned scope;
    int status; /* 0: admitted */
    const char *key;
} rows[] = {
    {NULL, 0, 0, NULL},
    {NULL, SCOPE_SEND, 401, NULL},
    {"", SCOPE_SEND, 401, NULL},
    {"Bearer", SCOPE_SEND, 401, NULL},
    {"Bearer ", SCOPE_SEND, 401, NULL},
    {"Bearer k-sen", SCOPE_SEND, 401, NULL},
    {"Bearer k-sendx", SCOPE_SEND, 401, NULL},
    {"Bearer K-SEND", SCOPE_SEND, 401, NULL},
    {"Basic k-send", SCOPE_SEND, 401, NULL},
    {"k-send", SCOPE_SEND, 401, NULL},
    {"Bearer k-send", SCOPE_SEND, 0, "sender"},
    {"bearer k-send", SCOPE_SEND, 0, "sender"},
    {"BEARER   k-send", SCOPE_SEND, 0, "sender"},
    {"Bearer  k-send", SCOPE_SEND, 0, "sender"},
    {"Bearer\tk-send", SCOPE_SEND, 401, NULL},
    {"Bearer  ", SCOPE_SEND, 401, NULL},
    {"Bearer k-send", SCOPE_READ, 403, NULL},
    {"Bearer k-send", SCOPE_ADMIN, 403, NULL},
    {"Bearer k-read", SCOPE_READ, 0, "reader"},
    {"Bearer k-read", SCOPE_SEND, 403, NULL},
    {"Bearer k-admin", SCOPE_SEND, 0, "admin"},
    {"Bearer k-admin", SCOPE_ADMIN, 0, "admin"},
};

Test(auth, admits_by_key_and_scope, .init = make_keys)
{
    const struct api_context context = {.config = &config};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct api_header headers[] = {{"Authorization", rows[i].authorization},
                                             {NULL, NULL}};
        struct fake_request fake;
        fake_request_init(&fake, &context, "GET", "/", NULL);
        fake.headers = headers;
        bool admitted = auth_admit(&fake.request, rows[i].scope);
        cr_expect_eq(admitted, rows[i].status == 0, "row %zu", i);
        cr_expect_eq(fake.n_responses, rows[i].status != 0, "row %zu", i);
        cr_expect_eq(fake.request.response.status, rows[i].status, "row %zu", i);
        if (rows[i].key != NULL)
            cr_expect_str_eq(fake.request.api_key->name, rows[i].key);
        if (rows[i].status == 401)
            cr_expect_eq(strncmp(fake_response_header(&fake, "WWW-Authenticate"), "Bearer", 6), 0);
        fake_request_clear(&fake);
    }
}

Test(auth, without_keys_all_is_open)
{
    const struct api_context context = {.config = &open_config};
    struct fake_request fake;
    fake_request_init(&fake, &context, "GET", "/", NULL);
    cr_assert(auth_admit(&fake.request, SCOPE_ADMIN));
    cr_assert_null(fake.request.api_key);
    fake_request_clear(&fake);
}
