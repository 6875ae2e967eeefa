#ifndef POSTERN_BASE_JSON_TEXT_H
#define POSTERN_BASE_JSON_TEXT_H

/* What JSON's strings and numbers are made of, for those who read, write and hash it. */

#include <stddef.h>

/* How many octets from `s` stand in a string as they are: printable ASCII but for '"' and '\'. */
size_t json_plain_run(const char *s, size_t len);

enum { JSON_ESCAPE_MAX = 6, JSON_NUMBER_SIZE = 32 };

/* The escape of '"', '\' or a control character; returns its length. */
size_t json_escape(unsigned char c, char out[JSON_ESCAPE_MAX]);

/* A finite number, with ".0" behind a whole one: no reader takes it for an integer. `digits` is at
 * most 17. Just as jansson writes it. */
void json_format_real(double value, int digits, char out[JSON_NUMBER_SIZE]);

#endif
