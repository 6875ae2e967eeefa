#include <criterion/criterion.h>
#include <string.h>

#include "message/encoded_word.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

Test(encoded_word, is_the_text_it_stands_for)
{
    static const struct {
        const char *text, *decoded; /* NULL: stays as it is */
    } rows[] = {
        {"plain", NULL},
        {"", NULL},
        {"=?UTF-8?B?SsO8cmdlbg==?=", "J\xc3\xbcrgen"},
        {"=?utf-8?q?J=C3=BCrgen_M=2e?=", "J\xc3\xbcrgen M."},
        {"=?iso-8859-1?Q?J=FCrgen?=", "J\xc3\xbcrgen"},
        {"=?ISO-8859-1*de?Q?J=FCrgen?=", "J\xc3\xbcrgen"},
        {"=?windows-1252?Q?=80_=81?=", "\xe2\x82\xac \xef\xbf\xbd"},
        {"=?us-ascii?Q?x?= y", "x y"},
        {"a =?us-ascii?Q?x?= y", "a x y"},
        /* blanks between two are dropped, and a character may be split */
        {"=?utf-8?b?w7Y=?=   =?utf-8?q?=C3?= =?utf-8?q?=B6?=", "\xc3\xb6\xc3\xb6"},
        {"=?utf-8?q?a?= =?iso-8859-1?q?=F6?=", "a\xc3\xb6"},
        {"=?utf-8?q?\?= =?iso-8859-1?q?=F6?=", " \xc3\xb6"},
        {"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"},
        {"=?utf-8?q?_?==?utf-8?q?x?=", " x"},
        /* no good: they stay */
        {"=?utf-8?q?=C3?=", NULL},
        {"=?utf-8?q?=00?=", NULL},
        {"=?utf-8?b?w7Y?=", NULL},
        {"=?utf-8?b?w-Y=?=", NULL},
        {"=?utf-8?x?a?=", NULL},
        {"=?koi8-r?q?=C1?=", NULL},
        {"=?utf-8?q?a b?=", NULL},
        {"=?utf-8?q?=4?=", NULL},
        {"=??q?a?=", NULL},
        {"=?utf-8?q?a", NULL},
        {"=?=?=?=?=", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        const char *decoded = encoded_word_decode(arena, rows[i].text, strlen(rows[i].text));
        cr_expect_str_eq(decoded, rows[i].decoded != NULL ? rows[i].decoded : rows[i].text);
    }
}

/* Each word is looked at once, also where the end of a run makes it no text. */
Test(encoded_word, a_long_run_that_is_no_text_stays)
{
    static const char word[] = "=?utf-8?q?=C3=B6?= ", last[] = "=?utf-8?q?=C3?=";
    enum { N = 20000 };
    CLEANUP(arena_free) struct arena *arena = arena_new();
    size_t len = N * (sizeof(word) - 1) + sizeof(last) - 1;
    char *text = arena_alloc(arena, len + 1);
    for (size_t i = 0; i < N; i++)
        memcpy(text + i * (sizeof(word) - 1), word, sizeof(word) - 1);
    memcpy(text + N * (sizeof(word) - 1), last, sizeof(last) - 1);
    cr_expect_str_eq(encoded_word_decode(arena, text, len), text);
}
