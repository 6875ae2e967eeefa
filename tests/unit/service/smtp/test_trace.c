/* What is told of a conversation, and what never is. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message/base64.h"
#include "smtp/sasl.h"
#include "smtp/trace.h"
#include "tests/unit/support/dialogue_player.h"

/* The caller frees. */
static char *trace_of(const char *path, size_t piece)
{
    struct buffer text;
    struct conversation *conversation = conversation_load(path);
    buffer_init(&text, 1 << 20);
    const struct dialogue_pace pace = {"traced", piece, piece, &text};
    cr_assert_not_null(conversation);
    cr_assert(dialogue_play(conversation, &pace), "%s", path);
    conversation_free(conversation);
    return buffer_steal_str(&text);
}

static void expect_trace(const char *path, const char *expected)
{
    for (size_t piece = 0; piece < 3; piece++) { /* whole, or in pieces */
        char *trace = trace_of(path, piece);
        cr_expect_str_eq(trace, expected, "%s by %zu:\n%s", path, piece, trace);
        free(trace);
    }
}

Test(trace, of_a_login_and_a_message)
{
    expect_trace("tests/conversations/trace_login.txt",
                 "S: 220-mx.example \n"
                 "S: 220 ready\n"
                 "C: EHLO client.example\n"
                 "S: 250-mx.example\n"
                 "S: 250 STARTTLS\n"
                 "C: STARTTLS\n"
                 "S: 220 2.0.0 go ahead\n"
                 "C: EHLO client.example\n"
                 "S: 250-mx.example\n"
                 "S: 250-SIZE 100\n"
                 "S: 250-PIPELINING\n"
                 "S: 250 AUTH PLAIN LOGIN\n"
                 "C: AUTH LOGIN\n"
                 "S: 334 ...\n"
                 "C: ...\n"
                 "S: 334 ...\n"
                 "C: ...\n"
                 "S: 235 (not shown: it repeats the password)\n"
                 "*1: j\xc3\xb6rg@example.net is not sent: 553 5.6.7 the address needs SMTPUTF8, "
                 "which the server does not have\n"
                 "C1: MAIL FROM:<alice@example.com> SIZE=25\n"
                 "*1: the server has no DSN: no notification can be asked for\n"
                 "C1: RCPT TO:<bob@example.net>\n"
                 "C1: DATA\n"
                 "S1: 250 2.1.0 Ok\n"
                 "S1: 250 2.1.5 Ok\n"
                 "S1: 354 go on\n"
                 "C1: (25 octets of content)\n"
                 "S1: 250 2.0.0 Ok: caf\xc3\xa9 ?\n"
                 "*2: the message is not sent: 552 5.3.4 the message has 101 octets, the server "
                 "takes 100\n"
                 "C: QUIT\n"
                 "S: 221 2.0.0 Bye\n");
}

Test(trace, of_transactions_behind_one_another)
{
    expect_trace("tests/conversations/trace_chunks.txt", "S: 220 mx.example ready\n"
                                                         "C: EHLO client.example\n"
                                                         "S: 250-mx.example\n"
                                                         "S: 250-PIPELINING\n"
                                                         "S: 250-CHUNKING\n"
                                                         "S: 250 AUTH PLAIN\n"
                                                         "C: AUTH PLAIN ...\n"
                                                         "S: 235 2.7.0 welcome\n"
                                                         "C1: MAIL FROM:<alice@example.com>\n"
                                                         "C1: RCPT TO:<bob@example.net>\n"
                                                         "C1: BDAT 25 LAST\n"
                                                         "C1: (chunk of 25 octets)\n"
                                                         "S1: 250 ok\n"
                                                         "S1: 250 ok\n"
                                                         "S1: 250 kept\n"
                                                         "C2: MAIL FROM:<alice@example.com>\n"
                                                         "C2: RCPT TO:<bob@example.net>\n"
                                                         "C2: BDAT 25 LAST\n"
                                                         "C2: (chunk of 25 octets)\n"
                                                         "C3: MAIL FROM:<alice@example.com>\n"
                                                         "C3: RCPT TO:<carol@example.net>\n"
                                                         "C3: BDAT 25 LAST\n"
                                                         "C3: (chunk of 25 octets)\n"
                                                         "S2: 250 ok\n"
                                                         "S2: 250 ok\n"
                                                         "S2: 554-5.6.0 Not\n"
                                                         "S2: 554 5.6.0 this\n"
                                                         "S3: 421 4.3.2 closing\n");
}

