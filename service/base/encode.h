#ifndef POSTERN_BASE_ENCODE_H
#define POSTERN_BASE_ENCODE_H

/* Octets as text, where OpenSSL has it in another form: lower-case hexadecimal, and base64 for URLs
 * (RFC 4648, 5) without padding. `out` gets a NUL. */

#include <stddef.h>

#define ENCODE_HEX_SIZE(len) (2 * (len) + 1)
#define ENCODE_BASE64URL_SIZE(len) (((len) + 2) / 3 * 4 + 1) /* more than is used */

void encode_hex(const void *octets, size_t len, char *out);
void encode_base64url(const void *octets, size_t len, char *out);

#endif
