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
