#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/decode.h"
#include "base/buffer.h"

/* --- JSON --------------------------------------------------------------------------------- */

static enum error_code parse(const char *body, size_t len, struct error *err)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    CLEANUP(buffer_clear) struct buffer text;
    const struct json_value *value = NULL;
    *err = (struct error){0};
    buffer_init(&text, 64 << 20);
    cr_assert_eq(buffer_append(&text, body, len), 0);
    int rc = decode_json(arena, &text, &value, err);
    cr_assert_eq(rc == 0, value != NULL);
    return rc == 0 ? ERR_NONE : err->code;
}

Test(decode, json_is_an_object_and_nothing_else)
{
    static const struct {
        const char *body;
        enum error_code code;
    } rows[] = {
        {"{}", ERR_NONE},
        {" {\"a\": [1, \"]\\\"}\", null]} \n", ERR_NONE},
        {"{\"a\": \"\\u0000\"}", ERR_NONE},
        {"", ERR_MALFORMED},
        {" ", ERR_MALFORMED},
        {"{", ERR_MALFORMED},
        {"{}}", ERR_MALFORMED},
        {"{} x", ERR_MALFORMED},
        {"\xef\xbb\xbf{}", ERR_MALFORMED},
        {"5", ERR_MALFORMED},
        {"\"x\"", ERR_MALFORMED},
        {"null", ERR_MALFORMED},
        {"[]", ERR_MALFORMED},
        {"{\"a\": NaN}", ERR_MALFORMED},
        {"{\"a\": 1e999}", ERR_MALFORMED},
        {"{\"a\": 9223372036854775808}", ERR_MALFORMED},
        {"{\"a\": 01}", ERR_MALFORMED},
        {"{\"a\": \"\xff\"}", ERR_MALFORMED},
        {"{\"a\": \"\\ud800\"}", ERR_MALFORMED},
        {"{\"a\": \"tab\there\"}", ERR_MALFORMED},
        {"{'a': 1}", ERR_MALFORMED},
        {"{\"a\": 1,}", ERR_MALFORMED},
        {"{\"to\": 1, \"to\": 2}", ERR_MALFORMED},
        {"{\"to\": 1, \"t\\u006f\": 2}", ERR_MALFORMED},
        {"{\"a\": {\"b\": 1, \"b\": 1}}", ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err;
        enum error_code code = parse(rows[i].body, strlen(rows[i].body), &err);
        cr_expect_eq(code, rows[i].code, "%s: %s", rows[i].body, err.detail);
    }
}

Test(decode, malformed_json_is_told_by_its_offset_and_not_repeated)
{
    struct error err;
    static const char body[] = "{\"a\": \"SECRET\", x}";
    cr_assert_eq(parse(body, sizeof(body) - 1, &err), ERR_MALFORMED);
    cr_assert_not_null(strstr(err.detail, "offset 16"), "%s", err.detail);
    cr_assert_null(strstr(err.detail, "SECRET"), "%s", err.detail);
}

Test(decode, malformed_json_is_told_by_its_cause)
{
    static const struct {
        const char *body, *cause;
    } rows[] = {
        {"\xef\xbb\xbf{\"a\": 1}", "byte order mark"},
        {"\xff\xfe{", "UTF-16"},
        {"\xfe\xff{", "UTF-16"},
        {"{\"a\": \"\xe4\"}", "not UTF-8"},
        {"{\"a\": \"\xc0\xaf\"}", "not UTF-8"},
        {"{\"a\": \"\xed\xa0\x80\"}", "not UTF-8"},
        {"{\"a\": \"\\ud800\"}", "surrogate"},
        {"{\"a\": \"\\udc00\"}", "surrogate"},
        {"{\"a\": \"\\ud83d\\u0041\"}", "surrogate"},
        {"{\"\\udfff\": 1}", "surrogate"},
        {"{\"metadata\": {\"n\": 123456789012345678901234567890}}", "too large"},
        {"{\"a\": 1e999}", "too large"},
        {"{\"a\": [-1e400]}", "too large"},
        {"{\"sub\\u0000ject\": \"s\"}", "\\u0000"},
        {"{\"a\": {\"\\u0000\": 1}}", "\\u0000"},
        {"{\"a\": \"b", "cut off"},
        {"{\"a\": [1, 2", "cut off"},
        {"{} {}", "stands behind"},
        {"{\"a\": 1, \"a\": 2}", "twice"},
        {"{\"a\": 01}", "not JSON"},
        {"{\"a\": \"\\x\"}", "not JSON"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err;
        cr_expect_eq(parse(rows[i].body, strlen(rows[i].body), &err), ERR_MALFORMED);
        cr_expect_not_null(strstr(err.detail, rows[i].cause), "%s: %s", rows[i].body, err.detail);
    }
}

static char *repeat(const char *head, const char *piece, size_t n, const char *end, size_t *len_out)
{
    struct buffer b;
    buffer_init(&b, 64 << 20);
    buffer_append_str(&b, head);
    for (size_t i = 0; i < n; i++)
        buffer_append_str(&b, piece);
    buffer_append_str(&b, end);
    *len_out = b.len;
    char *s = buffer_steal_str(&b);
    cr_assert_not_null(s);
    return s;
}

Test(decode, json_that_explodes_is_refused_before_it_is_parsed)
{
    static const struct {
        const char *head, *piece, *end;
        size_t n;
        enum error_code code;
    } rows[] = {
        {"{\"a\":", "[", "", 100000, ERR_MALFORMED},
        {"", "{\"a\":", "", 100000, ERR_MALFORMED},
        {"{\"a\":", "[", "]]]]]]]]]]]]]]]}", 15, ERR_NONE},       /* 16 levels */
        {"{\"a\":", "[", "]]]]]]]]]]]]]]]]}", 16, ERR_MALFORMED}, /* 17 */
        {"{\"a\":[", "{},", "{}]}", 3500000, ERR_TOO_LARGE},
        {"{\"a\":[", "1,", "1]}", 3000000, ERR_TOO_LARGE},
        {"{", "\"k\":1,", "\"z\":1}", 200000, ERR_TOO_LARGE},
        {"{\"text\":\"", "{[,:\\\"", "\"}", 1000000, ERR_NONE}, /* in a string it costs nothing */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len;
        struct error err;
        char *body = repeat(rows[i].head, rows[i].piece, rows[i].n, rows[i].end, &len);
        clock_t begun = clock(); /* of the processor, however many others want it */
        cr_expect_eq(parse(body, len, &err), rows[i].code, "row %zu: %s", i, err.detail);
        cr_expect_lt(clock() - begun, 20 * CLOCKS_PER_SEC);
        free(body);
    }
}

/* --- messages ----------------------------------------------------------------------------- */

struct decoded {
    struct arena *arena;
    struct buffer body;
    struct message message;
    struct error_list errors;
    int rc;
};

static void decode(const char *body, struct decoded *d)
{
    struct error err = {0};
    *d = (struct decoded){.arena = arena_new()};
    const struct json_value *value;
    buffer_init(&d->body, 64 << 20);
    buffer_append_str(&d->body, body);
    cr_assert_eq(decode_json(d->arena, &d->body, &value, &err), 0, "%s: %s", body, err.detail);
    d->rc = decode_message(d->arena, value, &d->message, &d->errors, &err);
    cr_assert_eq(d->rc<0, d->errors.n_total> 0);
    cr_assert_eq(err.code, ERR_NONE);
}

static void clear(struct decoded *d)
{
    error_list_clear(&d->errors);
    buffer_clear(&d->body);
    arena_free(d->arena);
}

Test(decode, a_full_message)
{
    struct decoded d;
    decode("{\"from\": \"Alice <alice@example.com>\", \"sender\": \"s@example.com\","
           "\"to\": [\"bob@example.net\", {\"name\": \"Carol \xc3\x96\", \"email\": \"c@x.org\"}],"
           "\"cc\": \"one@x.org\", \"bcc\": [], \"reply_to\": {\"email\": \"r@x.org\"},"
           "\"subject\": \"Hi\", \"text\": \"a\\u0000b\", \"html\": \"<p>\","
           "\"attachments\": [{\"filename\": \"a.pdf\", \"content\": \"QQ==\","
           "  \"content_type\": \"application/pdf\", \"disposition\": \"inline\","
           "  \"content_id\": \"logo\"}, {\"content\": \"\"}],"
           "\"headers\": {\"X-Campaign\": \"42\", \"X-None\": null},"
           "\"message_id\": \"<a@b>\", \"in_reply_to\": \"<c@d>\", \"references\": [\"<e@f>\"],"
           "\"envelope\": {\"from\": \"bounces@example.com\", \"to\": [\"x@y.org\"]},"
           "\"tags\": [\"a\", \"b\"], \"metadata\": {\"user\": \"7\"}, \"amp\": null,"
           "\"relay\": \"backup\", \"priority\": \"low\", \"ttl\": \"24h\", \"require_tls\": true,"
           "\"dsn\": {\"notify\": [\"delay\", \"failure\"], \"ret\": \"headers\", \"envid\": "
           "\"a+b\"}}",
           &d);
    const struct message *m = &d.message;
    cr_assert_eq(d.rc, 0);
    cr_assert_str_eq(m->from.name, "Alice");
    cr_assert_str_eq(m->from.email, "alice@example.com");
    cr_assert_str_eq(m->sender->email, "s@example.com");
    cr_assert_eq(m->to.n_items, 2);
    cr_assert_str_eq(m->to.items[1].name, "Carol \xc3\x96");
    cr_assert_eq(m->cc.n_items, 1);
    cr_assert_eq(m->bcc.n_items, 0);
    cr_assert_str_eq(m->reply_to.items[0].email, "r@x.org");
    cr_assert_str_eq(m->subject, "Hi");
    cr_assert_eq(m->text.len, 3);
    cr_assert_eq(memcmp(m->text.data, "a\0b", 3), 0);
    cr_assert_eq(m->html.len, 3);
    cr_assert_eq(m->n_attachments, 2);
    cr_assert_str_eq(m->attachments[0].filename, "a.pdf");
    cr_assert_str_eq(m->attachments[0].content_id, "logo");
    cr_assert(m->attachments[0].is_inline);
    cr_assert_eq(m->attachments[0].base64_len, 4);
    cr_assert_not(m->attachments[1].is_inline);
    cr_assert_null(m->attachments[1].content_type);
    cr_assert_eq(m->n_headers, 1);
    cr_assert_str_eq(m->headers[0].value, "42");
    cr_assert_str_eq(m->message_id, "<a@b>");
    cr_assert_str_eq(m->in_reply_to, "<c@d>");
    cr_assert_eq(m->n_references, 1);
    cr_assert_str_eq(m->envelope_from, "bounces@example.com");
    cr_assert_str_eq(m->envelope_to.items[0].email, "x@y.org");
    cr_assert_eq(m->n_tags, 2);
    cr_assert_str_eq(m->metadata, "{\"user\":\"7\"}");
    cr_assert_str_eq(m->options.relay, "backup");
    cr_assert_eq(m->options.priority, PRIORITY_LOW);
    cr_assert_eq(m->ttl_ms, 24 * 3600000);
    cr_assert(m->options.require_tls);
    cr_assert_str_eq(m->options.dsn.notify, "FAILURE,DELAY");
    cr_assert_str_eq(m->options.dsn.ret, "HDRS");
    cr_assert_str_eq(m->options.dsn.envid, "a+b");
    clear(&d);
}

Test(decode, what_is_not_asked_of_the_relay_is_not_said)
{
    struct decoded d;
    decode("{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"dsn\": {\"notify\": null}}", &d);
    const struct message *m = &d.message;
    cr_assert_eq(d.rc, 0);
    cr_assert_null(m->options.relay);
    cr_assert_eq(m->options.priority, PRIORITY_NORMAL);
    cr_assert_eq(m->ttl_ms, 0);
    cr_assert_not(m->options.require_tls);
    cr_assert_null(m->options.dsn.notify);
    cr_assert_null(m->options.dsn.ret);
    cr_assert_null(m->options.dsn.envid);
    clear(&d);
}

Test(decode, notifications_in_the_words_of_smtp)
{
    static const struct {
        const char *list, *notify;
    } rows[] = {
        {"[\"never\"]", "NEVER"},
        {"[\"never\", \"never\"]", "NEVER"},
        {"[\"failure\"]", "FAILURE"},
        {"[\"delay\"]", "DELAY"},
        {"[\"success\"]", "SUCCESS"},
        {"[\"delay\", \"success\"]", "SUCCESS,DELAY"},
        {"[\"failure\", \"success\"]", "SUCCESS,FAILURE"},
        {"[\"failure\", \"delay\", \"success\", \"failure\"]", "SUCCESS,FAILURE,DELAY"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[160];
        struct decoded d;
        snprintf(body, sizeof(body),
                 "{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"dsn\": {\"notify\": %s}}",
                 rows[i].list);
        decode(body, &d);
        cr_expect_eq(d.rc, 0, "%s", rows[i].list);
        cr_expect_str_eq(d.message.options.dsn.notify, rows[i].notify, "%s", rows[i].list);
        clear(&d);
    }
}

Test(decode, null_is_the_same_as_absent)
{
    struct decoded d;
    decode("{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"sender\": null, \"cc\": null,"
           "\"subject\": null, \"attachments\": null, \"raw\": null, \"bbc\": null,"
           "\"envelope\": {\"from\": null}, \"headers\": null}",
           &d);
    cr_assert_eq(d.rc, 0);
    cr_assert_null(d.message.sender);
    cr_assert_null(d.message.subject);
    cr_assert_null(d.message.envelope_from);
    clear(&d);
}

Test(decode, a_header_stands_as_often_as_its_list_says)
{
    struct decoded d;
    decode("{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"headers\": {\"X-A\": [\"1\", \" 2 \"],"
           "\"X-B\": [], \"X-C\": \"3\", \"X-D\": null}}",
           &d);
    static const char *const rows[][2] = {{"X-A", "1"}, {"X-A", "2"}, {"X-C", "3"}};
    cr_assert_eq(d.rc, 0);
    cr_assert_eq(d.message.n_headers, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(d.message.headers[i].name, rows[i][0]);
        cr_expect_str_eq(d.message.headers[i].value, rows[i][1]);
    }
    clear(&d);
}

Test(decode, an_attachment_with_an_id_is_inline_if_it_says_nothing_else)
{
    static const struct {
        const char *fields;
        bool is_inline;
    } rows[] = {
        {"", false},
        {", \"content_id\": \"logo\"", true},
        {", \"content_id\": \"logo\", \"disposition\": null", true},
        {", \"content_id\": null", false},
        {", \"disposition\": \"inline\"", true},
        {", \"content_id\": \"logo\", \"disposition\": \"attachment\"", false},
        {", \"disposition\": \"attachment\", \"content_id\": \"logo\"", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[200];
        struct decoded d;
        snprintf(body, sizeof(body),
                 "{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"attachments\": "
                 "[{\"content\": \"\"%s}]}",
                 rows[i].fields);
        decode(body, &d);
        cr_assert_eq(d.rc, 0);
        cr_expect_eq(d.message.attachments[0].is_inline, rows[i].is_inline, "%s", rows[i].fields);
        clear(&d);
    }
}

Test(decode, the_null_sender_is_an_empty_string)
{
    struct decoded d;
    decode("{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"envelope\": {\"from\": \"\"}}", &d);
    cr_assert_eq(d.rc, 0);
    cr_assert_str_eq(d.message.envelope_from, "");
    clear(&d);
}

#define WELL "\"from\": \"a@b.org\", \"to\": \"c@d.org\""

static const struct {
    const char *body;
    const char *pointers[6]; /* in this order */
} faults[] = {
    {"{}", {"/from", "/to"}},
    {"{\"from\": null, \"to\": [], \"envelope\": 5}", {"/envelope", "/from", "/to"}},
    {"{\"to\": 5}", {"/to", "/from"}},
    {"{\"from\": [\"a@b.org\"], \"cc\": \"c@d.org\"}", {"/from"}},
    {"{" WELL ", \"bbc\": \"x\", \"subject\": {}}", {"/bbc", "/subject"}},
    {"{\"from\": \"a@b.org\", \"to\": [null, \"c@d.org\", 5, \"x\"]}", {"/to/0", "/to/2", "/to/3"}},
    {"{" WELL ", \"cc\": {\"email\": \"x@y.org\", \"nam\": \"x\"}}", {"/cc/nam"}},
    {"{" WELL ", \"cc\": [{\"name\": \"x\"}, {\"email\": 5}]}", {"/cc/0", "/cc/1/email"}},
    {"{" WELL ", \"cc\": [{\"email\": \"x@y.org\", \"name\": \"a\\nb\"}]}", {"/cc/0"}},
    {"{" WELL ", \"subject\": \"a\\r\\nBcc: x@y\"}", {"/subject"}},
    {"{" WELL ", \"subject\": \"a\\u0000b\"}", {"/subject"}},
    {"{" WELL ", \"subject\": \"a\\u0085b\"}", {"/subject"}},
    {"{" WELL ", \"subject\": \"a\\u2028b\"}", {"/subject"}},
    {"{" WELL ", \"text\": 1, \"html\": []}", {"/text", "/html"}},
    {"{" WELL ", \"headers\": {\"X A\": \"y\", \"Bcc\": \"z\", \"X\": 1, \"\": \"e\"}}",
     {"/headers/X A", "/headers/Bcc", "/headers/X", "/headers/"}},
    {"{" WELL ", \"headers\": []}", {"/headers"}},
    {"{" WELL ", \"headers\": {\"X-A\": [\"1\", 2, \"a\\nb\", []], \"x-a\": \"3\", \"X-a\": []}}",
     {"/headers/X-A/1", "/headers/X-A/2", "/headers/X-A/3", "/headers/x-a", "/headers/X-a"}},
    {"{" WELL ", \"headers\": {\"List-Post\": [\"<a>\", \"\u00f6\"], \"X/~\": {}, \"Errors-To\": "
     "\"\u00f6\", \"List-Id\": \"\u00f6\"}}",
     {"/headers/List-Post/1", "/headers/X~1~0", "/headers/Errors-To", "/headers/List-Id"}},
    {"{" WELL ", \"attachments\": [{}, 5, {\"content\": 1}, {\"content\": \"\", \"url\": \"x\"}]}",
     {"/attachments/0/content", "/attachments/1", "/attachments/2/content", "/attachments/3/url"}},
    {"{" WELL ", \"attachments\": {\"content\": \"\"}}", {"/attachments"}},
    {"{" WELL ", \"attachments\": [{\"content\": \"\", \"filename\": \"a\\nb\","
     "\"content_type\": \"a\\rb\", \"content_id\": \"\\u0000\", \"disposition\": \"form-data\"}]}",
     {"/attachments/0/filename", "/attachments/0/content_type", "/attachments/0/content_id",
      "/attachments/0/disposition"}},
    {"{" WELL ", \"envelope\": {\"form\": \"x\", \"to\": [5], \"from\": \"x\"}}",
     {"/envelope/form", "/envelope/to/0", "/envelope/from"}},
    {"{" WELL ", \"tags\": [\"a\\nb\", 5, null], \"references\": \"x\"}",
     {"/tags/0", "/tags/1", "/tags/2", "/references"}},
    {"{" WELL ", \"metadata\": {\"a\": 1, \"b\": \"\\u0000\", \"c/~\": null}}",
     {"/metadata/a", "/metadata/b", "/metadata/c~1~0"}},
    {"{" WELL ", \"metadata\": []}", {"/metadata"}},
    {"{" WELL ", \"a/b~c\": 1}", {"/a~1b~0c"}},
    {"{" WELL ", \"raw\": \"x\", \"template\": \"y\"}", {"/raw", "/template"}},
    {"{" WELL ", \"relay\": 5, \"priority\": \"urgent\", \"require_tls\": \"yes\", \"dsn\": 1}",
     {"/relay", "/priority", "/require_tls", "/dsn"}},
    {"{" WELL ", \"relay\": \"a\\nb\", \"priority\": 1, \"ttl\": 60}",
     {"/relay", "/priority", "/ttl"}},
    {"{" WELL ", \"ttl\": \"soon\"}", {"/ttl"}},
    {"{" WELL ", \"ttl\": \"0s\"}", {"/ttl"}},
    {"{" WELL ", \"ttl\": \"-1h\"}", {"/ttl"}},
    {"{" WELL ", \"ttl\": \"99999999999999999999h\"}", {"/ttl"}},
    {"{" WELL
     ", \"dsn\": {\"notify\": \"failure\", \"ret\": \"hdrs\", \"envid\": \"\", \"orcpt\": 1}}",
     {"/dsn/notify", "/dsn/ret", "/dsn/envid", "/dsn/orcpt"}},
    {"{" WELL ", \"dsn\": {\"notify\": [\"never\", \"failure\"]}}", {"/dsn/notify"}},
    {"{" WELL ", \"dsn\": {\"notify\": []}}", {"/dsn/notify"}},
    {"{" WELL ", \"dsn\": {\"notify\": [\"failure\", \"FAILURE\", 5]}}",
     {"/dsn/notify/1", "/dsn/notify/2"}},
    {"{" WELL ", \"dsn\": {\"envid\": \"a\\nb\"}}", {"/dsn/envid"}},
    {"{" WELL ", \"dsn\": {\"envid\": \"caf\xc3\xa9\"}}", {"/dsn/envid"}},
};

Test(decode, every_fault_is_told_at_once_by_its_pointer)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct decoded d;
        decode(faults[i].body, &d);
        size_t n = 0;
        for (; n < 6 && faults[i].pointers[n] != NULL; n++)
            cr_expect(n < d.errors.n_items &&
                          strcmp(d.errors.items[n].where, faults[i].pointers[n]) == 0,
                      "%s: %s wanted, %s", faults[i].body, faults[i].pointers[n],
                      n < d.errors.n_items ? d.errors.items[n].where : "nothing");
        cr_expect_eq(d.errors.n_total, n, "%s: %zu faults", faults[i].body, d.errors.n_total);
        clear(&d);
    }
}

Test(decode, an_unknown_field_is_told_with_the_nearest_known_one)
{
    static const struct {
        const char *field, *nearest; /* NULL: none is near */
    } rows[] = {
        {"bbc", "bcc"},         {"form", "from"},
        {"subjct", "subject"},  {"replyto", "reply_to"},
        {"Subject", "subject"}, {"meta_data", "metadata"},
        {"zzzzzz", NULL},       {"x", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[128], wanted[64];
        struct decoded d;
        snprintf(body, sizeof(body), "{" WELL ", \"%s\": 1}", rows[i].field);
        snprintf(wanted, sizeof(wanted), "did you mean %s?", rows[i].nearest);
        decode(body, &d);
        const char *hint = strstr(d.errors.items[0].detail, "did you mean");
        if (rows[i].nearest == NULL)
            cr_expect_null(hint, "%s: %s", rows[i].field, hint);
        else
            cr_expect(hint != NULL && strcmp(hint, wanted) == 0, "%s: %s", rows[i].field,
                      d.errors.items[0].detail);
        clear(&d);
    }
}

Test(decode, pointers_too_long_to_keep_are_cut)
{
    for (size_t n = 100; n < 400; n++) {
        struct decoded d;
        char key[400], body[600];
        memset(key, n % 2 == 0 ? '/' : 'k', n);
        key[n] = '\0';
        snprintf(body, sizeof(body), "{" WELL ", \"metadata\": {\"%s\": 1}}", key);
        decode(body, &d);
        cr_assert_eq(d.errors.n_total, 1);
        cr_assert_eq(strncmp(d.errors.items[0].where, "/metadata/", 10), 0);
        clear(&d);
    }
}

Test(decode, lists_are_bounded)
{
    static const struct {
        const char *head, *piece, *end;
        size_t most;
        const char *pointer;
    } rows[] = {
        {"{\"from\": \"a@b.org\", \"to\": [", "\"c@d.org\",", "\"e@f.org\"]}", 999, "/to"},
        {"{" WELL ", \"tags\": [", "\"t\",", "\"u\"]}", 19, "/tags"},
        {"{" WELL ", \"references\": [", "\"<a@b>\",", "\"<c@d>\"]}", 999, "/references"},
        {"{" WELL ", \"attachments\": [", "{\"content\":\"\"},", "{\"content\":\"\"}]}", 999,
         "/attachments"},
        {"{" WELL ", \"headers\": {\"X-A\": [", "\"v\",", "\"w\"]}}", 99, "/headers"},
        {"{" WELL ", \"headers\": {\"X-A\": \"", "v", "\"}}", 997, "/headers/X-A"},
        {"{" WELL ", \"tags\": [\"", "t", "\"]}", 128, "/tags/0"},
        {"{" WELL ", \"metadata\": {\"a\": \"", "t", "\"}}", 1024, "/metadata/a"},
        {"{" WELL ", \"dsn\": {\"envid\": \"", "e", "\"}}", 100, "/dsn/envid"},
        {"{" WELL ", \"dsn\": {\"envid\": \"", "+", "\"}}", 33, "/dsn/envid"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t more = 0; more < 2; more++) {
            size_t len;
            struct decoded d;
            char *body =
                repeat(rows[i].head, rows[i].piece, rows[i].most + more, rows[i].end, &len);
            decode(body, &d);
            cr_expect_eq(d.errors.n_total, more, "row %zu", i);
            if (d.errors.n_total > 0)
                cr_expect_str_eq(d.errors.items[0].where, rows[i].pointer);
            clear(&d);
            free(body);
        }
}
