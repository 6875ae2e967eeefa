#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message/base64.h"
#include "message/compose.h"
#include "message/header.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

static const struct compose_options options = {
    .now_ms = 1795435200000, .id = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .size_limit = 1 << 20};

struct composition {
    struct arena *arena;
    struct address from, to;
    struct message message;
    struct error_list errors;
    const char *wire; /* NULL: refused */
    bool smtputf8;
};

static void set(struct composition *c)
{
    *c = (struct composition){.arena = arena_new()};
    struct error err;
    cr_assert_eq(address_parse(c->arena, "a@example.com", 13, &c->message.from, &err), 0);
    cr_assert_eq(address_parse(c->arena, "b@example.net", 13, &c->to, &err), 0);
    c->message.to = (struct address_list){&c->to, 1};
    c->message.subject = "s";
    c->message.text = (struct text)TEXT("t");
}

static void compose(struct composition *c)
{
    struct composed composed;
    struct error err;
    c->wire = NULL;
    error_list_clear(&c->errors);
    if (message_compose(c->arena, &c->message, &options, &composed, &c->errors, &err) < 0)
        return;
    c->wire = arena_strndup(c->arena, composed.content->data, composed.content->len);
    c->smtputf8 = composed.smtputf8;
    bytes_unref(composed.content);
}

static void clear(struct composition *c)
{
    error_list_clear(&c->errors);
    arena_free(c->arena);
}

static void expect(const struct composition *c, const char *part)
{
    cr_assert_not_null(c->wire, "refused: %s %s", c->errors.n_items ? c->errors.items[0].where : "",
                       c->errors.n_items ? c->errors.items[0].detail : "");
    cr_expect(strstr(c->wire, part) != NULL, "%s\nis not in\n%s", part, c->wire);
}

static void expect_fault(const struct composition *c, const char *where, const char *why)
{
    cr_assert_null(c->wire, "%s was taken", where);
    cr_expect_str_eq(c->errors.items[0].where, where);
    cr_expect(strstr(c->errors.items[0].detail, why) != NULL, "%s", c->errors.items[0].detail);
}

static struct attachment attach(struct composition *c, const char *octets, size_t len)
{
    char *base64 = base64_encode_str(octets, len);
    struct attachment a = {.base64 = arena_strdup(c->arena, base64), .base64_len = strlen(base64)};
    free(base64);
    return a;
}

Test(compose, a_plain_message)
{
    struct composition c;
    set(&c);
    compose(&c);
    cr_assert_str_eq(c.wire, "Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
                             "From: a@example.com\r\n"
                             "To: b@example.net\r\n"
                             "Subject: s\r\n"
                             "Message-ID: <01ARZ3NDEKTSV4RRFFQ69G5FAV@example.com>\r\n"
                             "MIME-Version: 1.0\r\n"
                             "Content-Type: text/plain; charset=utf-8\r\n"
                             "Content-Transfer-Encoding: 7bit\r\n"
                             "\r\n"
                             "t\r\n");
    cr_expect_not(c.smtputf8);
    c.message.bcc = c.message.to;
    c.message.to.n_items = 0;
    compose(&c);
    expect(&c, "To: undisclosed-recipients:;\r\n");
    cr_expect_null(strstr(c.wire, "b@example.net"));
    clear(&c);
}

/* --- identifiers -------------------------------------------------------------------------- */

Test(compose, ids_of_others_are_taken_as_they_are)
{
    static const char *const good[] = {
        "<a@b>", "<no-at-sign>", "<a@b@c>", "<[x,y;z]:\"q\\\"@(host)>", "<a@b.>", "<.>"};
    static const char *const bad[] = {"",        "<>",         "a@b",     "<a@b",         "a@b>",
                                      "<a b@c>", "<a@b><c@d>", "<<a@b>>", "<a@\xc3\xb6>", " <a@b>"};
    struct composition c;
    set(&c);
    for (size_t i = 0; i < COUNT(good); i++) {
        c.message.in_reply_to = good[i];
        c.message.references = &good[i];
        c.message.n_references = 1;
        compose(&c);
        expect(&c, arena_printf(c.arena, "\r\nIn-Reply-To: %s\r\nReferences: %s\r\n", good[i],
                                good[i]));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        c.message.in_reply_to = bad[i];
        c.message.references = &bad[i];
        compose(&c);
        expect_fault(&c, "/in_reply_to", "of the form <id>");
        cr_expect_str_eq(c.errors.items[1].where, "/references/0");
    }
    clear(&c);
}

Test(compose, our_own_id_is_by_the_book)
{
    static const char *const bad[] = {"<no-at-sign>", "<a@b@c>", "<a,b@c>", "<a@b", "<@b>", "<a@>"};
    struct composition c;
    set(&c);
    for (size_t i = 0; i < COUNT(bad); i++) {
        c.message.message_id = bad[i];
        compose(&c);
        expect_fault(&c, "/message_id", "<left@right>");
    }
    c.message.message_id = "<order-7@shop.example>";
    compose(&c);
    expect(&c, "\r\nMessage-ID: <order-7@shop.example>\r\n");
    clear(&c);
}

