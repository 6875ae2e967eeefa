#include <criterion/criterion.h>

#include "oauth/tokens/cache_entry.h"

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60 * SECOND_MS,
    HOUR_MS = 60 * MINUTE_MS,
    NEED_MS = 6 * MINUTE_MS,
    MIDDLE = 50,     /* dice: a token is refreshed at 80 % */
    NO_JITTER = 200, /* dice: a backoff is what it is */
    START_MS = 7 * HOUR_MS,
};

static struct cache_entry entry;

static void set_up(void)
{
    cache_entry_init(&entry);
}

TestSuite(cache_entry, .init = set_up);

/* Somebody asks, and a request begins. */
static void fetch(int64_t now_ms)
{
    cr_assert_eq(cache_entry_ask(&entry, now_ms, NEED_MS), CACHE_WAIT);
    cr_assert(cache_entry_begin(&entry, now_ms));
}

static void fetch_one_that_lives(int64_t now_ms, int64_t life_ms)
{
    fetch(now_ms);
    cache_entry_got(&entry, now_ms, now_ms, now_ms + life_ms, MIDDLE);
}

Test(cache_entry, nothing_is_asked_for_that_nobody_wants)
{
    cr_assert_eq(cache_entry_next_ms(&entry), INT64_MAX);
    cr_assert_not(cache_entry_begin(&entry, START_MS));
    cr_assert_str_eq(cache_state_word(entry.state), "empty");
}

Test(cache_entry, the_first_to_ask_begins_the_one_request)
{
    fetch(START_MS);
    cr_assert_str_eq(cache_state_word(entry.state), "fetching");
    for (int i = 0; i < 64; i++)
        cr_assert_eq(cache_entry_ask(&entry, START_MS + i, NEED_MS), CACHE_WAIT);
    cr_assert_not(cache_entry_begin(&entry, START_MS + HOUR_MS));
    cr_assert_eq(cache_entry_next_ms(&entry), INT64_MAX);
}

Test(cache_entry, a_token_is_refreshed_at_four_fifths_of_its_life)
{
    static const struct {
        uint32_t dice;
        int64_t permille;
    } cases[] = {{0, 750}, {50, 800}, {100, 850}, {101, 750}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_up();
        fetch(START_MS);
        cache_entry_got(&entry, START_MS, START_MS, START_MS + HOUR_MS, cases[i].dice);
        int64_t due_ms = START_MS + HOUR_MS * cases[i].permille / 1000;
        cr_assert_eq(cache_entry_next_ms(&entry), due_ms);
        cr_assert_not(cache_entry_begin(&entry, due_ms - 1));
        cr_assert(cache_entry_begin(&entry, due_ms));
        cr_assert_str_eq(cache_state_word(entry.state), "refreshing");
        cr_assert_eq(cache_entry_ask(&entry, due_ms, NEED_MS), CACHE_SERVE, "the old one serves");
    }
}

/* Whatever is needed, in the first nine tenths of its life a token serves. */
Test(cache_entry, what_is_needed_never_makes_a_short_lived_token_useless)
{
    fetch_one_that_lives(START_MS, 5 * SECOND_MS);
    cr_assert_eq(cache_entry_ask(&entry, START_MS + 4500, NEED_MS), CACHE_SERVE);
    cr_assert_eq(cache_entry_ask(&entry, START_MS + 4501, NEED_MS), CACHE_WAIT);
    cr_assert_eq(cache_entry_ask(&entry, START_MS + 4900, 100), CACHE_SERVE);
    cr_assert_eq(cache_entry_ask(&entry, START_MS + 4901, 100), CACHE_WAIT);
}

