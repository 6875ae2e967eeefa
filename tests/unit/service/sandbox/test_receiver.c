#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/receiver.h"

/* What a conversation came to: what the server said, and the mails, each as "from>to,to:content|".
 */
struct seen {
    struct buffer mails;
    struct receiver_verdict verdict;
};

static const char *on_recipient(void *arg, const char *address)
{
    return strncmp(address, "no@", 3) == 0 ? "550 5.1.1 No" : NULL;
}

static struct receiver_verdict on_mail(void *arg, const struct receiver_mail *mail)
{
    struct seen *seen = arg;
    buffer_printf(&seen->mails, "%s>", mail->from);
    for (size_t i = 0; i < mail->n_to; i++)
        buffer_printf(&seen->mails, "%s%s", i > 0 ? "," : "", mail->to[i]);
    buffer_append_char(&seen->mails, ':');
    buffer_append(&seen->mails, mail->content->data, mail->content->len);
    buffer_append_char(&seen->mails, '|');
    return seen->verdict;
}

static char *copy_str(const struct buffer *b)
{
    return strndup(b->data != NULL ? b->data : "", b->len);
}

/* Feeds in pieces of `piece` octets, taking pauses as they come; what was said, to be freed. */
static char *converse(struct receiver *receiver, const char *in, size_t len, size_t piece)
{
    struct buffer said;
    buffer_init(&said, 1 << 20);
    for (size_t used = 0; used < len && !receiver_over(receiver);) {
        size_t n = len - used < piece ? len - used : piece;
        used += receiver_feed(receiver, in + used, n);
        receiver_resume(receiver);
        buffer_append(&said, receiver_out(receiver)->data, receiver_out(receiver)->len);
        buffer_reset(receiver_out(receiver));
    }
    char *text = copy_str(&said);
    buffer_clear(&said);
    return text;
}

#define EHLO "EHLO me\r\n"
#define START EHLO "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n"
#define ENVELOPE "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
#define TO EHLO "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n"
#define TO_OK "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"
#define NO_CRLF "554 5.6.0 The content's last line has no CRLF\r\n"
#define OK "250 2.0.0 Kept\r\n"
#define SEQUENCE "503 5.5.1 Bad sequence of commands\r\n"
#define SYNTAX "501 5.5.4 Syntax: an address in angle brackets, then parameters\r\n"
#define PARAMETER "555 5.5.4 A parameter of no extension offered\r\n"
#define NEEDS_UTF8 "553 5.6.7 A non-ASCII address needs SMTPUTF8\r\n"
#define NOT_TEXT "500 5.5.2 A command is UTF-8 without control characters\r\n"
#define BARE "554 5.6.0 Bare CR or LF in the content\r\n"
#define TOO_LONG "554 5.6.0 A line of the content is over 998 octets\r\n"

struct row {
    const char *name, *in;
    const char *said; /* behind the greeting and the reply to EHLO */
    const char *mails;
};

