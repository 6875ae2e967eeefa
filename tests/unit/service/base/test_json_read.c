#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/json_read.h"

static struct arena *arena;
static const struct json_limits limits = {.depth = 16, .values = 20000};
static char text[4096];

static void begin(void)
{
    arena = arena_new();
}

static void end(void)
{
    arena_free(arena);
}

TestSuite(json_read, .init = begin, .fini = end);

static const struct json_value *read_octets(const char *octets, size_t len, enum json_fault *fault,
                                            size_t *offset)
{
    memcpy(text, octets, len);
    return json_read(arena, text, len, &limits, fault, offset);
}

static const struct json_value *read_text(const char *json)
{
    enum json_fault fault;
    size_t offset;
    const struct json_value *value = read_octets(json, strlen(json), &fault, &offset);
    cr_assert_not_null(value, "%s: fault %d at %zu", json, (int)fault, offset);
    cr_assert_eq(fault, JSON_FAULT_NONE);
    return value;
}

Test(json_read, an_object_keeps_its_order)
{
    const struct json_value *o =
        read_text(" { \"b\" : [1, -0.5e+3 ,null] ,\"a\":{}, \"\":true,\"c\":false } \r\n");
    cr_assert_eq(o->kind, JSON_KIND_OBJECT);
    cr_assert_eq(o->n, 4);
    const struct json_value *b = o->first;
    cr_expect_str_eq(b->key, "b");
    cr_expect_eq(b->kind, JSON_KIND_ARRAY);
    cr_expect_eq(b->n, 3);
    cr_expect_str_eq(b->first->text, "1");
    cr_expect_str_eq(b->first->next->text, "-0.5e+3");
    cr_expect_eq(b->first->next->next->kind, JSON_KIND_NULL);
    cr_expect_null(b->first->next->next->next);
    cr_expect_str_eq(b->next->key, "a");
    cr_expect_eq(b->next->n, 0);
    cr_expect(json_is(json_member(o, ""), JSON_KIND_TRUE));
    cr_expect(json_is(json_member(o, "c"), JSON_KIND_FALSE));
    cr_expect_null(json_member(o, "d"));
    cr_expect_null(json_member(b, "b"));
    cr_expect_null(json_member(NULL, "b"));
}

Test(json_read, strings_are_decoded_where_they_stand)
{
    static const struct {
        const char *json, *text;
        size_t len;
    } rows[] = {
        {"\"\"", "", 0},
        {"\"plain\"", "plain", 5},
        {"\"a long one, over eight octets: 0123456789\"",
         "a long one, over eight octets: 0123456789", 41},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0041\\u00e9\\u20AC\\ud83d\\udcec!\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xac!", 11},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"Gr\xc3\xbc\xc3\x9f"
         "e\\n \xf0\x9f\x93\xac\x7f\"",
         "Gr\xc3\xbc\xc3\x9f"
         "e\n \xf0\x9f\x93\xac\x7f",
         14},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct json_value *value = read_text(rows[i].json);
        cr_assert_eq(value->kind, JSON_KIND_STRING);
        cr_expect_eq(value->len, rows[i].len, "row %zu: %zu", i, value->len);
        cr_expect_eq(memcmp(value->text, rows[i].text, rows[i].len + 1), 0, "row %zu", i);
        cr_expect(value->text > text && value->text < text + sizeof(text), "row %zu", i);
    }
}

/* A fault in each of sixteen places, whichever of them the eight octets at a time fall on. */
Test(json_read, what_is_not_plain_is_seen_wherever_it_stands)
{
    static const char bad[] = {'\x1f', '\n', '\x01', '\x00', '\x80', '\xff', '\xc3'};
    for (size_t kind = 0; kind < sizeof(bad); kind++)
        for (size_t i = 1; i <= 16; i++) {
            char octets[20] = "\"0123456789abcdef\"";
            enum json_fault fault;
            size_t offset;
            octets[i] = bad[kind];
            cr_expect_null(read_octets(octets, 18, &fault, &offset));
            cr_expect_eq(offset, i, "%zu at %zu: %zu", kind, i, offset);
            cr_expect_eq(fault,
                         (unsigned char)bad[kind] < 0x80 ? JSON_FAULT_SYNTAX : JSON_FAULT_UTF8);
        }
}

