#ifndef POSTERN_BASE_NEAREST_H
#define POSTERN_BASE_NEAREST_H

/* The known word nearest to what somebody wrote: one or two slips of the finger away. */

#include <stddef.h>

enum { NEAREST_WORD_MAX = 32 }; /* a longer one is near to none */

/*
 * Of the words offered the nearest that may be what was meant: at most two slips away, and not one
 * that has nothing in common with it. The words are borrowed; of two equally near the first stays.
 */
struct nearest {
    const char *word; /* NULL: none is near */
    const char *written;
    size_t away;
};

void nearest_init(struct nearest *nearest, const char *written);
void nearest_offer(struct nearest *nearest, const char *known);

#endif