static const struct row rows[] = {
    {"who has no name says its address", "EHLO [127.0.0.1]\r\nNOOP\r\n", "250 2.0.0 Ok\r\n", ""},
    {"... of IPv6", "EHLO [IPv6:2001:db8::1]\r\nNOOP\r\n", "250 2.0.0 Ok\r\n", ""},
    {"one mail", START "hi\r\n.\r\nQUIT\r\n", ENVELOPE OK "221 2.0.0 Bye\r\n", "a@x>b@y:hi\r\n|"},
    {"two mails, pipelined", START "1\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@y>\r\nDATA\r\n2\r\n.\r\n",
     ENVELOPE OK ENVELOPE OK, "a@x>b@y:1\r\n|>c@y:2\r\n|"},
    {"several recipients, one refused",
     EHLO "mail from:<a@x>\r\nrcpt to:<b@y>\r\nRCPT TO:<no@y>\r\nRCPT TO: <c@y>\r\nDATA\r\n.\r\n",
     "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n550 5.1.1 No\r\n250 2.1.5 Ok\r\n"
     "354 End data with <CR><LF>.<CR><LF>\r\n" OK,
     "a@x>b@y,c@y:|"},
    {"no recipient left", EHLO "MAIL FROM:<a@x>\r\nRCPT TO:<no@y>\r\nDATA\r\n",
     "250 2.1.0 Ok\r\n550 5.1.1 No\r\n554 5.5.1 No valid recipients\r\n", ""},
    {"reset", EHLO "MAIL FROM:<a@x>\r\nRSET\r\nRCPT TO:<b@y>\r\nMAIL FROM:<c@x>\r\n",
     "250 2.1.0 Ok\r\n250 2.0.0 Ok\r\n503 5.5.1 MAIL first\r\n250 2.1.0 Ok\r\n", ""},
    {"sequence", EHLO "RCPT TO:<b@y>\r\nDATA\r\nMAIL FROM:<a@x>\r\nMAIL FROM:<a@x>\r\n",
     "503 5.5.1 MAIL first\r\n503 5.5.1 MAIL first\r\n250 2.1.0 Ok\r\n" SEQUENCE, ""},
    {"commands", EHLO "NOOP x\r\nVRFY a\r\nDATA x\r\nRSET x\r\nEHLOx\r\nSTARTTLS\r\n\r\n",
     "250 2.0.0 Ok\r\n252 2.5.0 Send some mail, and see\r\n501 5.5.4 Wrong arguments\r\n"
     "501 5.5.4 Wrong arguments\r\n500 5.5.1 Command not recognized\r\n"
     "500 5.5.1 Command not recognized\r\n500 5.5.1 Command not recognized\r\n",
     ""},

    /* paths and parameters */
    {"no brackets", EHLO "MAIL FROM:a@x\r\nMAIL FROM:\r\nMAIL FROM:<a@x\r\n",
     SYNTAX "501 5.5.4 Wrong arguments\r\n" SYNTAX, ""},
    {"junk in and behind a path",
     EHLO "MAIL FROM:<a b@x>\r\nMAIL FROM:<a@x>y\r\nMAIL FROM:<<a@x>\r\n", SYNTAX SYNTAX SYNTAX,
     ""},
    {"a quoted local part", EHLO "MAIL FROM:<\"a> \\\"<b\"@x>\r\n", "250 2.1.0 Ok\r\n", ""},
    {"parameters", EHLO "MAIL FROM:<a@x> SIZE=5 BODY=8BITMIME smtputf8\r\n", "250 2.1.0 Ok\r\n",
     ""},
    {"unknown parameters", EHLO "MAIL FROM:<a@x> RET=HDR\r\nMAIL FROM:<a@x> BODY=8BITMIM\r\n",
     PARAMETER PARAMETER, ""},
    {"delivery status notifications",
     EHLO "MAIL FROM:<a@x> RET=HDRS ENVID=x\r\nRCPT TO:<b@y> NOTIFY=NEVER ORCPT=rfc822;b@y\r\n",
     "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n", ""},
    {"a recipient's parameter", EHLO "MAIL FROM:<a@x>\r\nRCPT TO:<b@y> NOTIFY=\r\n",
     "250 2.1.0 Ok\r\n" PARAMETER, ""},
    {"too large",
     EHLO "MAIL FROM:<a@x> SIZE=67108865\r\nMAIL FROM:<a@x> SIZE=99999999999999999999999\r\n",
     "552 5.3.4 Message too large\r\n552 5.3.4 Message too large\r\n", ""},
    {"no size", EHLO "MAIL FROM:<a@x> SIZE=-1\r\nMAIL FROM:<a@x> SIZE=1x\r\n",
     "501 5.5.4 SIZE is a number\r\n501 5.5.4 SIZE is a number\r\n", ""},
    {"a refused MAIL leaves nothing", EHLO "MAIL FROM:<a@x> X=1\r\nMAIL FROM:<\xc3\xa4@x>\r\n",
     PARAMETER NEEDS_UTF8, ""},
    {"SMTPUTF8", EHLO "MAIL FROM:<\xc3\xa4@x> SMTPUTF8\r\nRCPT TO:<\xc3\xb6@y>\r\nDATA\r\n.\r\n",
     ENVELOPE OK, "\xc3\xa4@x>\xc3\xb6@y:|"},
    {"a recipient that needs SMTPUTF8", EHLO "MAIL FROM:<a@x>\r\nRCPT TO:<\xc3\xb6@y>\r\n",
     "250 2.1.0 Ok\r\n" NEEDS_UTF8, ""},
    {"the null recipient", EHLO "MAIL FROM:<a@x>\r\nRCPT TO:<>\r\n",
     "250 2.1.0 Ok\r\n501 5.1.3 The null address is no recipient\r\n", ""},

    /* command lines */
    {"bare LF", EHLO "NOOP\nNOOP\r\n", "500 5.5.2 A line ends with CRLF\r\n250 2.0.0 Ok\r\n", ""},
    {"bare CR, not UTF-8", EHLO "NO\rOP\r\nNOOP \xff\r\n", NOT_TEXT NOT_TEXT, ""},

    /* content */
    {"dots", START ".\r\n", ENVELOPE OK, "a@x>b@y:|"},
    {"dots stuffed", START "..\r\n...\r\n.x\r\n.. \r\n.\r\n", ENVELOPE OK,
     "a@x>b@y:.\r\n..\r\nx\r\n. \r\n|"},
    {"empty lines", START "\r\n\r\n.\r\n", ENVELOPE OK, "a@x>b@y:\r\n\r\n|"},
    {"a bare LF", START "a\nb\r\n.\r\n", ENVELOPE BARE, ""},
    {"a bare LF at a line's start", START "\nb\r\n.\r\n", ENVELOPE BARE, ""},
    {"a bare CR", START "a\rb\r\n.\r\n", ENVELOPE BARE, ""},
    {"two CRs", START "a\r\r\n.\r\n", ENVELOPE BARE, ""},
    {"LF . CRLF is no end", START "a\n.\r\nMAIL FROM:<evil@x>\r\n.\r\nNOOP\r\n",
     ENVELOPE BARE "250 2.0.0 Ok\r\n", ""},
    {"CRLF . LF is no end", START "a\r\n.\nRSET\r\n.\r\nNOOP\r\n", ENVELOPE BARE "250 2.0.0 Ok\r\n",
     ""},
    {"CRLF . CR is no end", START "a\r\n.\rRSET\r\n.\r\nNOOP\r\n", ENVELOPE BARE "250 2.0.0 Ok\r\n",
     ""},
    {"CR . CRLF is no end", START "a\r.\r\nRSET\r\n.\r\nNOOP\r\n", ENVELOPE BARE "250 2.0.0 Ok\r\n",
     ""},
    {"CRLF . CR CRLF is no end", START "a\r\n.\r\r\n.\r\nNOOP\r\n",
     ENVELOPE BARE "250 2.0.0 Ok\r\n", ""},
    {"a refused content leaves nothing",
     START "a\n\r\n.\r\nMAIL FROM:<c@x>\r\nRCPT TO:<d@y>\r\nDATA\r\n"
           "ok\r\n.\r\n",
     ENVELOPE BARE ENVELOPE OK, "c@x>d@y:ok\r\n|"},

    /* chunks: RFC 3030 */
    {"a chunk", TO "BDAT 4 LAST\r\nhi\r\nMAIL FROM:<c@x>\r\n", TO_OK OK "250 2.1.0 Ok\r\n",
     "a@x>b@y:hi\r\n|"},
    {"chunks", TO "BDAT 3\r\nhi\rbdat 3 last\r\n\n\r\nBDAT 0 LAST\r\n",
     TO_OK "250 2.0.0 Ok\r\n" OK "503 5.5.1 MAIL first\r\n", "a@x>b@y:hi\r\n\r\n|"},
    {"an empty last chunk", TO "BDAT 4\r\nhi\r\nBDAT 0 LAST\r\nNOOP\r\n",
     TO_OK "250 2.0.0 Ok\r\n" OK "250 2.0.0 Ok\r\n", "a@x>b@y:hi\r\n|"},
    {"a dot ends no chunk", TO "BDAT 7 LAST\r\n.\r\n.a\r\n", TO_OK OK, "a@x>b@y:.\r\n.a\r\n|"},
    {"a bare LF in a chunk, and nothing but RSET behind it",
     TO "BDAT 4 LAST\r\na\nb\nMAIL FROM:<c@x>\r\nRSET\r\nMAIL FROM:<c@x>\r\n",
     TO_OK BARE SEQUENCE "250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n", ""},
    {"a last line without an end", TO "BDAT 2 LAST\r\nhi", TO_OK NO_CRLF, ""},
    {"a chunk for nobody is counted", EHLO "BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n",
     "503 5.5.1 MAIL first\r\n250 2.0.0 Ok\r\n", ""},
    {"DATA behind BDAT", TO "BDAT 4\r\nhi\r\nDATA\r\n",
     TO_OK "250 2.0.0 Ok\r\n503 5.5.1 DATA behind BDAT\r\n", ""},
    {"no size of a chunk", EHLO "BDAT LAST\r\nNOOP\r\n",
     "501 5.5.4 BDAT has a size, and perhaps LAST\r\n", ""},
};

