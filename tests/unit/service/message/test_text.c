#include <criterion/criterion.h>
#include <string.h>

#include "message/text.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

Test(text, what_may_stand_in_a_header)
{
    static const struct {
        const char *octets;
        size_t len;
        const char *fault;
    } rows[] = {
        {"", 0, NULL},
        {"plain text ~", 12, NULL},
        {"\xc2\xa0", 2, NULL}, /* the first code point behind C1 */
        {"\xe2\x80\xa7\xe2\x80\xaa", 6, NULL},
        {"\xf0\x9f\x98\x80", 4, NULL},
        {"a\rb", 3, "control character"},
        {"a\nb", 3, "control character"},
        {"a\0b", 3, "control character"},
        {"a\tb", 3, "control character"},
        {"\x1b[0m", 4, "control character"},
        {"\x7f", 1, "control character"},
        {"\xc2\x80", 2, "control character"},
        {"\xc2\x85", 2, "control character"}, /* NEL */
        {"\xc2\x9f", 2, "control character"},
        {"\xe2\x80\xa8", 3, "line separator"},
        {"\xe2\x80\xa9", 3, "line separator"},
        {"\xc0\x8a", 2, "UTF-8"}, /* a line feed, overlong */
        {"\xe0\x80\x8a", 3, "UTF-8"},
        {"ok\xff", 3, "UTF-8"},
        {"ok\xc3", 3, "UTF-8"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *fault = text_header_fault(rows[i].octets, rows[i].len);
        if (rows[i].fault == NULL)
            cr_expect_null(fault, "row %zu: %s", i, fault);
        else
            cr_expect(fault != NULL && strstr(fault, rows[i].fault) != NULL, "row %zu: %s", i,
                      fault != NULL ? fault : "taken");
    }
}

Test(text, every_control_octet_is_refused_wherever_it_stands)
{
    for (int c = 0; c < 0x20; c++)
        for (size_t at = 0; at < 5; at++) {
            char s[] = "abcde";
            s[at] = (char)c;
            cr_expect_not_null(text_header_fault(s, 5), "0x%02x at %zu", (unsigned)c, at);
        }
}

Test(text, ascii)
{
    cr_expect(text_is_ascii("", 0));
    cr_expect(text_is_ascii("\0\x7f", 2));
    cr_expect_not(text_is_ascii("abc\x80", 4));
    cr_expect(text_is_ascii("abc\x80", 3));
}

Test(text, what_cannot_be_seen)
{
    static const uint32_t unseen[] = {0xa0,   0xad,   0x34f,  0x200b, 0x200d, 0x200f,
                                      0x202e, 0x2060, 0x3000, 0xfeff, 0xfe0f, 0xe0041};
    static const uint32_t seen[] = {'a',   '-',    0xa1,   0xf6,    0x300,
                                    0x5d0, 0x5408, 0xfffd, 0x1f600, 0x10ffff};
    for (size_t i = 0; i < COUNT(unseen); i++)
        cr_expect(text_is_invisible(unseen[i]), "U+%04X", unseen[i]);
    for (size_t i = 0; i < COUNT(seen); i++)
        cr_expect_not(text_is_invisible(seen[i]), "U+%04X", seen[i]);
}

Test(text, characters_and_blanks)
{
    const char *s = "  a b ";
    cr_expect_eq(text_trim(&s, 6), 3);
    cr_expect_eq(memcmp(s, "a b", 3), 0);
    s = "   ";
    cr_expect_eq(text_trim(&s, 3), 0);
    cr_expect_eq(text_count("a\xc3\xb6\xe5\x90\x88\xf0\x9f\x98\x80", 10), 4);
    cr_expect_eq(text_count("", 0), 0);
}
