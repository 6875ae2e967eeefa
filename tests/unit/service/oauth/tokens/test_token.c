#include "oauth/tokens/token.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOOD "\"access_token\": \"ya29.A-b_c~d+e/f==\", \"token_type\": \"Bearer\""

enum { NOW_MS = 5000 };

static int parse(int status, const char *body, struct oauth_token **token_out, char **refresh_out,
                 struct error *err)
{
    return oauth_token_parse(status, body, strlen(body), NOW_MS, token_out, refresh_out, err);
}

Test(oauth_token, taken)
{
    static const struct {
        const char *body;
        int64_t lifetime_ms;
        const char *refresh;
    } rows[] = {
        {"{" GOOD ", \"expires_in\": 3599}", 3599000, NULL},
        {"{" GOOD ", \"expires_in\": 5}", 5000, NULL},
        {"{" GOOD ", \"expires_in\": 5.5}", 5500, NULL},
        {"{" GOOD ", \"expires_in\": \"3600\"}", 3600000, NULL},
        {"{" GOOD ", \"expires_in\": \"3600.0\"}", 3600000, NULL},
        {"{" GOOD "}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": null}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": -5}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": 0}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": \"-5\"}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": \"soon\"}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": \"nan\"}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": \"\"}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": \"1e\"}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": [3600]}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": true}", 300000, NULL},
        {"{" GOOD ", \"expires_in\": 86401}", 86400000, NULL},
        {"{" GOOD ", \"expires_in\": 1e30}", 86400000, NULL},
        {"{" GOOD ", \"expires_in\": \"1e999\"}", 86400000, NULL},
        {"{" GOOD ", \"expires_in\": 99999999999999999999999999}", 86400000, NULL},
        {"{" GOOD ", \"expires_in\": \"inf\"}", 300000, NULL},
        {"{" GOOD ", \"refresh_token\": \"1//0g-x y\"}", 300000, "1//0g-x y"},
        {"{" GOOD ", \"refresh_token\": \"\"}", 300000, NULL},
        {"{" GOOD ", \"refresh_token\": null}", 300000, NULL},
        {"{" GOOD ", \"error\": null}", 300000, NULL},
        {"{" GOOD ", \"error\": \"\"}", 300000, NULL},
        {"{\"access_token\": \"ya29.A-b_c~d+e/f==\", \"token_type\": \"BEARER\"}", 300000, NULL},
        {"{\"access_token\": \"ya29.A-b_c~d+e/f==\"}", 300000, NULL},
        {"\xef\xbb\xbf{" GOOD ", \"expires_in\": 3599}", 3599000, NULL}, /* a byte order mark */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(oauth_token_unref) struct oauth_token *token = NULL;
        char *refresh = NULL;
        struct error err = {0};
        cr_assert_eq(parse(200, rows[i].body, &token, &refresh, &err), 0, "%s: %s", rows[i].body,
                     err.detail);
        cr_expect_str_eq(oauth_token_secret(token), "ya29.A-b_c~d+e/f==");
        cr_expect_eq(oauth_token_obtained_ms(token), NOW_MS);
        cr_expect_eq(oauth_token_expires_ms(token), NOW_MS + rows[i].lifetime_ms, "%s",
                     rows[i].body);
        cr_expect_eq(refresh != NULL, rows[i].refresh != NULL, "%s", rows[i].body);
        if (refresh != NULL && rows[i].refresh != NULL)
            cr_expect_str_eq(refresh, rows[i].refresh);
        free(refresh);
    }
}

