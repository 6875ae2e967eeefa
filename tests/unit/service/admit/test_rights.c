#include <criterion/criterion.h>

#include "admit/rights.h"

Test(rights, allow_lists_hold_for_every_sender_and_recipient_and_the_relay)
{
    static const char *from_items[] = {"*@example.com", "one@other.org"};
    static const char *to_items[] = {"*@example.net"};
    static const struct config_api_key key = {
        .from = {from_items, 2}, .to = {to_items, 1}, .relay = "primary"};
    static const struct {
        const char *from, *sender, *envelope_from, *to[2];
        const char *pointer; /* NULL: allowed */
        const char *relay;   /* NULL: it names none */
    } cases[] = {
        {"a@example.com", NULL, "a@example.com", {"x@example.net", "y@example.net"}, NULL},
        {"one@other.org", NULL, "", {"x@example.net", NULL}, NULL},
        {"two@other.org", NULL, "a@example.com", {"x@example.net", NULL}, "/from"},
        {"a@sub.example.com", NULL, "a@example.com", {"x@example.net", NULL}, "/from"},
        {"a@notexample.com", NULL, "a@example.com", {"x@example.net", NULL}, "/from"},
        {"a@example.com", "x@evil.org", "a@example.com", {"x@example.net", NULL}, "/sender"},
        {"a@example.com", NULL, "x@evil.org", {"x@example.net", NULL}, "/envelope/from"},
        {"a@example.com", NULL, "a@example.com", {"x@example.net", "x@evil.org"}, "/to"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, NULL, "primary"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, "/relay", "backup"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, "/relay", "Primary"},
        {"a@example.com", NULL, "", {"x@example.net", NULL}, "/relay", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(error_list_clear) struct error_list errors = {0};
        const struct address sender = {.email = cases[i].sender};
        const struct message message = {.from = {.email = cases[i].from},
                                        .options.relay = cases[i].relay,
                                        .sender = cases[i].sender != NULL ? &sender : NULL};
        const char *to[] = {cases[i].to[0], cases[i].to[1]};
        const struct envelope envelope = {
            .from = cases[i].envelope_from, .to = to, .n_to = to[1] != NULL ? 2 : 1};
        int rc = rights_check(&key, &message, &envelope, &errors);
        cr_expect_eq(rc, cases[i].pointer == NULL ? 0 : -1, "case %zu", i);
        cr_expect_eq(errors.n_items, cases[i].pointer == NULL ? 0 : 1, "case %zu", i);
        if (errors.n_items > 0) {
            cr_expect_str_eq(errors.items[0].where, cases[i].pointer);
            cr_expect_eq(errors.items[0].code, ERR_FORBIDDEN);
        }
        error_list_clear(&errors);
        cr_expect_eq(rights_check(NULL, &message, &envelope, &errors), 0);
        cr_expect_eq(errors.n_total, 0);
    }
}
