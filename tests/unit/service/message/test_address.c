#include <criterion/criterion.h>
#include <string.h>

#include "message/address.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define X8 "xxxxxxxx"
#define X64 X8 X8 X8 X8 X8 X8 X8 X8

Test(address, what_is_taken)
{
    static const struct {
        const char *text, *name, *email;
        bool utf8_local;
    } rows[] = {
        {"a@b.org", NULL, "a@b.org", false},
        {"  <a@B.Org> ", NULL, "a@b.org", false},
        {"Bob <a@b.org>", "Bob", "a@b.org", false},
        {"\"Do\\\"e, J\" <a@b.org>", "Do\"e, J", "a@b.org", false},
        {"\"  \" <a@b.org>", NULL, "a@b.org", false},
        {"\" x \" <a@b.org>", "x", "a@b.org", false},
        {"M\xc3\xbcller <a@b.org>", "M\xc3\xbcller", "a@b.org", false},
        {"m\xc3\xbcller@b.org", NULL, "m\xc3\xbcller@b.org", true},
        {"a@b\xc3\xbc"
         "cher.example",
         NULL, "a@xn--bcher-kva.example", false},
        /* quoted local parts: the relay's to judge */
        {"\"odd user\"@b.org", NULL, "\"odd user\"@b.org", false},
        {"Odd <\"odd user\"@b.org>", "Odd", "\"odd user\"@b.org", false},
        {"\"\"@b.org", NULL, "\"\"@b.org", false},
        {"\"a@b, c\"@b.org", NULL, "\"a@b, c\"@b.org", false},
        {"\"\xc3\xb6 x\"@b.org", NULL, "\"\xc3\xb6 x\"@b.org", true},
        {X64 X64 "@b.org", NULL, X64 X64 "@b.org", false},
        /* joiners in a domain where IDNA has them: "nammeh-ye man" (RFC 5892, A.1) */
        {"a@\xd9\x86\xd8\xa7\xd9\x85\xd9\x87\xe2\x80\x8c\xd8\xa7\xdb\x8c.com", NULL,
         "a@xn--mgba3gch31f060k.com", false},
        /* encoded words in a name */
        {"=?UTF-8?B?SsO8cmdlbg==?= <a@b.org>", "J\xc3\xbcrgen", "a@b.org", false},
        {"=?utf-8?q?J=C3=BCr?=  =?utf-8?Q?gen_M?= X <a@b.org>", "J\xc3\xbcrgen M X", "a@b.org",
         false},
        {"\"=?UTF-8?B?SsO8cmdlbg==?=\" <a@b.org>", "=?UTF-8?B?SsO8cmdlbg==?=", "a@b.org", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct address a = {0};
        struct error err = {0};
        int rc = address_parse(arena, rows[i].text, strlen(rows[i].text), &a, &err);
        cr_expect_eq(rc, 0, "%s: %s", rows[i].text, err.detail);
        if (rc < 0)
            continue;
        cr_expect_str_eq(a.email, rows[i].email);
        cr_expect_eq(a.utf8_local, rows[i].utf8_local, "%s", rows[i].text);
        cr_expect_eq(a.name == NULL, rows[i].name == NULL, "%s", rows[i].text);
        if (a.name != NULL && rows[i].name != NULL)
            cr_expect_str_eq(a.name, rows[i].name);
    }
}

Test(address, what_is_refused_and_why)
{
    static const struct {
        const char *text, *why; /* a part of the sentence */
    } rows[] = {
        {"", "empty"},
        {"bob", "no @"},
        {"@b.org", "nothing before the @"},
        {"a@", "nothing behind the @"},
        {"a b@c.org", "characters before the @"},
        {"a..b@c.org", "characters before the @"},
        {".a@c.org", "characters before the @"},
        {"a(x)@b.org", "characters before the @"},
        {"\"a@b.org", "quotes"},
        {"\"a\"x@b.org", "quotes"},
        {"a@[127.0.0.1]", "literals"},
        {"a@b..c", "empty label"},
        {"a@b.org\r\nRCPT TO:<x@y>", "control character"},
        {"a@b.org> SIZE=1", "behind the @|domain holds"},
        {"a@b@c.org", "more than one @"},
        {"\"a\"@evil.com\"@good.com", "more than one @"},
        /* several in a string */
        {"a@b.org, c@d.org", "as a list"},
        {"a@b.org;c@d.org", "as a list"},
        {"A <a@b.org>, C <c@d.org>", "as a list"},
        {"<a@b.org>, c@d.org", "as a list"},
        {"a@b.org, C <c@d.org>", "as a list"},
        {"Doe, J <a@b.org>", "double quotes"},
        /* what cannot be seen */
        {"\xe2\x80\x8b"
         "bob@b.org",
         "U+200B"},
        {"bob\xef\xbb\xbf@b.org", "U+FEFF"},
        {"b\xc2\xa0ob@b.org", "U+00A0"},
        {"b\xc2\xad"
         "ob@b.org",
         "U+00AD"},
        {"b\xe2\x80\x8dob@b.org", "U+200D"},
        {"b\xe2\x80\xaeob@b.org", "U+202E"},
        {"b\xe3\x80\x80ob@b.org", "U+3000"},
        {"b\xf3\xa0\x81\x81ob@b.org", "U+E0041"},
        {"\"b\xe2\x81\xa0\"@b.org", "U+2060"},
        {"bob@ex\xe2\x80\x8b"
         "ample.org",
         "U+200B"},
        {"bob@ex\xc2\xad"
         "ample.org",
         "U+00AD"},
        {"Bob <\xe2\x80\x8b"
         "bob@b.org>",
         "U+200B"},
        {"bob@ex\xe2\x80\x8d"
         "ample.org",
         "internationalized"}, /* IDNA's to judge */
        /* an encoded word smuggles nothing in */
        {"=?utf-8?b?DQpCY2M6IHhAeS56?= <a@b.org>", "control character"},
        {"=?utf-8?q?=0A?= <a@b.org>", "control character"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct address a;
        struct error err = {0};
        cr_expect_eq(address_parse(arena, rows[i].text, strlen(rows[i].text), &a, &err), -1, "%s",
                     rows[i].text);
        size_t n = strcspn(rows[i].why, "|");
        bool said = memmem(err.detail, strlen(err.detail), rows[i].why, n) != NULL ||
                    (rows[i].why[n] == '|' && strstr(err.detail, rows[i].why + n + 1) != NULL);
        cr_expect(said, "%s: %s", rows[i].text, err.detail);
    }
}

Test(address, names_in_parts_are_literal)
{
    static const struct {
        const char *name, *kept;
    } rows[] = {
        {"", NULL}, {"   ", NULL}, {" Bob ", "Bob"}, {"=?UTF-8?B?eA==?=", "=?UTF-8?B?eA==?="}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct address a;
        cr_assert_eq(
            address_from_parts(arena, rows[i].name, strlen(rows[i].name), "a@b.org", 7, &a, NULL),
            0);
        if (rows[i].kept == NULL)
            cr_expect_null(a.name);
        else
            cr_expect_str_eq(a.name, rows[i].kept);
    }
}

Test(address, lists_as_a_header_has_them)
{
    static const struct {
        const char *text;
        size_t n; /* 0: refused */
    } rows[] = {
        {"a@b.org", 1},
        {"a@b.org,c@d.org , E <e@f.org>", 3},
        {"\"x, y\" <a@b.org>, <\"p,q\"@r.org>,", 2},
        {",, a@b.org,,", 1},
        {"a@b.org, c", 0},
        {"G: a@b.org;", 0},
        {"\"x, y <a@b.org>", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct address_list list = {0};
        struct error err = {0};
        int rc = address_list_parse(arena, rows[i].text, strlen(rows[i].text), &list, &err);
        cr_expect_eq(rc == 0, rows[i].n > 0, "%s: %s", rows[i].text, err.detail);
        cr_expect_eq(list.n_items, rows[i].n, "%s", rows[i].text);
    }
}

/* --- each once ---------------------------------------------------------------------------- */

static size_t n_compared;

static int counted_order(const struct address *a, const struct address *b)
{
    n_compared++;
    return address_order(a, b);
}

Test(address, each_mailbox_once_where_it_stands_first)
{
    static const struct address all[] = {
        {.local = "b", .domain = "x.org"}, {.local = "a", .domain = "x.org"},
        {.local = "B", .domain = "x.org"}, {.local = "b", .domain = "X.org"},
        {.local = "a", .domain = "y.org"}, {.local = "b", .domain = "x.org"},
        {.local = "a", .domain = "x.org"},
    };
    static const size_t kept[] = {0, 1, 2, 4};
    CLEANUP(arena_free) struct arena *arena = arena_new();
    const struct address *items[COUNT(all)];
    for (size_t i = 0; i < COUNT(all); i++)
        items[i] = &all[i];
    cr_assert_eq(address_distinct(arena, items, COUNT(all), address_order), COUNT(kept));
    for (size_t i = 0; i < COUNT(kept); i++)
        cr_expect_eq(items[i], &all[kept[i]], "%zu", i);
    cr_assert_eq(address_distinct(arena, items, 0, address_order), 0);
}

Test(address, telling_many_apart_does_not_compare_each_with_each)
{
    enum { N = 3000 };
    CLEANUP(arena_free) struct arena *arena = arena_new();
    const struct address **items = arena_alloc_array(arena, N, sizeof(*items));
    struct address *all = arena_alloc_array(arena, N, sizeof(*all));
    for (size_t i = 0; i < N; i++) {
        all[i] = (struct address){.local = arena_printf(arena, "u%zu", i * 7919 % 2000),
                                  .domain = "example.net"};
        items[i] = &all[i];
    }
    n_compared = 0;
    cr_expect_eq(address_distinct(arena, items, N, counted_order), 2000);
    cr_expect_lt(n_compared, N * 16, "%zu comparisons", n_compared); /* n log2 n and n more */
}
