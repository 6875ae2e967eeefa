#ifndef POSTERN_BASE_ID_H
#define POSTERN_BASE_ID_H

/* ULIDs: 48 bits of wall-clock milliseconds and 80 random ones, in Crockford's base 32. */

#include <stdbool.h>
#include <stdint.h>

enum { ID_LEN = 26, ID_SIZE = ID_LEN + 1 };

void id_new(int64_t wall_ms, char out[ID_SIZE]); /* NUL-terminated, upper case */
bool id_valid(const char *s);                    /* exactly 26 of the alphabet's characters */

/* `len` octets from the system's generator; never fails (ends the process if the kernel cannot). */
void id_random(void *out, unsigned len);

#endif
