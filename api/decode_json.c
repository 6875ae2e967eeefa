#include "api/decode.h"

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

int decode_json(const char *body, size_t len, json_t **tree_out, struct error *err)
{
    json_error_t why;
    if (len == 0)
        return error_set(err, ERR_MALFORMED, "the body is empty: a JSON object is wanted");
    if (scan(body, len, err) < 0)
        return -1;
    json_t *tree = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (tree == NULL) {
        bool twice = json_error_code(&why) == json_error_duplicate_key;
        return error_set(err, ERR_MALFORMED, "%s at offset %d",
                         twice ? "a key stands twice in one object, before or" : "not JSON",
                         why.position);
    }
    if (!json_is_object(tree)) {
        json_decref(tree);
        return error_set(err, ERR_MALFORMED, "a JSON object is wanted, at offset 0");
    }
    *tree_out = tree;
    return 0;
}
