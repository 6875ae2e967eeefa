#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "relay/route.h"

#define LIST(...)                                                                                  \
    {                                                                                              \
        (const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)      \
    }

static struct config_relay relays[] = {{.name = "first"}, {.name = "second"}, {.name = "third"}};

static struct config_api_key keys[] = {
    {.name = "open"}, {.name = "bound", .relay = "third"}, {.name = "lost", .relay = "gone"}};

static struct config_route routes_given[] = {
    {{.from = LIST("*@news.example", "ceo@example.com")}, LIST("second")},
    {{.to = LIST("*@partner.example")}, LIST("third", "first")},
    {{.tag = LIST("receipt", "a\",\"b", "naïve\n")}, LIST("second", "third")},
    {{.api_key = LIST("open"), .priority = LIST("high", "low")}, LIST("third")},
    {{.from = LIST("*@both.example"), .to = LIST("*@both.example")}, LIST("second", "first")},
    {{.priority = LIST("low")}, LIST("first")},
    {{.tag = LIST("nowhere")}, LIST("gone")},
    {{.from = LIST("*@twice.example")}, LIST("gone", "second")},
    {{.from = LIST("*@twice.example")}, LIST("third")}, /* never reached */
};

static const struct config settings = {.relays = relays,
                                       .n_relays = 3,
                                       .api_keys = keys,
                                       .n_api_keys = 3,
                                       .routes = routes_given,
                                       .n_routes = sizeof(routes_given) / sizeof(routes_given[0])};

static const struct row {
    const char *name;
    const char *from, *to, *tags, *api_key, *relay;
    enum mail_priority priority;
    const char *choice;
} rows[] = {
    {"nothing matches", "a@x.example", "b@y.example", "[]", "", "", PRIORITY_NORMAL, "0 1 2 "},
    {"from, a domain", "a@NEWS.example", "b@y.example", "[]", "", "", PRIORITY_NORMAL, "1 "},
    {"from, an address", "ceo@example.com", "b@y.example", "[]", "", "", PRIORITY_NORMAL, "1 "},
    {"from, its neighbour", "cto@example.com", "b@y.example", "[]", "", "", PRIORITY_NORMAL,
     "0 1 2 "},
    {"not a subdomain", "a@sub.news.example", "b@y.example", "[]", "", "", PRIORITY_NORMAL,
     "0 1 2 "},
    {"to", "a@x.example", "b@partner.example", "[]", "", "", PRIORITY_NORMAL, "2 0 "},
    {"first match wins", "a@news.example", "b@partner.example", "[\"receipt\"]", "open", "",
     PRIORITY_LOW, "1 "},
    {"tag", "a@x.example", "b@y.example", "[\"x\",\"receipt\"]", "", "", PRIORITY_NORMAL, "1 2 "},
    {"a part of a tag", "a@x.example", "b@y.example", "[\"receipts\",\"receip\"]", "", "",
     PRIORITY_NORMAL, "0 1 2 "},
    {"a tag of quotes and comma", "a@x.example", "b@y.example", "[\"a\\\",\\\"b\"]", "", "",
     PRIORITY_NORMAL, "1 2 "},
    {"two tags are not that one", "a@x.example", "b@y.example", "[\"a\",\"b\"]", "", "",
     PRIORITY_NORMAL, "0 1 2 "},
    {"a tag beyond ASCII", "a@x.example", "b@y.example", "[\"naïve\\n\"]", "", "", PRIORITY_NORMAL,
     "1 2 "},
    {"key and priority", "a@x.example", "b@y.example", "[]", "open", "", PRIORITY_HIGH, "2 "},
    {"key, another priority", "a@x.example", "b@y.example", "[]", "open", "", PRIORITY_NORMAL,
     "0 1 2 "},
    {"priority, another key", "a@x.example", "b@y.example", "[]", "other", "", PRIORITY_LOW, "0 "},
    {"both of two lists", "a@both.example", "b@both.example", "[]", "", "", PRIORITY_NORMAL,
     "1 0 "},
    {"one of two lists", "a@both.example", "b@y.example", "[]", "", "", PRIORITY_NORMAL, "0 1 2 "},
    {"a route's relay is gone", "a@x.example", "b@y.example", "[\"nowhere\"]", "", "",
     PRIORITY_NORMAL, ""},
    {"one of a route's relays is gone", "a@twice.example", "b@y.example", "[]", "", "",
     PRIORITY_NORMAL, "1 "},
    {"the message names a relay", "a@news.example", "b@y.example", "[]", "", "third",
     PRIORITY_NORMAL, "2 "},
    {"the message's relay is gone", "a@news.example", "b@y.example", "[]", "", "gone",
     PRIORITY_NORMAL, ""},
    {"the key names a relay", "a@news.example", "b@y.example", "[]", "bound", "", PRIORITY_NORMAL,
     "2 "},
    {"the key's relay before the message's", "a@x.example", "b@y.example", "[]", "bound", "first",
     PRIORITY_NORMAL, "2 "},
    {"the key's relay is gone", "a@x.example", "b@y.example", "[]", "lost", "first",
     PRIORITY_NORMAL, ""},
    {"a key that is gone", "a@news.example", "b@y.example", "[]", "removed", "", PRIORITY_NORMAL,
     "1 "},
};