Test(oauth_token, not_taken)
{
    static const struct {
        int status;
        const char *body;
        enum error_code code;
        const char *detail; /* begins so */
    } rows[] = {
        /* the grant */
        {400, "{\"error\": \"invalid_grant\"}", ERR_TOKEN_REFUSED, "invalid_grant"},
        {400,
         "{\"error\": \"invalid_grant\", \"error_description\": \"It was\\r\\nrevoked \\u00fc\"}",
         ERR_TOKEN_REFUSED, "invalid_grant: It was??revoked ??"},
        {400, "{\"error\": \"invalid_grant\", \"error_description\": 7}", ERR_TOKEN_REFUSED,
         "invalid_grant"},
        {401, "{\"error\": \"invalid_client\"}", ERR_TOKEN_REFUSED, "invalid_client"},
        {403, "{\"error\": \"unauthorized_client\"}", ERR_TOKEN_REFUSED, "unauthorized_client"},
        {400, "{\"error\": \"authorization_pending\"}", ERR_TOKEN_REFUSED, "authorization_pending"},
        {400, "{\"error\": \"slow_down\"}", ERR_TOKEN_REFUSED, "slow_down"},
        {200, "{\"error\": \"invalid_grant\"}", ERR_TOKEN_REFUSED, "invalid_grant"},
        {200, "{" GOOD ", \"error\": \"invalid_grant\"}", ERR_TOKEN_REFUSED, "invalid_grant"},
        /* the endpoint */
        {503, "{\"error\": \"invalid_grant\"}", ERR_TOKEN_UNAVAILABLE, "invalid_grant"},
        {429, "{\"error\": \"invalid_request\"}", ERR_TOKEN_UNAVAILABLE, "invalid_request"},
        {400, "{\"error\": \"temporarily_unavailable\"}", ERR_TOKEN_UNAVAILABLE,
         "temporarily_unavailable"},
        {400, "{\"error\": \"server_error\"}", ERR_TOKEN_UNAVAILABLE, "server_error"},
        {403, "{\"error\": \"rate_limit_exceeded\"}", ERR_TOKEN_UNAVAILABLE, "rate_limit_exceeded"},
        {400, "{\"error\": {\"code\": 400, \"status\": \"X\"}}", ERR_TOKEN_UNAVAILABLE,
         "the endpoint"},
        {200, "{" GOOD ", \"error\": {\"code\": 400}}", ERR_TOKEN_UNAVAILABLE, "the endpoint"},
        {400, "{\"error\": \"\"}", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 400"},
        {302, "", ERR_TOKEN_UNAVAILABLE, "the endpoint answered with a redirect (302)"},
        {302, "{" GOOD "}", ERR_TOKEN_UNAVAILABLE, "the endpoint answered with a redirect"},
        {302, "{\"error\": \"invalid_grant\"}", ERR_TOKEN_UNAVAILABLE,
         "the endpoint answered with"},
        {500, "{" GOOD "}", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 500"},
        {404, "<html>", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 404"},
        {400, "<html>", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 400"},
        {200, "<html>", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 200"},
        {200, "", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 200"},
        {200, "[]", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 200"},
        {200, "{" GOOD, ERR_TOKEN_UNAVAILABLE, "the endpoint answered 200"},
        {200, "{" GOOD "} and", ERR_TOKEN_UNAVAILABLE, "the endpoint answered 200"},
        {200, "{" GOOD ", \"access_token\": \"b\"}", ERR_TOKEN_UNAVAILABLE, "the endpoint"},
        {200, "{" GOOD ", \"expires_in\": 1e999}", ERR_TOKEN_UNAVAILABLE, "the endpoint"},
        {200, "{}", ERR_TOKEN_UNAVAILABLE, "the endpoint's answer has no access token"},
        {200, "{\"access_token\": 7}", ERR_TOKEN_UNAVAILABLE, "the endpoint's answer has no"},
        {200, "{\"access_token\": \"\"}", ERR_TOKEN_UNAVAILABLE, "an access token that is empty"},
        {200, "{\"access_token\": \"=\"}", ERR_TOKEN_UNAVAILABLE, "an access token that is"},
        {200, "{\"access_token\": \"a=b\"}", ERR_TOKEN_UNAVAILABLE, "an access token that is"},
        {200, "{\"access_token\": \"a b\"}", ERR_TOKEN_UNAVAILABLE, "an access token that is"},
        {200, "{\"access_token\": \"a\\r\\nRCPT TO:<x@y>\"}", ERR_TOKEN_UNAVAILABLE,
         "an access token that is"},
        {200, "{\"access_token\": \"a\\u0001\"}", ERR_TOKEN_UNAVAILABLE, "an access token that is"},
        {200, "{\"access_token\": \"a\\u0000\"}", ERR_TOKEN_UNAVAILABLE, "the endpoint"},
        {200, "{\"access_token\": \"\\u00fc\"}", ERR_TOKEN_UNAVAILABLE, "an access token that is"},
        {200, "{\"access_token\": \"a\", \"token_type\": \"mac\"}", ERR_TOKEN_UNAVAILABLE,
         "the endpoint gave a token that is no bearer"},
        {200, "{\"access_token\": \"a\", \"token_type\": \"DPoP\"}", ERR_TOKEN_UNAVAILABLE,
         "the endpoint gave a token that is no bearer"},
        {200, "{\"access_token\": \"a\", \"token_type\": null}", ERR_TOKEN_UNAVAILABLE,
         "the endpoint gave a token that is no bearer"},
    };
    struct oauth_token *const untouched = (struct oauth_token *)&rows;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct oauth_token *token = untouched;
        char *refresh = (char *)untouched;
        struct error err = {0};
        cr_expect_lt(parse(rows[i].status, rows[i].body, &token, &refresh, &err), 0, "%s",
                     rows[i].body);
        cr_expect_eq(err.code, rows[i].code, "%d %s: %s", rows[i].status, rows[i].body,
                     error_word(err.code));
        cr_expect_eq(strncmp(err.detail, rows[i].detail, strlen(rows[i].detail)), 0, "%d %s: %s",
                     rows[i].status, rows[i].body, err.detail);
        cr_expect(token == untouched && refresh == (char *)untouched, "%s", rows[i].body);
    }
}

Test(oauth_token, length)
{
    static const struct {
        size_t len;
        bool good;
    } rows[] = {{4000, true}, {9216, true}, {9217, false}, {100 * 1024, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(oauth_token_unref) struct oauth_token *token = NULL;
        char *refresh = NULL, *body = malloc(rows[i].len + 100);
        struct error err = {0};
        cr_assert_not_null(body);
        size_t n = (size_t)sprintf(body, "{\"access_token\": \"");
        memset(body + n, 'a', rows[i].len);
        n += rows[i].len;
        n += (size_t)sprintf(body + n, "\"}");
        int rc = oauth_token_parse(200, body, n, NOW_MS, &token, &refresh, &err);
        cr_expect_eq(rc == 0, rows[i].good, "%zu: %s", rows[i].len, err.detail);
        cr_expect_null(strstr(err.detail, "aaaa"), "it is not shown");
        free(body);
    }
}

/* An error of any length leaves room for itself only. */
Test(oauth_token, long_error)
{
    char body[4096], longest[3001];
    struct oauth_token *token = NULL;
    char *refresh = NULL;
    struct error err = {0};
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    snprintf(body, sizeof(body), "{\"error\": \"invalid_grant\", \"error_description\": \"%s\"}",
             longest);
    cr_expect_lt(parse(400, body, &token, &refresh, &err), 0);
    cr_expect_lt(strlen(err.detail), sizeof(err.detail) - 1);
}

Test(oauth_token, counted)
{
    struct oauth_token *token = NULL;
    struct error err;
    cr_assert_eq(oauth_token_new("abcd", 3, 1000, 2000, &token, &err), 0);
    cr_expect_eq(oauth_token_ref(token), token);
    oauth_token_unref(token);
    cr_expect_str_eq(oauth_token_secret(token), "abc");
    cr_expect_eq(oauth_token_expires_ms(token), 3000);
    oauth_token_unref(token);
    oauth_token_unref(NULL);
}

Test(oauth_token, of_somebody_else)
{
    struct oauth_token *token = NULL;
    struct error err = {0};
    cr_expect_lt(oauth_token_new("abc\n", 4, 0, 1, &token, &err), 0);
    cr_expect_eq(err.code, ERR_TOKEN_UNAVAILABLE);
    cr_expect_lt(oauth_token_new("a\0b", 3, 0, 1, &token, &err), 0);
    cr_expect_null(token);
}
