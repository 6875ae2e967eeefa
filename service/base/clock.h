#ifndef POSTERN_BASE_CLOCK_H
#define POSTERN_BASE_CLOCK_H

/* The one source of time. Pure code takes `now_ms` as an argument instead. */

#include <stdint.h>

int64_t clock_mono_ms(void); /* for durations and waits: never jumps */
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void); /* for records and people: milliseconds since 1970 UTC */
int64_t clock_boot_ms(void); /* since the machine was started, its sleep included: never jumps */
/* What the wall clock said when the process first asked, gone on by clock_boot_ms(): for lifetimes,
 * which do not end because somebody sets the clock. */
int64_t clock_steady_ms(void);

enum { CLOCK_RFC3339_SIZE = 32 };

/* "2026-11-23T12:00:00.123Z" (RFC 3339) */
void clock_format_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);

#endif
