#include <criterion/criterion.h>

#include "relay/attribution.h"

Test(attribution, three_in_a_row_while_others_are_taken)
{
    struct mail_complaints complaints = {0};
    cr_assert_not(attribute_to_message(&complaints, 0, 100));
    cr_assert_not(attribute_to_message(&complaints, 150, 200));
    cr_assert(attribute_to_message(&complaints, 250, 300));
    cr_assert_not(attribute_to_message(&complaints, 350, 400), "counting begins anew");
    cr_assert_not(attribute_to_message(&complaints, 450, 500));
    cr_assert(attribute_to_message(&complaints, 550, 600));
}

Test(attribution, an_outage_never_counts)
{
    struct mail_complaints complaints = {0};
    for (int64_t now_ms = 100; now_ms < 10000; now_ms += 100)
        cr_assert_not(attribute_to_message(&complaints, 50, now_ms));
    cr_assert_not(attribute_to_message(&complaints, 10050, 10100), "the second");
    cr_assert_not(attribute_to_message(&complaints, 10050, 10200), "nobody was taken since");
    cr_assert(attribute_to_message(&complaints, 10250, 10300));
}

Test(attribution, what_the_relay_wants_less_of_meets_whoever_comes)
{
    static const bool attributed[] = {
        [REACTION_NONE] = false,
        [REACTION_FEWER] = false,
        [REACTION_NO_NEW] = false,
        [REACTION_RECONNECT] = true,
        [REACTION_SLOW_DOWN] = true,
        [REACTION_RATE] = false,
        [REACTION_QUOTA] = true,
        [REACTION_LOGIN] = true,
        [REACTION_SETUP] = true,
        [REACTION_FAIL] = false,
        [REACTION_TOO_MANY_RECIPIENTS] = false,
    };
    for (size_t i = 0; i < sizeof(attributed) / sizeof(attributed[0]); i++) {
        const struct reaction reaction = {.kind = (enum reaction_kind)i};
        cr_assert_eq(attribution_applies(&reaction), attributed[i], "kind %zu", i);
        cr_assert(!attributed[i] || reaction_is_of_relay(&reaction), "kind %zu", i);
    }
}
