#include "queue/claim.h"

#include <criterion/criterion.h>
#include <pthread.h>

Test(claim, is_decided_once)
{
    struct claim *claim = claim_new();
    cr_assert(claim_move(claim, CLAIM_WAITING, CLAIM_DEPARTED));
    cr_assert_not(claim_move(claim, CLAIM_WAITING, CLAIM_WITHDRAWN));
    cr_assert_not(claim_is_withdrawn(claim));
    cr_assert(claim_move(claim, CLAIM_DEPARTED, CLAIM_WAITING));
    cr_assert(claim_move(claim, CLAIM_WAITING, CLAIM_WITHDRAWN));
    cr_assert_not(claim_move(claim, CLAIM_WAITING, CLAIM_DEPARTED));
    cr_assert(claim_is_withdrawn(claim));
    claim_unref(claim);
}

Test(claim, lives_as_long_as_somebody_has_it)
{
    struct claim *claim = claim_new();
    cr_assert_eq(claim_ref(claim), claim);
    claim_unref(claim);
    cr_assert(claim_move(claim, CLAIM_WAITING, CLAIM_WITHDRAWN));
    claim_unref(claim);
    claim_unref(NULL);
    cr_assert_not(claim_is_withdrawn(NULL));
}

enum { N_RACES = 20000 };

static struct claim *claims[N_RACES];
static char departed[N_RACES];

static void *depart_all(void *arg)
{
    for (size_t i = 0; i < N_RACES; i++)
        departed[i] = claim_move(claims[i], CLAIM_WAITING, CLAIM_DEPARTED);
    return NULL;
}

Test(claim, never_goes_out_and_is_withdrawn)
{
    static char withdrawn[N_RACES];
    pthread_t thread;
    for (size_t i = 0; i < N_RACES; i++)
        claims[i] = claim_new();
    cr_assert_eq(pthread_create(&thread, NULL, depart_all, NULL), 0);
    for (size_t i = N_RACES; i-- > 0;)
        withdrawn[i] = claim_move(claims[i], CLAIM_WAITING, CLAIM_WITHDRAWN);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < N_RACES; i++) {
        cr_assert_eq(departed[i] + withdrawn[i], 1, "claim %zu", i);
        claim_unref(claims[i]);
    }
}
