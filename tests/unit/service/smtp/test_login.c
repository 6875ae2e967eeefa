#include "smtp/login.h"

#include <criterion/criterion.h>
#include <gsasl.h>
#include <stdio.h>
#include <string.h>

#include "smtp/dialogue.h"

/* Logins whose lines are not the same every time, so that no conversation can be written down. */

struct talk {
    struct smtp_options options;
    struct smtp_dialogue *dialogue;
    struct error err;
    char line[12288 + 3]; /* what the client said last, without CRLF */
};

static int say(struct talk *t, const char *text)
{
    int rc = smtp_dialogue_feed(t->dialogue, text, strlen(text), 0, &t->err);
    struct smtp_login login;
    if (rc == 0 && smtp_dialogue_take_login(t->dialogue, &login)) {
        cr_expect_eq(smtp_dialogue_pull(t->dialogue, t->line, sizeof(t->line)), 0);
        smtp_login_run(&login);
        rc = smtp_dialogue_give_login(t->dialogue, &login, 0, &t->err);
    }
    size_t len = smtp_dialogue_pull(t->dialogue, t->line, sizeof(t->line) - 1);
    smtp_dialogue_written(t->dialogue, len, 0);
    t->line[len >= 2 ? len - 2 : 0] = '\0';
    return rc;
}

static void prepare(struct talk *t, const char *mechanism)
{
    *t = (struct talk){
        .options = {.hostname = "client.example",
                    .tls = true,
                    .tls_verified = true,
                    .credentials = {.mechanism = mechanism,
                                    .user = "alice",
                                    .password = "wonderland",
                                    .host = "mx.example"},
                    .binding = {.tls_exporter = "ZXhwb3J0ZXI="},
                    .timeouts = {1000, 1000, 1000, 1000}},
    };
    t->dialogue = smtp_dialogue_new(&t->options, 0);
}

static void begin(struct talk *t, const char *mechanism, const char *offered)
{
    prepare(t, mechanism);
    char ehlo[256];
    snprintf(ehlo, sizeof(ehlo), "250-mx.example\r\n250 AUTH %s\r\n", offered);
    cr_assert_eq(say(t, "220 mx.example\r\n"), 0);
    cr_assert_eq(say(t, ehlo), 0, "%s", t->err.detail);
}

static bool decodes_to(const char *base64, const char *beginning)
{
    char *octets = NULL;
    size_t len = 0;
    bool does = gsasl_base64_from(base64, strlen(base64), &octets, &len) == GSASL_OK &&
                len >= strlen(beginning) && memcmp(octets, beginning, strlen(beginning)) == 0;
    gsasl_free(octets);
    return does;
}

static bool said(const struct talk *t, const char *command, const char *beginning)
{
    size_t n = strlen(command);
    return strncmp(t->line, command, n) == 0 && decodes_to(t->line + n, beginning);
}

Test(login, scram_yes_without_proof_is_refused)
{
    struct talk t;
    begin(&t, "auto", "PLAIN SCRAM-SHA-256");
    cr_expect(said(&t, "AUTH SCRAM-SHA-256 ", "y,,n=alice,r="), "%s", t.line);
    cr_expect_eq(say(&t, "235 2.7.0 welcome\r\n"), -1);
    cr_expect_eq(t.err.code, ERR_PROTOCOL);
    cr_expect_str_eq(t.err.where, "auth");
    cr_expect_not(smtp_dialogue_ready(t.dialogue));
    smtp_dialogue_free(t.dialogue);
}

/* Who strikes the -PLUS after having offered it is told nothing that it could take for "none was
 * offered". */
