#include "api/decode.h"

#include <string.h>

enum { DEPTH_MAX = 16, NODES_MAX = 20000 };

/* jansson spends some 77 octets of memory on one of a body like [{},{},...]: count first. */
static int scan(const char *body, size_t len, struct error *err)
{
    size_t depth = 0, nodes = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = body[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        in_string = c == '"';
        nodes += c == ',' || c == '{' || c == '[' || c == ':';
        depth += c == '{' || c == '[';
        if (depth > DEPTH_MAX)
            return error_set(err, ERR_MALFORMED, "more than %d levels, at offset %zu", DEPTH_MAX,
                             i);
        if (nodes > NODES_MAX)
            return error_set(err, ERR_TOO_LARGE, "more than %d values", NODES_MAX);
        if ((c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return 0;
}

/* In words of ours: jansson's repeat the text. */
static const char *fault_of(const json_error_t *why)
{
    switch ((int)json_error_code(why)) { /* those that a parse can end with */
    case json_error_duplicate_key:
        return "a key stands twice in one object, before or";
    case json_error_invalid_utf8:
        return "not UTF-8,";
    case json_error_numeric_overflow:
        return "a number is too large, before or";
    case json_error_null_byte_in_key:
        return "a key holds \\u0000,";
    case json_error_premature_end_of_input:
        return "the JSON is cut off,";
    case json_error_end_of_input_expected:
        return "something stands behind the JSON,";
    case json_error_out_of_memory:
        return "out of memory";
    default:
        return strncmp(why->text, "invalid Unicode", 15) == 0
                   ? "half of a surrogate pair in a \\u escape, before or"
                   : "not JSON";
    }
}

int decode_json(const char *body, size_t len, json_t **tree_out, struct error *err)
{
    json_error_t why;
    if (len == 0)
        return error_set(err, ERR_MALFORMED, "the body is empty: a JSON object is wanted");
    if (len >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0)
        return error_set(err, ERR_MALFORMED,
                         "the body begins with a byte order mark (EF BB BF): leave it off");
    if (len >= 2 && (memcmp(body, "\xff\xfe", 2) == 0 || memcmp(body, "\xfe\xff", 2) == 0))
        return error_set(err, ERR_MALFORMED, "the body is UTF-16: UTF-8 is wanted");
    if (scan(body, len, err) < 0)
        return -1;
    json_t *tree = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (tree == NULL)
        return error_set(
            err, json_error_code(&why) == json_error_out_of_memory ? ERR_NOMEM : ERR_MALFORMED,
            "%s at offset %d", fault_of(&why), why.position);
    if (!json_is_object(tree)) {
        json_decref(tree);
        return error_set(err, ERR_MALFORMED, "a JSON object is wanted, at offset 0");
    }
    *tree_out = tree;
    return 0;
}
