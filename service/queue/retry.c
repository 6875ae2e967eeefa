#include "queue/retry.h"

#include "base/jitter.h"

int64_t retry_wait_ms(const int64_t *schedule_ms, size_t n_schedule, uint32_t attempts,
                      uint32_t dice)
{
    size_t row = attempts > 0 ? attempts - 1 : 0;
    int64_t wait_ms = schedule_ms[row < n_schedule ? row : n_schedule - 1];
    return jitter(wait_ms, dice);
}
