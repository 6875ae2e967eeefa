#include <criterion/criterion.h>

#include "base/utf8.h"

Test(utf8, code_points_and_what_is_not_one)
{
    static const struct {
        const char *octets;
        size_t len, taken;
        uint32_t code_point;
    } rows[] = {
        {"", 0, 0, 0},
        {"\0", 1, 1, 0},
        {"a", 1, 1, 'a'},
        {"\x7f", 1, 1, 0x7f},
        {"\xc2\x80", 2, 2, 0x80},
        {"\xc3\x96x", 3, 2, 0xd6},
        {"\xdf\xbf", 2, 2, 0x7ff},
        {"\xe0\xa0\x80", 3, 3, 0x800},
        {"\xed\x9f\xbf", 3, 3, 0xd7ff},
        {"\xee\x80\x80", 3, 3, 0xe000},
        {"\xef\xbf\xbf", 3, 3, 0xffff},
        {"\xf0\x90\x80\x80", 4, 4, 0x10000},
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff},
        /* cut off */
        {"\xc3", 1, 0, 0},
        {"\xe2\x82", 2, 0, 0},
        {"\xf0\x9f\x98", 3, 0, 0},
        /* no continuation where one belongs, one where none belongs */
        {"\xc3\x28", 2, 0, 0},
        {"\xe2\x82\x28", 3, 0, 0},
        {"\x80", 1, 0, 0},
        {"\xbf\xbf", 2, 0, 0},
        /* overlong (RFC 3629, 3) */
        {"\xc0\x80", 2, 0, 0},
        {"\xc1\xbf", 2, 0, 0},
        {"\xe0\x80\x8a", 3, 0, 0},
        {"\xe0\x9f\xbf", 3, 0, 0},
        {"\xf0\x80\x80\x8a", 4, 0, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0, 0},
        /* surrogates, beyond Unicode */
        {"\xed\xa0\x80", 3, 0, 0},
        {"\xed\xbf\xbf", 3, 0, 0},
        {"\xf4\x90\x80\x80", 4, 0, 0},
        {"\xf5\x80\x80\x80", 4, 0, 0},
        {"\xf8\x88\x80\x80\x80", 5, 0, 0},
        {"\xff", 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t c = 0;
        cr_expect_eq(utf8_code_point(rows[i].octets, rows[i].len, &c), rows[i].taken, "row %zu", i);
        cr_expect_eq(c, rows[i].code_point, "row %zu: U+%04x", i, c);
    }
}
