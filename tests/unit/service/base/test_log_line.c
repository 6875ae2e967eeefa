/* How a line of the log is written, whatever it is given. */

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log_line.h"

static char out[LOG_LINE_SIZE + 1];

static const char *line_of(enum log_format format, const struct log_field *fields, size_t n)
{
    size_t len = log_line_format(format, 0, LOG_LEVEL_INFO, "it came", fields, n, out);
    cr_assert_leq(len, LOG_LINE_SIZE);
    cr_assert_eq(out[len - 1], '\n');
    cr_assert_null(memchr(out, '\n', len - 1), "more than one line");
    out[len] = '\0';
    return out;
}

#define LINE(format, ...)                                                                          \
    line_of(format, (const struct log_field[]){__VA_ARGS__},                                       \
            sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

/* The value that a JSON reader finds. */
static void expect_value(const char *given, const char *wanted)
{
    json_t *line = json_loads(LINE(LOG_FORMAT_JSON, LOG_STR("reply", given)), 0, NULL);
    cr_assert_not_null(line, "not JSON: %s", out);
    cr_expect_str_eq(json_string_value(json_object_get(line, "reply")), wanted);
    json_decref(line);
}

Test(log_line, logfmt)
{
    cr_expect_str_eq(
        LINE(LOG_FORMAT_LOGFMT, LOG_STR("relay", "a"), LOG_INT("n", -7), LOG_STR("none", NULL)),
        "ts=1970-01-01T00:00:00.000Z level=info msg=\"it came\" relay=a n=-7\n");
}

Test(log_line, json)
{
    cr_expect_str_eq(LINE(LOG_FORMAT_JSON, LOG_STR("relay", "a"), LOG_INT("n", -7)),
                     "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\","
                     "\"msg\":\"it came\",\"relay\":\"a\",\"n\":-7}\n");
}

Test(log_line, every_level_has_its_word)
{
    static const char *const words[] = {"level=debug", "level=info", "level=warn", "level=error"};
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        size_t len =
            log_line_format(LOG_FORMAT_LOGFMT, 0, (enum log_level)level, "m", NULL, 0, out);
        out[len] = '\0';
        cr_expect_not_null(strstr(out, words[level]));
    }
}

Test(log_line, words_that_need_no_quotes)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"x-1._~+/:@<>", " k=x-1._~+/:@<>\n"},
        {"", " k=\"\"\n"},
        {"a b", " k=\"a b\"\n"},
        {"a=b", " k=\"a=b\"\n"},
        {"a\"b", " k=\"a\\\"b\"\n"},
        {"a\\b", " k=\"a\\\\b\"\n"},
        {"für", " k=\"für\"\n"},
        {"a\nb", " k=\"a\\u000ab\"\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_not_null(
            strstr(LINE(LOG_FORMAT_LOGFMT, LOG_STR("k", cases[i].text)), cases[i].shown), "%s",
            out);
}

Test(log_line, controls_are_escaped)
{
    cr_expect_not_null(
        strstr(LINE(LOG_FORMAT_LOGFMT, LOG_STR("k", "\x1b[2J\r\x7f\xc2\x9b\xe2\x80\xa8")),
               "k=\"\\u001b[2J\\u000d\\u007f\\u009b\\u2028\"\n"),
        "%s", out);
    expect_value("\x01\t\n\x7f", "\x01\t\n\x7f");
}

Test(log_line, what_is_not_utf8_is_replaced)
{
    expect_value("caf\xe9 ole", "caf\xef\xbf\xbd ole");                   /* Latin-1 */
    expect_value("\xc3", "\xef\xbf\xbd");                                 /* cut short */
    expect_value("\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");                 /* overlong */
    expect_value("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* a surrogate */
    expect_value("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect_value("\xf0\x9f\x93\xa8 \xe2\x82\xac", "\xf0\x9f\x93\xa8 \xe2\x82\xac");
}

Test(log_line, a_long_value_is_cut_between_characters)
{
    static char given[2 * LOG_LINE_VALUE_MAX + 1], wanted[LOG_LINE_VALUE_MAX + 4];
    memset(given, 'x', LOG_LINE_VALUE_MAX);
    expect_value(given, given);
    memset(given, 'x', 2 * LOG_LINE_VALUE_MAX);
    memset(wanted, 'x', LOG_LINE_VALUE_MAX);
    memcpy(wanted + LOG_LINE_VALUE_MAX, "...", 4);
    expect_value(given, wanted);
    memcpy(given + LOG_LINE_VALUE_MAX - 1, "\xc3\xbc", 2); /* would be cut in two */
    memcpy(wanted + LOG_LINE_VALUE_MAX - 1, "...", 4);
    expect_value(given, wanted);
}

/* Each value may grow sixfold. What does not fit is left out whole, and the line stays one. */
Test(log_line, a_line_too_long_loses_fields)
{
    static char bell[LOG_LINE_VALUE_MAX + 1];
    memset(bell, '\a', LOG_LINE_VALUE_MAX);
    static const enum log_format formats[] = {LOG_FORMAT_JSON, LOG_FORMAT_LOGFMT};
    for (size_t i = 0; i < 2; i++) {
        LINE(formats[i], LOG_STR("a", bell), LOG_STR("b", bell), LOG_INT("c", 3),
             LOG_STR("d", bell));
        cr_expect_not_null(strstr(out, i == 0 ? "\"c\":3,\"cut\":2}\n" : " c=3 cut=2\n"), "%s",
                           out);
        cr_expect_null(strstr(out, i == 0 ? "\"b\"" : " b="));
    }
    json_t *line =
        json_loads(LINE(LOG_FORMAT_JSON, LOG_STR("a", bell), LOG_STR("b", bell)), 0, NULL);
    cr_expect_not_null(line);
    json_decref(line);
}
