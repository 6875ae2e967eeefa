#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/mime.h"

#define MIXED "Content-Type: multipart/mixed; boundary=m\r\n\r\n"
#define SHA_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC "'size': 3, 'sha256': '" SHA_OF_ABC "'"
#define NONE "'attachments': []"

static const struct {
    const char *name, *message;
    const char *holds; /* JSON with ' for "; what parsing gives, but for the headers */
} rows[] = {
    {"text", "Subject: Hi\r\n\r\nIt works.\r\n",
     "{'subject': 'Hi', 'text': 'It works.\\r\\n', " NONE "}"},
    {"nothing", "", "{'text': '', " NONE "}"},
    {"a decoded subject, the first", "Subject: =?utf-8?Q?=C3=A4?=\r\nSubject: 2\r\n\r\n",
     "{'subject': '\xc3\xa4', 'text': '', " NONE "}"},
    {"html", "Content-Type: text/html; charset=utf-8\r\n\r\n<p>", "{'html': '<p>', " NONE "}"},
    {"base64", "Content-Transfer-Encoding: Base64\r\n\r\nw6Q=\r\n",
     "{'text': '\xc3\xa4', " NONE "}"},
    {"quoted-printable",
     "Content-Type: text/plain; charset=\"iso-8859-1\"\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4=\r\nb\r\n",
     "{'text': '\xc3\xa4"
     "b\\r\\n', " NONE "}"},
    {"text that is not UTF-8", "\r\na\xff\r\n", "{'text': 'a\xef\xbf\xbd\\r\\n', " NONE "}"},
    {"an attachment alone",
     "Content-Type: application/pdf; name=x.pdf\r\nContent-Disposition: attachment\r\n\r\nabc",
     "{'attachments': [{'filename': 'x.pdf', 'content_type': 'application/pdf', "
     "'disposition': 'attachment', " ABC "}]}"},
    {"mixed",
     MIXED "preamble\r\n--m\r\nContent-Type: text/plain\r\n\r\ntext\r\n--m\r\n"
           "Content-Type: image/png\r\nContent-Disposition: inline; filename=\"a.png\"\r\n"
           "Content-ID: <logo>\r\nContent-Transfer-Encoding: base64\r\n\r\nYWJj\r\n--m--\r\n"
           "epilogue\r\n--m\r\n\r\nno part\r\n",
     "{'text': 'text', 'attachments': [{'filename': 'a.png', 'content_type': 'image/png', "
     "'disposition': 'inline', 'content_id': 'logo', " ABC "}]}"},
    {"text as an attachment",
     MIXED
     "--m\r\nContent-Disposition: attachment; filename*=UTF-8''%C3%A4\r\n\r\nabc\r\n--m--\r\n",
     "{'attachments': [{'filename': '\xc3\xa4', 'content_type': 'text/plain', "
     "'disposition': 'attachment', " ABC "}]}"},
    {"a second text", MIXED "--m\r\n\r\n1\r\n--m\r\n\r\nabc\r\n--m--\r\n",
     "{'text': '1', 'attachments': [{'filename': null, 'content_type': 'text/plain', "
     "'disposition': 'attachment', " ABC "}]}"},
    {"nested, an outer boundary that begins the inner",
     MIXED
     "--m\r\nContent-Type: multipart/alternative; boundary=m2\r\n\r\n--m2\r\n\r\nt\r\n--m2\r\n"
     "Content-Type: text/html\r\n\r\n<p>\r\n--m2--\r\n--m--\r\n",
     "{'text': 't', 'html': '<p>', " NONE "}"},
    {"LF alone", "Content-Type: multipart/mixed; boundary=m\n\n--m\n\na\nb\n--m--\n",
     "{'text': 'a\\nb', " NONE "}"},
    {"blanks behind a delimiter", MIXED "--m \t\r\n\r\na\r\n--m-- \r\n", "{'text': 'a', " NONE "}"},
    {"no closing delimiter", MIXED "--m\r\n\r\na\r\n", "{'text': 'a\\r\\n', " NONE "}"},
    {"no delimiter at all", MIXED "a\r\n", "{'text': 'a\\r\\n', " NONE "}"},
    {"no boundary", "Content-Type: multipart/mixed\r\n\r\na", "{'text': 'a', " NONE "}"},
    {"an empty part", MIXED "--m\r\n--m--\r\n", "{'text': '', " NONE "}"},
    {"a part without a body", MIXED "--m\r\nContent-Type: text/html\r\n--m--\r\n",
     "{'html': '', " NONE "}"},
};

