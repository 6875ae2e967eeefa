#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/mailbox.h"

static void put(struct mailbox *mailbox, const char *from, size_t len)
{
    static const char *const to[] = {"b@y", "c@y"};
    struct bytes *content = bytes_new(len);
    memset(content->data, 'x', len);
    cr_assert_eq(mailbox_put(mailbox, from, to, 2, content), 0);
    bytes_unref(content);
}

/* The senders, newest first. */
static void assert_holds(struct mailbox *mailbox, const char *senders)
{
    char seen[100] = "";
    size_t n;
    struct mail **all = mailbox_all(mailbox, &n);
    for (size_t i = 0; i < n; i++) {
        strcat(seen, all[i]->from);
        mail_unref(all[i]);
    }
    free(all);
    cr_assert_str_eq(seen, senders);
}

Test(mailbox, the_newest_stay)
{
    struct mailbox *mailbox = mailbox_new(3, 100);
    assert_holds(mailbox, "");
    static const struct {
        const char *from;
        size_t len;
        const char *holds;
    } rows[] = {
        {"1", 10, "1"},  {"2", 10, "21"},  {"3", 10, "321"}, {"4", 10, "432"}, /* too many */
        {"5", 90, "54"},                                                       /* too large */
        {"6", 101, "6"}, /* larger than all it may hold: the newest stays */
        {"7", 0, "7"},   {"8", 100, "87"}, {"9", 1, "9"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put(mailbox, rows[i].from, rows[i].len);
        assert_holds(mailbox, rows[i].holds);
    }
    cr_assert_eq(mailbox_clear(mailbox), 1);
    assert_holds(mailbox, "");
    mailbox_free(mailbox);
}

Test(mailbox, a_reference_outlives_its_place)
{
    struct mailbox *mailbox = mailbox_new(1, 100);
    size_t n;
    put(mailbox, "1", 5);
    struct mail **all = mailbox_all(mailbox, &n);
    struct mail *found = mailbox_find(mailbox, all[0]->id);
    cr_assert_eq(found, all[0]);
    cr_assert_null(mailbox_find(mailbox, "none"));
    put(mailbox, "2", 5);
    cr_assert_null(mailbox_find(mailbox, found->id));
    mailbox_free(mailbox);
    cr_assert_str_eq(found->from, "1");
    cr_assert_str_eq(found->addresses + 2, "b@y");
    cr_assert_str_eq(found->addresses + 6, "c@y");
    cr_assert_eq(memcmp(found->content->data, "xxxxx", 5), 0);
    mail_unref(found);
    mail_unref(all[0]);
    free(all);
}