/* --- parts -------------------------------------------------------------------------------- */

Test(compose, related_says_what_its_root_is)
{
    struct composition c;
    set(&c);
    struct attachment a = attach(&c, "x", 1);
    a.content_id = "logo";
    a.is_inline = true;
    c.message.attachments = &a;
    c.message.n_attachments = 1;
    c.message.html = (struct text)TEXT("<img src=\"cid:logo\">");
    compose(&c);
    expect(&c, "Content-Type: multipart/related; type=\"multipart/alternative\";\r\n\tboundary=");
    c.message.text = (struct text){0};
    compose(&c);
    expect(&c, "Content-Type: multipart/related; type=\"text/html\";\r\n\tboundary=");
    a.is_inline = false;
    compose(&c);
    expect(&c, "Content-Type: multipart/mixed;\r\n\tboundary=");
    clear(&c);
}

Test(compose, types_and_names_of_attachments)
{
    static const struct {
        const char *type, *filename, *wire;
    } rows[] = {
        {NULL, NULL,
         "Content-Type: application/octet-stream\r\nContent-Disposition: attachment\r\n"},
        {NULL, "", "Content-Type: application/octet-stream\r\nContent-Disposition: attachment\r\n"},
        {NULL, "a.pdf",
         "Content-Type: application/pdf;\r\n\tname=a.pdf\r\n"
         "Content-Disposition: attachment;\r\n\tfilename=a.pdf\r\n"},
        {"text/x", "a.pdf", "Content-Type: text/x;\r\n\tname=a.pdf\r\n"},
        {"application/pdf; name=\"b.pdf\"", "a.pdf",
         "Content-Type: application/pdf;\r\n\tname=a.pdf\r\n"
         "Content-Disposition: attachment;\r\n\tfilename=a.pdf\r\n"},
        {"application/pdf; name=\"b c.pdf\"", NULL,
         "Content-Type: application/pdf;\r\n\tname=\"b c.pdf\"\r\n"
         "Content-Disposition: attachment;\r\n\tfilename=\"b c.pdf\"\r\n"},
        {"text/csv;", NULL, "Content-Type: text/csv\r\n"},
        {NULL, "../a/b.txt", "filename=\"../a/b.txt\"\r\n"},
        {NULL, "C:\\b.txt", "filename*=UTF-8''C%3A%5Cb.txt\r\n"},
    };
    struct composition c;
    set(&c);
    struct attachment a = attach(&c, "x", 1);
    c.message.attachments = &a;
    c.message.n_attachments = 1;
    for (size_t i = 0; i < COUNT(rows); i++) {
        a.content_type = rows[i].type;
        a.filename = rows[i].filename;
        compose(&c);
        expect(&c, rows[i].wire);
    }
    static const char *const bad[] = {"x", "text/csv; =x", "text/csv; a=\"b", "multipart/mixed"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        a.content_type = bad[i];
        compose(&c);
        expect_fault(&c, "/attachments/0/content_type", "");
    }
    clear(&c);
}

Test(compose, file_names_have_255_characters)
{
    struct composition c;
    set(&c);
    struct attachment a = attach(&c, "x", 1);
    char name[4 * 256 + 1];
    for (size_t i = 0; i < 256; i++)
        memcpy(name + 4 * i, "\xf0\x9f\x98\x80", 4);
    c.message.attachments = &a;
    c.message.n_attachments = 1;
    a.filename = name;
    name[4 * 256] = '\0';
    compose(&c);
    expect_fault(&c, "/attachments/0/filename", "255 characters");
    name[4 * 255] = '\0';
    compose(&c);
    cr_expect_not_null(c.wire);
    clear(&c);
}

