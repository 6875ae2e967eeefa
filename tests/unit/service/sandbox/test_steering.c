#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/steering.h"

Test(steering, recipients)
{
    static const struct {
        const char *address;
        const char *refusal; /* its beginning; NULL: accepted */
    } rows[] = {
        {"ok@sandbox.test", NULL},
        {"bounce@sandbox.test", "550 5.1.1 "},
        {"BOUNCE@Sandbox.Test", "550 5.1.1 "},
        {"throttle@sandbox.test", "432 4.3.2 "},
        {"defer@sandbox.test", NULL},
        {"slow@sandbox.test", NULL},
        {"drop@sandbox.test", NULL},
        {"bounce@example.com", NULL},
        {"bounce@sandbox.test.example.com", NULL},
        {"xbounce@sandbox.test", NULL},
        {"bounce", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *refusal = steering_on_recipient(rows[i].address);
        cr_assert_eq(refusal != NULL, rows[i].refusal != NULL, "%s", rows[i].address);
        if (refusal != NULL)
            cr_assert_eq(strncmp(refusal, rows[i].refusal, strlen(rows[i].refusal)), 0);
    }
}

/* Hands a mail of that Message-ID ("": none) to that recipient and another. */
static struct steering_verdict hand(struct steering *steering, const char *to, const char *id)
{
    char text[200];
    int len = snprintf(text, sizeof(text), "Subject: x\r\n%s%s%s\r\nMessage-ID: <no header>\r\n",
                       id[0] != '\0' ? "message-id: " : "", id, id[0] != '\0' ? "\r\n" : "");
    const char *const recipients[] = {"somebody@example.com", to};
    struct bytes *content = bytes_copy(text, (size_t)len);
    const struct receiver_mail mail = {"a@x", recipients, 2, content};
    struct steering_verdict verdict = steering_on_mail(steering, &mail);
    bytes_unref(content);
    return verdict;
}

static bool says(struct steering_verdict verdict, const char *code)
{
    return strncmp(verdict.receiver.reply, code, strlen(code)) == 0;
}

Test(steering, mails)
{
    struct steering *steering = steering_new();
    struct steering_verdict ok = hand(steering, "ok@sandbox.test", "<1>");
    cr_assert(says(ok, "250 ") && ok.keep && !ok.receiver.drop && ok.receiver.delay_ms == 0);

    struct steering_verdict slow = hand(steering, "slow@sandbox.test", "<1>");
    cr_assert(says(slow, "250 ") && slow.keep);
    cr_assert_eq(slow.receiver.delay_ms, STEERING_SLOW_MS);
    steering_free(steering);
}

Test(steering, each_message_is_deferred_twice)
{
    static const char *const ids[] = {"<1>", "<2>", ""};
    struct steering *steering = steering_new();
    for (unsigned visit = 1; visit <= 4; visit++)
        for (size_t i = 0; i < 3; i++) {
            struct steering_verdict verdict = hand(steering, "defer@sandbox.test", ids[i]);
            bool deferred = visit <= STEERING_DEFERS;
            cr_assert(says(verdict, deferred ? "451 4.3.0 " : "250 "), "%s, %u", ids[i], visit);
            cr_assert_eq(verdict.keep, !deferred);
            cr_assert(!verdict.receiver.drop);
        }
    steering_free(steering);
}

Test(steering, each_message_is_dropped_once_and_kept)
{
    struct steering *steering = steering_new();
    for (unsigned visit = 1; visit <= 3; visit++) {
        struct steering_verdict verdict = hand(steering, "drop@sandbox.test", "<1>");
        cr_assert(verdict.keep);
        cr_assert_eq(verdict.receiver.drop, visit == 1);
    }
    /* and counted apart from defer@ */
    cr_assert(says(hand(steering, "defer@sandbox.test", "<1>"), "451 "));
    steering_free(steering);
}

Test(steering, what_is_remembered_is_bounded)
{
    struct steering *steering = steering_new();
    char id[32];
    cr_assert(hand(steering, "drop@sandbox.test", "<first>").receiver.drop);
    for (unsigned i = 0; i < 16 * STEERING_REMEMBERED; i++) {
        snprintf(id, sizeof(id), "<%u>", i);
        hand(steering, "drop@sandbox.test", id);
    }
    cr_assert(hand(steering, "drop@sandbox.test", "<first>").receiver.drop, "begins anew");
    cr_assert(!hand(steering, "drop@sandbox.test", id).receiver.drop, "the newest is known");
    steering_free(steering);
}
