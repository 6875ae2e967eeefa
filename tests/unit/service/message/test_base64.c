#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "message/base64.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* RFC 4648, 10 */
Test(base64, the_standards_own_examples)
{
    static const struct {
        const char *plain, *encoded;
    } rows[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd\xfb\xef\xbe", "//79+++"
                                     "+"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char lines[64];
        char *whole = base64_encode_str(rows[i].plain, strlen(rows[i].plain));
        cr_assert_not_null(whole);
        cr_expect_str_eq(whole, rows[i].encoded);
        cr_expect_eq(strlen(whole), base64_encoded_size(strlen(rows[i].plain)));
        size_t n = base64_encode_lines(rows[i].plain, strlen(rows[i].plain), lines);
        cr_expect_eq(n, base64_lines_size(strlen(whole)), "row %zu", i);
        cr_expect_arr_eq(lines, whole, strlen(whole));
        free(whole);
    }
}

/* Every line but the last has 76 characters, each ends with CRLF, nothing else is in it. */
static void expect_wrapped(const char *s, size_t len, size_t n_characters)
{
    cr_assert_eq(len, base64_lines_size(n_characters), "%zu octets of %zu", len, n_characters);
    for (size_t at = 0; at < len; at += BASE64_LINE + 2) {
        size_t n = len - at < BASE64_LINE + 2 ? len - at : BASE64_LINE + 2;
        cr_assert_geq(n, 3);
        cr_expect_arr_eq(s + at + n - 2, "\r\n", 2);
        cr_expect_null(memchr(s + at, '\r', n - 2));
        cr_expect_null(memchr(s + at, '\n', n - 2));
    }
}

Test(base64, lines_of_76_at_every_length)
{
    char plain[400], lines[800], again[800];
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)(i * 37);
    for (size_t len = 0; len <= sizeof(plain); len++) {
        const char *why = "";
        size_t n = base64_encode_lines(plain, len, lines);
        expect_wrapped(lines, n, base64_encoded_size(len));
        cr_expect_eq(base64_rewrap(lines, n, again, &why), (long)n, "%zu: %s", len, why);
        cr_expect_arr_eq(again, lines, n);
    }
}

Test(base64, what_others_wrapped_otherwise_is_wrapped_anew)
{
    static const struct {
        const char *name, *in, *out;
    } rows[] = {
        {"nothing", "", ""},
        {"blanks alone", " \t\r\n", ""},
        {"one line", "Zm9vYmFy", "Zm9vYmFy\r\n"},
        {"bare line feeds", "Zm9v\nYmFy\n", "Zm9vYmFy\r\n"},
        {"blanks all over", " Z m\t9v\r\n\r\nYg\n=\n= ", "Zm9vYg==\r\n"},
        {"one pad", "Zm8=", "Zm8=\r\n"},
        {"two pads", "Zg==", "Zg==\r\n"},
        {"both odd characters", "+/+/", "+/+/\r\n"},
        {"76 exactly",
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"},
        {"the pads on a line of their own",
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n==",
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"
         "AA==\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *out =
            malloc(base64_lines_size(strlen(rows[i].in)) + 1); /* a sanitizer sees its end */
        const char *why = "";
        long n = base64_rewrap(rows[i].in, strlen(rows[i].in), out, &why);
        cr_expect_eq(n, (long)strlen(rows[i].out), "%s: %ld %s", rows[i].name, n, why);
        if (n == (long)strlen(rows[i].out))
            cr_expect_arr_eq(out, rows[i].out, (size_t)n, "%s", rows[i].name);
        free(out);
    }
}

Test(base64, what_is_not_base64_is_refused_with_its_reason)
{
    static const struct {
        const char *in;
        size_t len;
        const char *why;
    } rows[] = {
        {"Zm9vY", 5, "multiple of four"},
        {"Zm9vYg", 6, "multiple of four"},
        {"Zm9vYg=", 7, "multiple of four"},
        {"Zm9vYmE", 7, "multiple of four"},
        {"Z", 1, "multiple of four"},
        {"Z=", 2, "multiple of four"},
        {"Z==", 3, "multiple of four"},
        {"=", 1, "multiple of four"},
        {"==", 2, "multiple of four"},
        {"Z===", 4, "behind the padding"},
        {"====", 4, "behind the padding"},
        {"Zg===", 5, "behind the padding"},
        {"Zg==Zg==", 8, "behind the padding"},
        {"Zg=g", 4, "behind the padding"},
        {"Zm9v====", 8, "behind the padding"},
        {"Zm9v=", 5, "multiple of four"},
        {"Zh==", 4, "left over"}, /* RFC 4648, 3.5 */
        {"Zm9=", 4, "left over"},
        {"-m9v", 4, "URL-safe"},
        {"Zm9_", 4, "URL-safe"},
        {"Zm9v!", 5, "not base64"},
        {"Zm9\0", 4, "not base64"},
        {"Zm9\x80", 4, "not base64"},
        {"Zm9\xff", 4, "not base64"},
        {"data:a/b;base64,Zg==", 20, "not base64"},
        {"Zm.v", 4, "not base64"},
        {"Zm\v9v", 5, "not base64"},
        {"Zm\xc2\xa0"
         "9v",
         6, "not base64"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[64];
        const char *why = "";
        cr_expect_eq(base64_rewrap(rows[i].in, rows[i].len, out, &why), -1, "row %zu", i);
        cr_expect_not_null(strstr(why, rows[i].why), "row %zu: %s", i, why);
    }
}

Test(base64, every_octet_but_65_and_blanks_is_refused)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int c = 0; c < 256; c++) {
        char in[] = "AAAAAAA?", out[16];
        const char *why;
        in[7] = (char)c;
        bool taken = (c != 0 && strchr(good, c) != NULL) || c == '=';
        cr_expect_eq(base64_rewrap(in, 8, out, &why) == 10, taken, "0x%02x", (unsigned)c);
    }
}

Test(base64, what_was_wrapped_can_be_decoded_in_place)
{
    for (size_t n = 0; n < 400; n++) {
        char octets[400], lines[700];
        const char *why;
        for (size_t i = 0; i < n; i++)
            octets[i] = (char)(i * 37 + n);
        char *base64 = base64_encode_str(octets, n);
        long len = base64_rewrap(base64, strlen(base64), lines, &why);
        free(base64);
        cr_assert_geq(len, 0);
        cr_assert_eq(base64_decode_lines(lines, (size_t)len, lines), n);
        cr_assert(n == 0 || memcmp(lines, octets, n) == 0, "%zu", n);
    }
}
