#include <criterion/criterion.h>

#include "queue/retry.h"

Test(retry, follows_the_schedule_with_jitter)
{
    static const int64_t schedule[] = {1000, 10000};
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        int64_t base = schedule[attempt == 1 ? 0 : 1], least = INT64_MAX, most = 0;
        for (uint32_t i = 0; i < 1000; i++) {
            int64_t wait = retry_wait_ms(schedule, 2, attempt, i * 4294967u);
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        cr_assert_geq(least, base * 8 / 10);
        cr_assert_leq(most, base * 12 / 10);
        cr_assert_gt(most, base);
        cr_assert_lt(least, base);
    }
}
