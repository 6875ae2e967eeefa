#ifndef POSTERN_BASE_JSON_CANONICAL_H
#define POSTERN_BASE_JSON_CANONICAL_H

/*
 * One text for all JSON that means the same: compact, keys sorted by their octets. It is, octet for
 * octet, what jansson's json_dumps() writes with JSON_COMPACT and JSON_SORT_KEYS, and has to stay
 * so: stores keep hashes of it.
 */

#include <stdbool.h>

#include "base/arena.h"
#include "base/json_read.h"

/* Gets the text forward, piece by piece. */
typedef void json_sink(void *arg, const char *text, size_t len);

/* The arena is for sorting. false without memory; then not all was written. */
bool json_canonical(struct arena *arena, const struct json_value *value, json_sink *sink,
                    void *arg);

#endif
