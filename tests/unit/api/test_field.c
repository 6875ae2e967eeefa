#include <criterion/criterion.h>
#include <string.h>

#include "api/field.h"

Test(field, values_end_before_their_blanks)
{
    static const struct {
        const char *value;
        size_t trimmed;
    } rows[] = {{"", 0},       {" ", 0},     {"\t \t", 0}, {"a", 1},        {"a ", 1},
                {"a\t \t", 1}, {"a b\t", 3}, {" a", 2},    {"a\xc2\xa0", 3}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(field_trimmed(rows[i].value, strlen(rows[i].value)), rows[i].trimmed, "%s",
                     rows[i].value);
    cr_expect_eq(field_trimmed(NULL, 0), 0);
}

Test(field, words_are_tokens_or_quoted_strings)
{
    static const struct {
        const char *s, *word; /* NULL: none */
        const char *rest;
    } rows[] = {
        {"a", "a", ""},
        {"a;b", "a", ";b"},
        {"a b", "a", " b"},
        {"!#$%&'*+-.^_`|~09azAZ,", "!#$%&'*+-.^_`|~09azAZ", ","},
        {"\"\"", "", ""},
        {"\"a, b\"; c", "a, b", "; c"},
        {"\"\\\"\\\\\\a\"x", "\"\\a", "x"},
        {"abcdefghijklmnopqrstuvwxyz0123456789,", "abcdefghijklmnopqrstuvwxyz01234", ","},
        {"", NULL, ""},
        {"=a", NULL, "=a"},
        {"\xc3\xb6", NULL, "\xc3\xb6"},
        {"\"a", NULL, "\"a"},
        {"\"a\\\"", NULL, "\"a\\\""},
        {"\"a\\", NULL, "\"a\\"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char word[32] = "untouched";
        const char *at = rows[i].s;
        cr_expect_eq(field_take_word(&at, word, sizeof(word)), rows[i].word != NULL, "%s",
                     rows[i].s);
        cr_expect_str_eq(at, rows[i].rest);
        if (rows[i].word != NULL)
            cr_expect_str_eq(word, rows[i].word);
    }
}

Test(field, lists_of_one_word)
{
    static const struct {
        const char *list;
        bool only;
    } rows[] = {
        {"identity", true},
        {"Identity , IDENTITY", true},
        {"", true},
        {" ,\t,", true},
        {"gzip", false},
        {"identity, gzip", false},
        {"gzip,identity", false},
        {"identityx", false},
        {"identit", false},
        {"identity identity", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(field_list_only(rows[i].list, "identity"), rows[i].only, "%s", rows[i].list);
}
