#include "config/proxy.h"

#include <criterion/criterion.h>
#include <string.h>

#define A16 "aaaaaaaaaaaaaaaa"
#define A255 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 "aaaaaaaaaaaaaaa"

static void expect_text(const char *got, const char *wanted, const char *url)
{
    cr_expect((got == NULL) == (wanted == NULL), "%s", url);
    if (got != NULL && wanted != NULL)
        cr_expect_str_eq(got, wanted, "%s", url);
}

Test(proxy, parsed)
{
    static const struct {
        const char *url;
        enum config_proxy_kind kind;
        const char *host;
        uint16_t port;
        const char *user, *password;
    } rows[] = {
        {"socks5://h:1080", CONFIG_PROXY_SOCKS5, "h", 1080, NULL, NULL},
        {"SOCKS5://h:1/", CONFIG_PROXY_SOCKS5, "h", 1, NULL, NULL},
        {"http://proxy.example.com:3128", CONFIG_PROXY_HTTP, "proxy.example.com", 3128, NULL, NULL},
        {"http://u:p@[::1]:8080", CONFIG_PROXY_HTTP, "::1", 8080, "u", "p"},
        {"socks5://a%40b:p%3A%2f%40@h:1080", CONFIG_PROXY_SOCKS5, "h", 1080, "a@b", "p:/@"},
        {"socks5://a%3ab:c@h:1080", CONFIG_PROXY_SOCKS5, "h", 1080, "a:b", "c"},
        {"socks5://" A255 ":p@h:1", CONFIG_PROXY_SOCKS5, "h", 1, A255, "p"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct config_proxy proxy;
        struct error err = {0};
        cr_assert_eq(config_proxy_parse(rows[i].url, arena, &proxy, &err), 0, "%s: %s", rows[i].url,
                     err.detail);
        cr_expect_eq(proxy.kind, rows[i].kind, "%s", rows[i].url);
        cr_expect_eq(proxy.port, rows[i].port, "%s", rows[i].url);
        expect_text(proxy.host, rows[i].host, rows[i].url);
        expect_text(proxy.user, rows[i].user, rows[i].url);
        expect_text(proxy.password, rows[i].password, rows[i].url);
    }
}

Test(proxy, refused_and_not_repeated)
{
    static const struct {
        const char *url, *why;
    } rows[] = {
        {"", "write socks5://host:port or http://host:port"},
        {"h:1080", "write socks5://"},
        {"socks5://h", "write socks5://"}, /* which of several ports is usual? */
        {"socks4://h:1080", "write socks5://"},
        {"https://s3cret:s3cret@h:443", "write socks5://"},
        {"socks5://h:1080/path", "write socks5://"},
        {"socks5://h:1080?s3cret", "write socks5://"},
        {"socks5://u:s3cret/x@h:1080", "write socks5://"},
        {"socks5://h%0d%0aX:1080", "write socks5://"},
        {"socks5://h\r\nX:1080", "write socks5://"},
        {"http://h%20x:1080", "write socks5://"},
        {"http://u:s3cret%0d%0aHost:x@h:1080", "without control characters"},
        {"http://u\r\n:s3cret@h:1080", "without control characters"},
        {"http://u:s3cret%00@h:1080", "without control characters"},
        {"http://u:s3cret%zz@h:1080", "without control characters"},
        {"socks5://s3cret@h:1080", "1 to 255 octets each"},
        {"socks5://s3cret:@h:1080", "1 to 255 octets each"},
        {"socks5://:s3cret@h:1080", "1 to 255 octets each"},
        {"socks5://a" A255 ":s3cret@h:1080", "1 to 255 octets each"},
        {"socks5://" A255 ":a" A255 "@h:1080", "1 to 255 octets each"},
        {"http://a%3ab:s3cret@h:1080", "cannot be told to an HTTP proxy"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct config_proxy proxy = {.port = 7};
        struct error err = {0};
        cr_expect_lt(config_proxy_parse(rows[i].url, arena, &proxy, &err), 0, "%s", rows[i].url);
        cr_expect_not_null(strstr(err.detail, rows[i].why), "%s: %s", rows[i].url, err.detail);
        cr_expect_null(strstr(err.detail, "s3cret"), "%s: %s", rows[i].url, err.detail);
        cr_expect_eq(proxy.port, 7, "untouched: %s", rows[i].url);
    }
}
