#include "api/decode.h"

#include <string.h>

enum { DEPTH_MAX = 16, VALUES_MAX = 20000 };

static int refuse(enum json_fault fault, size_t offset, struct error *err)
{
    const char *what = "not JSON";
    switch (fault) {
    case JSON_FAULT_NONE:
    case JSON_FAULT_SYNTAX:
        break;
    case JSON_FAULT_CUT_OFF:
        what = "the JSON is cut off,";
        break;
    case JSON_FAULT_TRAILING:
        what = "something stands behind the JSON,";
        break;
    case JSON_FAULT_UTF8:
        what = "not UTF-8,";
        break;
    case JSON_FAULT_SURROGATE:
        what = "half of a surrogate pair in a \\u escape,";
        break;
    case JSON_FAULT_NUMBER:
        what = "a number is too large,";
        break;
    case JSON_FAULT_NUL_IN_KEY:
        what = "a key holds \\u0000,";
        break;
    case JSON_FAULT_DUPLICATE_KEY:
        what = "a key stands twice in one object,";
        break;
    case JSON_FAULT_TOO_DEEP:
        return error_set(err, ERR_MALFORMED, "more than %d levels, at offset %zu", DEPTH_MAX,
                         offset);
    case JSON_FAULT_TOO_MANY:
        return error_set(err, ERR_TOO_LARGE, "more than %d values", VALUES_MAX);
    case JSON_FAULT_NOMEM:
        return error_set(err, ERR_NOMEM, "JSON, at offset %zu", offset);
    }
    return error_set(err, ERR_MALFORMED, "%s at offset %zu", what, offset);
}

int decode_json(struct arena *arena, struct buffer *body, const struct json_value **value_out,
                struct error *err)
{
    static const struct json_limits limits = {.depth = DEPTH_MAX, .values = VALUES_MAX};
    enum json_fault fault;
    size_t offset;
    const char *octets = body->data;
    if (body->len == 0)
        return error_set(err, ERR_MALFORMED, "the body is empty: a JSON object is wanted");
    if (body->len >= 3 && memcmp(octets, "\xef\xbb\xbf", 3) == 0)
        return error_set(err, ERR_MALFORMED,
                         "the body begins with a byte order mark (EF BB BF): leave it off");
    if (body->len >= 2 &&
        (memcmp(octets, "\xff\xfe", 2) == 0 || memcmp(octets, "\xfe\xff", 2) == 0))
        return error_set(err, ERR_MALFORMED, "the body is UTF-16: UTF-8 is wanted");
    const struct json_value *value =
        json_read(arena, body->data, body->len, &limits, &fault, &offset);
    if (value == NULL)
        return refuse(fault, offset, err);
    if (value->kind != JSON_KIND_OBJECT)
        return error_set(err, ERR_MALFORMED, "a JSON object is wanted, at offset 0");
    *value_out = value;
    return 0;
}
