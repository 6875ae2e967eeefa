#ifndef POSTERN_BASE_LOOPBACK_H
#define POSTERN_BASE_LOOPBACK_H

#include <stdbool.h>

/* Is it this machine, whoever resolves it? "127.0.0.1", "::1", "[::1]", "localhost". */
bool loopback_is(const char *host);

#endif
