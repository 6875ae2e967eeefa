#ifndef POSTERN_MESSAGE_HEADER_H
#define POSTERN_MESSAGE_HEADER_H

/*
 * Header fields on the wire (RFC 5322, 2.2). What is ASCII goes out as it is, folded only in front
 * of blanks that are there: at 78 characters where that can be, and always at 998. The first word
 * stays behind the field's name as long as the line can hold it: readers have taken a fold there
 * for a space of the value. What else may be done depends on the kind of field: encoded words (RFC
 * 2047) are for free text and for the phrases of mailboxes; parameters have RFC 2231.
 *
 * All append to `out`, whose `failed` tells of trouble. Values hold no control characters.
 */

#include "base/arena.h"
#include "base/buffer.h"
#include "message/message.h"

/* "Subject: ...": encoded words if it is not ASCII, would be read as encoded words, or has a word
 * that no line can hold. Without the blanks around it. */
void header_text(struct buffer *out, const char *name, const char *value);
/* "To: ...": mailboxes separated by commas, names quoted or encoded. Nothing for an empty list. */
void header_addresses(struct buffer *out, const char *name, const struct address_list *list);
/* Words as they are, folded between them: identifiers. Each has at most HEADER_WORD_MAX octets. */
enum { HEADER_WORD_MAX = 997 };
void header_words(struct buffer *out, const char *name, const char *const *words, size_t n);
/* "; filename=..." on a line of its own: plain where the line can hold it, else by RFC 2231. */
void header_parameter(struct buffer *out, const char *name, const char *value);
/* The same for readers that do not know RFC 2231: plain where it is ASCII, else encoded words in
 * quotes. No standard has them there; everybody reads them. */
void header_parameter_words(struct buffer *out, const char *name, const char *value);

/*
 * A field that a client sets: judged by its kind, made ready for header_field(). ERR_INVALID with a
 * sentence that says what is wrong, ERR_NOMEM. `name` and `value` are borrowed; what is made of
 * them is the arena's.
 */
int header_field_set(struct arena *arena, const char *name, const char *value,
                     struct header_field *out, struct error *err);
void header_field(struct buffer *out, const struct header_field *field);

/* May a client set this field? NULL if so, else why not. */
const char *header_name_fault(const char *name);

#endif