static struct mail *deliver_to(const struct row *row, const char *const *to, size_t n)
{
    struct mail *mail = mail_new();
    cr_assert_not_null(mail);
    mail->from = row->from;
    mail->api_key = row->api_key;
    mail->tags = row->tags;
    mail->options.relay = row->relay[0] != '\0' ? row->relay : NULL;
    mail->options.priority = row->priority;
    cr_assert_eq(mail_reserve_recipients(mail, n), 0);
    for (size_t i = 0; i < n; i++)
        mail->recipients[i].address = to[i];
    return mail;
}

static struct mail *deliver(const struct row *row)
{
    return deliver_to(row, &row->to, 1);
}

static void say(const struct route_choice *choice, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < choice->n_relays; i++)
        len += (size_t)snprintf(out + len, size - len, "%u ", choice->relays[i]);
}

static struct routes *routes_of(const struct config *config)
{
    struct routes *routes;
    struct error err;
    cr_assert_eq(routes_new(config, &routes, &err), 0);
    return routes;
}

Test(route, every_matcher)
{
    CLEANUP(routes_free) struct routes *routes = routes_of(&settings);
    cr_assert(routes_by_recipient(routes));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(mail_free) struct mail *delivery = deliver(&rows[i]);
        struct route_choice choice;
        char said[64];
        routes_choose(routes, delivery, 0, &choice);
        say(&choice, said, sizeof(said));
        cr_expect_str_eq(said, rows[i].choice, "%s: %s", rows[i].name, said);
    }
}

Test(route, recipients_of_one_message_go_their_own_ways)
{
    CLEANUP(routes_free) struct routes *routes = routes_of(&settings);
    static const char *const to[] = {"b@y.example", "c@partner.example"};
    const struct row row = {.from = "a@x.example",
                            .api_key = "",
                            .tags = "[]",
                            .relay = "",
                            .priority = PRIORITY_NORMAL};
    CLEANUP(mail_free) struct mail *delivery = deliver_to(&row, to, 2);
    struct route_choice choice;
    routes_choose(routes, delivery, 0, &choice);
    cr_assert_eq(choice.n_relays, 3);
    routes_choose(routes, delivery, 1, &choice);
    cr_assert_eq(choice.n_relays, 2);
    cr_assert_eq(choice.relays[0], 2);
}

Test(route, without_routes_all_relays_in_their_order)
{
    const struct config config = {.relays = relays, .n_relays = 3};
    CLEANUP(routes_free) struct routes *routes = routes_of(&config);
    cr_assert_not(routes_by_recipient(routes));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP(mail_free) struct mail *delivery = deliver(&rows[i]);
        struct route_choice choice;
        char said[64];
        routes_choose(routes, delivery, 0, &choice);
        say(&choice, said, sizeof(said));
        const char *wanted = strcmp(rows[i].relay, "third") == 0   ? "2 "
                             : strcmp(rows[i].relay, "first") == 0 ? "0 "
                             : strcmp(rows[i].relay, "gone") == 0  ? ""
                                                                   : "0 1 2 ";
        cr_expect_str_eq(said, wanted, "%s: %s", rows[i].name, said);
    }
}

/* The sandbox alone: there is nothing to choose from. */
Test(route, without_relays_nothing)
{
    const struct config config = {0};
    CLEANUP(routes_free) struct routes *routes = routes_of(&config);
    CLEANUP(mail_free) struct mail *delivery = deliver(&rows[0]);
    struct route_choice choice;
    routes_choose(routes, delivery, 0, &choice);
    cr_assert_eq(choice.n_relays, 0);
}
