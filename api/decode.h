#ifndef POSTERN_API_DECODE_H
#define POSTERN_API_DECODE_H

/* JSON to a message. Needs no HTTP. */

#include <jansson.h>

#include "base/arena.h"
#include "message/message.h"

/*
 * Parse a body: an object, no duplicate keys, at most 16 levels, and no more nodes than a message
 * can need, which is looked at before any memory is spent on a tree. ERR_MALFORMED with the offset,
 * ERR_TOO_LARGE. The body's text is not repeated.
 */
int decode_json(const char *body, size_t len, json_t **tree_out, struct error *err);

/*
 * The tree (borrowed as long as the message) to a message. -1 with every fault in `errors` by JSON
 * pointer (RFC 6901), or ERR_NOMEM in `err`.
 */
int decode_message(struct arena *arena, const json_t *tree, struct message *out,
                   struct error_list *errors, struct error *err);

#endif
