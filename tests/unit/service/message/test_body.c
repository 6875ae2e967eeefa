#include <criterion/criterion.h>
#include <string.h>

#include "message/body.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
#define X25 "xxxxxxxxxxxxxxxxxxxxxxxxx"
#define X75 X25 X25 X25

static struct text repeated(struct arena *arena, const char *piece, size_t n)
{
    size_t len = strlen(piece);
    char *s = arena_alloc(arena, n * len + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(s + i * len, piece, len);
    return (struct text){s, n * len};
}

Test(body, texts_on_the_wire)
{
    static const struct {
        struct text text;
        enum body_encoding encoding;
        const char *wire;
    } rows[] = {
        {TEXT(""), BODY_7BIT, ""},
        {TEXT("a"), BODY_7BIT, "a"},
        {TEXT("a\nb\r\nc\rd"), BODY_7BIT, "a\r\nb\r\nc\r\nd"},
        {TEXT("\n\r\r\n\n"), BODY_7BIT, "\r\n\r\n\r\n\r\n"},
        {TEXT("tab\there "), BODY_7BIT, "tab\there "},
        {TEXT(".\n..\n"), BODY_7BIT, ".\r\n..\r\n"}, /* DATA's affair */
        {TEXT("na\xc3\xafve = 1"), BODY_QUOTED_PRINTABLE, "na=C3=AFve =3D 1"},
        {TEXT("na\xc3\xafve \n.x\t"), BODY_QUOTED_PRINTABLE, "na=C3=AFve=20\r\n=2Ex=09"},
        {TEXT(X75 "x\xc3\xb6"), BODY_QUOTED_PRINTABLE, X75 "=\r\nx=C3=B6"},
        {TEXT("a\xc3\xb6" X75 "." X25), BODY_QUOTED_PRINTABLE,
         "a=C3=B6" X25 X25 "xxxxxxxxxxxxxxxxxx=\r\nxxxxxxx." X25},
        {TEXT("\xe5\x90\x88\xe5\x90\x8c"), BODY_BASE64, "5ZCI5ZCM"},
        {TEXT("\xe5\x90\x88\n"), BODY_BASE64, "5ZCIDQo="},
        {TEXT("a\0b"), BODY_BASE64, "YQBi"},
        {TEXT("a\x1b[0m"), BODY_BASE64, "YRtbMG0="},
        {TEXT("a\x7f"), BODY_BASE64, "YX8="},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buffer b;
        buffer_init(&b, 10000);
        cr_expect_eq(body_encoding_for(&rows[i].text), rows[i].encoding, "row %zu", i);
        body_write(&b, &rows[i].text, rows[i].encoding);
        cr_expect_eq(b.len, strlen(rows[i].wire), "row %zu: %.*s", i, (int)b.len, b.data);
        cr_expect(b.len == 0 || memcmp(b.data, rows[i].wire, b.len) == 0, "row %zu: %.*s", i,
                  (int)b.len, b.data);
        buffer_clear(&b);
    }
}

Test(body, long_lines_are_broken_by_an_encoding)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct text good = repeated(arena, "x", 900), bad = repeated(arena, "x", 901);
    cr_expect_eq(body_encoding_for(&good), BODY_7BIT);
    cr_expect_eq(body_encoding_for(&bad), BODY_QUOTED_PRINTABLE);
    struct buffer b;
    buffer_init(&b, 10000);
    body_write(&b, &bad, BODY_QUOTED_PRINTABLE);
    for (size_t i = 0, line = 0; i < b.len; i++) {
        line = b.data[i] == '\n' ? 0 : line + 1;
        cr_assert_leq(line, 77); /* 76 and the CR */
    }
    buffer_clear(&b);
}

Test(body, what_goes_as_it_is)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    const struct {
        struct text text;
        bool good, eightbit;
    } rows[] = {
        {TEXT(""), true, false},
        {TEXT("From: a@b\n\nHi\n"), true, false},
        {TEXT("From: a@b\r\n\r\n\x1b$B\xc3\xb6"), true, true},
        {TEXT("a\0b"), false, false},
        {repeated(arena, "x", 998), true, false},
        {repeated(arena, "x", 999), false, false},
        {repeated(arena, "\xc3\xb6", 499), true, true},
        {repeated(arena, "\xc3\xb6", 500), false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool eightbit = false;
        cr_expect_eq(body_identity_fault(&rows[i].text, &eightbit) == NULL, rows[i].good, "row %zu",
                     i);
        cr_expect_eq(eightbit, rows[i].eightbit, "row %zu", i);
    }
}
