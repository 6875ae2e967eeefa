#ifndef POSTERN_BASE_JSON_READ_H
#define POSTERN_BASE_JSON_READ_H

/*
 * JSON (RFC 8259) read in one pass over a buffer that may be written to: strings are decoded where
 * they stand and end with a NUL, so nothing is copied and an attachment of many megabytes costs one
 * look at its octets. What is read lives as long as both the text and the arena.
 *
 * Stricter than the RFC where that protects: UTF-8 without exception, no half of a surrogate pair,
 * no key twice in one object, no number that jansson could not hold, bounds for depth and number.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_FALSE,
    JSON_KIND_TRUE,
    JSON_KIND_NUMBER, /* `text` as it was written: no request needs its value */
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT,
};

struct json_value {
    enum json_kind kind;
    const char *key;  /* of a member of an object; holds no NUL; NULL: it is none */
    const char *text; /* string or number; a string may hold NULs; "" for the others */
    size_t len;
    struct json_value *first; /* of an array or object, in order; NULL: it is empty */
    size_t n;                 /* how many */
    struct json_value *next;  /* behind this one in its array or object */
};

struct json_limits {
    size_t depth;  /* of arrays and objects within each other */
    size_t values; /* members, which count twice, and elements: all together */
};

enum json_fault {
    JSON_FAULT_NONE,
    JSON_FAULT_SYNTAX,
    JSON_FAULT_CUT_OFF,       /* it ends before it is complete */
    JSON_FAULT_TRAILING,      /* something stands behind it */
    JSON_FAULT_UTF8,          /* octets that are not UTF-8 */
    JSON_FAULT_SURROGATE,     /* half of a pair in a \u escape */
    JSON_FAULT_NUMBER,        /* one too large for an int64_t or a double */
    JSON_FAULT_NUL_IN_KEY,    /* \u0000 in a key */
    JSON_FAULT_DUPLICATE_KEY, /* in one object */
    JSON_FAULT_TOO_DEEP,      /* limits.depth */
    JSON_FAULT_TOO_MANY,      /* limits.values */
    JSON_FAULT_NOMEM,
};

/*
 * Reads `text`, which is changed, also where it is refused. NULL with `*fault_out` and the offset
 * of the octet at which it showed: where a string, a number or the key that came second begins.
 */
const struct json_value *json_read(struct arena *arena, char *text, size_t len,
                                   const struct json_limits *limits, enum json_fault *fault_out,
                                   size_t *offset_out);

/* The members of an object by key, in the order of their octets; in the arena. NULL: no memory. */
const struct json_value **json_members_sorted(struct arena *arena, const struct json_value *object);
/* NULL: not an object, or no such member. */
const struct json_value *json_member(const struct json_value *object, const char *key);
/* NULL is of no kind. */
bool json_is(const struct json_value *value, enum json_kind kind);

#endif
