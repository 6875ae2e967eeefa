#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/field.h"

static struct span span(const char *s)
{
    return (struct span){s, strlen(s)};
}

static bool equals(struct span s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

Test(field, headers)
{
    static const struct {
        const char *name, *message, *names, *values, *body;
    } rows[] = {
        {"usual", "A: 1\r\nB: 2\r\n\r\nbody", "A|B|", "1|2|", "body"},
        {"LF", "A: 1\nB: 2\n\nbody", "A|B|", "1|2|", "body"},
        {"folds", "A: 1\r\n 2\r\n\t3\r\nB:\r\n 4\r\n\r\n", "A|B|", "1\r\n 2\r\n\t3|4|", ""},
        {"no header", "\r\nbody", "", "", "body"},
        {"no body", "A: 1", "A|", "1|", ""},
        {"nothing", "", "", "", ""},
        {"no colon", "what\r\nB: 2\r\n\r\n", "what|B|", "|2|", ""},
        {"blanks around", "A :  1 \r\n\r\n", "A|", "1|", ""},
        {"an empty value", "A:\r\nB: 2\r\n\r\nx", "A|B|", "|2|", "x"},
        {"a line of blanks ends it", "A: 1\r\n\r\n \r\nB: 2", "A|", "1|", " \r\nB: 2"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span rest = span(rows[i].message);
        struct buffer names, values;
        struct field field;
        buffer_init(&names, 100);
        buffer_init(&values, 100);
        while (field_next(&rest, &field)) {
            buffer_append(&names, field.name.data, field.name.len);
            buffer_append_char(&names, '|');
            buffer_append(&values, field.value.data, field.value.len);
            buffer_append_char(&values, '|');
        }
        char *n = buffer_steal_str(&names), *v = buffer_steal_str(&values);
        cr_assert_str_eq(n, rows[i].names, "%s", rows[i].name);
        cr_assert_str_eq(v, rows[i].values, "%s", rows[i].name);
        cr_assert(equals(rest, rows[i].body), "%s", rows[i].name);
        free(n);
        free(v);
    }
}

Test(field, find)
{
    struct span message = span("A: 1\r\nmessage-ID: <x>\r\nMessage-ID: <y>\r\n\r\nB: 2\r\n");
    cr_assert(equals(field_find(message, "Message-ID"), "<x>"));
    cr_assert_eq(field_find(message, "B").len, 0);
}

Test(field, main)
{
    cr_assert(equals(field_main(span(" text/html ; charset=x")), "text/html"));
    cr_assert(field_main_is(span("Text/HTML"), "text/html"));
    cr_assert(!field_main_is(span("text/html5"), "text/html"));
    cr_assert(!field_main_is(span(""), "text/html"));
    cr_assert(field_main_begins(span("Multipart/x; a"), "multipart/"));
    cr_assert(!field_main_begins(span("multi; part/"), "multipart/"));
}

Test(field, parameters)
{
    static const struct {
        const char *name, *value;
        const char *filename; /* NULL: none */
    } rows[] = {
        {"none", "attachment", NULL},
        {"a token", "attachment; filename=a.pdf", "a.pdf"},
        {"quoted", "attachment; filename=\"a b;c.pdf\"", "a b;c.pdf"},
        {"escapes", "attachment; filename=\"a\\\"b\\\\c\"", "a\"b\\c"},
        {"case, blanks, folds", "attachment;\r\n\tFileName = \"a.pdf\" ; x=y", "a.pdf"},
        {"others before it", "attachment; size=3; xfilename=x; filename=a; filename=b", "a"},
        {"a longer name", "attachment; filenamea=x; filename2=x", NULL},
        {"within another's quotes", "attachment; x=\"; filename=x\"; filename=a", "a"},
        {"extended", "attachment; filename*=UTF-8''%C3%A4.pdf", "\xc3\xa4.pdf"},
        {"latin", "attachment; filename*=iso-8859-1'de'%E4.pdf", "\xc3\xa4.pdf"},
        {"extended beats plain", "a; filename=x.pdf; filename*=UTF-8''y.pdf", "y.pdf"},
        {"in either order", "a; filename*=UTF-8''y.pdf; filename=x.pdf", "y.pdf"},
        {"sections", "a; filename*0=a; filename*1=\"b c\"; filename*2=d", "ab cd"},
        {"out of order", "a; filename*1=b; filename*0=a", "ab"},
        {"extended sections", "a; filename*0*=UTF-8''%C3; filename*1*=%A4; filename*2=%41",
         "\xc3\xa4%41"},
        {"a section is missing", "a; filename*0=a; filename*2=c", "a"},
        {"no first section", "a; filename*1=b", NULL},
        {"sections beyond reason", "a; filename*99999999999999999999=b; filename*0=a", "a"},
        {"no number", "a; filename*x=b; filename**=c; filename*1x=d", NULL},
        {"no charset", "a; filename*=a%20b", "a b"},
        {"an encoded word in it", "a; filename=\"=?utf-8?Q?=C3=A4?=.pdf\"", "\xc3\xa4.pdf"},
        {"an open quote", "a; filename=\"abc", "abc"},
        {"an open escape", "a; filename=\"abc\\", "abc\\"},
        {"empty", "a; filename=\"\"", ""},
        {"only semicolons", ";;;;=;=;", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buffer out;
        buffer_init(&out, 1000);
        bool found = field_parameter(span(rows[i].value), "filename", &out);
        cr_assert_eq(found, rows[i].filename != NULL, "%s", rows[i].name);
        cr_assert(!out.failed);
        if (found) {
            char *text = buffer_steal_str(&out);
            cr_assert_str_eq(text, rows[i].filename, "%s", rows[i].name);
            free(text);
        }
        buffer_clear(&out);
    }
}

Test(field, a_token_is_as_it_is)
{
    struct buffer out;
    buffer_init(&out, 100);
    cr_assert(field_token(span("multipart/mixed; boundary=\"=?utf-8?Q?x?=\""), "boundary", &out));
    char *text = buffer_steal_str(&out);
    cr_assert_str_eq(text, "=?utf-8?Q?x?=");
    free(text);
    cr_assert(!field_token(span("multipart/mixed; boundary*=x"), "boundary", &out));
}

Test(field, a_value_has_a_limit)
{
    struct buffer out;
    buffer_init(&out, 4);
    cr_assert(field_parameter(span("a; filename=abcdefgh"), "filename", &out));
    cr_assert(out.failed);
    buffer_clear(&out);
}
