#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json_canonical.h"

static const struct json_limits limits = {.depth = 16, .values = 20000};

static void append(void *arg, const char *text, size_t len)
{
    buffer_append(arg, text, len);
}

/* What ours makes of it; the caller frees. */
static char *canonical(const char *json)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct buffer out;
    enum json_fault fault;
    size_t offset;
    char *text = strdup(json);
    const struct json_value *value = json_read(arena, text, strlen(text), &limits, &fault, &offset);
    cr_assert_not_null(value, "%s: fault %d at %zu", json, (int)fault, offset);
    buffer_init(&out, 1 << 20);
    cr_assert(json_canonical(arena, value, append, &out));
    free(text);
    return buffer_steal_str(&out);
}

Test(json_canonical, keys_are_sorted_and_blanks_left_out)
{
    char *text = canonical(" { \"b\" : [ 1 , { } ] , \"a\" : { \"z\":null, \"y\":[ ] } } ");
    cr_expect_str_eq(text, "{\"a\":{\"y\":[],\"z\":null},\"b\":[1,{}]}");
    free(text);
}

/* Stores keep hashes of what jansson wrote. */
Test(json_canonical, it_is_what_jansson_writes)
{
    static const char *const rows[] = {
        "{}",
        "[]",
        "[true,false,null,[[]],[{}],{\"a\":[]}]",
        "{\"from\":\"a@b.org\",\"to\":[\"c@d.org\",{\"name\":\"\\u00d6\",\"email\":\"e@f.org\"}],"
        "\"subject\":\"Hi \\ud83d\\udcec\",\"text\":\"a\\r\\nb\\tc\\u0000\\\"\\\\\\/\"}",
        "[\"\\u0001\\u001f\\u007f\\b\\f\\n\\r\\t\\u000b\\u2028\\u00e9\"]",
        "{\"\":1,\"a\":2,\"aa\":3,\"a\\n\":4,\"A\":5,\"\\u00e9\":6,\"\\ud83d\\udcec\":7,\"~\":8,"
        "\"a b\":9,\"10\":10,\"9\":11,\"\\uffff\":12,\"\\\"\":13,\"a\\u0001\":14}",
        "[0,-0,1,-1,9223372036854775807,-9223372036854775808,1234567890123]",
        "[0.0,-0.0,1.0,1.50,0.1,-2.5e-3,1e2,1E2,1e+2,1e-2,1e9,1e16,1e17,1e18,1e22,1e100,1e-5]",
        "[1e-7,123456789.123456789,3.141592653589793238,1e308,-1e308,5e-324,1e-400,2.5E+10]",
        "{\"k13\":1,\"k12\":2,\"k11\":3,\"k10\":4,\"k9\":5,\"k8\":6,\"k7\":7,\"k6\":8,\"k5\":9,"
        "\"k4\":10,\"k3\":11,\"k2\":12,\"k1\":13,\"k\":14}",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *tree = json_loads(rows[i], JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        cr_assert_not_null(tree, "row %zu", i);
        char *theirs = json_dumps(tree, JSON_COMPACT | JSON_SORT_KEYS), *ours = canonical(rows[i]);
        cr_expect_str_eq(ours, theirs, "row %zu:\n%s\n%s", i, ours, theirs);
        free(ours);
        free(theirs);
        json_decref(tree);
    }
}
