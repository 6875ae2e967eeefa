#include "base/nearest.h"

#include <criterion/criterion.h>

/* `slips` away, or too many of them. */
Test(nearest, distances_of_words)
{
    enum { TOO_MANY = 3 };
    static const struct {
        const char *a, *b;
        size_t slips;
    } rows[] = {
        {"from", "from", 0},
        {"form", "from", 1},
        {"fro", "from", 1},
        {"bbc", "bcc", 1},
        {"kittne", "kitten", 1},
        {"sitten", "kitten", 1},
        {"sittin", "kitten", 2},
        {"sitting", "kitten", TOO_MANY},
        {"abcdefghijklmnopqrstuvwxyzabcdef", "bcdefghijklmnopqrstuvwxyzabcdef", 1},
        {"abcdefghijklmnopqrstuvwxyzabcdefg", "abcdefghijklmnopqrstuvwxyzabcdef", TOO_MANY},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int swapped = 0; swapped < 2; swapped++) {
            struct nearest nearest;
            nearest_init(&nearest, swapped ? rows[i].b : rows[i].a);
            nearest_offer(&nearest, swapped ? rows[i].a : rows[i].b);
            cr_expect_eq(nearest.away, rows[i].slips, "%s: %zu", rows[i].a, nearest.away);
            cr_expect_eq(nearest.word != NULL, rows[i].slips < TOO_MANY, "%s", rows[i].a);
        }
    }
}

Test(nearest, of_many_the_nearest)
{
    static const char *const known[] = {"to", "tls", "tag", "timeouts.tls", "timeouts.final"};
    static const struct {
        const char *written, *nearest; /* NULL: none is near */
    } rows[] = {
        {"tsl", "tls"},
        {"tlss", "tls"},
        {"to", "to"},
        {"ta", "to"}, /* as near as tag, and before it */
        {"x", NULL},
        {"xy", NULL}, /* nothing in common */
        {"", NULL},
        {"listen", NULL},
        {"timeout.finl", "timeouts.final"},
        {"timeouts.tsl", "timeouts.tls"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nearest nearest;
        nearest_init(&nearest, rows[i].written);
        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
            nearest_offer(&nearest, known[k]);
        if (rows[i].nearest == NULL)
            cr_expect_null(nearest.word, "%s: %s", rows[i].written, nearest.word);
        else
            cr_expect_str_eq(nearest.word, rows[i].nearest, "%s", rows[i].written);
    }
}
