#include "smtp/reply.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *wire;
    size_t len;
    int code;                    /* of the last whole reply; 0: none is whole */
    const char *enhanced, *text; /* NULL: unreadable */
} CASES[] = {
#define WIRE(s) s, sizeof(s) - 1
    {"the usual", WIRE("250 2.1.0 Ok\r\n"), 250, "2.1.0", "Ok"},
    {"a code alone", WIRE("250\r\n"), 250, "", ""},
    {"a code and a space", WIRE("250 \r\n"), 250, "", ""},
    {"several lines", WIRE("250-a\r\n250-\r\n250 b\r\n"), 250, "", "a\n\nb"},
    {"lines with one code each", WIRE("550-5.1.1 no\r\n550 5.1.1 such\r\n"), 550, "5.1.1",
     "no\nsuch"},
    {"an enhanced code of another class", WIRE("250 5.1.1 Ok\r\n"), 250, "", "5.1.1 Ok"},
    {"an enhanced code of four digits", WIRE("450 4.1.2345 x\r\n"), 450, "", "4.1.2345 x"},
    {"an enhanced code alone", WIRE("450 4.7.28\r\n"), 450, "4.7.28", ""},
    {"8-bit text", WIRE("550 \xfc\xff\r\n"), 550, "", "\xfc\xff"},
    {"two replies", WIRE("250 a\r\n354 b\r\n"), 354, "", "b"},
    {"an unfinished one behind a whole one", WIRE("250 a\r\n354-b\r\n35"), 250, "", "a"},

    {"no line end yet", WIRE("250 Ok\r"), 0, "", ""},
    {"no last line yet", WIRE("250-a\r\n250-b\r\n"), 0, "", ""},

    {"differing codes", WIRE("250-a\r\n220 b\r\n"), 0, NULL, NULL},
    {"a refusal taken back", WIRE("550-a\r\n250 b\r\n"), 0, NULL, NULL},
    {"the last refuses", WIRE("220-mx\r\n521 5.7.1 b\r\n"), 521, "5.7.1", "b"},
    {"the middle refuses", WIRE("220-mx\r\n521-5.7.1 b\r\n521 c\r\n"), 521, "5.7.1", "b\nc"},
    {"refused in two classes", WIRE("451-4.3.0 a\r\n550 5.1.1 b\r\n"), 550, "5.1.1", "b"},
    {"refused in one class", WIRE("554-5.7.1 a\r\n550 b\r\n"), 550, "5.7.1", "a\nb"},
    {"a letter for a digit", WIRE("25O Ok\r\n"), 0, NULL, NULL},
    {"two digits", WIRE("99\r\n"), 0, NULL, NULL},
    {"four digits", WIRE("2500 Ok\r\n"), 0, NULL, NULL},
    {"no code", WIRE(" Ok\r\n"), 0, NULL, NULL},
    {"an empty line", WIRE("\r\n"), 0, NULL, NULL},
    {"a class that is none", WIRE("199 what\r\n"), 0, NULL, NULL},
    {"another that is none", WIRE("600 what\r\n"), 0, NULL, NULL},
    {"a tab behind the code", WIRE("250\tOk\r\n"), 0, NULL, NULL},
    {"LF alone", WIRE("250 Ok\n"), 0, NULL, NULL},
    {"LF alone within", WIRE("250-a\n250 b\r\n"), 0, NULL, NULL},
    {"CR within", WIRE("250 a\rb\r\n"), 0, NULL, NULL},
    {"CR twice", WIRE("250 a\r\r\n"), 0, NULL, NULL},
    {"NUL within", WIRE("250 a\0b\r\n"), 0, NULL, NULL},
    {"NUL in the code", WIRE("25\0 a\r\n"), 0, NULL, NULL},
    {"HTTP", WIRE("HTTP/1.1 400 Bad Request\r\n"), 0, NULL, NULL},
    {"a TLS alert", WIRE("\x15\x03\x01\0\x02\x02\x16\n"), 0, NULL, NULL},
#undef WIRE
};

struct heard {
    bool unreadable;
    int code; /* of the last whole one */
    char enhanced[16], text[64];
};

static struct heard hear(const char *wire, size_t len, size_t piece)
{
    struct heard heard = {0};
    struct smtp_reply reply;
    struct error err;
    smtp_reply_init(&reply);
    for (size_t at = 0, used; at < len && !heard.unreadable; at += used) {
        size_t n = len - at < piece ? len - at : piece;
        char *copy = malloc(n); /* so that the sanitizer sees one octet too far */
        memcpy(copy, wire + at, n);
        enum smtp_feed fed = smtp_reply_feed(&reply, copy, n, &used, &err);
        free(copy);
        cr_assert(fed == SMTP_FEED_ERROR || (used > 0 && used <= n));
        heard.unreadable = fed == SMTP_FEED_ERROR;
        if (fed != SMTP_FEED_REPLY)
            continue;
        heard.code = reply.code;
        snprintf(heard.enhanced, sizeof(heard.enhanced), "%s", reply.enhanced);
        snprintf(heard.text, sizeof(heard.text), "%s", smtp_reply_text(&reply));
    }
    smtp_reply_clear(&reply);
    return heard;
}

