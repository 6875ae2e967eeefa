#ifndef POSTERN_MESSAGE_MEDIA_TYPE_H
#define POSTERN_MESSAGE_MEDIA_TYPE_H

/* What an attachment is: a media type with its parameters (RFC 2045, 5.1). */

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"

struct media_type {
    const char *text; /* as it goes on the wire behind "Content-Type: ", folded, without `name` */
    const char *name; /* the parameter of that name, out of its quotes; NULL: none */
};

/* Strings are the arena's. -1 with ERR_INVALID and a sentence that says what is wrong, or
 * ERR_NOMEM. */
int media_type_parse(struct arena *arena, const char *value, struct media_type *out,
                     struct error *err);

/* By the file name's extension; application/octet-stream if it tells nothing (or is NULL). */
const char *media_type_of_file(const char *filename);

/* Is its main type `type` ("message")? */
bool media_type_is(const char *text, const char *type);

#endif
