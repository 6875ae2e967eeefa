#ifndef POSTERN_API_NEAREST_H
#define POSTERN_API_NEAREST_H

/* The known word nearest to what somebody wrote: one or two slips of the finger away. */

#include <stddef.h>

/* How many letters to insert, drop, change or swap with their neighbour. NEAREST_FAR if a word is
 * too long to compare. */
enum { NEAREST_WORD_MAX = 32, NEAREST_FAR = 99 };
size_t nearest_distance(const char *a, const char *b);

#endif
