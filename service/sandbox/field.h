#ifndef POSTERN_SANDBOX_FIELD_H
#define POSTERN_SANDBOX_FIELD_H

/* The header fields of a message or part (RFC 5322, 2.2) and their parameters (RFC 2045, 5.1). A
 * tolerant reader: LF ends a line as CRLF does, and what cannot be read is passed over. */

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

struct span { /* borrowed octets; may hold anything */
    const char *data;
    size_t len;
};

struct field {
    struct span name, value; /* value with its folds, without the white space around it */
};

/* The next field of the header at the front of `*rest`, which is then what follows it. False at the
 * header's end: `*rest` is then the body. */
bool field_next(struct span *rest, struct field *field_out);
bool field_is(const struct field *field, const char *name); /* any case */

/* The value of the first field of that name; empty if there is none. */
struct span field_find(struct span message, const char *name);

/* "text/html" of `text/html; charset=utf-8`: what stands before the parameters, trimmed. */
struct span field_main(struct span value);
bool field_main_is(struct span value, const char *word);          /* any case */
bool field_main_begins(struct span value, const char *beginning); /* any case */

/*
 * Append a parameter's value as UTF-8: of RFC 2231 the extended form (name*=), or else the
 * continuations (name*0=, name*1*=) in their order, or else the plain one, in which encoded words
 * are decoded though they should not be there. False: there is none. Trouble is out->failed's.
 */
bool field_parameter(struct span value, const char *name, struct buffer *out);
/* The same of the plain form alone, its octets as they are: a boundary, a charset's name. */
bool field_token(struct span value, const char *name, struct buffer *out);

#endif
