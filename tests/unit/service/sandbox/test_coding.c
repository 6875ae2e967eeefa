#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/coding.h"

struct row {
    const char *name, *in, *out;
};

typedef void decoder(const char *data, size_t len, struct buffer *out);

static void check(const struct row *rows, size_t n, decoder *decode)
{
    for (size_t i = 0; i < n; i++) {
        struct buffer out;
        buffer_init(&out, 1 << 16);
        /* A copy of exactly that size, so that the sanitizer sees a step beyond it. */
        size_t len = strlen(rows[i].in);
        char *in = malloc(len + 1);
        memcpy(in, rows[i].in, len);
        in = realloc(in, len > 0 ? len : 1);
        decode(in, len, &out);
        cr_assert(!out.failed);
        char *text = buffer_steal_str(&out);
        cr_assert_str_eq(text, rows[i].out, "%s", rows[i].name);
        free(text);
        free(in);
    }
}

#define CHECK(rows, decode) check(rows, sizeof(rows) / sizeof(rows[0]), decode)

Test(coding, base64)
{
    static const struct row rows[] = {
        {"empty", "", ""},
        {"no padding needed", "QUJD", "ABC"},
        {"one pad", "QUI=", "AB"},
        {"two pads", "QQ==", "A"},
        {"pads forgotten", "QUI", "AB"},
        {"lines", "QU\r\nJD\r\nREVG\r\n", "ABCDEF"},
        {"garbage is passed over", "Q!U\x80J D", "ABC"},
        {"a lone character", "Q", ""},
        {"nothing behind the padding", "QQ==QUJD", "A"},
        {"all of the alphabet's ends", "+/+/", "\xfb\xff\xbf"},
    };
    CHECK(rows, coding_base64_decode);
}

Test(coding, quoted)
{
    static const struct row rows[] = {
        {"plain", "a b", "a b"},
        {"octets", "=C3=a4=3D", "\xc3\xa4="},
        {"a soft line break", "a=\r\nb", "ab"},
        {"one with LF", "a=\nb", "ab"},
        {"one with blanks", "a= \t\r\nb", "ab"},
        {"one at the end", "a=\r\n", "a"},
        {"an = at the end", "a=", "a"},
        {"a cut octet", "a=C", "a=C"},
        {"no octet", "a=XYb=3", "a=XYb=3"},
        {"= and CR only", "a=\rb", "a=\rb"},
    };
    CHECK(rows, coding_quoted_decode);
}

Test(coding, percent)
{
    static const struct row rows[] = {
        {"octets", "%C3%a4 b", "\xc3\xa4 b"}, {"cut", "a%4", "a%4"}, {"none", "%zz%", "%zz%"}};
    CHECK(rows, coding_percent_decode);
}

Test(coding, words)
{
    static const struct row rows[] = {
        {"none", "plain  text", "plain  text"},
        {"Q", "=?utf-8?Q?a_=C3=A4?=", "a \xc3\xa4"},
        {"an underscore, encoded", "=?utf-8?q?a=5Fb?=", "a_b"},
        {"B", "=?UTF-8?b?w6Q=?=", "\xc3\xa4"},
        {"text around", "x =?utf-8?Q?y?= z", "x y z"},
        {"white space between words is none", "=?utf-8?Q?a?=\r\n =?utf-8?Q?b?=", "ab"},
        {"but between word and text it is", "=?utf-8?Q?a?=\r\n b", "a b"},
        {"a character split between words", "=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "\xc3\xa4"},
        {"not across charsets", "=?utf-8?Q?=C3?= =?iso-8859-1?Q?=A4?=", "\xef\xbf\xbd\xc2\xa4"},
        {"latin", "=?ISO-8859-1?Q?=E4=80?=", "\xc3\xa4\xe2\x82\xac"},
        {"with a language", "=?iso-8859-1*de?Q?=E4?=", "\xc3\xa4"},
        {"an unknown charset", "=?x?Q?=E4a?=",
         "\xef\xbf\xbd"
         "a"},
        {"not UTF-8 outside",
         "a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"empty", "=?utf-8?Q?\?=", ""},
        {"unfolded", "a\r\n\tb\n c", "a\tb c"},
        {"cut short", "=?utf-8?Q?a?", "=?utf-8?Q?a?"},
        {"no encoding", "=?utf-8?X?a?=", "=?utf-8?X?a?="},
        {"a space within", "=?utf-8?Q?a b?=", "=?utf-8?Q?a b?="},
        {"many beginnings", "=?=?=?=?=?=?=?=?", "=?=?=?=?=?=?=?=?"},
        {"adjacent", "=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"},
    };
    CHECK(rows, coding_words_decode);
}

Test(coding, the_limit_is_kept)
{
    struct buffer out;
    buffer_init(&out, 4);
    coding_base64_decode("QUJDQUJDQUJD", 12, &out);
    cr_assert(out.failed);
    cr_assert_leq(out.len, 4);
    buffer_clear(&out);
}
