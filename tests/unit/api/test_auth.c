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

Test(auth, allow_lists_hold_for_every_sender_and_recipient_and_the_relay)
{
    static const char *from_items[] = {"*@example.com", "one@other.org"};
    static const char *to_items[] = {"*@example.net"};
    static const struct config_api_key key = {
        .from = {from_items, 2}, .to = {to_items, 1}, .relay = "primary"};
    static const struct {
        const char *from, *sender, *envelope_from, *to[2];
        const char *pointer; /* NULL: allowed */
        const char *relay;   /* NULL: it names none */
    } cases[] = {
        {"a@example.com", NULL, "a@example.com", {"x@example.net", "y@example.net"}, NULL},
        {"one@other.org", NULL, "", {"x@example.net", NULL}, NULL},
        {"two@other.org", NULL, "a@example.com", {"x@example.net", NULL}, "/from"},
        {"a@sub.example.com", NULL, "a@example.com", {"x@example.net", NULL}, "/from"},
        {"a@notexample.com", NULL, "a@example.com", {"x@example.net", NULL}, "/from"},
        {"a@example.com", "x@evil.org", "a@example.com", {"x@example.net", NULL}, "/sender"},
        {"a@example.com", NULL, "x@evil.org", {"x@example.net", NULL}, "/envelope/from"},
        {"a@example.com", NULL, "a@example.com", {"x@example.net", "x@evil.org"}, "/to"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, NULL, "primary"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, "/relay", "backup"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, "/relay", "Primary"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, "/relay", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(error_list_clear) struct error_list errors = {0};
        const struct address sender = {.email = cases[i].sender};
        const struct message message = {.from = {.email = cases[i].from},
                                        .options.relay = cases[i].relay,
                                        .sender = cases[i].sender != NULL ? &sender : NULL};
        const char *to[] = {cases[i].to[0], cases[i].to[1]};
        const struct envelope envelope = {
            .from = cases[i].envelope_from, .to = to, .n_to = to[1] != NULL ? 2 : 1};
        bool allowed = auth_allows(&key, &message, &envelope, &errors);
        cr_expect_eq(allowed, cases[i].pointer == NULL, "case %zu", i);
        if (!allowed)
            cr_expect_str_eq(errors.items[0].where, cases[i].pointer);
        error_list_clear(&errors);
        cr_expect(auth_allows(NULL, &message, &envelope, &errors));
    }
}