Test(cache_entry, who_needs_more_than_is_left_waits_for_the_next)
{
    fetch_one_that_lives(START_MS, HOUR_MS);
    int64_t late_ms = START_MS + HOUR_MS - 5 * MINUTE_MS;
    cr_assert_eq(cache_entry_ask(&entry, late_ms, 5 * MINUTE_MS), CACHE_SERVE);
    cr_assert_eq(cache_entry_ask(&entry, late_ms, NEED_MS), CACHE_WAIT);
    cr_assert(cache_entry_begin(&entry, late_ms));
    cr_assert_eq(cache_entry_ask(&entry, late_ms, NEED_MS), CACHE_WAIT);
    cache_entry_got(&entry, late_ms, late_ms, late_ms + HOUR_MS, MIDDLE);
    cr_assert_eq(cache_entry_ask(&entry, late_ms, NEED_MS), CACHE_SERVE);
}

Test(cache_entry, a_failed_refresh_leaves_the_old_token_until_it_expires)
{
    fetch_one_that_lives(START_MS, HOUR_MS);
    int64_t now_ms = START_MS + 48 * MINUTE_MS, end_ms = START_MS + HOUR_MS;
    cr_assert(cache_entry_begin(&entry, now_ms));
    cache_entry_failed(&entry, now_ms, CACHE_OUTAGE, 20 * MINUTE_MS, 0);
    cr_assert_str_eq(cache_state_word(entry.state), "fresh");
    cr_assert_eq(cache_entry_ask(&entry, end_ms - 1, NEED_MS), CACHE_SERVE, "nothing better");
    cr_assert_eq(cache_entry_next_ms(&entry), end_ms);
    cr_assert_not(cache_entry_begin(&entry, end_ms));
    cr_assert_str_eq(cache_state_word(entry.state), "failed");
    cr_assert_eq(cache_entry_ask(&entry, end_ms, 0), CACHE_FAIL);
    cr_assert_eq(cache_entry_next_ms(&entry), now_ms + 20 * MINUTE_MS);
}

Test(cache_entry, a_token_that_expires_while_the_next_is_fetched)
{
    fetch_one_that_lives(START_MS, HOUR_MS);
    cr_assert(cache_entry_begin(&entry, START_MS + 48 * MINUTE_MS));
    cr_assert_eq(cache_entry_next_ms(&entry), START_MS + HOUR_MS);
    cr_assert_not(cache_entry_begin(&entry, START_MS + HOUR_MS));
    cr_assert_str_eq(cache_state_word(entry.state), "fetching");
    cr_assert_eq(cache_entry_next_ms(&entry), INT64_MAX);
}

Test(cache_entry, an_outage_is_tried_again_by_doubled_pauses)
{
    static const int64_t pauses_s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
    int64_t now_ms = START_MS;
    fetch(now_ms);
    for (size_t i = 0; i < sizeof(pauses_s) / sizeof(pauses_s[0]); i++) {
        cache_entry_failed(&entry, now_ms, CACHE_OUTAGE, -1, NO_JITTER);
        int64_t due_ms = now_ms + pauses_s[i] * SECOND_MS;
        cr_assert_eq(cache_entry_next_ms(&entry), due_ms, "failure %zu", i);
        cr_assert_eq(cache_entry_ask(&entry, due_ms - 1, NEED_MS), CACHE_FAIL);
        cr_assert_not(cache_entry_begin(&entry, due_ms - 1));
        cr_assert_eq(cache_entry_ask(&entry, due_ms, NEED_MS), CACHE_WAIT);
        now_ms = due_ms;
        cr_assert(cache_entry_begin(&entry, now_ms));
    }
}

