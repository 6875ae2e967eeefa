/*
 * How long the dialogue waits for what (RFC 5321, 4.5.3.2), on a clock that the test moves.
 */

#include <criterion/criterion.h>
#include <string.h>

#include "smtp/dialogue.h"

enum { GREETING = 30000, COMMAND = 60000, DATA = 120000, FINAL = 600000 };

static const struct smtp_options OPTIONS = {
    .hostname = "client.example",
    .timeouts = {.greeting = GREETING, .command = COMMAND, .data = DATA, .final = FINAL}};

static void hear(struct smtp_dialogue *d, const char *reply, int64_t now_ms)
{
    struct error err;
    cr_assert_eq(smtp_dialogue_feed(d, reply, strlen(reply), now_ms, &err), 0, "%s", err.detail);
}

/* At most `most` octets go out; returns how many did. */
static size_t speak(struct smtp_dialogue *d, size_t most, int64_t now_ms)
{
    char out[4096];
    size_t n = smtp_dialogue_pull(d, out, most < sizeof(out) ? most : sizeof(out));
    smtp_dialogue_written(d, n, now_ms);
    return n;
}

static void expect_due(const struct smtp_dialogue *d, int64_t due_ms, enum smtp_step step)
{
    enum smtp_step waits_for;
    cr_expect_eq(smtp_dialogue_deadline(d, &waits_for), due_ms);
    cr_expect_eq(waits_for, step, "%s", smtp_step_word(waits_for));
}

static void log_in(struct smtp_dialogue *d, const char *offer)
{
    hear(d, "220 hi\r\n", 0);
    speak(d, SIZE_MAX, 0);
    hear(d, offer, 0);
}

static void begin(struct smtp_dialogue *d, int64_t now_ms)
{
    static const char *const recipients[] = {"bob@example.net"};
    static const char content[] = "Subject: hello\r\n\r\nhello\r\n";
    const struct smtp_envelope envelope = {.sender = "alice@example.com",
                                           .recipients = recipients,
                                           .n_recipients = 1,
                                           .content = content,
                                           .content_len = sizeof(content) - 1};
    struct error err;
    cr_assert_eq(smtp_dialogue_begin(d, &envelope, now_ms, &err), 0);
}

Test(timeouts, greeting_and_commands)
{
    CLEANUP(smtp_dialogue_free) struct smtp_dialogue *d = smtp_dialogue_new(&OPTIONS, 1000);
    expect_due(d, 1000 + GREETING, SMTP_STEP_GREETING);
    hear(d, "22", 5000); /* not a whole reply: it does not win time */
    expect_due(d, 1000 + GREETING, SMTP_STEP_GREETING);
    hear(d, "0 hi\r\n", 6000);
    speak(d, SIZE_MAX, 7000);
    expect_due(d, 7000 + COMMAND, SMTP_STEP_EHLO);
    hear(d, "250 hi\r\n", 8000);
    expect_due(d, INT64_MAX, SMTP_STEP_EHLO); /* nothing is owed */
}

/* Of replies that are owed together the clock of the second starts when the first is in. */
Test(timeouts, a_pipelined_group)
{
    CLEANUP(smtp_dialogue_free) struct smtp_dialogue *d = smtp_dialogue_new(&OPTIONS, 0);
    log_in(d, "250-hi\r\n250 PIPELINING\r\n");
    begin(d, 10000);
    speak(d, SIZE_MAX, 10000);
    expect_due(d, 10000 + COMMAND, SMTP_STEP_MAIL);
    hear(d, "250 ok\r\n", 50000);
    expect_due(d, 50000 + COMMAND, SMTP_STEP_RCPT);
    hear(d, "250 ok\r\n", 90000);
    expect_due(d, 90000 + DATA, SMTP_STEP_DATA);
}

/* Fault 75: from the final dot on it waits for ten minutes, as long as a server may take. */
Test(timeouts, the_reply_to_the_final_dot)
{
    CLEANUP(smtp_dialogue_free) struct smtp_dialogue *d = smtp_dialogue_new(&OPTIONS, 0);
    struct smtp_result result;
    log_in(d, "250-hi\r\n250 PIPELINING\r\n");
    begin(d, 0);
    speak(d, SIZE_MAX, 0);
    hear(d, "250 ok\r\n250 ok\r\n354 go\r\n", 0);
    speak(d, 10, 0);
    expect_due(d, DATA, SMTP_STEP_CONTENT); /* it is still going out */
    while (speak(d, SIZE_MAX, 2000) > 0)
        ;
    expect_due(d, 2000 + FINAL, SMTP_STEP_CONTENT);
    hear(d, "250 kept\r\n", 2000 + FINAL - 1);
    cr_assert(smtp_dialogue_next_result(d, &result));
    cr_expect_eq(result.recipients[0].reply.code, 250);
}

/* With chunks the content is out long before it is the first reply owed. */
Test(timeouts, the_reply_to_a_chunk)
{
    CLEANUP(smtp_dialogue_free) struct smtp_dialogue *d = smtp_dialogue_new(&OPTIONS, 0);
    log_in(d, "250-hi\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    begin(d, 1000);
    while (speak(d, SIZE_MAX, 1000) > 0)
        ;
    expect_due(d, 1000 + COMMAND, SMTP_STEP_MAIL);
    hear(d, "250 ok\r\n250 ok\r\n", 3000);
    expect_due(d, 3000 + FINAL, SMTP_STEP_CONTENT);
}

Test(timeouts, quit)
{
    CLEANUP(smtp_dialogue_free) struct smtp_dialogue *d = smtp_dialogue_new(&OPTIONS, 0);
    log_in(d, "250 hi\r\n");
    smtp_dialogue_quit(d, 4000);
    speak(d, SIZE_MAX, 4000);
    expect_due(d, 4000 + COMMAND, SMTP_STEP_QUIT);
}
