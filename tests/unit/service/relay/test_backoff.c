#include <criterion/criterion.h>

#include "relay/backoff.h"

enum { NO_JITTER = 200, HOUR_MS = 60 * 60 * 1000 };

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

/* With whatever dice: ±20 % of 1, 2, 4, ... s, never beyond that of the maximum. */
static void pauses_stay_in_bounds(bool login, int64_t max_ms, uint32_t seed)
{
    struct backoff backoff = {0};
    int64_t now_ms = seed, base_ms = 1000;
    for (int i = 0; i < 40; i++) {
        seed = seed * 1664525 + 1013904223;
        int64_t pause_ms = backoff_failed(&backoff, now_ms, login, seed);
        cr_assert_geq(pause_ms, base_ms * 8 / 10);
        cr_assert_leq(pause_ms, base_ms * 12 / 10);
        cr_assert_not(backoff_open(&backoff, now_ms + pause_ms - 1));
        cr_assert(backoff_open(&backoff, now_ms + pause_ms));
        now_ms += pause_ms + seed % 1000; /* the probe takes its time */
        base_ms = 2 * base_ms < max_ms ? 2 * base_ms : max_ms;
    }
}

Test(backoff, pauses_stay_in_their_bounds)
{
    for (uint32_t seed = 0; seed < 1000; seed++) {
        pauses_stay_in_bounds(false, 5 * 60 * 1000, seed);
        pauses_stay_in_bounds(true, 15 * 60 * 1000, seed);
    }
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

/* All connections end when a relay goes down: that is one failure, not as many. */
Test(backoff, failures_of_one_moment_are_one)
{
    struct backoff backoff = {0};
    cr_assert_eq(backoff_failed(&backoff, 0, false, NO_JITTER), 1000);
    for (int i = 1; i < 10; i++)
        cr_assert_eq(backoff_failed(&backoff, i, false, NO_JITTER), 1000 - i);
    cr_assert_eq(backoff.n_failures, 1);
    cr_assert(backoff_open(&backoff, 1000));
    cr_assert_eq(backoff_failed(&backoff, 1000, false, NO_JITTER), 2000);
}

Test(backoff, a_success_forgets_everything)
{
    struct backoff backoff = {0};
    for (int64_t now_ms = 0; now_ms < HOUR_MS; now_ms += HOUR_MS / 10)
        backoff_failed(&backoff, now_ms, false, NO_JITTER);
    backoff_succeeded(&backoff);
    cr_assert(backoff_open(&backoff, 0));
    cr_assert_eq(backoff_failed(&backoff, 0, false, NO_JITTER), 1000);
}

Test(backoff, a_documented_pause_is_kept_and_then_probed)
{
    struct backoff backoff = {0};
    backoff_pause(&backoff, 1000, HOUR_MS);
    cr_assert_not(backoff_open(&backoff, 1000 + HOUR_MS - 1));
    cr_assert(backoff_open(&backoff, 1000 + HOUR_MS));
    cr_assert_gt(backoff.n_failures, 0, "all at once would be too many");
    backoff_pause(&backoff, 1000 + HOUR_MS, HOUR_MS);
    cr_assert_eq(backoff.n_failures, 1, "it does not grow");
}

Test(backoff, the_longer_pause_counts)
{
    struct backoff backoff = {0};
    backoff_pause(&backoff, 0, HOUR_MS);
    cr_assert_eq(backoff_failed(&backoff, 10, false, NO_JITTER), HOUR_MS - 10);
    backoff_pause(&backoff, 20, 1000);
    cr_assert_not(backoff_open(&backoff, HOUR_MS - 1));
    backoff_pause(&backoff, 20, 2 * HOUR_MS);
    cr_assert_not(backoff_open(&backoff, 2 * HOUR_MS));
    cr_assert(backoff_open(&backoff, 20 + 2 * HOUR_MS));
}

Test(backoff, connections_grow_by_doubling)
{
    size_t limit = 1, limits[8];
    for (size_t n_open = 1; n_open <= 8; n_open++)
        limits[n_open - 1] = limit = backoff_widen(limit, n_open, 6);
    static const size_t wanted[] = {2, 4, 4, 6, 6, 6, 6, 6};
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(limits[i], wanted[i], "%zu open: %zu", i + 1, limits[i]);
    cr_assert_eq(backoff_widen(4, 1, 2), 2, "settings may have been lowered");
}
