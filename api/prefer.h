#ifndef POSTERN_API_PREFER_H
#define POSTERN_API_PREFER_H

/* What a client prefers (RFC 7240). */

#include <stdbool.h>

/*
 * `wait` in seconds (RFC 7240, 4.3). `prefer` is the list of all Prefer lines, or NULL. Of two the
 * first counts (section 2). false if there is none or it is no number; one too large for a long is
 * the largest.
 */
bool prefer_wait(const char *prefer, long *seconds_out);

#endif
