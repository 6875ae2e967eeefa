#ifndef POSTERN_CONFIG_UNITS_H
#define POSTERN_CONFIG_UNITS_H

/* "30s 5m 24h 7d", "512KiB 25MiB" and "30/m", as settings spell them. -1: not of that form. */

#include <stdint.h>

int units_duration_ms(const char *text, int64_t *ms_out); /* ms s m h d; a bare 0; up to 36500d */
int units_size(const char *text, uint64_t *bytes_out);    /* B KiB MiB GiB KB MB GB, or none */
/* So many in so long a time: per s m h d; from 1 up to 999,999,999. */
int units_rate(const char *text, int64_t *n_out, int64_t *per_ms_out);

#endif
