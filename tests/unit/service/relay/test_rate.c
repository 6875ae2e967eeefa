#include <criterion/criterion.h>

#include "relay/rate.h"

enum { MINUTE_MS = 60 * 1000, DAY_MS = 24 * 60 * MINUTE_MS, TAKES_MAX = 20000 };

static struct rate *rate_of(size_t n, const struct rate_limit *limits)
{
    struct rate *rate;
    struct error err;
    cr_assert_eq(rate_new(limits, n, &rate, &err), 0);
    return rate;
}

static const struct rate_limit per_second = {100, 1000}, per_minute = {30, MINUTE_MS},
                               per_day = {10000, DAY_MS}, odd = {7, 997}, tiny = {2, 3},
                               one_an_hour = {1, 60 * MINUTE_MS};

static const struct {
    const char *name;
    size_t n;
    struct rate_limit limits[3];
} sets[] = {
    {"100/s", 1, {per_second}}, {"30/m", 1, {per_minute}},
    {"10000/d", 1, {per_day}},  {"7 in 997 ms", 1, {odd}},
    {"2 in 3 ms", 1, {tiny}},   {"100/s and 30/m", 2, {per_second, per_minute}},
    {"1/h", 1, {one_an_hour}},  {"all", 3, {per_minute, per_day, per_second}},
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

struct take {
    int64_t at_ms, n;
};

/* The most that any stretch [t, t + per_ms) held. */
static int64_t fullest(const struct take *takes, size_t n_takes, int64_t per_ms)
{
    int64_t most = 0, sum = 0;
    for (size_t from = 0, to = 0; to < n_takes; to++) {
        sum += takes[to].n;
        while (takes[to].at_ms - takes[from].at_ms >= per_ms)
            sum -= takes[from++].n;
        most = sum > most ? sum : most;
    }
    return most;
}

static int64_t shortest(size_t set)
{
    int64_t ms = INT64_MAX;
    for (size_t i = 0; i < sets[set].n; i++)
        ms = sets[set].limits[i].per_ms < ms ? sets[set].limits[i].per_ms : ms;
    return ms;
}

/* Steps from much smaller than a slot to much longer than a window; a part of it goes back. */
static void no_stretch_holds_more(size_t set, uint32_t seed)
{
    static struct take takes[TAKES_MAX];
    CLEANUP(rate_free) struct rate *rate = rate_of(sets[set].n, sets[set].limits);
    int64_t now_ms = next_random(&seed), step_ms = shortest(set) / 10 + 1;
    int64_t slot_ms = (shortest(set) + 59) / 60;
    for (size_t i = 0; i < TAKES_MAX; i++) {
        uint32_t pace = next_random(&seed) % 100;
        now_ms += next_random(&seed) % (pace < 2 ? 30 * step_ms : pace < 50 ? step_ms : 2);
        int64_t wanted = 1 + next_random(&seed) % 5;
        takes[i] = (struct take){now_ms, rate_take(rate, wanted, now_ms)};
        cr_assert(takes[i].n >= 0 && takes[i].n <= wanted);
        size_t undo = i - next_random(&seed) % 50;
        if (undo < i && takes[undo].n > 0 && next_random(&seed) % 10 == 0) {
            rate_give_back(rate, 1, takes[undo].at_ms + next_random(&seed) % slot_ms);
            takes[undo].n--;
        }
    }
    for (size_t i = 0; i < sets[set].n; i++)
        cr_assert_leq(fullest(takes, TAKES_MAX, sets[set].limits[i].per_ms), sets[set].limits[i].n,
                      "%s: seed %u", sets[set].name, seed);
}

Test(rate, no_stretch_of_a_window_holds_more_than_its_limit)
{
    for (size_t set = 0; set < sizeof(sets) / sizeof(sets[0]); set++)
        for (uint32_t seed = 0; seed < 5; seed++)
            no_stretch_holds_more(set, seed);
}

/* Whoever takes all there is at once, and again as soon as rate_open_at() says, loses one slot. */
Test(rate, a_window_and_a_slot_let_the_whole_limit_through)
{
    for (size_t set = 0; set < sizeof(sets) / sizeof(sets[0]); set++) {
        if (sets[set].n > 1)
            continue;
        const struct rate_limit *limit = &sets[set].limits[0];
        CLEANUP(rate_free) struct rate *rate = rate_of(1, limit);
        int64_t now_ms = 12345, slot_ms = (limit->per_ms + 59) / 60;
        for (int round = 0; round < 100; round++) {
            cr_assert_eq(rate_take(rate, INT64_MAX, now_ms), limit->n, "%s", sets[set].name);
            int64_t open_ms = rate_open_at(rate, now_ms);
            cr_assert_leq(open_ms - now_ms, limit->per_ms + 2 * slot_ms, "%s", sets[set].name);
            cr_assert_eq(rate_take(rate, 1, open_ms - 1), 0);
            now_ms = open_ms;
        }
    }
}

Test(rate, a_steady_stream_gets_what_it_may)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(1, &per_minute);
    int64_t sent = 0;
    for (int64_t now_ms = 0; now_ms < 60 * MINUTE_MS; now_ms += 100)
        sent += rate_take(rate, 1, now_ms);
    cr_assert_geq(sent, 60 * 30 * 95 / 100);
    cr_assert_leq(sent, 60 * 30);
}