static void check(const struct row *row, size_t piece)
{
    struct receiver_budget budget = {.max = 1 << 20};
    struct seen seen = {.verdict.reply = "250 2.0.0 Kept"};
    const struct receiver_owner owner = {on_recipient, on_mail, &seen, &budget};
    buffer_init(&seen.mails, 1 << 20);
    struct receiver *receiver = receiver_new(&owner);

    char *said = converse(receiver, row->in, strlen(row->in), piece);
    static const char greeting[] = "220 sandbox.test ESMTP postern sandbox\r\n250-sandbox.test\r\n";
    static const char last[] = "250 ENHANCEDSTATUSCODES\r\n";
    cr_assert_eq(strncmp(said, greeting, strlen(greeting)), 0, "%s: %s", row->name, said);
    const char *rest = strstr(said, last);
    cr_assert_not_null(rest, "%s", row->name);
    cr_assert_str_eq(rest + strlen(last), row->said, "%s, pieces of %zu", row->name, piece);
    char *mails = copy_str(&seen.mails);
    cr_assert_str_eq(mails, row->mails, "%s, pieces of %zu", row->name, piece);

    free(mails);
    free(said);
    receiver_free(receiver);
    cr_assert_eq(budget.used, 0, "%s", row->name);
    buffer_clear(&seen.mails);
}

