#include "base/encode.h"

#include <criterion/criterion.h>

#include "base/loopback.h"

Test(encode, vectors)
{
    static const struct {
        const char *octets;
        size_t len;
        const char *hex, *base64url;
    } rows[] = {
        {"", 0, "", ""}, /* RFC 4648, 10 */
        {"f", 1, "66", "Zg"},
        {"fo", 2, "666f", "Zm8"},
        {"foo", 3, "666f6f", "Zm9v"},
        {"foobar", 6, "666f6f626172", "Zm9vYmFy"},
        {"\0\xff\xef\xbe", 4, "00ffefbe", "AP_vvg"},
        {"\xfb\xff", 2, "fbff", "-_8"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char hex[ENCODE_HEX_SIZE(6)], base64url[ENCODE_BASE64URL_SIZE(6)];
        encode_hex(rows[i].octets, rows[i].len, hex);
        encode_base64url(rows[i].octets, rows[i].len, base64url);
        cr_expect_str_eq(hex, rows[i].hex);
        cr_expect_str_eq(base64url, rows[i].base64url);
    }
}

Test(loopback, hosts)
{
    static const struct {
        const char *host;
        bool is;
    } rows[] = {
        {"127.0.0.1", true},  {"127.255.0.1", true},  {"::1", true},
        {"[::1]", true},      {"localhost", true},    {"LocalHost", true},
        {"128.0.0.1", false}, {"0.0.0.0", false},     {"::", false},
        {"127.1", false},     {"0127.0.0.1", false},  {"::ffff:127.0.0.1", false},
        {"", false},          {"localhost.x", false}, {"x", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(loopback_is(rows[i].host), rows[i].is, "%s", rows[i].host);
}
