#ifndef POSTERN_MESSAGE_TEXT_H
#define POSTERN_MESSAGE_TEXT_H

/* What text may become part of a message, and how it may be written. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL if it can stand in a header: valid UTF-8 without control characters (C0, DEL, C1, and the
 * line separators U+2028, U+2029). Else what is wrong, in words. */
const char *text_header_fault(const char *s, size_t len);

bool text_is_ascii(const char *s, size_t len);

/* Does nothing show where it stands: blanks beyond ASCII's, joiners, marks of direction, soft
 * hyphens, fillers, tags (Unicode's Default_Ignorable_Code_Point and White_Space)? */
bool text_is_invisible(uint32_t code_point);

/* Code points of valid UTF-8. */
size_t text_count(const char *s, size_t len);

/* Without the spaces around it: moves `*s`, returns the length that is left. */
size_t text_trim(const char **s, size_t len);

#endif
