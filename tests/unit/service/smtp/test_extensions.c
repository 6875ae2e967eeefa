#include <criterion/criterion.h>
#include <string.h>

#include "smtp/extensions.h"

/* What tests/conversations does not show: an EHLO reply, and how it is told to a person. */
static const struct {
    const char *reply, *described, *auth;
} rows[] = {
    {"mx", "", ""},
    {"mx\nPIPELINING\nSIZE 35882577\n8BITMIME\nAUTH PLAIN LOGIN\nXYZZY",
     "PIPELINING, SIZE 35882577, 8BITMIME", "PLAIN LOGIN"},
    {"mx\nSIZE\nsmtputf8\nStartTLS\nREQUIRETLS\nDSN\nCHUNKING\nENHANCEDSTATUSCODES",
     "CHUNKING, SIZE, SMTPUTF8, DSN, STARTTLS, REQUIRETLS, ENHANCEDSTATUSCODES", ""},
    {"mx\nsize=1000000\nauth: plain,login\nDsn", "SIZE 1000000, DSN", "PLAIN LOGIN"},
    {"mx\nSize: 5\nAUTH=LOGIN", "SIZE 5", "LOGIN"},
    {"mx\nLIMITS MAILMAX=2 RCPTMAX=50", "LIMITS MAILMAX=2, LIMITS RCPTMAX=50", ""},
};

Test(extensions, are_told_to_a_person)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct smtp_extensions extensions;
        char text[256];
        smtp_extensions_parse(rows[i].reply, &extensions);
        smtp_extensions_describe(&extensions, text, sizeof(text));
        cr_expect_str_eq(text, rows[i].described);
        cr_expect_str_eq(extensions.auth, rows[i].auth);
    }
}

Test(extensions, keep_to_their_room)
{
    struct smtp_extensions extensions;
    char text[64];
    smtp_extensions_parse(rows[2].reply, &extensions);
    for (size_t size = 1; size < sizeof(text) - 1; size++) {
        memset(text, '!', sizeof(text));
        smtp_extensions_describe(&extensions, text, size);
        cr_expect_leq(strlen(text), size - 1);
        cr_expect_eq(text[size], '!');
    }
}

Test(extensions, are_left_out_one_by_one)
{
    static const struct {
        unsigned without;
        const char *described;
    } left[] = {
        {SMTP_EXTENSION_CHUNKING, "PIPELINING, SIZE 9, 8BITMIME, SMTPUTF8, DSN"},
        {SMTP_EXTENSION_PIPELINING, "CHUNKING, SIZE 9, 8BITMIME, SMTPUTF8, DSN"},
        {SMTP_EXTENSION_SMTPUTF8, "PIPELINING, CHUNKING, SIZE 9, 8BITMIME, DSN"},
        {SMTP_EXTENSION_8BITMIME, "PIPELINING, CHUNKING, SIZE 9, SMTPUTF8, DSN"},
        {SMTP_EXTENSION_DSN, "PIPELINING, CHUNKING, SIZE 9, 8BITMIME, SMTPUTF8"},
        {SMTP_EXTENSION_SIZE, "PIPELINING, CHUNKING, 8BITMIME, SMTPUTF8, DSN"},
        {0, "PIPELINING, CHUNKING, SIZE 9, 8BITMIME, SMTPUTF8, DSN"},
        {63, ""},
    };
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        struct smtp_extensions extensions;
        char text[128];
        smtp_extensions_parse("mx\nPIPELINING\nCHUNKING\nSIZE 9\n8BITMIME\nSMTPUTF8\nDSN",
                              &extensions);
        smtp_extensions_leave_out(&extensions, left[i].without);
        smtp_extensions_describe(&extensions, text, sizeof(text));
        cr_expect_str_eq(text, left[i].described);
    }
}

Test(distrust, of_what_was_refused_is_for_all_and_for_good)
{
    struct smtp_distrust distrust = {.relay = "r"};
    cr_assert_eq(smtp_distrust_begin(&distrust), 0);
    smtp_distrust_note(&distrust, SMTP_EXTENSION_CHUNKING, "500 what");
    cr_assert_eq(smtp_distrust_begin(&distrust), SMTP_EXTENSION_CHUNKING);
    cr_assert_eq(smtp_distrust_begin(&distrust), SMTP_EXTENSION_CHUNKING);
    cr_assert_eq(smtp_distrust_now(&distrust), SMTP_EXTENSION_CHUNKING);
}

Test(distrust, of_a_lost_connection_is_for_the_next_and_then_for_all)
{
    struct smtp_distrust distrust = {.relay = "r"};
    smtp_distrust_note_end(&distrust, SMTP_EXTENSION_PIPELINING);
    cr_assert_eq(smtp_distrust_now(&distrust), 0);
    cr_assert_eq(smtp_distrust_begin(&distrust), SMTP_EXTENSION_PIPELINING);
    cr_assert_eq(smtp_distrust_begin(&distrust), 0);
    smtp_distrust_note_end(&distrust, SMTP_EXTENSION_PIPELINING);
    cr_assert_eq(smtp_distrust_begin(&distrust), SMTP_EXTENSION_PIPELINING);
    cr_assert_eq(smtp_distrust_begin(&distrust), SMTP_EXTENSION_PIPELINING);
}

Test(distrust, is_not_for_what_has_worked)
{
    struct smtp_distrust distrust = {.relay = "r"};
    smtp_distrust_note_success(&distrust, SMTP_EXTENSION_PIPELINING);
    for (int i = 0; i < 3; i++)
        smtp_distrust_note_end(&distrust, SMTP_EXTENSION_PIPELINING);
    cr_assert_eq(smtp_distrust_begin(&distrust), 0);
    cr_assert(smtp_distrust_knows(&distrust, SMTP_EXTENSION_PIPELINING));
    cr_assert_not(smtp_distrust_knows(&distrust, SMTP_EXTENSION_CHUNKING));
}