Test(receiver, conversations)
{
    static const size_t pieces[] = {1, 2, 7, 1 << 20};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++)
            check(&rows[i], pieces[k]);
}

/* One receiver at its content, for what has no place in a row. */
static struct seen seen;
static struct receiver_budget budget;

static struct receiver *at_content(size_t room)
{
    static const struct receiver_owner owner = {on_recipient, on_mail, &seen, &budget};
    seen.verdict = (struct receiver_verdict){.reply = "250 2.0.0 Kept"};
    budget = (struct receiver_budget){.max = room};
    buffer_init(&seen.mails, 100 << 20);
    struct receiver *receiver = receiver_new(&owner);
    free(converse(receiver, START, strlen(START), 1 << 20));
    return receiver;
}

static void done(struct receiver *receiver)
{
    receiver_free(receiver);
    cr_assert_eq(budget.used, 0);
    buffer_clear(&seen.mails);
}

Test(receiver, line_lengths)
{
    static const struct {
        size_t len;
        bool stuffed;
        const char *reply;
    } lines[] = {{998, false, OK}, {999, false, TOO_LONG}, {998, true, OK}, {999, true, TOO_LONG}};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char in[2048];
        int n = snprintf(in, sizeof(in), "%s%0*d\r\n.\r\n", lines[i].stuffed ? ".." : "",
                         (int)lines[i].len - lines[i].stuffed, 7);
        for (size_t piece = 1; piece < 2000; piece += 333) {
            struct receiver *receiver = at_content(1 << 20);
            char *said = converse(receiver, in, (size_t)n, piece);
            cr_assert_str_eq(said, lines[i].reply, "%zu in pieces of %zu", lines[i].len, piece);
            free(said);
            done(receiver);
        }
    }
}

Test(receiver, a_command_too_long_is_passed_over)
{
    char in[RECEIVER_COMMAND_MAX + 100];
    memset(in, 'x', sizeof(in));
    memcpy(in + RECEIVER_COMMAND_MAX + 1, "\r\nNOOP\r\n", 8);
    for (size_t piece = 1; piece < 4000; piece += 1000) {
        struct receiver *receiver = at_content(1 << 20);
        free(converse(receiver, ".\r\n", 3, 3));
        char *said = converse(receiver, in, RECEIVER_COMMAND_MAX + 9, piece);
        cr_assert_str_eq(said, "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n");
        free(said);
        done(receiver);
    }
}

