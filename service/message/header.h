#ifndef POSTERN_MESSAGE_HEADER_H
#define POSTERN_MESSAGE_HEADER_H

/*
 * Header fields on the wire (RFC 5322, 2.2): folded at 78 characters where there is a place to, at
 * most 998, encoded words (RFC 2047) for what is not ASCII, RFC 2231 for parameters. All append to
 * `out`, whose `failed` tells of trouble. Values have been checked (text_header_fault).
 */

#include "base/buffer.h"
#include "message/message.h"

/* "Subject: ..." and other free text. */
void header_text(struct buffer *out, const char *name, const char *value);
/* "To: ...": mailboxes separated by commas, names quoted or encoded. Nothing for an empty list. */
void header_addresses(struct buffer *out, const char *name, const struct address_list *list);
/* Words as they are, folded between them: identifiers, dates. */
void header_words(struct buffer *out, const char *name, const char *const *words, size_t n);
/* "; filename=..." on a line of its own, in the form the value needs. */
void header_parameter(struct buffer *out, const char *name, const char *value);

/* May a client set this field? NULL if so, else why not. */
const char *header_name_fault(const char *name);

#endif
