#include "oauth/tokens/form.h"

#include <criterion/criterion.h>

Test(oauth_form, encoded)
{
    static const struct {
        const char *value, *encoded;
    } rows[] = {
        {"", ""},
        {"az-AZ.09_*", "az-AZ.09_*"},
        {"a b", "a+b"},
        {"a+b", "a%2Bb"},
        {"a%b:c&d=e/f~", "a%25b%3Ac%26d%3De%2Ff%7E"},
        {"\r\n\x01\x7f", "%0D%0A%01%7F"},
        {"\xc2\xa3 \xe2\x82\xac", "%C2%A3+%E2%82%AC"}, /* RFC 6749, appendix B has the like */
    };
    CLEANUP(arena_free) struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(form_encode_value(rows[i].value, arena), rows[i].encoded);
}

Test(oauth_form, fields)
{
    CLEANUP(arena_free) struct arena *arena = arena_new_wiping();
    struct form form = {0};
    cr_expect_str_eq(form_encode(&form, arena), "");
    form_add(&form, "grant_type", "refresh_token");
    form_add(&form, "scope", NULL);
    form_add(&form, "a b", "");
    form_add(&form, "c", "&=");
    cr_expect_str_eq(form_encode(&form, arena), "grant_type=refresh_token&a+b=&c=%26%3D");
}