Test(reply, whole_and_in_pieces)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 2, 3, 7};
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
            struct heard heard = hear(CASES[i].wire, CASES[i].len, pieces[p]);
            const char *name = CASES[i].name;
            cr_expect_eq(heard.unreadable, CASES[i].text == NULL, "%s by %zu", name, pieces[p]);
            cr_expect_eq(heard.code, CASES[i].code, "%s by %zu: %d", name, pieces[p], heard.code);
            if (CASES[i].text == NULL)
                continue;
            cr_expect_str_eq(heard.enhanced, CASES[i].enhanced, "%s by %zu", name, pieces[p]);
            cr_expect_str_eq(heard.text, CASES[i].text, "%s by %zu", name, pieces[p]);
        }
}

/* Octets of `unit`, over and over, until it has enough; how many that were. */
static size_t fill_up(struct smtp_reply *reply, const char *unit, size_t most)
{
    struct error err;
    size_t n = 0, len = strlen(unit), used;
    for (; n < most; n += len)
        if (smtp_reply_feed(reply, unit, len, &used, &err) == SMTP_FEED_ERROR) {
            cr_assert_eq(err.code, ERR_PROTOCOL);
            break;
        }
    return n;
}

/* Fault 62: a megabyte in one line, ten thousand lines, lines without any text. */
Test(reply, has_a_limit)
{
    static const char *const units[] = {
        "2", "250-x\r\n", "250-\r\n", "250-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct smtp_reply reply;
        smtp_reply_init(&reply);
        size_t n = fill_up(&reply, units[i], 2 << 20);
        cr_expect_leq(n, (size_t)SMTP_REPLY_MAX, "%s: %zu octets", units[i], n);
        cr_expect_lt(sizeof(reply) + reply.text_size, (size_t)64 * 1024, "%s", units[i]);
        smtp_reply_clear(&reply);
    }
}

Test(reply, up_to_the_limit_it_is_read)
{
    struct smtp_reply reply;
    struct error err;
    char line[SMTP_REPLY_LINE_MAX + 1];
    size_t used;
    memset(line, 'x', sizeof(line));
    memcpy(line, "250 ", 4);
    memcpy(line + SMTP_REPLY_LINE_MAX - 2, "\r\n", 2);
    smtp_reply_init(&reply);
    cr_expect_eq(smtp_reply_feed(&reply, line, SMTP_REPLY_LINE_MAX, &used, &err), SMTP_FEED_REPLY);
    cr_expect_eq(strlen(smtp_reply_text(&reply)), (size_t)SMTP_REPLY_LINE_MAX - 6);
    memcpy(line + SMTP_REPLY_LINE_MAX - 2, "x\r\n", 3);
    cr_expect_eq(smtp_reply_feed(&reply, line, sizeof(line), &used, &err), SMTP_FEED_ERROR);
    smtp_reply_clear(&reply);
}

/* A reply whose text is longer than what is kept, in lines of `line_len` octets; how many of them
 * were kept. */
static size_t read_long_reply(size_t line_len, size_t n_lines)
{
    struct smtp_reply reply;
    struct error err;
    size_t used, n_kept = 0;
    char *line = malloc(line_len + 7);
    enum smtp_feed fed = SMTP_FEED_MORE;
    smtp_reply_init(&reply);
    memcpy(line, "550-", 4);
    memset(line + 4, 'x', line_len);
    memcpy(line + 4 + line_len, "\r\n", 2);
    for (size_t i = 0; i < n_lines; i++) {
        line[3] = i + 1 == n_lines ? ' ' : '-';
        cr_assert_eq(fed, SMTP_FEED_MORE);
        fed = smtp_reply_feed(&reply, line, line_len + 6, &used, &err);
        cr_assert_eq(used, line_len + 6);
    }
    cr_assert_eq(fed, SMTP_FEED_REPLY);
    cr_assert_eq(reply.code, 550);
    for (const char *s = smtp_reply_text(&reply); s != NULL; s = strchr(s, '\n'), n_kept++)
        s += *s == '\n';
    cr_assert_leq(strlen(smtp_reply_text(&reply)), (size_t)SMTP_REPLY_KEPT_MAX);
    cr_assert_eq(strlen(smtp_reply_text(&reply)), n_kept * (line_len + 1) - 1);
    fed = smtp_reply_feed(&reply, "250 next\r\n", 10, &used, &err);
    cr_assert_eq(fed, SMTP_FEED_REPLY);
    cr_assert_str_eq(smtp_reply_text(&reply), "next");
    smtp_reply_clear(&reply);
    free(line);
    return n_kept;
}

Test(reply, of_a_long_one_is_kept_what_fits)
{
    cr_expect_eq(read_long_reply(60, 3), 3);
    cr_expect_eq(read_long_reply(1023, 32), 32);
    cr_expect_eq(read_long_reply(1023, 33), 32);
    cr_expect_eq(read_long_reply(1000, 1000), 32); /* 1,006,000 octets */
    cr_expect_eq(read_long_reply(12000, 80), 2);
}
