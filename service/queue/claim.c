#include "queue/claim.h"

#include <stdlib.h>

struct claim *claim_new(void)
{
    struct claim *claim = malloc(sizeof(*claim));
    if (claim != NULL) {
        atomic_init(&claim->refs, 1);
        atomic_init(&claim->state, CLAIM_WAITING);
    }
    return claim;
}

struct claim *claim_ref(struct claim *claim)
{
    atomic_fetch_add_explicit(&claim->refs, 1, memory_order_relaxed);
    return claim;
}

void claim_unref(struct claim *claim)
{
    if (claim != NULL && atomic_fetch_sub_explicit(&claim->refs, 1, memory_order_acq_rel) == 1)
        free(claim);
}

bool claim_move(struct claim *claim, enum claim_state from, enum claim_state to)
{
    int expected = (int)from;
    return atomic_compare_exchange_strong(&claim->state, &expected, (int)to);
}

bool claim_is_withdrawn(const struct claim *claim)
{
    return claim != NULL && atomic_load(&claim->state) == CLAIM_WITHDRAWN;
}