Test(compose, messages_go_as_what_they_are)
{
    static const struct {
        const char *label, *type, *filename;
        struct text octets;
        const char *wire, *fault; /* one of them */
    } rows[] = {
        {"7bit", "message/rfc822", NULL, TEXT("From: x@y\n\nHi\n"),
         "Content-Transfer-Encoding: 7bit\r\n\r\nFrom: x@y\r\n\r\nHi\r\n\r\n--", NULL},
        {"8bit", "message/rfc822", "m.eml", TEXT("From: x@y\r\n\r\n\xc3\xb6"),
         "Content-Transfer-Encoding: 8bit\r\n\r\nFrom: x@y\r\n\r\n\xc3\xb6\r\n--", NULL},
        {"all around says 8bit", "message/rfc822", NULL, TEXT("\xc3\xb6"),
         "_m\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--", NULL},
        {"by its name", NULL, "m.eml", TEXT("From: x@y\n"),
         "Content-Type: message/rfc822;\r\n\tname=m.eml\r\n", NULL},
        {"a file after all", NULL, "m.eml", TEXT("a\0b"),
         "Content-Type: application/octet-stream;\r\n\tname=m.eml\r\n", NULL},
        {"other kinds", "message/delivery-status", NULL, TEXT("Reporting-MTA: dns; x\n"),
         "Content-Transfer-Encoding: 7bit\r\n\r\nReporting-MTA", NULL},
        {"other kinds are 7-bit", "message/delivery-status", NULL, TEXT("\xc3\xb6"), NULL, "ASCII"},
        {"NUL", "message/rfc822", NULL, TEXT("a\0b"), NULL, "NUL"},
        {"our boundary", "message/rfc822", NULL, TEXT("--=_01ARZ3NDEKTSV4RRFFQ69G5FAV_m"), NULL,
         "boundary"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct composition c;
        set(&c);
        struct attachment a = attach(&c, rows[i].octets.data, rows[i].octets.len);
        a.content_type = rows[i].type;
        a.filename = rows[i].filename;
        c.message.attachments = &a;
        c.message.n_attachments = 1;
        compose(&c);
        if (rows[i].fault != NULL)
            expect_fault(&c, "/attachments/0/content", rows[i].fault);
        else
            expect(&c, rows[i].wire);
        a.base64 = "!!!!";
        a.base64_len = 4;
        compose(&c);
        expect_fault(&c, "/attachments/0/content", "is not base64");
        clear(&c);
    }
}

/* --- who needs SMTPUTF8 ------------------------------------------------------------------- */

Test(compose, a_header_with_a_utf8_local_part_needs_smtputf8_and_a_bcc_does_not)
{
    struct composition c;
    struct address utf8;
    set(&c);
    cr_assert_eq(address_parse(c.arena, "j\xc3\xb6@x.org", 8, &utf8, NULL), 0);
    struct address_list list = {&utf8, 1};
    struct header_field field;
    compose(&c);
    cr_expect_not(c.smtputf8);
    c.message.bcc = list;
    compose(&c);
    cr_expect_not(c.smtputf8);
    c.message.bcc.n_items = 0;
    struct address_list *lists[] = {&c.message.to, &c.message.cc, &c.message.reply_to};
    for (size_t i = 0; i < COUNT(lists); i++) {
        struct address_list before = *lists[i];
        *lists[i] = list;
        compose(&c);
        cr_expect(c.smtputf8, "list %zu", i);
        *lists[i] = before;
    }
    cr_assert_eq(header_field_set(c.arena, "Errors-To", "j\xc3\xb6@x.org", &field, NULL), 0);
    c.message.headers = &field;
    c.message.n_headers = 1;
    compose(&c);
    cr_expect(c.smtputf8);
    expect(&c, "\r\nErrors-To: j\xc3\xb6@x.org\r\n");
    clear(&c);
}

/* --- the envelope ------------------------------------------------------------------------- */

/* "PREFIX7@DOMAIN" and so on. */
static struct address_list addresses(struct arena *arena, const char *prefix, const char *domain,
                                     size_t n)
{
    struct address_list list = {arena_alloc_array(arena, n + 1, sizeof(struct address)), n};
    for (size_t i = 0; i < n; i++) {
        char text[64];
        int len = snprintf(text, sizeof(text), "%s%zu@%s", prefix, i, domain);
        cr_assert_eq(address_parse(arena, text, (size_t)len, &list.items[i], NULL), 0);
    }
    return list;
}

Test(compose, the_envelope_has_each_mailbox_once)
{
    struct composition c;
    struct envelope envelope;
    struct error err;
    set(&c);
    c.message.to = addresses(c.arena, "u", "x.org", 1000);
    c.message.cc = addresses(c.arena, "u", "X.ORG", 1000);
    c.message.bcc = addresses(c.arena, "u", "x.Org", 1000);
    cr_assert_eq(message_envelope(c.arena, &c.message, &envelope, &c.errors, &err), 0);
    cr_expect_eq(envelope.n_to, 1000);
    cr_expect_str_eq(envelope.from, "a@example.com");
    for (size_t i = 0; i < envelope.n_to; i++)
        cr_assert_str_eq(envelope.to[i], c.message.to.items[i].email);

    c.message.bcc = addresses(c.arena, "U", "x.org", 1); /* a local part has case */
    cr_assert_eq(message_envelope(c.arena, &c.message, &envelope, &c.errors, &err), -1);
    cr_expect_str_eq(c.errors.items[0].where, "/to");

    c.message.envelope_to = addresses(c.arena, "only", "x.org", 1);
    cr_assert_eq(message_envelope(c.arena, &c.message, &envelope, &c.errors, &err), 0);
    cr_expect_eq(envelope.n_to, 1);
    cr_expect_str_eq(envelope.to[0], "only0@x.org");
    clear(&c);
}
