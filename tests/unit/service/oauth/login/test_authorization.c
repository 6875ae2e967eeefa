#include "oauth/login/authorization.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oauth/login/query.h"

Test(authorization, random_and_of_the_length_that_is_asked_for)
{
    struct authorization a, b;
    struct error err;
    cr_assert_eq(authorization_init(&a, "http://127.0.0.1:1/", &err), 0);
    cr_assert_eq(authorization_init(&b, "http://127.0.0.1:1/", &err), 0);
    cr_expect_eq(strlen(a.verifier), 64); /* RFC 7636, 4.1: 43 to 128 */
    cr_expect_eq(strlen(a.state), 32);
    cr_expect_str_neq(a.verifier, b.verifier);
    cr_expect_str_neq(a.state, b.state);
    cr_expect_null(strstr(a.verifier, a.state));
}

Test(authorization, a_redirect_uri_too_long)
{
    struct authorization a;
    struct error err;
    char uri[600];
    memset(uri, 'a', sizeof(uri) - 1);
    uri[sizeof(uri) - 1] = '\0';
    cr_assert_eq(authorization_init(&a, uri, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
}

static void expect_value(const char *url, const char *name, const char *wanted)
{
    char value[256];
    cr_assert(query_get(strchr(url, '?') + 1, name, value, sizeof(value)), "%s in %s", name, url);
    cr_expect_str_eq(value, wanted, "%s", name);
}

Test(authorization, address)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    const struct config_oauth oauth = {.provider = CONFIG_OAUTH_CUSTOM,
                                       .client_id = "an id & more",
                                       .scope = "a b",
                                       .authorize_url = "https://example.com/authorize?p=1"};
    struct authorization a;
    struct error err;
    char *url;
    cr_assert_eq(authorization_init(&a, "http://127.0.0.1:1/", &err), 0);
    /* RFC 7636, appendix B */
    snprintf(a.verifier, sizeof(a.verifier), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    cr_assert_eq(authorization_url(&a, &oauth, "me@example.com", arena, &url, &err), 0);
    cr_expect_eq(strncmp(url, "https://example.com/authorize?p=1&", 34), 0, "%s", url);
    expect_value(url, "p", "1");
    expect_value(url, "response_type", "code");
    expect_value(url, "client_id", "an id & more");
    expect_value(url, "redirect_uri", "http://127.0.0.1:1/");
    expect_value(url, "scope", "a b");
    expect_value(url, "state", a.state);
    expect_value(url, "code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    expect_value(url, "code_challenge_method", "S256");
    expect_value(url, "login_hint", "me@example.com");
    cr_expect_null(strstr(url, a.verifier), "it stays here");
}

static const struct authorization asked = {.state = "0123456789abcdef0123456789abcdef"};
#define STATE "state=0123456789abcdef0123456789abcdef"

Test(authorization, answers)
{
    static const struct {
        const char *query;
        enum error_code code;
        const char *told; /* the code, or the begin of why not */
    } rows[] = {
        {"code=4/abc&" STATE, ERR_NONE, "4/abc"},
        {STATE "&code=4%2Fabc&iss=https://x", ERR_NONE, "4/abc"},
        {"code=abc", ERR_INVALID, "that does not answer"},
        {"code=abc&state=", ERR_INVALID, "that does not answer"},
        {"code=abc&" STATE "0", ERR_INVALID, "that does not answer"},
        {"code=abc&state=0123456789abcdef0123456789abcdee", ERR_INVALID, "that does not answer"},
        {"code=abc&" STATE "&" STATE, ERR_INVALID, "that does not answer"},
        {"error=access_denied", ERR_INVALID, "that does not answer"},
        {STATE, ERR_INVALID, "there is no code"},
        {STATE "&code=a&code=b", ERR_INVALID, "there is no code"},
        {"error=access_denied&" STATE, ERR_TOKEN_REFUSED, "access_denied"},
        {"error=x&error_description=so+it+is&" STATE, ERR_TOKEN_REFUSED, "x: so it is"},
        {"error=x&code=abc&" STATE, ERR_TOKEN_REFUSED, "x"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err = {0};
        char code[AUTHORIZATION_CODE_SIZE] = "untouched";
        int rc = authorization_read(&asked, rows[i].query, code, &err);
        cr_expect_eq(rc, rows[i].code == ERR_NONE ? 0 : -1, "%s", rows[i].query);
        cr_expect_eq(err.code, rows[i].code, "%s: %s", rows[i].query, err.detail);
        cr_expect_str_eq(code, rc == 0 ? rows[i].told : "untouched", "%s", rows[i].query);
        if (rc < 0)
            cr_expect_eq(strncmp(err.detail, rows[i].told, strlen(rows[i].told)), 0, "%s: %s",
                         rows[i].query, err.detail);
    }
}

Test(authorization, pasted)
{
    static const struct {
        const char *line;
        enum error_code code;
        const char *told;
    } rows[] = {
        {"4/abc-_.~", ERR_NONE, "4/abc-_.~"},
        {"  4/abc \r\n", ERR_NONE, "4/abc"},
        {"http://127.0.0.1:1/?code=a%2Bb&" STATE, ERR_NONE, "a+b"},
        {"\thttp://127.0.0.1:1/?" STATE "&code=ab#fragment\r", ERR_NONE, "ab"},
        {"http://127.0.0.1:1/?code=ab", ERR_INVALID, "that does not answer"},
        {"http://127.0.0.1:1/?error=no&" STATE, ERR_TOKEN_REFUSED, "no"},
        {"http://127.0.0.1:1/", ERR_INVALID, "there is no code in that address"},
        {"", ERR_INVALID, "nothing"},
        {" \r\n", ERR_INVALID, "nothing"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err = {0};
        char code[AUTHORIZATION_CODE_SIZE] = "untouched";
        int rc = authorization_read_pasted(&asked, rows[i].line, code, &err);
        cr_expect_eq(err.code, rows[i].code, "%s: %s", rows[i].line, err.detail);
        cr_expect_str_eq(code, rc == 0 ? rows[i].told : "untouched", "%s", rows[i].line);
        if (rc < 0)
            cr_expect_eq(strncmp(err.detail, rows[i].told, strlen(rows[i].told)), 0, "%s: %s",
                         rows[i].line, err.detail);
    }
}

Test(authorization, pasted_without_end)
{
    static char line[3 * AUTHORIZATION_CODE_SIZE];
    struct error err;
    char code[AUTHORIZATION_CODE_SIZE] = "untouched";
    memset(line, 'a', sizeof(line) - 1);
    cr_assert_eq(authorization_read_pasted(&asked, line, code, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(code, "untouched");
}
