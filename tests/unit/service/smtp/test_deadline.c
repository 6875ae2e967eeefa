#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/dialogue.h"

/* How long a dialogue waits for what: on a clock that the tests move. */

enum { STALL_MS = 120 * 1000, FINAL_MS = 600 * 1000, CONTENT_LEN = 4 * 1024 * 1024 };

static const struct smtp_options options = {
    .hostname = "me.example",
    .timeouts = {.greeting = 30000, .command = 60000, .data = STALL_MS, .final = FINAL_MS}};

struct fixture {
    struct smtp_dialogue *d;
    char *content;
    int64_t now_ms;
};

static void hear(struct fixture *f, const char *text)
{
    struct error err = {0};
    cr_assert_eq(smtp_dialogue_feed(f->d, text, strlen(text), f->now_ms, &err), 0, "%s",
                 err.detail);
}

/* Up to `len` octets go out; returns how many did. */
static size_t say(struct fixture *f, size_t len)
{
    char out[4096];
    size_t n = smtp_dialogue_pull(f->d, out, len < sizeof(out) ? len : sizeof(out));
    smtp_dialogue_written(f->d, n, f->now_ms);
    return n;
}

/* A dialogue that is about to send a content. */
static void begin(struct fixture *f)
{
    static const char *const recipients[] = {"b@example.net"};
    struct error err = {0};
    f->now_ms = 1000;
    f->content = malloc(CONTENT_LEN);
    memset(f->content, 'x', CONTENT_LEN);
    memcpy(f->content + CONTENT_LEN - 2, "\r\n", 2);
    f->d = smtp_dialogue_new(&options, f->now_ms);
    hear(f, "220 hi\r\n");
    say(f, 4096);
    hear(f, "250-hi\r\n250 PIPELINING\r\n");
    const struct smtp_envelope envelope = {.sender = "a@example.com",
                                           .recipients = recipients,
                                           .n_recipients = 1,
                                           .content = f->content,
                                           .content_len = CONTENT_LEN};
    cr_assert_eq(smtp_dialogue_begin(f->d, &envelope, f->now_ms, &err), 0);
    say(f, 4096);
    hear(f, "250 ok\r\n250 ok\r\n354 go\r\n");
}

static void end(struct fixture *f)
{
    smtp_dialogue_lost(f->d);
    smtp_dialogue_free(f->d);
    free(f->content);
}

static int64_t deadline_of(const struct fixture *f, enum smtp_step expected)
{
    enum smtp_step step;
    int64_t deadline_ms = smtp_dialogue_deadline(f->d, &step);
    cr_assert_eq(step, expected);
    return deadline_ms;
}

Test(deadline, progress_puts_it_off)
{
    struct fixture f = {0};
    begin(&f);
    cr_assert_eq(deadline_of(&f, SMTP_STEP_CONTENT), f.now_ms + STALL_MS);
    for (int second = 0; second < 600; second++) { /* 4 KiB each */
        f.now_ms += 1000;
        cr_assert_lt(f.now_ms, deadline_of(&f, SMTP_STEP_CONTENT));
        say(&f, 4096);
    }
    cr_assert_eq(deadline_of(&f, SMTP_STEP_CONTENT), f.now_ms + STALL_MS);
    end(&f);
}

/* An octet every ten seconds is progress; nobody can live on it. */
Test(deadline, a_trickle_does_not)
{
    struct fixture f = {0};
    begin(&f);
    int64_t begun_ms = f.now_ms;
    while (f.now_ms < deadline_of(&f, SMTP_STEP_CONTENT)) {
        say(&f, 1);
        f.now_ms += 10000;
        cr_assert_lt(f.now_ms, begun_ms + 2 * STALL_MS);
    }
    end(&f);
}

/* 1 KiB a second is enough, for as long as it takes. */
Test(deadline, the_lowest_rate_goes_on)
{
    struct fixture f = {0};
    begin(&f);
    while (say(&f, 1024) > 0) {
        f.now_ms += 1000;
        cr_assert_lt(f.now_ms, deadline_of(&f, SMTP_STEP_CONTENT));
    }
    /* all is out: now it is the reply to the final dot that is waited for */
    cr_assert_eq(deadline_of(&f, SMTP_STEP_CONTENT), f.now_ms - 1000 + FINAL_MS);
    end(&f);
}

/* Time in which this process stood still was nobody's: a server that reads on is not cut off. */
Test(deadline, frozen_time_counts_against_nobody)
{
    struct fixture f = {0};
    begin(&f);
    for (int freeze = 0; freeze < 3; freeze++) {
        for (int second = 0; second < 60; second++) { /* a little faster than it must be */
            f.now_ms += 1000;
            cr_assert_lt(f.now_ms, deadline_of(&f, SMTP_STEP_CONTENT));
            say(&f, 1200);
        }
        f.now_ms += 3600 * 1000;
        cr_assert_geq(f.now_ms, deadline_of(&f, SMTP_STEP_CONTENT));
        say(&f, 1200); /* there was room when it was looked at once more */
        cr_assert_eq(deadline_of(&f, SMTP_STEP_CONTENT), f.now_ms + STALL_MS);
    }
    int64_t thawed_ms = f.now_ms;
    while (f.now_ms < deadline_of(&f, SMTP_STEP_CONTENT)) { /* but a trickle is one as before */
        say(&f, 1);
        f.now_ms += 10000;
        cr_assert_lt(f.now_ms, thawed_ms + 4 * STALL_MS);
    }
    end(&f);
}

/* Replies in pieces are no progress: each has one deadline. */
Test(deadline, a_reply_that_drips_puts_nothing_off)
{
    struct fixture f = {.now_ms = 1000};
    f.d = smtp_dialogue_new(&options, f.now_ms);
    int64_t deadline_ms = deadline_of(&f, SMTP_STEP_GREETING);
    for (const char *c = "220 slow"; *c != '\0'; c++) {
        f.now_ms += 1000;
        hear(&f, (const char[]){*c, '\0'});
        cr_assert_eq(deadline_of(&f, SMTP_STEP_GREETING), deadline_ms);
    }
    end(&f);
}