Test(receiver, all_share_one_budget)
{
    struct receiver *receiver = at_content(100);
    size_t before = budget.used;
    free(converse(receiver, "0123456789\r\n", 12, 12));
    cr_assert_eq(budget.used, before + 12);
    budget.max = budget.used + 5; /* another took the rest */
    char *said = converse(receiver, "0123456789\r\n.\r\nNOOP\r\n", 21, 21);
    cr_assert_str_eq(said, "452 4.3.1 No room for it now\r\n250 2.0.0 Ok\r\n");
    cr_assert_eq(budget.used, 0);
    cr_assert_eq(seen.mails.len, 0);
    free(said);
    done(receiver);
}

Test(receiver, a_large_content_is_refused_without_being_held)
{
    static char block[1 << 16];
    memset(block, 'x', sizeof(block));
    for (size_t i = 0; i < sizeof(block); i += 64)
        memcpy(block + i, "\r\n", 2);
    struct receiver *receiver = at_content(SIZE_MAX);
    for (size_t n = 0; n <= RECEIVER_MESSAGE_MAX; n += sizeof(block))
        cr_assert_eq(receiver_feed(receiver, block, sizeof(block)), sizeof(block));
    cr_assert_eq(budget.used, 0);
    char *said = converse(receiver, "\r\n.\r\n", 5, 5);
    cr_assert_str_eq(said, "552 5.3.4 Message too large\r\n");
    free(said);
    done(receiver);
}

Test(receiver, a_delayed_reply_holds_what_follows)
{
    struct receiver *receiver = at_content(1 << 20);
    seen.verdict.delay_ms = 5000;
    size_t used = receiver_feed(receiver, ".\r\nNOOP\r\n", 9);
    cr_assert_eq(used, 3);
    cr_assert_eq(receiver_delay_ms(receiver), 5000);
    cr_assert_eq(receiver_out(receiver)->len, 0);
    cr_assert_eq(receiver_feed(receiver, "NOOP\r\n", 6), 0);
    receiver_resume(receiver);
    cr_assert_eq(receiver_delay_ms(receiver), 0);
    char *said = converse(receiver, "NOOP\r\n", 6, 6);
    cr_assert_str_eq(said, OK "250 2.0.0 Ok\r\n");
    free(said);
    done(receiver);
}

Test(receiver, a_drop_says_what_went_before)
{
    struct receiver *receiver = at_content(1 << 20);
    seen.verdict.drop = true;
    char *said = converse(receiver, ".\r\nNOOP\r\n", 9, 9);
    cr_assert_str_eq(said, "");
    cr_assert(receiver_over(receiver));
    cr_assert_eq(receiver_feed(receiver, "NOOP\r\n", 6), 0);
    free(said);
    done(receiver);
}

Test(receiver, who_does_not_listen_is_not_read)
{
    struct receiver *receiver = at_content(1 << 20);
    free(converse(receiver, ".\r\n", 3, 3));
    size_t n = 0;
    while (receiver_feed(receiver, "NOOP\r\n", 6) == 6)
        cr_assert_lt(++n, 10000);
    cr_assert_leq(receiver_out(receiver)->len, 64 * 1024);
    cr_assert(!receiver_over(receiver));
    buffer_reset(receiver_out(receiver));
    cr_assert_eq(receiver_feed(receiver, "NOOP\r\n", 6), 6);
    done(receiver);
}

Test(receiver, recipients_have_a_bound)
{
    struct receiver *receiver = at_content(1 << 20);
    free(converse(receiver, ".\r\nMAIL FROM:<a@x>\r\n", 20, 20));
    for (size_t i = 0; i <= RECEIVER_RECIPIENTS_MAX; i++) {
        char *said = converse(receiver, "RCPT TO:<b@y>\r\n", 15, 15);
        cr_assert_str_eq(said, i < RECEIVER_RECIPIENTS_MAX ? "250 2.1.5 Ok\r\n"
                                                           : "452 4.5.3 Too many recipients\r\n");
        free(said);
    }
    done(receiver);
}

Test(receiver, garbage_ends_the_connection)
{
    struct receiver *receiver = at_content(1 << 20);
    free(converse(receiver, ".\r\n", 3, 3));
    size_t n = 0;
    for (; !receiver_over(receiver); n++)
        free(converse(receiver, "GET / HTTP/1.1\r\n", 16, 16));
    cr_assert_eq(n, 100);
    done(receiver);
}
