#ifndef POSTERN_MESSAGE_BODY_H
#define POSTERN_MESSAGE_BODY_H

/* Text bodies on the wire: which encoding they need, and writing it (RFC 2045, 6). */

#include "base/buffer.h"
#include "message/message.h"

enum body_encoding { BODY_7BIT, BODY_QUOTED_PRINTABLE, BODY_BASE64 };

const char *body_encoding_word(enum body_encoding encoding);
/* Line ends of all kinds (CRLF, LF, CR) count as one; control characters ask for base64. */
enum body_encoding body_encoding_for(const struct text *text);
/* With CRLF line ends, and without one at the end if the text has none: the caller ends the part.
 */
void body_write(struct buffer *out, const struct text *text, enum body_encoding encoding);

#endif
