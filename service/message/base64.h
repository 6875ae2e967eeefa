#ifndef POSTERN_MESSAGE_BASE64_H
#define POSTERN_MESSAGE_BASE64_H

/* base64 (RFC 4648) as MIME wants it (RFC 2045, 6.8): lines of 76 characters. */

#include <stddef.h>

enum { BASE64_LINE = 76 };

size_t base64_lines_size(size_t n_characters); /* octets of so many characters, wrapped, CRLFs in */
size_t base64_encoded_size(size_t len);        /* characters for `len` octets, not wrapped */

/* Encode `len` octets to wrapped lines; returns how many octets were written. */
size_t base64_encode_lines(const char *data, size_t len, char *out);
/* Not wrapped, NUL-terminated, the caller frees; NULL without memory. */
char *base64_encode_str(const char *data, size_t len);

/*
 * Take base64 that somebody sent, white space allowed, and wrap it anew, without decoding it.
 * `out` has room for base64_lines_size(len). Returns how much was written, or -1 with `*why` if it
 * is not base64: wrong characters, wrong padding, bits left over.
 */
long base64_rewrap(const char *base64, size_t len, char *out, const char **why);

/* The octets of what base64_rewrap() wrote; returns how many. `out` may be `lines` itself. */
size_t base64_decode_lines(const char *lines, size_t len, char *out);

#endif
