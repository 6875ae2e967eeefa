#include "api/budget.h"

#include <stdatomic.h>
#include <stdlib.h>

struct budget {
    uint64_t limit;
    atomic_ullong used; /* the sum of `by_owner` */
    atomic_ullong by_owner[BUDGET_OWNERS];
};

struct budget *budget_new(uint64_t limit)
{
    struct budget *budget = calloc(1, sizeof(*budget));
    if (budget != NULL)
        budget->limit = limit;
    return budget;
}

void budget_free(struct budget *budget)
{
    free(budget);
}

/* Both counts are raised first and looked at then: two that come at once may both be refused where
 * one had fit, but never both taken where one does not. */
bool budget_take(struct budget *budget, unsigned owner, uint64_t held, uint64_t more)
{
    atomic_ullong *share = &budget->by_owner[owner % BUDGET_OWNERS];
    uint64_t used = atomic_fetch_add(&budget->used, more) + more;
    uint64_t mine = atomic_fetch_add(share, more) + more;
    if (used <= budget->limit && (mine == held + more || mine <= 3 * (budget->limit - used)))
        return true;
    budget_give(budget, owner, more);
    return false;
}

void budget_give(struct budget *budget, unsigned owner, uint64_t octets)
{
    atomic_fetch_sub(&budget->by_owner[owner % BUDGET_OWNERS], octets);
    atomic_fetch_sub(&budget->used, octets);
}

bool budget_has(struct budget *budget, uint64_t octets)
{
    uint64_t used = atomic_load(&budget->used);
    return used <= budget->limit && octets <= budget->limit - used;
}