Test(login, plus_refused_goes_on_unbound)
{
    struct talk t;
    begin(&t, "scram-sha-256", "SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
    cr_expect(said(&t, "AUTH SCRAM-SHA-256-PLUS ", "p=tls-exporter,,n=alice,r="), "%s", t.line);
    cr_expect_eq(say(&t, "504 5.5.4 not that one\r\n"), 0);
    cr_expect(said(&t, "AUTH SCRAM-SHA-256 ", "n,,n=alice,r="), "%s", t.line);
    cr_expect_eq(say(&t, "504 5.5.4 nor that one\r\n"), -1);
    cr_expect_eq(t.err.code, ERR_AUTH_MECHANISM_UNAVAILABLE);
    smtp_dialogue_free(t.dialogue);
}

/* Exchange announces itself in words that are not base64 ([MS-SMTPNTLM], 2.2). */
Test(login, ntlm_is_announced_in_words)
{
    struct talk t;
    begin(&t, "ntlm", "NTLM LOGIN");
    cr_expect_str_eq(t.line, "AUTH NTLM");
    cr_expect_eq(say(&t, "334 ntlm supported\r\n"), 0, "%s", t.err.detail);
    cr_expect(decodes_to(t.line, "NTLMSSP"), "%s", t.line);
    cr_expect_eq(say(&t, "334 still in words\r\n"), -1);
    cr_expect_eq(t.err.code, ERR_PROTOCOL, "%s", t.err.detail);
    smtp_dialogue_free(t.dialogue);
}

/* --- one that does not do, and another ---------------------------------------------------------
 */

/* What a 535 says can come in a challenge, too (RFC 5802, 7): it is called off, then as after 535.
 */
Test(login, a_refusal_within_the_exchange_is_one)
{
    struct talk t;
    begin(&t, "auto", "SCRAM-SHA-256 PLAIN");
    cr_expect(said(&t, "AUTH SCRAM-SHA-256 ", "y,,n=alice,r="), "%s", t.line);
    char *first = NULL, challenge[512], line[1024];
    size_t len = 0;
    gsasl_base64_from(strrchr(t.line, ' ') + 1, strlen(strrchr(t.line, ' ') + 1), &first, &len);
    snprintf(challenge, sizeof(challenge), "%.*sx,s=c2FsdHNhbHQ=,i=4096",
             (int)(len - strlen("y,,n=alice,")), first + strlen("y,,n=alice,"));
    gsasl_free(first);
    gsasl_base64_to(challenge, strlen(challenge), &first, &len);
    snprintf(line, sizeof(line), "334 %s\r\n", first);
    gsasl_free(first);
    cr_assert_eq(say(&t, line), 0, "%s", t.err.detail);
    cr_expect(decodes_to(t.line, "c=eSws,r="), "%s", t.line);
    cr_assert_eq(say(&t, "334 ZT1pbnZhbGlkLXByb29m\r\n"), 0, "%s", t.err.detail);
    cr_expect_str_eq(t.line, "*");
    cr_assert_eq(say(&t, "501 5.7.0 called off\r\n"), 0, "%s", t.err.detail);
    cr_expect(said(&t, "AUTH PLAIN ", "\0alice"), "%s", t.line);
    cr_assert_eq(say(&t, "235 2.7.0 in\r\n"), 0);
    cr_expect(smtp_dialogue_ready(t.dialogue));
    smtp_dialogue_free(t.dialogue);
}

/* Nothing was said yet, so there is nothing to call off. */
Test(login, what_does_not_fit_into_a_line_goes_in_two)
{
    struct talk t;
    static char password[9121];
    memset(password, 'p', sizeof(password) - 1);
    prepare(&t, "auto");
    t.options.credentials.user = "a user whose name does not go with such a password, as it were: "
                                 "a user whose name does not go with such a password, as it were: "
                                 "a user whose name does not go with such a password, as it were: ";
    t.options.credentials.password = password;
    smtp_dialogue_free(t.dialogue);
    t.dialogue = smtp_dialogue_new(&t.options, 0);
    cr_assert_eq(say(&t, "220 mx.example\r\n"), 0);
    cr_assert_eq(say(&t, "250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n"), 0, "%s", t.err.detail);
    cr_expect_str_eq(t.line, "AUTH LOGIN");
    smtp_dialogue_free(t.dialogue);
}

/* --- what is remembered ------------------------------------------------------------------------
 */

#define CHALLENGE "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n"

/* Which mechanisms a connection tries, in order, of a server that takes some. */
static void connect_once(struct login_memory *memory, const char *offered, const char *takes,
                         bool drops, char tried_out[64])
{
    struct talk t;
    char ehlo[256];
    prepare(&t, "auto");
    smtp_dialogue_free(t.dialogue);
    t.options.login_memory = memory;
    t.dialogue = smtp_dialogue_new(&t.options, 0);
    snprintf(ehlo, sizeof(ehlo), "250-mx.example\r\n250 AUTH %s\r\n", offered);
    say(&t, "220 mx.example\r\n");
    int rc = say(&t, ehlo);
    tried_out[0] = '\0';
    while (rc == 0 && strncmp(t.line, "AUTH ", 5) == 0) {
        char mechanism[32];
        snprintf(mechanism, sizeof(mechanism), "%.*s", (int)strcspn(t.line + 5, " "), t.line + 5);
        snprintf(tried_out + strlen(tried_out), 64 - strlen(tried_out), "%s%s",
                 tried_out[0] != '\0' ? " " : "", mechanism);
        if (strcmp(mechanism, "PLAIN") != 0)
            rc = say(&t, CHALLENGE);
        if (rc == 0)
            rc = say(&t, strstr(takes, mechanism) != NULL ? "235 in\r\n" : "535 5.7.8 no\r\n");
        if (drops)
            break;
    }
    cr_expect(rc < 0 || drops || smtp_dialogue_ready(t.dialogue));
    smtp_dialogue_lost(t.dialogue);
    smtp_dialogue_free(t.dialogue);
}

struct visit {
    const char *takes, *tries;
    bool drops; /* after the first refusal */
};

static void visit(const char *name, const char *offered, const struct visit *visits)
{
    struct login_memory memory = {0};
    for (size_t i = 0; visits[i].takes != NULL; i++) {
        char tried[64];
        connect_once(&memory, offered, visits[i].takes, visits[i].drops, tried);
        cr_expect_str_eq(tried, visits[i].tries, "%s, connection %zu: %s", name, i, tried);
    }
}

Test(login, what_worked_is_remembered)
{
    visit("a challenge that works", "CRAM-MD5 PLAIN",
          (const struct visit[]){
              {"CRAM-MD5 PLAIN", "CRAM-MD5"}, {"CRAM-MD5 PLAIN", "CRAM-MD5"}, {NULL}});
    visit("one that never does", "CRAM-MD5 PLAIN",
          (const struct visit[]){
              {"PLAIN", "CRAM-MD5 PLAIN"}, {"PLAIN", "PLAIN"}, {"PLAIN", "PLAIN"}, {NULL}});
    visit("a server that hangs up on a refusal", "CRAM-MD5 PLAIN",
          (const struct visit[]){
              {"PLAIN", "CRAM-MD5", true}, {"PLAIN", "PLAIN"}, {"PLAIN", "PLAIN"}, {NULL}});
    visit("a directory that was away for a while", "CRAM-MD5 PLAIN",
          (const struct visit[]){{"PLAIN", "CRAM-MD5 PLAIN"},
                                 {"", "PLAIN"},
                                 {"PLAIN", "PLAIN"},
                                 {"PLAIN", "PLAIN"},
                                 {NULL}});
}

/* Who is locked out after so many tries is not locked out sooner, but for the one. */
Test(login, a_wrong_password_is_tried_twice_and_then_once_a_connection)
{
    visit("wrong, then right", "CRAM-MD5 PLAIN",
          (const struct visit[]){{"", "CRAM-MD5 PLAIN"},
                                 {"", "CRAM-MD5"},
                                 {"", "PLAIN"},
                                 {"", "CRAM-MD5"},
                                 {"CRAM-MD5", "PLAIN"},
                                 {"CRAM-MD5", "CRAM-MD5"},
                                 {"CRAM-MD5", "CRAM-MD5"},
                                 {NULL}});
    visit("no challenges", "PLAIN", (const struct visit[]){{"", "PLAIN"}, {"", "PLAIN"}, {NULL}});
    visit("only challenges", "CRAM-MD5",
          (const struct visit[]){{"", "CRAM-MD5"}, {"", "CRAM-MD5"}, {NULL}});
}

Test(login, that_initial_responses_are_refused_is_remembered)
{
    struct login_memory memory = {0};
    for (int i = 0; i < 2; i++) {
        struct talk t;
        prepare(&t, "auto");
        smtp_dialogue_free(t.dialogue);
        t.options.login_memory = &memory;
        t.dialogue = smtp_dialogue_new(&t.options, 0);
        say(&t, "220 mx.example\r\n");
        say(&t, "250-mx.example\r\n250 AUTH PLAIN\r\n");
        if (i == 0) {
            cr_expect(said(&t, "AUTH PLAIN ", "\0alice"), "%s", t.line);
            cr_assert_eq(say(&t, "501 5.5.4 too many words\r\n"), 0);
        }
        cr_expect_str_eq(t.line, "AUTH PLAIN");
        cr_assert_eq(say(&t, "334 \r\n"), 0);
        cr_expect(decodes_to(t.line, "\0alice"), "%s", t.line);
        cr_assert_eq(say(&t, "235 in\r\n"), 0);
        cr_expect(smtp_dialogue_ready(t.dialogue));
        smtp_dialogue_free(t.dialogue);
    }
}

/* --- away, to be run ---------------------------------------------------------------------- */

/* Up to where a login is to be taken, that of a mechanism which asks others. */
static struct smtp_login begin_and_take(struct talk *t)
{
    struct smtp_login login = {0};
    prepare(t, "gssapi");
    static const char said[] = "220 mx.example\r\n250-mx.example\r\n250 AUTH GSSAPI\r\n";
    const char *ehlo = strchr(said, '\n') + 1;
    cr_assert_eq(smtp_dialogue_feed(t->dialogue, said, (size_t)(ehlo - said), 5, &t->err), 0);
    smtp_dialogue_written(t->dialogue, smtp_dialogue_pull(t->dialogue, t->line, 100), 6);
    cr_assert_eq(smtp_dialogue_feed(t->dialogue, ehlo, strlen(ehlo), 7, &t->err), 0);
    cr_assert(smtp_dialogue_take_login(t->dialogue, &login));
    cr_assert_not(smtp_dialogue_take_login(t->dialogue, &login), "there is only one");
    return login;
}

Test(login, has_a_deadline_while_it_is_away)
{
    struct talk t;
    struct smtp_login login = begin_and_take(&t);
    enum smtp_step step;
    cr_expect_eq(smtp_dialogue_deadline(t.dialogue, &step), 1007);
    cr_expect_eq(step, SMTP_STEP_AUTH);
    cr_expect_eq(smtp_dialogue_pull(t.dialogue, t.line, sizeof(t.line)), 0);
    smtp_login_clear(&login);
    smtp_dialogue_lost(t.dialogue);
    smtp_dialogue_free(t.dialogue);
}

Test(login, what_comes_while_it_is_away_answers_nothing)
{
    static const struct {
        const char *text;
        enum error_code code;
    } rows[] = {
        {"235 2.7.0 welcome\r\n", ERR_PROTOCOL},
        {"334 \r\n", ERR_PROTOCOL},
        {"421 4.3.2 closing\r\n", ERR_RELAY_CLOSING},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct talk t;
        struct smtp_login login = begin_and_take(&t);
        cr_expect_eq(smtp_dialogue_feed(t.dialogue, rows[i].text, strlen(rows[i].text), 8, &t.err),
                     -1);
        cr_expect_eq(t.err.code, rows[i].code, "%s: %s", rows[i].text, t.err.detail);
        cr_expect_str_eq(t.err.where, "auth");
        smtp_login_clear(&login);
        smtp_dialogue_free(t.dialogue);
    }
}

Test(login, what_it_came_to_is_told_when_it_is_back)
{
    struct talk t;
    struct smtp_login login = begin_and_take(&t);
    login.err = (struct error){.code = ERR_AUTH_FAILED, .detail = "no ticket"};
    cr_expect_eq(smtp_dialogue_give_login(t.dialogue, &login, 9, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_AUTH_FAILED);
    cr_expect_str_eq(t.err.where, "auth");
    cr_expect_str_eq(t.err.detail, "no ticket");
    smtp_dialogue_free(t.dialogue);
}