Test(json_read, each_fault_by_its_cause_and_place)
{
    static const struct {
        const char *json;
        enum json_fault fault;
        size_t offset;
    } rows[] = {
        {"", JSON_FAULT_CUT_OFF, 0},
        {"  ", JSON_FAULT_CUT_OFF, 2},
        {"{", JSON_FAULT_CUT_OFF, 1},
        {"{\"a\"", JSON_FAULT_CUT_OFF, 4},
        {"{\"a\":", JSON_FAULT_CUT_OFF, 5},
        {"{\"a\":1", JSON_FAULT_CUT_OFF, 6},
        {"[1", JSON_FAULT_CUT_OFF, 2},
        {"\"abc", JSON_FAULT_CUT_OFF, 4},
        {"\"\\", JSON_FAULT_CUT_OFF, 2},
        {"\"\\u00", JSON_FAULT_CUT_OFF, 5},
        {"tru", JSON_FAULT_CUT_OFF, 3},
        {"-", JSON_FAULT_CUT_OFF, 1},
        {"1.", JSON_FAULT_CUT_OFF, 2},
        {"1e", JSON_FAULT_CUT_OFF, 2},
        {"trux", JSON_FAULT_SYNTAX, 3},
        {"[1,]", JSON_FAULT_SYNTAX, 3},
        {"[,1]", JSON_FAULT_SYNTAX, 1},
        {"[1 2]", JSON_FAULT_SYNTAX, 3},
        {"{\"a\":1,}", JSON_FAULT_SYNTAX, 7},
        {"{a:1}", JSON_FAULT_SYNTAX, 1},
        {"{\"a\" 1}", JSON_FAULT_SYNTAX, 5},
        {"{1:1}", JSON_FAULT_SYNTAX, 1},
        {"[}", JSON_FAULT_SYNTAX, 1},
        {"'a'", JSON_FAULT_SYNTAX, 0},
        {"\xef\xbb\xbf{}", JSON_FAULT_SYNTAX, 0},
        {"+1", JSON_FAULT_SYNTAX, 0},
        {"-a", JSON_FAULT_SYNTAX, 1},
        {"1.x", JSON_FAULT_SYNTAX, 2},
        {"NaN", JSON_FAULT_SYNTAX, 0},
        {"\"\\x\"", JSON_FAULT_SYNTAX, 2},
        {"\"\\u00g0\"", JSON_FAULT_SYNTAX, 5},
        {"01", JSON_FAULT_TRAILING, 1},
        {"{} {}", JSON_FAULT_TRAILING, 3},
        {"1,", JSON_FAULT_TRAILING, 1},
        {"\"\\ud83d\"", JSON_FAULT_SURROGATE, 1},
        {"\"\\udc00\"", JSON_FAULT_SURROGATE, 1},
        {"\"\\ud83d\\u0041\"", JSON_FAULT_SURROGATE, 1},
        {"\"\xed\xa0\x80\"", JSON_FAULT_UTF8, 1},
        {"\"\xc0\xaf\"", JSON_FAULT_UTF8, 1},
        {"{\"a\\u0000\":1}", JSON_FAULT_NUL_IN_KEY, 1},
        {"{\"a\":1,\"a\":2}", JSON_FAULT_DUPLICATE_KEY, 7},
        {"{\"a\":1,\"\\u0061\":2}", JSON_FAULT_DUPLICATE_KEY, 7},
        {"[9223372036854775808]", JSON_FAULT_NUMBER, 1},
        {"[-9223372036854775809]", JSON_FAULT_NUMBER, 1},
        {"[1,1e999]", JSON_FAULT_NUMBER, 3},
        {"-1e400", JSON_FAULT_NUMBER, 0},
        {"[[[[[[[[[[[[[[[[[", JSON_FAULT_TOO_DEEP, 16},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum json_fault fault;
        size_t offset;
        const struct json_value *value =
            read_octets(rows[i].json, strlen(rows[i].json), &fault, &offset);
        cr_expect_null(value, "%s", rows[i].json);
        cr_expect_eq(fault, rows[i].fault, "%s: %d", rows[i].json, (int)fault);
        cr_expect_eq(offset, rows[i].offset, "%s: %zu", rows[i].json, offset);
    }
}

Test(json_read, a_key_twice_among_many_is_found)
{
    char json[2048];
    for (int twice = 0; twice < 2; twice++) {
        size_t n = 0;
        for (int i = 0; i < 100; i++)
            n += (size_t)snprintf(json + n, sizeof(json) - n, "%c\"key%d\":%d", i == 0 ? '{' : ',',
                                  twice && i == 99 ? 3 : i, i);
        n += (size_t)snprintf(json + n, sizeof(json) - n, "}");
        enum json_fault fault;
        size_t offset;
        const struct json_value *value = read_octets(json, n, &fault, &offset);
        cr_expect_eq(value == NULL, twice == 1);
        cr_expect_eq(fault, twice ? JSON_FAULT_DUPLICATE_KEY : JSON_FAULT_NONE);
        if (twice)
            cr_expect_str_eq(text + offset, "\"key3");
    }
}

Test(json_read, values_are_counted)
{
    const struct json_limits few = {.depth = 16, .values = 3};
    static const struct {
        const char *json;
        size_t offset; /* 0: good */
    } rows[] = {
        {"[1,2,3]", 0},       {"[1,2,3,4]", 7},  {"[{\"a\":1}]", 0},
        {"[1,{\"a\":1}]", 4}, {"\"[,[,[,\"", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum json_fault fault;
        size_t offset;
        strcpy(text, rows[i].json);
        json_read(arena, text, strlen(text), &few, &fault, &offset);
        cr_expect_eq(fault, rows[i].offset > 0 ? JSON_FAULT_TOO_MANY : JSON_FAULT_NONE);
        cr_expect_eq(offset, rows[i].offset, "%s: %zu", rows[i].json, offset);
    }
}
