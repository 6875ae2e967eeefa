#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "relay/transcript.h"

enum { HALF_AT_LEAST = 60 * 1024, MAX = 128 * 1024 };

static struct transcripts *ts;

static void set_up(void)
{
    ts = transcripts_new(MAX);
    cr_assert_not_null(ts);
}

static void tear_down(void)
{
    transcripts_free(ts);
}

TestSuite(transcript, .init = set_up, .fini = tear_down);

static void make_id(char id[ID_SIZE], unsigned n)
{
    snprintf(id, ID_SIZE, "01KAAAAAAAAAAAAAAAAA%06u", n);
}

static void keep(unsigned n, bool good, const char *text)
{
    char id[ID_SIZE];
    make_id(id, n);
    transcripts_keep(ts, id, "primary", good, NULL, text, strlen(text));
}

/* NULL text: none is kept. */
static void expect(unsigned n, const char *text)
{
    char id[ID_SIZE];
    const char *relay = NULL;
    int64_t at_ms = 0;
    make_id(id, n);
    char *found = transcripts_find(ts, id, &relay, &at_ms);
    if (text == NULL) {
        cr_expect_null(found, "%s is still there", id);
        cr_expect_null(relay);
    } else {
        cr_assert_not_null(found, "%s is gone", id);
        cr_expect_str_eq(found, text);
        cr_expect_str_eq(relay, "primary");
        cr_expect_leq(at_ms, clock_wall_ms());
        cr_expect_gt(at_ms, clock_wall_ms() - 60 * 1000);
    }
    free(found);
}

Test(transcript, the_last_attempt_counts)
{
    expect(1, NULL);
    keep(1, false, "S: 451 later\n");
    keep(2, true, "S: 250 two\n");
    expect(1, "S: 451 later\n");
    keep(1, true, "S: 250 ok\n");
    expect(1, "S: 250 ok\n");
    expect(2, "S: 250 two\n");
    keep(1, false, "");
    expect(1, "");
}

Test(transcript, any_text_may_be_asked_for)
{
    static const char *const asked[] = {"", "x", "01KAAAAAAAAAAAAAAAAA000001 and more than an id"};
    const char *relay;
    int64_t at_ms;
    keep(1, true, "x");
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
        cr_expect_null(transcripts_find(ts, asked[i], &relay, &at_ms));
}

Test(transcript, the_connection_comes_first_and_outlives_its_owner)
{
    char id[ID_SIZE];
    struct bytes *connection = bytes_copy("S: 220 hi\n", 10);
    cr_assert_not_null(connection);
    for (unsigned i = 0; i < 3; i++) {
        make_id(id, i);
        transcripts_keep(ts, id, "primary", true, connection, "C: MAIL\n", 8);
    }
    bytes_unref(connection);
    for (unsigned i = 0; i < 3; i++)
        expect(i, "S: 220 hi\nC: MAIL\n");
}

Test(transcript, the_oldest_is_forgotten)
{
    static char text[1024];
    memset(text, 'x', sizeof(text) - 1);
    enum { FIT = HALF_AT_LEAST / (sizeof(text) + 150), NEVER_FIT = MAX / 2 / sizeof(text) };
    for (unsigned i = 0; i < 1000; i++) {
        keep(i, true, text);
        expect(i, text);
        if (i >= FIT)
            expect(i - FIT, text);
        if (i >= NEVER_FIT)
            expect(i - NEVER_FIT, NULL);
    }
}

/* Kept again is kept anew: it is not the oldest any more. */
Test(transcript, age_is_that_of_the_last_attempt)
{
    static char text[1024];
    memset(text, 'x', sizeof(text) - 1);
    for (unsigned i = 0; i < 1000; i++) {
        keep(i, true, text);
        keep(0, true, "again");
    }
    expect(0, "again");
    expect(1, NULL);
}

Test(transcript, good_ones_do_not_wash_the_others_away)
{
    static char text[1024];
    memset(text, 'x', sizeof(text) - 1);
    keep(0, false, "S: 550 no\n");
    for (unsigned i = 1; i < 1000; i++)
        keep(i, true, text);
    expect(0, "S: 550 no\n");
    for (unsigned i = 1000; i < 2000; i++)
        keep(i, false, text);
    expect(0, NULL);
    expect(999, text);
}

/* A bound holds whatever connections there are. */
Test(transcript, connections_count)
{
    char id[ID_SIZE];
    for (unsigned i = 0; i < 100; i++) {
        struct bytes *connection = bytes_new(4096);
        cr_assert_not_null(connection);
        memset(connection->data, 'c', connection->len);
        make_id(id, i);
        transcripts_keep(ts, id, "primary", true, connection, "t", 1);
        bytes_unref(connection);
    }
    expect(100 - MAX / 2 / 4096, NULL);
}

Test(transcript, one_too_large_is_not_kept)
{
    char *text = malloc(MAX + 1);
    cr_assert_not_null(text);
    memset(text, 'x', MAX);
    text[MAX] = '\0';
    keep(1, true, "S: 250 before\n");
    keep(2, true, "S: 250 other\n");
    keep(1, true, text);
    expect(1, NULL); /* what it said before was not its last attempt */
    expect(2, "S: 250 other\n");
    free(text);
}

Test(transcript, no_room_at_all)
{
    CLEANUP(transcripts_free) struct transcripts *none = transcripts_new(0);
    char id[ID_SIZE];
    const char *relay;
    int64_t at_ms;
    make_id(id, 1);
    cr_assert_not_null(none);
    transcripts_keep(none, id, "primary", true, NULL, "x", 1);
    cr_expect_null(transcripts_find(none, id, &relay, &at_ms));
}

/* --- several threads ----------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 5000, SHARED_IDS = 50 };

static struct bytes *shared_connection;

/* A text that shows whether it was torn. */
static void *keep_and_find(void *arg)
{
    unsigned self = *(unsigned *)arg;
    size_t n_found = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char id[ID_SIZE], text[400];
        size_t len = 1 + (i * 7 + self) % (sizeof(text) - 1);
        make_id(id, (i * 13 + self) % SHARED_IDS);
        memset(text, 'a' + (int)self, len);
        transcripts_keep(ts, id, "primary", i % 3 != 0, shared_connection, text, len);
        const char *relay;
        int64_t at_ms;
        char *found = transcripts_find(ts, id, &relay, &at_ms);
        if (found == NULL)
            continue;
        const char *own = found + shared_connection->len;
        if (strlen(own) > 0 && strspn(own, (char[]){own[0], '\0'}) == strlen(own))
            n_found++;
        free(found);
    }
    return (void *)n_found;
}

Test(transcript, threads_do_not_tear_them)
{
    pthread_t threads[THREADS];
    unsigned selves[THREADS];
    shared_connection = bytes_copy("S: 220 hi\n", 10);
    cr_assert_not_null(shared_connection);
    for (unsigned i = 0; i < THREADS; i++) {
        selves[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, keep_and_find, &selves[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *n_found;
        pthread_join(threads[i], &n_found);
        cr_expect_eq((size_t)n_found, ROUNDS); /* 50 small ones always fit */
    }
    transcripts_free(TAKE(ts));
    cr_expect_eq(atomic_load(&shared_connection->refs), 1);
    bytes_unref(shared_connection);
}
