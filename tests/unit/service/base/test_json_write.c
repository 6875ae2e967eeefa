#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "base/json_write.h"

/* jansson is the judge: what is written is read back as the value that was given. */

static struct buffer text;
static struct json_writer w;

static void begin(void)
{
    buffer_init(&text, 1 << 20);
    json_writer_init(&w, &text);
}

static void end(void)
{
    buffer_clear(&text);
}

static void expect_text(const char *wanted)
{
    cr_expect(text.len == strlen(wanted) && memcmp(text.data, wanted, text.len) == 0, "%.*s",
              (int)text.len, text.data);
}

TestSuite(json_write, .init = begin, .fini = end);

Test(json_write, commas_stand_between_values_and_nowhere_else)
{
    json_begin_object(&w);
    json_key(&w, "empty");
    json_begin_array(&w);
    json_end_array(&w);
    json_key(&w, "list");
    json_begin_array(&w);
    json_put_integer(&w, 1);
    json_begin_object(&w);
    json_end_object(&w);
    json_put_null(&w);
    json_end_array(&w);
    json_member_bool(&w, "last", true);
    json_end_object(&w);
    expect_text("{\"empty\":[],\"list\":[1,{},null],\"last\":true}");
}

Test(json_write, each_kind_of_member)
{
    json_begin_object(&w);
    json_member_string(&w, "s", "x");
    json_member_string(&w, "none", NULL);
    json_member_integer(&w, "i", INT64_MIN);
    json_member_number(&w, "n", 1.25);
    json_member_number(&w, "whole", 3);
    json_member_bool(&w, "b", false);
    json_member_null(&w, "null");
    json_member_time(&w, "at", 1795435200123);
    json_member_time(&w, "never", 0);
    json_member_json(&w, "as_it_is", "[\"t\"]");
    json_end_object(&w);
    expect_text("{\"s\":\"x\",\"none\":null,\"i\":-9223372036854775808,\"n\":1.25,\"whole\":3.0,"
                "\"b\":false,\"null\":null,\"at\":\"2026-11-23T12:00:00.123Z\",\"never\":null,"
                "\"as_it_is\":[\"t\"]}");
}

Test(json_write, a_key_is_escaped)
{
    json_begin_object(&w);
    json_member_integer(&w, "a\"\n\xc3\xb6", 1);
    json_end_object(&w);
    expect_text("{\"a\\\"\\n\xc3\xb6\":1}");
}

/* As jansson's JSON_INDENT(2), which those who look at it know. */
Test(json_write, for_a_person_it_is_indented)
{
    static const char wanted[] =
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": [],\n  \"c\": null\n}";
    w.indented = true;
    json_begin_object(&w);
    json_key(&w, "a");
    json_begin_array(&w);
    json_put_integer(&w, 1);
    json_begin_object(&w);
    json_end_object(&w);
    json_end_array(&w);
    json_key(&w, "b");
    json_begin_array(&w);
    json_end_array(&w);
    json_member_null(&w, "c");
    json_end_object(&w);
    expect_text(wanted);
}

Test(json_write, a_string_comes_back_as_it_was)
{
    static const struct {
        const char *given;
        size_t len;
    } rows[] = {
        {"", 0},
        {"plain", 5},
        {"\"\\/\b\f\n\r\t", 8},
        {"\x01\x1f\x7f", 3},
        {"a\0b", 3},
        {"Gr\xc3\xbc\xc3\x9f"
         "e \xf0\x9f\x93\xac \xe2\x80\xa8",
         16},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_reset(&text);
        json_writer_init(&w, &text);
        json_put_stringn(&w, rows[i].given, rows[i].len);
        json_t *read = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        cr_assert_not_null(read, "row %zu: %.*s", i, (int)text.len, text.data);
        cr_expect_eq(json_string_length(read), rows[i].len, "row %zu", i);
        cr_expect_eq(memcmp(json_string_value(read), rows[i].given, rows[i].len), 0, "row %zu", i);
        json_decref(read);
    }
}

Test(json_write, octets_that_are_not_utf8_are_replaced)
{
    static const struct {
        const char *given, *wanted;
    } rows[] = {
        {"caf\xe9", "\"caf\xef\xbf\xbd\""},
        {"\xc3", "\"\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
        {"\xc0\x80x", "\"\xef\xbf\xbd\xef\xbf\xbdx\""},               /* overlong */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_reset(&text);
        json_writer_init(&w, &text);
        json_put_string(&w, rows[i].given);
        expect_text(rows[i].wanted);
    }
}

Test(json_write, what_finds_no_room_is_remembered)
{
    struct buffer small;
    buffer_init(&small, 4);
    json_writer_init(&w, &small);
    json_begin_object(&w);
    json_member_string(&w, "key", "value");
    json_end_object(&w);
    cr_expect(small.failed);
    buffer_clear(&small);
}