static json_t *expected(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    json_error_t why;
    json_t *json = json_loads(copy, 0, &why);
    cr_assert_not_null(json, "%s: %s", copy, why.text);
    free(copy);
    return json;
}

Test(mime, messages)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *parsed = mime_parse(rows[i].message, strlen(rows[i].message));
        json_object_del(parsed, "headers");
        json_t *wanted = expected(rows[i].holds);
        char *text = json_dumps(parsed, 0);
        cr_assert(json_equal(parsed, wanted), "%s: %s", rows[i].name, text);
        free(text);
        json_decref(wanted);
        json_decref(parsed);
    }
}

Test(mime, headers)
{
    static const char message[] = "From: =?utf-8?Q?=C3=84?= <a@x>\r\nTO: b@y,\r\n c@y\r\n"
                                  "To: d@y\r\nwhat\r\n\r\nX: no header\r\n";
    json_t *parsed = mime_parse(message, strlen(message));
    json_t *wanted = expected("[['From', '\xc3\x84 <a@x>'], ['TO', 'b@y, c@y'], ['To', 'd@y'], "
                              "['what', '']]");
    cr_assert(json_equal(json_object_get(parsed, "headers"), wanted));
    json_decref(wanted);
    json_decref(parsed);
}

Test(mime, a_nul_in_a_text)
{
    json_t *parsed = mime_parse("\r\na\0b", 5);
    json_t *text = json_object_get(parsed, "text");
    cr_assert_eq(json_string_length(text), 3);
    cr_assert_eq(memcmp(json_string_value(text), "a\0b", 3), 0);
    json_decref(parsed);
}

static char *repeat(const char *head, const char *unit, size_t n, size_t *len_out)
{
    size_t len = strlen(unit);
    char *text = malloc(strlen(head) + n * len + 1);
    strcpy(text, head);
    for (size_t i = 0; i < n; i++)
        memcpy(text + strlen(head) + i * len, unit, len);
    *len_out = strlen(head) + n * len;
    return text;
}

/* Work and memory stay bounded, and it says that there was more. */
Test(mime, hostile, .timeout = 600)
{
    static const struct {
        const char *name, *head, *unit;
        size_t n;
        bool truncated;
    } cases[] = {
        {"fields", "", "A: b\r\n", 1000000, true},
        {"parts", MIXED, "--m\r\n\r\n\r\n", 1000000, true},
        {"depth", "", "Content-Type: multipart/x; boundary=a\r\n\r\n--a\r\n", 100000, true},
        {"one long field", "A: ", "=?", 10000000, false},
        {"a long run of words", "Subject: ", "=?utf-8?Q?a?= ", 1000000, false},
        {"parameters", "Content-Type: multipart/x", ";boundary*1=a", 1000000, false},
        {"quotes", "Content-Type: multipart/x; boundary=", "\"\\", 1000000, false},
        {"dashes", MIXED, "--", 10000000, false},
        {"delimiters almost", MIXED, "--m-\r\n", 1000000, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len;
        char *message = repeat(cases[i].head, cases[i].unit, cases[i].n, &len);
        json_t *parsed = mime_parse(message, len);
        cr_assert_not_null(parsed, "%s", cases[i].name);
        cr_assert_eq(json_is_true(json_object_get(parsed, "truncated")), cases[i].truncated, "%s",
                     cases[i].name);
        json_decref(parsed);
        free(message);
    }
}
