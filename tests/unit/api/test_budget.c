#include <criterion/criterion.h>

#include "api/budget.h"

Test(budget, is_shared_by_all)
{
    struct budget *budget = budget_new(100);
    cr_assert(budget_take(budget, 1, 0, 60));
    cr_expect(budget_has(budget, 40));
    cr_expect_not(budget_has(budget, 41));
    cr_expect(budget_take(budget, 2, 0, 30));
    cr_expect_not(budget_take(budget, 3, 0, 11), "more than there is");
    cr_expect(budget_take(budget, 3, 0, 10));
    cr_expect_not(budget_take(budget, 4, 0, 1));
    budget_give(budget, 1, 60);
    cr_expect(budget_take(budget, 4, 0, 60), "what was refused is not counted");
    budget_free(budget);
}

Test(budget, an_owner_of_many_leaves_room_for_another)
{
    struct budget *budget = budget_new(1000);
    unsigned n = 0;
    while (n < 1000 && budget_take(budget, 7, 0, 10))
        n++;
    cr_expect_eq(n, 75, "%u", n);
    cr_expect(budget_take(budget, 8, 0, 10));
    cr_expect_not(budget_take(budget, 7, 10, 10), "nor by growing");
    for (unsigned i = 0; i < n; i++)
        budget_give(budget, 7, 10);
    budget_give(budget, 8, 10);
    cr_expect(budget_take(budget, 9, 0, 1000));
    budget_free(budget);
}

Test(budget, a_request_alone_may_take_all)
{
    struct budget *budget = budget_new(100);
    for (uint64_t held = 0; held < 100; held += 10)
        cr_expect(budget_take(budget, 1, held, 10), "at %d", (int)held);
    cr_expect_not(budget_take(budget, 1, 100, 1));
    budget_free(budget);
}
