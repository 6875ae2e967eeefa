#include "config/url.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect_part(struct url_part part, const char *text, const char *url, const char *name)
{
    if (text == NULL)
        cr_expect_null(part.at, "%s: %s", url, name);
    else
        cr_expect(part.at != NULL && part.len == strlen(text) &&
                      memcmp(part.at, text, part.len) == 0,
                  "%s: %s", url, name);
}

Test(url, split)
{
    static const struct {
        const char *text, *scheme, *user, *password, *host;
        uint16_t port;
        const char *query;
    } rows[] = {
        {"smtp://h", "smtp", NULL, NULL, "h", 0, NULL},
        {"smtp://h/", "smtp", NULL, NULL, "h", 0, NULL},
        {"smtp://h?", "smtp", NULL, NULL, "h", 0, ""},
        {"smtp://h/?a=b&c", "smtp", NULL, NULL, "h", 0, "a=b&c"},
        {"smtp://h:25?a=b", "smtp", NULL, NULL, "h", 25, "a=b"},
        {"smtp+none://h:65535", "smtp+none", NULL, NULL, "h", 65535, NULL},
        {"smtp://u@h", "smtp", "u", NULL, "h", 0, NULL},
        {"smtp://u:@h", "smtp", "u", "", "h", 0, NULL},
        {"smtp://@h", "smtp", "", NULL, "h", 0, NULL},
        {"smtp://u:p:q@r@h:1", "smtp", "u", "p:q@r", "h", 1, NULL},
        {"smtp://a%40b:%3a@h", "smtp", "a%40b", "%3a", "h", 0, NULL},
        {"socks5://[::1]:1080", "socks5", NULL, NULL, "::1", 1080, NULL},
        {"http://u:p@[2001:db8::1]", "http", "u", "p", "2001:db8::1", 0, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct url url;
        cr_assert_eq(url_split(rows[i].text, &url), 0, "%s", rows[i].text);
        expect_part(url.scheme, rows[i].scheme, rows[i].text, "scheme");
        expect_part(url.user, rows[i].user, rows[i].text, "user");
        expect_part(url.password, rows[i].password, rows[i].text, "password");
        expect_part(url.host, rows[i].host, rows[i].text, "host");
        expect_part(url.query, rows[i].query, rows[i].text, "query");
        cr_expect_eq(url.port, rows[i].port, "%s", rows[i].text);
    }
}

Test(url, not_of_that_form)
{
    static const char *const rows[] = {
        "",
        "h",
        "h:25",
        "smtp:h",
        "smtp://",
        "smtp://u@",
        "smtp://:25",
        "smtp://h:",
        "smtp://h:x",
        "smtp://h:0",
        "smtp://h:-1",
        "smtp://h:65536",
        "smtp://h:2 ",
        "smtp://[]",
        "smtp://[::1",
        "smtp://[::1]x",
        "smtp://[::1]:",
        "smtp://h/p",
        "smtp://u:p/q@h",
        "smtp://h:000025",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct url url = {.port = 7};
        cr_expect_lt(url_split(rows[i], &url), 0, "%s", rows[i]);
        cr_expect_eq(url.port, 7, "untouched: %s", rows[i]);
    }
}

Test(url, decode)
{
    static const struct {
        const char *text, *decoded; /* NULL: refused */
    } rows[] = {
        {"", ""},        {"a", "a"},           {"%41%4a%4A", "AJJ"}, {"a%20b", "a b"},
        {"%ff", "\xff"}, {"%25%32%35", "%25"}, {"%0d", "\r"},        {"+", "+"},
        {"%", NULL},     {"%4", NULL},         {"a%4", NULL},        {"%4g", NULL},
        {"%g4", NULL},   {"%00", NULL},        {"%%41", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[16];
        const struct url_part part = {rows[i].text, strlen(rows[i].text)};
        int rc = url_decode(part, out);
        cr_expect_eq(rc, rows[i].decoded != NULL ? 0 : -1, "%s", rows[i].text);
        if (rc == 0 && rows[i].decoded != NULL)
            cr_expect_str_eq(out, rows[i].decoded);
    }
    char out[2];
    cr_expect_lt(url_decode((struct url_part){"%414", 2}, out), 0, "no look behind its end");
}
