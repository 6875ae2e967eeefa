#include "base/nearest.h"

#include <criterion/criterion.h>

Test(nearest, distances_of_words)
{
    static const struct {
        const char *a, *b;
        size_t distance;
    } rows[] = {
        {"", "", 0},
        {"a", "", 1},
        {"", "ab", 2},
        {"from", "from", 0},
        {"form", "from", 1},
        {"bbc", "bcc", 1},
        {"kitten", "sitting", 3},
        {"abcdefghijklmnopqrstuvwxyzabcdef", "bcdefghijklmnopqrstuvwxyzabcdef", 1},
        {"abcdefghijklmnopqrstuvwxyzabcdefg", "a", NEAREST_FAR},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(nearest_distance(rows[i].a, rows[i].b), rows[i].distance, "%s", rows[i].a);
        cr_expect_eq(nearest_distance(rows[i].b, rows[i].a), rows[i].distance, "%s", rows[i].a);
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