/* --- no secret ---------------------------------------------------------------------------- */

/* Neither as it is, nor in base64, nor inside something in base64. */
static void expect_no_secret(const char *path, const char *trace, const char *user,
                             const char *secret)
{
    char plain[1300];
    int len = snprintf(plain, sizeof(plain), "%c%s%c%s", 0, user, 0, secret);
    char *alone = base64_encode_str(secret, strlen(secret));
    char *both = base64_encode_str(plain, (size_t)len);
    const struct sasl_credentials credentials = {.user = user, .password = secret, .token = secret};
    cr_expect_null(strstr(trace, secret), "%s: %s", path, trace);
    cr_expect_null(strstr(trace, alone), "%s: %s", path, trace);
    cr_expect_null(strstr(trace, both), "%s: %s", path, trace);
    cr_expect_not(sasl_text_reveals(&credentials, trace), "%s: %s", path, trace);
    free(alone);
    free(both);
}

static size_t look_for_secrets(const char *path)
{
    struct conversation *conversation = conversation_load(path);
    char user[200] = "", secret[1000];
    size_t n = 0;
    for (size_t i = 0; i < conversation->n_events; i++) {
        const struct conversation_event *event = &conversation->events[i];
        bool option = event->kind == CONVERSATION_OPTION;
        if (option && sscanf(event->text, "bearer %199s", user) == 1)
            continue;
        if (event->kind == CONVERSATION_TOKEN)
            snprintf(secret, sizeof(secret), "%s", event->text);
        else if (!option || (sscanf(event->text, "login %199s %999s", user, secret) != 2 &&
                             sscanf(event->text, "token %199s %999s", user, secret) != 2))
            continue;
        char *trace = trace_of(path, 0);
        expect_no_secret(path, trace, user, secret);
        free(trace);
        n++;
    }
    conversation_free(conversation);
    return n;
}

Test(trace, never_shows_a_password)
{
    char **paths = conversation_paths("tests/conversations");
    size_t n = 0;
    for (size_t i = 0; paths[i] != NULL; i++)
        n += look_for_secrets(paths[i]);
    conversation_paths_free(paths);
    cr_assert_gt(n, (size_t)40, "%zu logins", n);
}

/* --- lines -------------------------------------------------------------------------------- */

static char told[1300];

static void on_line(void *arg, void *owner, char who, const char *text)
{
    snprintf(told, sizeof(told), "%c %s", who, text);
}

static const struct smtp_trace listened = {.line = on_line}, unheard = {.line = NULL};

Test(trace, of_an_auth_line_shows_the_mechanism_alone)
{
    static const struct {
        const char *line, *shown;
    } rows[] = {
        {"AUTH SCRAM-SHA-256 biwsbj11c2Vy\r\n", "C AUTH SCRAM-SHA-256 ..."},
        {"AUTH LOGIN\r\n", "C AUTH LOGIN"},
        {"AUTH EXTERNAL =\r\n", "C AUTH EXTERNAL ..."},
        {"biwsbj11c2Vy\r\n", "C ..."},
        {"AUTHbiws\r\n", "C ..."},
        {"\r\n", "C ..."},
        {"*\r\n", "C ..."},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        smtp_trace_login(&listened, rows[i].line, strlen(rows[i].line));
        cr_expect_str_eq(told, rows[i].shown);
    }
}

Test(trace, of_a_long_line_is_cut_between_characters)
{
    char line[3 * 2000];
    for (size_t i = 0; i < 2000; i++)
        memcpy(line + 3 * i, "\xe2\x82\xac", 3);
    smtp_trace_line(&listened, NULL, 'S', line, sizeof(line));
    size_t len = strlen(told) - 2;
    cr_assert_gt(len, (size_t)1000);
    cr_assert_eq(len % 3, 0);
}

Test(trace, that_nobody_hears_is_not_made)
{
    told[0] = '\0';
    smtp_trace_line(&unheard, NULL, 'C', "x", 1);
    smtp_trace_say(&unheard, NULL, '*', "%s", "x");
    smtp_trace_login(&unheard, "AUTH X y", 8);
    cr_assert_str_empty(told);
}
