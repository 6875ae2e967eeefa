#include <criterion/criterion.h>
#include <string.h>

#include "message/media_type.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

Test(media_type, parameters_by_the_book)
{
    static const struct {
        const char *value, *text, *name; /* text NULL: refused */
    } rows[] = {
        {"application/pdf", "application/pdf", NULL},
        {" Text/Plain ", "Text/Plain", NULL},
        {"image/svg+xml", "image/svg+xml", NULL},
        {"application/pdf; name=\"rep.pdf\"", "application/pdf", "rep.pdf"},
        {"application/pdf;NAME=rep.pdf", "application/pdf", "rep.pdf"},
        {"application/pdf; name=\"a \\\"b\\\".pdf\"; version=1.7", "application/pdf; version=1.7",
         "a \"b\".pdf"},
        {"application/pdf; name*=UTF-8''x%20y.pdf", "application/pdf", NULL},
        {"text/csv;", "text/csv", NULL},
        {"text/csv ; ", "text/csv", NULL},
        {"text/csv;charset=utf-8;header=present;", "text/csv; charset=utf-8; header=present", NULL},
        {"text/csv ; charset = \"utf-8\"", "text/csv; charset=\"utf-8\"", NULL},
        {"text/x; a=\"b;c=d\"", "text/x; a=\"b;c=d\"", NULL},
        {"application/vnd.example.quite.long+json; profile=\"https://example.com/p\"",
         "application/vnd.example.quite.long+json;\r\n\tprofile=\"https://example.com/p\"", NULL},
        {"", NULL, NULL},
        {"x", NULL, NULL},
        {"/", NULL, NULL},
        {"a/", NULL, NULL},
        {"/b", NULL, NULL},
        {"a/b/c", NULL, NULL},
        {"a /b", NULL, NULL},
        {"text/plain charset=utf-8", NULL, NULL},
        {"text/csv; charset=\"utf-8", NULL, NULL},
        {"text/csv; charset=\"utf-8\\\"", NULL, NULL},
        {"text/csv; charset=\"utf-8\"x", NULL, NULL},
        {"text/csv; =x; \"y\"", NULL, NULL},
        {"text/csv; charset", NULL, NULL},
        {"text/csv; charset=", NULL, NULL},
        {"text/csv;; charset=utf-8", NULL, NULL},
        {"text/csv; a=b, c=d", NULL, NULL},
        {"text/csv; a=b/c", NULL, NULL},
        {"text/csv; charset=utf-8; CHARSET=latin1", NULL, NULL},
        {"text/csv; name=a; name=b", NULL, NULL},
        {"text/csv; a=\"\xc3\xb6\"", NULL, NULL},
        {"text/csv; a=\xc3\xb6", NULL, NULL},
        {"t\xc3\xb6xt/csv", NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(arena_free) struct arena *arena = arena_new();
        struct media_type type = {0};
        struct error err = {0};
        int rc = media_type_parse(arena, rows[i].value, &type, &err);
        cr_expect_eq(rc == 0, rows[i].text != NULL, "%s: %s", rows[i].value, err.detail);
        if (rc < 0 || rows[i].text == NULL)
            continue;
        cr_expect_str_eq(type.text, rows[i].text);
        cr_expect_eq(type.name == NULL, rows[i].name == NULL, "%s", rows[i].value);
        if (type.name != NULL && rows[i].name != NULL)
            cr_expect_str_eq(type.name, rows[i].name);
    }
}

Test(media_type, its_length_is_bounded)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct media_type type;
    for (size_t n = 890; n < 910; n++) {
        char *value = arena_alloc(arena, n + 1);
        memset(value, 'x', n);
        memcpy(value, "a/b; c=", 7);
        cr_expect_eq(media_type_parse(arena, value, &type, NULL), n <= 900 ? 0 : -1, "%zu", n);
    }
}

Test(media_type, told_from_the_file_name)
{
    static const struct {
        const char *filename, *type;
    } rows[] = {
        {"a.pdf", "application/pdf"},
        {"A.B.PDF", "application/pdf"},
        {".png", "image/png"},
        {"\xe5\x90\x88.docx",
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {"mail.eml", "message/rfc822"},
        {"pdf", "application/octet-stream"},
        {"a.", "application/octet-stream"},
        {"a.pdf.exe", "application/octet-stream"},
        {"", "application/octet-stream"},
        {NULL, "application/octet-stream"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        cr_expect_str_eq(media_type_of_file(rows[i].filename), rows[i].type, "row %zu", i);
    cr_expect(media_type_is("Message/RFC822", "message"));
    cr_expect_not(media_type_is("messages/x", "message"));
    cr_expect_not(media_type_is("message", "message"));
}