Test(cache_entry, pauses_vary_by_a_fifth)
{
    static const struct {
        const char *name;
        enum cache_failure failure;
        int64_t retry_after_ms;
        int64_t least_ms, most_ms;
    } cases[] = {
        {"outage", CACHE_OUTAGE, -1, 800, 1200},
        {"Retry-After: 0", CACHE_OUTAGE, 0, 800, 1200},
        {"Retry-After", CACHE_OUTAGE, 2 * MINUTE_MS, 120000, 144000},
        {"Retry-After, short", CACHE_OUTAGE, 1, 1000, 1200},
        {"Retry-After, a year", CACHE_OUTAGE, INT64_MAX, HOUR_MS, HOUR_MS * 12 / 10},
        {"refusal", CACHE_REFUSAL, -1, 12 * MINUTE_MS, 18 * MINUTE_MS},
        {"refusal with Retry-After", CACHE_REFUSAL, 1000, 12 * MINUTE_MS, 18 * MINUTE_MS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t least_ms = INT64_MAX, most_ms = 0;
        for (uint32_t dice = 0; dice < 1000; dice++) {
            set_up();
            fetch(START_MS);
            cache_entry_failed(&entry, START_MS, cases[i].failure, cases[i].retry_after_ms, dice);
            int64_t pause_ms = cache_entry_next_ms(&entry) - START_MS;
            least_ms = pause_ms < least_ms ? pause_ms : least_ms;
            most_ms = pause_ms > most_ms ? pause_ms : most_ms;
        }
        cr_assert_eq(least_ms, cases[i].least_ms, "%s", cases[i].name);
        cr_assert_eq(most_ms, cases[i].most_ms, "%s", cases[i].name);
    }
}

Test(cache_entry, a_success_ends_the_doubling)
{
    fetch(START_MS);
    for (int i = 0; i < 5; i++) {
        cache_entry_failed(&entry, START_MS, CACHE_OUTAGE, -1, NO_JITTER);
        cr_assert(cache_entry_begin(&entry, cache_entry_next_ms(&entry)));
    }
    cache_entry_got(&entry, START_MS, START_MS, START_MS + HOUR_MS, MIDDLE);
    cr_assert(cache_entry_begin(&entry, cache_entry_next_ms(&entry)));
    cache_entry_failed(&entry, START_MS, CACHE_OUTAGE, -1, NO_JITTER);
    cr_assert_eq(cache_entry_next_ms(&entry), START_MS + SECOND_MS);
}

Test(cache_entry, a_refused_grant_is_tried_at_once_when_it_changes)
{
    fetch(START_MS);
    cache_entry_failed(&entry, START_MS, CACHE_REFUSAL, -1, NO_JITTER);
    cr_assert(entry.grant_refused);
    cr_assert_eq(cache_entry_next_ms(&entry), START_MS + 15 * MINUTE_MS);
    cache_entry_changed(&entry, START_MS + 5);
    cr_assert_eq(cache_entry_next_ms(&entry), START_MS + 5);
    cr_assert(cache_entry_begin(&entry, START_MS + 5));
    cache_entry_changed(&entry, START_MS + 6);
    cr_assert_not(cache_entry_begin(&entry, START_MS + 6), "one at a time");
    cache_entry_got(&entry, START_MS + 7, START_MS + 5, START_MS + HOUR_MS, MIDDLE);
    cr_assert_not(entry.grant_refused);
}

Test(cache_entry, a_change_is_nothing_to_who_has_never_asked)
{
    cache_entry_changed(&entry, START_MS);
    cr_assert_eq(cache_entry_next_ms(&entry), INT64_MAX);
}

Test(cache_entry, a_refused_token_is_dropped_once)
{
    fetch_one_that_lives(START_MS, HOUR_MS);
    cr_assert(cache_entry_refused(&entry, START_MS + 1));
    cr_assert_str_eq(cache_state_word(entry.state), "empty");
    cr_assert_eq(cache_entry_next_ms(&entry), INT64_MAX);
    fetch_one_that_lives(START_MS + 2, HOUR_MS);
    cr_assert_not(cache_entry_refused(&entry, START_MS + 3));
    cr_assert_eq(cache_entry_ask(&entry, START_MS + 4, NEED_MS), CACHE_SERVE, "it stays");
    cr_assert(cache_entry_refused(&entry, START_MS + 1 + 5 * MINUTE_MS), "that was long ago");
}

Test(cache_entry, a_refused_token_whose_successor_is_under_way)
{
    fetch_one_that_lives(START_MS, HOUR_MS);
    int64_t now_ms = START_MS + 48 * MINUTE_MS;
    cr_assert(cache_entry_begin(&entry, now_ms));
    cr_assert(cache_entry_refused(&entry, now_ms));
    cr_assert_str_eq(cache_state_word(entry.state), "fetching");
    cr_assert_eq(cache_entry_ask(&entry, now_ms, 0), CACHE_WAIT);
}

/* It does not end the pause that an endpoint was given. */
Test(cache_entry, a_refused_token_during_an_outage)
{
    fetch_one_that_lives(START_MS, HOUR_MS);
    int64_t now_ms = START_MS + 48 * MINUTE_MS;
    cr_assert(cache_entry_begin(&entry, now_ms));
    cache_entry_failed(&entry, now_ms, CACHE_OUTAGE, 5 * MINUTE_MS, 0);
    cr_assert(cache_entry_refused(&entry, now_ms));
    cr_assert_str_eq(cache_state_word(entry.state), "failed");
    cr_assert_eq(cache_entry_ask(&entry, now_ms, 0), CACHE_FAIL);
    cr_assert_eq(cache_entry_next_ms(&entry), now_ms + 5 * MINUTE_MS);
}

Test(cache_entry, a_token_nobody_asks_for_lapses_in_the_end)
{
    fetch_one_that_lives(START_MS, HOUR_MS);
    int n_refreshes = 0;
    int64_t now_ms;
    while ((now_ms = cache_entry_next_ms(&entry)) != INT64_MAX) {
        cr_assert_lt(now_ms, START_MS + 26 * HOUR_MS);
        if (cache_entry_begin(&entry, now_ms)) {
            n_refreshes++;
            cache_entry_got(&entry, now_ms, now_ms, now_ms + HOUR_MS, MIDDLE);
        }
    }
    cr_assert_eq(n_refreshes, 24 * 60 / 48);
    cr_assert_str_eq(cache_state_word(entry.state), "empty");
    fetch(START_MS + 48 * HOUR_MS);
}

/* --- random walks ------------------------------------------------------------------------- */

struct walk {
    uint32_t seed;
    int64_t now_ms, begun_ms; /* begun_ms: the last request */
    int64_t token_ends_ms;    /* of the newest token there was */
    int64_t not_before_ms;    /* an endpoint that failed is left alone until then */
    bool in_flight;
    unsigned n_served, n_waited, n_failed, n_begun; /* so that a walk is seen to go everywhere */
};

static uint32_t roll(struct walk *walk)
{
    walk->seed = walk->seed * 1664525 + 1013904223;
    return walk->seed >> 8;
}

static void walk_ask(struct walk *walk)
{
    switch (cache_entry_ask(&entry, walk->now_ms, roll(walk) % (2 * NEED_MS))) {
    case CACHE_SERVE:
        cr_assert_lt(walk->now_ms, walk->token_ends_ms, "an expired token");
        walk->n_served++;
        break;
    case CACHE_WAIT:
        cr_assert(walk->in_flight || cache_entry_next_ms(&entry) <= walk->now_ms,
                  "waits for nothing");
        walk->n_waited++;
        break;
    case CACHE_FAIL:
        cr_assert_geq(walk->now_ms, walk->token_ends_ms, "there is a token");
        cr_assert_gt(cache_entry_next_ms(&entry), walk->now_ms);
        cr_assert_lt(cache_entry_next_ms(&entry), INT64_MAX, "for ever");
        walk->n_failed++;
        break;
    }
}

static void walk_begin(struct walk *walk)
{
    if (!cache_entry_begin(&entry, walk->now_ms)) {
        cr_assert_gt(cache_entry_next_ms(&entry), walk->now_ms, "spins");
        return;
    }
    cr_assert_not(walk->in_flight, "two at once");
    cr_assert_geq(walk->now_ms, walk->not_before_ms, "a pause is cut short");
    walk->in_flight = true;
    walk->begun_ms = walk->now_ms;
    walk->n_begun++;
}

static void walk_answer(struct walk *walk)
{
    int64_t life_ms = 1 + roll(walk) % (roll(walk) % 2 ? HOUR_MS : 10 * SECOND_MS);
    bool good = roll(walk) % 3 > 0 && walk->now_ms < walk->begun_ms + life_ms;
    walk->in_flight = false;
    if (good) {
        walk->token_ends_ms = walk->begun_ms + life_ms;
        cache_entry_got(&entry, walk->now_ms, walk->begun_ms, walk->token_ends_ms, roll(walk));
        return;
    }
    bool refused = roll(walk) % 4 == 0;
    cache_entry_failed(&entry, walk->now_ms, refused ? CACHE_REFUSAL : CACHE_OUTAGE,
                       (int64_t)(roll(walk) % 100000) - 50000, roll(walk));
    walk->not_before_ms = walk->now_ms + (refused ? 12 * MINUTE_MS : 800);
}

static void walk_refuse(struct walk *walk)
{
    if (cache_entry_has_token(&entry) && cache_entry_refused(&entry, walk->now_ms))
        walk->token_ends_ms = walk->now_ms;
}

static void walk_step(struct walk *walk)
{
    switch (roll(walk) % 8) {
    case 0:
    case 1:
        walk->now_ms += roll(walk) % (roll(walk) % 4 == 0 ? HOUR_MS : 2 * SECOND_MS);
        break;
    case 2:
    case 3:
        walk_ask(walk);
        break;
    case 4:
    case 5:
        if (walk->in_flight)
            walk_answer(walk);
        break;
    case 6:
        if (roll(walk) % 8 == 0)
            walk_refuse(walk);
        break;
    case 7:
        if (roll(walk) % 16 == 0 && !walk->in_flight) {
            cache_entry_changed(&entry, walk->now_ms);
            walk->not_before_ms = 0;
        }
        break;
    }
    walk_begin(walk);
    cr_assert_eq(cache_entry_in_flight(&entry), walk->in_flight);
}

Test(cache_entry, whatever_happens_its_promises_hold)
{
    struct walk walk = {.now_ms = START_MS};
    for (uint32_t seed = 0; seed < 200; seed++) {
        set_up();
        walk = (struct walk){.seed = seed,
                             .now_ms = START_MS,
                             .n_served = walk.n_served,
                             .n_waited = walk.n_waited,
                             .n_failed = walk.n_failed,
                             .n_begun = walk.n_begun};
        for (int i = 0; i < 2000; i++)
            walk_step(&walk);
    }
    cr_assert(walk.n_served > 1000 && walk.n_waited > 1000 && walk.n_failed > 1000 &&
                  walk.n_begun > 1000,
              "%u %u %u %u", walk.n_served, walk.n_waited, walk.n_failed, walk.n_begun);
}

/* A busy gateway and an endpoint that answers, slow or quick: never without a token after the
 * first, and hardly more than one request a lifetime. */
Test(cache_entry, one_request_a_lifetime)
{
    static const int64_t lives_ms[] = {5 * SECOND_MS, MINUTE_MS, HOUR_MS, 24 * HOUR_MS};
    for (size_t i = 0; i < sizeof(lives_ms) / sizeof(lives_ms[0]); i++) {
        struct walk walk = {.seed = (uint32_t)i};
        int64_t life_ms = lives_ms[i], end_ms = START_MS + 100 * life_ms;
        set_up();
        fetch_one_that_lives(START_MS, life_ms);
        int64_t n_requests = 1, answer_ms = INT64_MAX, begun_ms = 0;
        for (int64_t now_ms = START_MS; now_ms < end_ms; now_ms += life_ms / 500) {
            if (cache_entry_begin(&entry, now_ms)) {
                n_requests++;
                begun_ms = now_ms;
                answer_ms = now_ms + life_ms * (roll(&walk) % 40) / 1000;
            }
            if (now_ms >= answer_ms) {
                cache_entry_got(&entry, now_ms, begun_ms, begun_ms + life_ms, roll(&walk));
                answer_ms = INT64_MAX;
            }
            cr_assert_eq(cache_entry_ask(&entry, now_ms, NEED_MS), CACHE_SERVE);
        }
        cr_assert(n_requests >= 100 && n_requests <= 100 * 100 / 75 + 1, "%d requests",
                  (int)n_requests);
    }
}
