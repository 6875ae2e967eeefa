#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "message/header.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10

static const char *text_of(struct arena *arena, struct buffer *b)
{
    cr_assert_not(b->failed);
    char *s = arena_strndup(arena, b->data, b->len);
    buffer_clear(b);
    return s;
}

static const char *repeat(struct arena *arena, const char *piece, size_t n)
{
    size_t len = strlen(piece);
    char *s = arena_alloc(arena, n * len + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(s + i * len, piece, len);
    return s;
}

/* --- fields that a client sets ------------------------------------------------------------- */

static const struct {
    const char *label, *name, *value;
    const char *wire; /* NULL: refused */
} fields[] = {
    {"plain", "List-Unsubscribe", "<https://n.example/u/1>",
     "List-Unsubscribe: <https://n.example/u/1>\r\n"},
    {"outer blanks are dropped", "List-Unsubscribe", "  <https://n.example/u/1> ",
     "List-Unsubscribe: <https://n.example/u/1>\r\n"},
    {"two blanks stay two", "List-Unsubscribe", "<mailto:u@e.com>,  <https://x.example/1>",
     "List-Unsubscribe: <mailto:u@e.com>,  <https://x.example/1>\r\n"},
    {"what looks like an encoded word in a structured field", "List-Help",
     "=?UTF-8?Q?x?=", "List-Help: =?UTF-8?Q?x?=\r\n"},
    {"a mark that begins no encoded word", "X-Link", "<https://x.example/?t=YQ=?x=1>",
     "X-Link: <https://x.example/?t=YQ=?x=1>\r\n"},
    {"JSON with blanks", "X-SMTPAPI", "{\"a\":  1}", "X-SMTPAPI: {\"a\":  1}\r\n"},
    {"free text that reads as an encoded word", "X-Note",
     "=?UTF-8?Q?x?=", "X-Note: =?UTF-8?B?PT9VVEYtOD9RP3g/PQ==?=\r\n"},
    {"free text that a lax reader takes for one", "Comments", "a =?u?q?b c?= d",
     "Comments: =?UTF-8?B?YSA9P3U/cT9iIGM/PSBk?=\r\n"},
    {"free text", "X-Note", "\xc3\xb6", "X-Note: =?UTF-8?B?w7Y=?=\r\n"},
    {"free text in any case", "kEYWORDS", "\xc3\xb6", "kEYWORDS: =?UTF-8?B?w7Y=?=\r\n"},
    {"organization", "Organization", "M\xc3\xbcller", "Organization: =?UTF-8?B?TcO8bGxlcg==?=\r\n"},
    {"not ASCII where nobody decodes", "List-Post", "<mailto:\xc3\xb6@e.com>", NULL},
    {"not ASCII in a field unknown", "Precedence", "b\xc3\xbclk", NULL},
    {"the phrase alone is encoded", "Disposition-Notification-To", "J\xc3\xbcrgen <j@example.com>",
     "Disposition-Notification-To: =?UTF-8?B?SsO8cmdlbg==?= <j@example.com>\r\n"},
    {"several mailboxes", "Mail-Followup-To",
     "\"D\xc3\xb6, J\" <a@b.org>, c@d.org,, Plain <e@f.org>",
     "Mail-Followup-To: =?UTF-8?B?RMO2LCBK?= <a@b.org>, c@d.org, Plain <e@f.org>\r\n"},
    {"a domain that is not ASCII", "Errors-To",
     "a@b\xc3\xbc"
     "cher.example",
     "Errors-To: a@xn--bcher-kva.example\r\n"},
    {"no mailbox", "Errors-To", "J\xc3\xbcrgen", NULL},
    {"a group", "Errors-To", "G\xc3\xb6: a@b.org;", NULL},
    {"mailboxes in ASCII go as they are", "Errors-To", "Team: a@b.org,  c@d.org;",
     "Errors-To: Team: a@b.org,  c@d.org;\r\n"},
    {"a list's phrase", "List-Id", "f\xc3\xbcr alle <news.example.com>",
     "List-Id: =?UTF-8?B?ZsO8ciBhbGxl?= <news.example.com>\r\n"},
    {"a list's phrase in quotes", "list-id", "\"f\xc3\xbcr \\\"alle\\\"\" <news.example.com>",
     "list-id: =?UTF-8?B?ZsO8ciAiYWxsZSI=?= <news.example.com>\r\n"},
    {"a list's id that is not ASCII", "List-Id", "x <n\xc3\xa9ws.example.com>", NULL},
    {"a list's phrase alone", "List-Id", "f\xc3\xbcr alle", NULL},
    {"folded at a blank", "X-Long", X50 " " X10 " " X10, "X-Long: " X50 " " X10 "\r\n " X10 "\r\n"},
    {"folded before two blanks", "X-Long", X50 " " X10 "  " X10,
     "X-Long: " X50 " " X10 "\r\n  " X10 "\r\n"},
    {"the first word stays on the first line", "X-Long", X50 X50 X50 " " X10,
     "X-Long: " X50 X50 X50 "\r\n " X10 "\r\n"},
    {"nothing", "X-None", "", "X-None:\r\n"},
    {"blanks", "X-None", "   ", "X-None:\r\n"},
};

Test(header, fields_of_a_client_go_out_by_their_kind)
{
    for (size_t i = 0; i < COUNT(fields); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct header_field field;
        struct error err = {0};
        struct buffer b;
        int rc = header_field_set(arena, fields[i].name, fields[i].value, &field, &err);
        cr_expect_eq(rc == 0, fields[i].wire != NULL, "%s: %s", fields[i].label, err.detail);
        if (rc < 0 || fields[i].wire == NULL)
            continue;
        buffer_init(&b, 10000);
        header_field(&b, &field);
        cr_expect_str_eq(text_of(arena, &b), fields[i].wire, "%s", fields[i].label);
    }
}

Test(header, what_no_line_can_hold_is_refused)
{
    static const struct {
        const char *name;
        size_t n;
        bool good;
    } rows[] = {
        {"List-Unsubscribe", 900, true}, /* was encoded once */
        {"List-Unsubscribe", 980, true}, /* on the line of the name */
        {"List-Unsubscribe", 997, true}, /* on a line of its own */
        {"List-Unsubscribe", 998, false},
        {"X-Note", 998, false}, /* JSON for a machine would be lost in encoded words */
        {"Errors-To", 5000, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct header_field field;
        struct error err = {0};
        struct buffer b;
        const char *word = repeat(arena, "x", rows[i].n);
        int rc = header_field_set(arena, rows[i].name, word, &field, &err);
        cr_expect_eq(rc == 0, rows[i].good, "row %zu: %s", i, err.detail);
        if (rc < 0)
            continue;
        buffer_init(&b, 10000);
        header_field(&b, &field);
        const char *wire = text_of(arena, &b);
        bool own_line = strlen(rows[i].name) + 2 + rows[i].n > 998;
        cr_expect_str_eq(
            wire, arena_printf(arena, "%s:%s %s\r\n", rows[i].name, own_line ? "\r\n" : "", word));
    }
    /* blanks count, too: a line of blanks alone is none (RFC 5322, 3.2.2) */
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct header_field field;
    const char *gap = arena_printf(arena, "a%sb", repeat(arena, " ", 2000));
    cr_expect_eq(header_field_set(arena, "List-Help", gap, &field, NULL), -1);
}

Test(header, names_that_are_taken)
{
    static const char *const taken[] = {
        "From",           "bcc", "SUBJECT", "Content-Type", "content-x",
        "DKIM-Signature", "",    "a b",     "a:b",          "\xc3\xb6"};
    static const char *const free_names[] = {"X-A", "List-Id", "Errors-To", "Fromage",
                                             "Precedence"};
    for (size_t i = 0; i < COUNT(taken); i++)
        cr_expect_not_null(header_name_fault(taken[i]), "%s", taken[i]);
    for (size_t i = 0; i < COUNT(free_names); i++)
        cr_expect_null(header_name_fault(free_names[i]), "%s", free_names[i]);
}

/* --- our own ------------------------------------------------------------------------------ */

Test(header, subjects)
{
    static const struct {
        const char *value, *wire;
    } rows[] = {
        {"Hi", "Subject: Hi\r\n"},
        {"", "Subject:\r\n"},
        {" a  b ", "Subject: a  b\r\n"},
        {"https://example.com/a/" X50 X10, "Subject: https://example.com/a/" X50 X10 "\r\n"},
        {"\xe5\x90\x88\xe5\x90\x8c", "Subject: =?UTF-8?B?5ZCI5ZCM?=\r\n"},
        {"=?utf-8?b?eA==?=", "Subject: =?UTF-8?B?PT91dGYtOD9iP2VBPT0/PQ==?=\r\n"},
        {"is 1 =? 2", "Subject: is 1 =? 2\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct buffer b;
        buffer_init(&b, 10000);
        header_text(&b, "Subject", rows[i].value);
        cr_expect_str_eq(text_of(arena, &b), rows[i].wire, "row %zu", i);
    }
}

/* RFC 2047, 2: encoded words of at most 75, their lines of at most 76; characters whole. */
Test(header, encoded_words_keep_their_lines_short)
{
    for (size_t n_name = 1; n_name <= 76; n_name++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct buffer b;
        buffer_init(&b, 100000);
        header_text(&b, repeat(arena, "n", n_name), repeat(arena, "\xf0\x9f\x98\x80", 100));
        const char *line = text_of(arena, &b);
        for (size_t len; *line != '\0'; line += len + 2) {
            len = strcspn(line, "\r");
            cr_expect_leq(len, n_name == 76 ? 77 : 76, "name of %zu: %.*s", n_name, (int)len, line);
        }
    }
}

Test(header, identifiers_begin_on_the_first_line)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct buffer b;
    const char *words[] = {repeat(arena, "m", 100), repeat(arena, "n", 997)};
    buffer_init(&b, 10000);
    header_words(&b, "References", words, 2);
    cr_expect_str_eq(text_of(arena, &b),
                     arena_printf(arena, "References: %s\r\n %s\r\n", words[0], words[1]));
    header_words(&b, "Message-ID", words + 1, 1); /* the name and it have 1,009 octets */
    cr_expect_str_eq(text_of(arena, &b), arena_printf(arena, "Message-ID:\r\n %s\r\n", words[1]));
}

Test(header, names_of_mailboxes)
{
    static const struct {
        const char *name, *wire;
    } rows[] = {
        {NULL, "To: a@b.org\r\n"},
        {"Bob", "To: Bob <a@b.org>\r\n"},
        {"Bob  B", "To: \"Bob  B\" <a@b.org>\r\n"},
        {"Doe, Jane", "To: \"Doe, Jane\" <a@b.org>\r\n"},
        {"a\"b\\c", "To: \"a\\\"b\\\\c\" <a@b.org>\r\n"},
        {"J\xc3\xbcrgen", "To: =?UTF-8?B?SsO8cmdlbg==?= <a@b.org>\r\n"},
        {"=?x?q?y?=", "To: =?UTF-8?B?PT94P3E/eT89?= <a@b.org>\r\n"},
        /* over 76 octets: in quotes, folded at its blanks */
        {"The very long name, of a department that nobody ever calls by its name, so it is folded",
         "To: \"The very long name, of a department that nobody ever calls by its name,\r\n"
         " so it is folded\" <a@b.org>\r\n"},
        {X50 "." X50, "To: \"" X50 "." X50 "\"\r\n <a@b.org>\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct buffer b;
        struct address a = {.name = rows[i].name, .email = "a@b.org"};
        buffer_init(&b, 10000);
        header_addresses(&b, "To", &(struct address_list){&a, 1});
        cr_expect_str_eq(text_of(arena, &b), rows[i].wire, "row %zu", i);
    }
}

Test(header, lists_of_mailboxes)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct buffer b;
    struct address list[] = {
        {.email = "a@b.org"}, {.email = "c@d.org", .name = "C"}, {.email = "\"odd user\"@e.org"}};
    buffer_init(&b, 10000);
    header_addresses(&b, "Cc", &(struct address_list){list, 3});
    cr_expect_str_eq(text_of(arena, &b), "Cc: a@b.org, C <c@d.org>, \"odd user\"@e.org\r\n");
    header_addresses(&b, "Cc", &(struct address_list){list, 0});
    cr_expect_eq(b.len, 0);
}

/* --- parameters --------------------------------------------------------------------------- */

Test(header, parameters)
{
    static const struct {
        const char *value, *wire, *words;
    } rows[] = {
        {"a.pdf", ";\r\n\tfilename=a.pdf", ";\r\n\tname=a.pdf"},
        {"a b.pdf", ";\r\n\tfilename=\"a b.pdf\"", ";\r\n\tname=\"a b.pdf\""},
        {"it's 100%*.pdf", ";\r\n\tfilename=\"it's 100%*.pdf\"", ";\r\n\tname=\"it's 100%*.pdf\""},
        {"a/b;c.pdf", ";\r\n\tfilename=\"a/b;c.pdf\"", ";\r\n\tname=\"a/b;c.pdf\""},
        {"a\"b\\c", ";\r\n\tfilename*=UTF-8''a%22b%5Cc", ";\r\n\tname=\"=?UTF-8?B?YSJiXGM=?=\""},
        {"=?UTF-8?Q?x?=.txt", ";\r\n\tfilename*=UTF-8''%3D%3FUTF-8%3FQ%3Fx%3F%3D.txt",
         ";\r\n\tname=\"=?UTF-8?B?PT9VVEYtOD9RP3g/PS50eHQ=?=\""},
        {"\xe5\x90\x88.pdf", ";\r\n\tfilename*=UTF-8''%E5%90%88.pdf",
         ";\r\n\tname=\"=?UTF-8?B?5ZCILnBkZg==?=\""},
        /* as much as a line can hold, and one more */
        {X50 X10 " xx", ";\r\n\tfilename=\"" X50 X10 " xx\"", ";\r\n\tname=\"" X50 X10 " xx\""},
        {X50 X10 " xxxxx", ";\r\n\tfilename*0*=UTF-8''" X50 "xxxxxx;\r\n\tfilename*1*=xxxx%20xxxxx",
         ";\r\n\tname=\"" X50 X10 " xxxxx\""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct buffer b;
        buffer_init(&b, 10000);
        header_parameter(&b, "filename", rows[i].value);
        cr_expect_str_eq(text_of(arena, &b), rows[i].wire, "row %zu", i);
        header_parameter_words(&b, "name", rows[i].value);
        cr_expect_str_eq(text_of(arena, &b), rows[i].words, "row %zu", i);
    }
}

/* Lines of at most 78 with the semicolon, each piece whole characters, nothing lost. */
Test(header, long_names_are_cut_between_characters)
{
    static const char *const characters[] = {"x ", "\xc3\xb6", "\xe5\x90\x88", "a\xf0\x9f\x98\x80"};
    for (size_t k = 0; k < COUNT(characters); k++)
        for (size_t n = 1; n <= 255; n++) {
            CLEANUP(arena_free) struct arena *arena = arena_new();
            struct buffer b;
            size_t sum = 0;
            const char *name = repeat(arena, characters[k], n);
            buffer_init(&b, 100000);
            header_parameter(&b, "filename", name);
            const char *line = text_of(arena, &b) + 3; /* ";\r\n" */
            if (strchr(line, '*') == NULL)
                continue;
            for (size_t len; *line != '\0'; line += len + (line[len] == '\r' ? 2 : 0)) {
                len = strcspn(line, "\r");
                cr_assert_leq(len, 78, "%zu of %s: %.*s", n, characters[k], (int)len, line);
                const char *value = memchr(line, '=', len);
                value += strncmp(value, "=UTF-8''", 8) == 0 ? 8 : 1;
                for (; value < line + len && *value != ';'; sum++) {
                    unsigned octet = 0;
                    if (*value == '%')
                        octet = (unsigned)strtoul((char[]){value[1], value[2], '\0'}, NULL, 16);
                    bool first = value[-1] == '=' || value[-1] == '\'';
                    cr_assert(!first || (octet & 0xc0) != 0x80, "a character is cut: %s", line);
                    value += *value == '%' ? 3 : 1;
                }
            }
            cr_assert_eq(sum, strlen(name));
        }
}
