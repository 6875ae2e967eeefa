#include <criterion/criterion.h>

#include "relay/backoff.h"

enum { NO_JITTER = 200 };

Test(backoff, pauses_double_up_to_their_maximum)
{
    static const int64_t pauses_s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
    struct backoff backoff = {0};
    int64_t now_ms = 5000;
    for (size_t i = 0; i < sizeof(pauses_s) / sizeof(pauses_s[0]); i++) {
        cr_assert(backoff_open(&backoff, now_ms));
        int64_t pause_ms = backoff_failed(&backoff, now_ms, false, NO_JITTER);
        cr_assert_eq(pause_ms, pauses_s[i] * 1000, "failure %zu", i);
        cr_assert_not(backoff_open(&backoff, now_ms + pause_ms - 1));
        now_ms += pause_ms;
    }
}

Test(backoff, logins_wait_up_to_fifteen_minutes)
{
    struct backoff backoff = {0};
    int64_t pause_ms = 0;
    for (int i = 0; i < 20; i++)
        pause_ms = backoff_failed(&backoff, 0, true, NO_JITTER);
    cr_assert_eq(pause_ms, 15 * 60 * 1000);
}

Test(backoff, jitter_is_a_fifth_either_way)
{
    int64_t least = INT64_MAX, most = 0;
    for (uint32_t dice = 0; dice < 1000; dice++) {
        struct backoff backoff = {0};
        int64_t pause_ms = backoff_failed(&backoff, 0, false, dice);
        least = pause_ms < least ? pause_ms : least;
        most = pause_ms > most ? pause_ms : most;
    }
    cr_assert_eq(least, 800);
    cr_assert_eq(most, 1200);
}

Test(backoff, a_success_forgets_everything)
{
    struct backoff backoff = {0};
    for (int i = 0; i < 5; i++)
        backoff_failed(&backoff, 0, false, NO_JITTER);
    backoff_succeeded(&backoff);
    cr_assert(backoff_open(&backoff, 0));
    cr_assert_eq(backoff_failed(&backoff, 0, false, NO_JITTER), 1000);
}
