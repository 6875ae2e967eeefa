#ifndef POSTERN_BASE_JITTER_H
#define POSTERN_BASE_JITTER_H

/* So that those who failed together do not come back together. */

#include <stdint.h>

#include "base/id.h"

static inline uint32_t jitter_dice(void)
{
    uint32_t number;
    id_random(&number, sizeof(number));
    return number;
}

/* `wait_ms` ±20 %; `dice` is any random number. */
static inline int64_t jitter(int64_t wait_ms, uint32_t dice)
{
    return wait_ms + wait_ms * ((int64_t)(dice % 401) - 200) / 1000;
}

#endif
