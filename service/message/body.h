#ifndef POSTERN_MESSAGE_BODY_H
#define POSTERN_MESSAGE_BODY_H

/* Text bodies on the wire: which encoding they need, and writing it (RFC 2045, 6). */

#include "base/buffer.h"
#include "message/message.h"

enum body_encoding { BODY_7BIT, BODY_QUOTED_PRINTABLE, BODY_BASE64 };

const char *body_encoding_word(enum body_encoding encoding);
/* Line ends of all kinds (CRLF, LF, CR) count as one; control characters ask for base64. */
enum body_encoding body_encoding_for(const struct text *text);
/* Can it go as it is, with line ends made CRLF, as a message in a message must (RFC 2046, 5.2.1)?
 * NULL if so, and whether it has octets of 0x80 and more; else why not. */
const char *body_identity_fault(const struct text *text, bool *eightbit_out);
/* With CRLF line ends, and without one at the end if the text has none: the caller ends the part.
 */
void body_write(struct buffer *out, const struct text *text, enum body_encoding encoding);

#endif