Test(rate, without_limits_everything_is_granted)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(0, NULL);
    cr_assert_eq(rate_take(rate, 1000000, 5), 1000000);
    cr_assert_eq(rate_open_at(rate, 5), 5);
    cr_assert_eq(rate_n_limits(rate), 0);
    rate_give_back(rate, 3, 5);
    rate_remember(rate, 3, 1, 5);
}

Test(rate, of_several_limits_the_narrowest_decides)
{
    CLEANUP(rate_free)
    struct rate *rate = rate_of(2, (const struct rate_limit[]){{10, 1000}, {15, MINUTE_MS}});
    cr_assert_eq(rate_take(rate, 12, 0), 10);
    cr_assert_eq(rate_take(rate, 12, 2000), 5);
    cr_assert_eq(rate_take(rate, 12, 4000), 0);
    cr_assert_eq(rate_used(rate, 0, 4000), 0);
    cr_assert_eq(rate_used(rate, 1, 4000), 15);
    cr_assert_eq(rate_open_at(rate, 4000), 61000); /* the slot of the first ten */
}

Test(rate, what_did_not_go_may_go_again)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(1, &per_minute);
    cr_assert_eq(rate_take(rate, 30, 0), 30);
    rate_give_back(rate, 10, 0);
    cr_assert_eq(rate_used(rate, 0, 0), 20);
    cr_assert_eq(rate_take(rate, 30, 5000), 10);
    rate_give_back(rate, 10, 0);
    cr_assert_eq(rate_take(rate, 30, 6000), 10);
}

/* Else what was given back a window later would be taken off what went since. */
Test(rate, what_is_given_back_late_gives_nothing)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(1, &per_second);
    cr_assert_eq(rate_take(rate, 100, 0), 100);
    cr_assert_eq(rate_take(rate, 100, 2000), 100);
    rate_give_back(rate, 100, 0);
    cr_assert_eq(rate_take(rate, 1, 2000), 0);
    rate_give_back(rate, 1000, 2000); /* never more than stands there */
    cr_assert_eq(rate_take(rate, 1000, 2000), 100);
}

Test(rate, a_day_is_remembered_over_a_restart)
{
    CLEANUP(rate_free)
    struct rate *rate = rate_of(2, (const struct rate_limit[]){per_day, per_minute});
    rate_remember(rate, 6000, -20 * 3600 * 1000, 1000);
    rate_remember(rate, 3990, -3600 * 1000, 1000);
    rate_remember(rate, 5000, -25 * 3600 * 1000, 1000); /* too long ago */
    cr_assert_eq(rate_used(rate, 0, 1000), 9990);
    cr_assert_eq(rate_used(rate, 1, 1000), 0);
    cr_assert_eq(rate_take(rate, 30, 1000), 10);
    int64_t open_ms = rate_open_at(rate, 1000);
    cr_assert_geq(open_ms, 4 * 3600 * 1000);
    cr_assert_leq(open_ms, (4 * 60 + 24) * MINUTE_MS); /* and a slot of 24 minutes */
    cr_assert_eq(rate_take(rate, 30, open_ms), 30);
}

Test(rate, what_seems_to_have_gone_in_the_future_went_now)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(1, &per_minute);
    rate_remember(rate, 30, 2 * MINUTE_MS, 0);
    cr_assert_eq(rate_take(rate, 1, 0), 0);
    cr_assert_eq(rate_take(rate, 1, 61000), 1);
}

Test(rate, what_the_relay_says_only_lowers_a_limit)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(1, (const struct rate_limit[]){{60, MINUTE_MS}});
    cr_assert_eq(rate_take(rate, 10, 0), 10);
    rate_learn(rate, 30, MINUTE_MS, 0);
    cr_assert_eq(rate_take(rate, 1, 0), 0, "it was said that it is full");
    cr_assert_eq(rate_take(rate, 1, MINUTE_MS), 0);
    cr_assert_eq(rate_take(rate, 60, 61000), 30);
    rate_learn(rate, 1000, MINUTE_MS, 200000);
    cr_assert_eq(rate_limit_at(rate, 0).n, 30);
    cr_assert_eq(rate_n_limits(rate), 1);
}

Test(rate, a_limit_of_another_length_is_learned_beside)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(1, &per_day);
    rate_learn(rate, 30, MINUTE_MS, 0);
    rate_learn(rate, 0, 1000, 0); /* a rate of nothing would be for ever */
    rate_learn(rate, 5, 2000, 0); /* one length too many */
    cr_assert_eq(rate_n_limits(rate), 3);
    cr_assert_eq(rate_limit_at(rate, 1).n, 30);
    cr_assert_eq(rate_limit_at(rate, 2).n, 1);
    cr_assert_eq(rate_take(rate, 5, 0), 0);
    cr_assert_eq(rate_take(rate, 5, 61000), 1);
}

Test(rate, without_limits_one_can_still_be_learned)
{
    CLEANUP(rate_free) struct rate *rate = rate_of(0, NULL);
    rate_learn(rate, 30, MINUTE_MS, 0);
    cr_assert_eq(rate_take(rate, 50, 61000), 30);
}
