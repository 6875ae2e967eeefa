#ifndef POSTERN_API_DECODE_H
#define POSTERN_API_DECODE_H

/* JSON to a message. Needs no HTTP. */

#include "base/buffer.h"
#include "base/json_read.h"
#include "message/message.h"

/*
 * Read a body where it stands: it is changed, and what was read points into it (and into the
 * arena). It is an object, without a key that stands twice, at most 16 levels deep, of no more
 * values than a message can need. ERR_MALFORMED with the offset, ERR_TOO_LARGE, ERR_NOMEM. The
 * body's text is not repeated.
 */
int decode_json(struct arena *arena, struct buffer *body, const struct json_value **value_out,
                struct error *err);

/*
 * What was read (borrowed as long as the message) to a message. -1 with every fault in `errors` by
 * JSON pointer (RFC 6901), or ERR_NOMEM in `err`.
 */
int decode_message(struct arena *arena, const struct json_value *value, struct message *out,
                   struct error_list *errors, struct error *err);

#endif
