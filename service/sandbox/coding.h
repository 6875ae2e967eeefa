#ifndef POSTERN_SANDBOX_CODING_H
#define POSTERN_SANDBOX_CODING_H

/*
 * How mail writes octets and characters: base64 and quoted-printable (RFC 2045, 6.7 and 6.8),
 * encoded words (RFC 2047), charsets. Decoders for looking at what came: they take anything, pass
 * over what cannot be read, and append what they make of it. `data` may be NULL when `len` is 0.
 * Trouble with memory or the limit is the buffer's `failed`.
 */

#include <stddef.h>

#include "base/buffer.h"

void coding_base64_decode(const char *data, size_t len, struct buffer *out);
void coding_quoted_decode(const char *data, size_t len, struct buffer *out);
void coding_percent_decode(const char *data, size_t len, struct buffer *out); /* RFC 2231 */

/* Text of a charset as UTF-8, always valid: U+FFFD for what is not. Known are UTF-8, ASCII,
 * ISO-8859-1 and Windows-1252 (read alike, as browsers do); any other is read as UTF-8. iconv knows
 * more, but only where its modules are installed, and some of those have crashed on hostile text.
 */
void coding_to_utf8(const char *data, size_t len, const char *charset, size_t charset_len,
                    struct buffer *out);

/* A header's value: unfolded, encoded words decoded, white space between two of them dropped. */
void coding_words_decode(const char *data, size_t len, struct buffer *out);

#endif
