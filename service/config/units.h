#ifndef POSTERN_CONFIG_UNITS_H
#define POSTERN_CONFIG_UNITS_H

/* "30s 5m 24h 7d" and "512KiB 25MiB", as settings spell them. -1: not of that form. */

#include <stdint.h>

int units_duration_ms(const char *text, int64_t *ms_out); /* ms s m h d; a bare 0; up to 36500d */
int units_size(const char *text, uint64_t *bytes_out);    /* B KiB MiB GiB KB MB GB, or none */

#endif
