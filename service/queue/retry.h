#ifndef POSTERN_QUEUE_RETRY_H
#define POSTERN_QUEUE_RETRY_H

/* When a deferred recipient is tried again: pure arithmetic, the dice an argument. */

#include <stddef.h>
#include <stdint.h>

/* The wait after attempt number `attempts` (from 1): `schedule[attempts - 1]`, the last repeating,
 * ±20 %. */
int64_t retry_wait_ms(const int64_t *schedule_ms, size_t n_schedule, uint32_t attempts,
                      uint32_t dice);

#endif
