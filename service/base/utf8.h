#ifndef POSTERN_BASE_UTF8_H
#define POSTERN_BASE_UTF8_H

/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. */

#include <stddef.h>
#include <stdint.h>

/* The code point at `s` and its length in octets; 0: not UTF-8, `*code_point` untouched. */
size_t utf8_code_point(const char *s, size_t len, uint32_t *code_point);

#endif
