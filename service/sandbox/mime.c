#include "sandbox/mime.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/coding.h"
#include "sandbox/field.h"

/* Bounds for hostile mail: work and memory stay near linear in its size. */
enum {
    DEPTH_MAX = 16,
    PARTS_MAX = 500,
    FIELDS_MAX = 500,
    VALUE_MAX = 64 * 1024, /* octets of one field that are looked at */
    PARAMETER_MAX = 4096,
};

struct reading {
    json_t *out, *attachments; /* attachments: owned by out */
    size_t n_parts;
    bool truncated;
    bool failed; /* no memory */
};

struct part { /* each span empty if it is not there */
    struct span type, disposition, content_id, encoding, body;
};

/* Takes `value`; NULL is a failure that is remembered. */
static void set(struct reading *r, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) < 0)
        r->failed = true;
}

static json_t *string_of(const struct buffer *text)
{
    return text->failed ? NULL : json_stringn(text->data != NULL ? text->data : "", text->len);
}

static json_t *utf8_string(struct span s, struct span charset)
{
    CLEANUP(buffer_clear) struct buffer text;
    buffer_init(&text, 3 * s.len + 1); /* an octet becomes three at worst: U+FFFD */
    coding_to_utf8(s.data, s.len, charset.data, charset.len, &text);
    return string_of(&text);
}

static json_t *plain_string(struct span s)
{
    return utf8_string(s, (struct span){"", 0});
}

/* NULL: there is none, or no memory, which is then noted. */
static json_t *parameter_string(struct reading *r, struct span value, const char *name)
{
    CLEANUP(buffer_clear) struct buffer text;
    buffer_init(&text, PARAMETER_MAX);
    if (!field_parameter(value, name, &text))
        return NULL;
    json_t *string = text.failed ? json_string("(too long)") : string_of(&text);
    r->failed = r->failed || string == NULL;
    return string;
}

/* --- leaves ------------------------------------------------------------------------------- */

static void decode_body(const struct part *part, struct buffer *out)
{
    buffer_init(out, part->body.len + 8); /* no decoding makes it longer */
    if (field_main_is(part->encoding, "base64"))
        coding_base64_decode(part->body.data, part->body.len, out);
    else if (field_main_is(part->encoding, "quoted-printable"))
        coding_quoted_decode(part->body.data, part->body.len, out);
    else
        buffer_append(out, part->body.data, part->body.len);
}

static struct span without_angles(struct span id)
{
    if (id.len >= 2 && id.data[0] == '<' && id.data[id.len - 1] == '>')
        return (struct span){id.data + 1, id.len - 2};
    return id;
}

static void put_sha256(struct reading *r, json_t *object, const struct buffer *content)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char text[2 * SHA256_DIGEST_LENGTH + 1];
    const char *data = content->data != NULL ? content->data : "";
    SHA256((const unsigned char *)data, content->len, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    set(r, object, "sha256", json_string(text));
}

static void add_attachment(struct reading *r, const struct part *part, const struct buffer *content)
{
    struct span type = field_main(part->type);
    if (type.len == 0)
        type = (struct span){"text/plain", strlen("text/plain")}; /* RFC 2045, 5.2 */
    json_t *filename = parameter_string(r, part->disposition, "filename");
    if (filename == NULL)
        filename = parameter_string(r, part->type, "name");

    json_t *attachment = json_object();
    set(r, attachment, "filename", filename != NULL ? filename : json_null());
    set(r, attachment, "content_type", plain_string(type));
    set(r, attachment, "disposition",
        json_string(field_main_is(part->disposition, "inline") ? "inline" : "attachment"));
    if (part->content_id.len > 0)
        set(r, attachment, "content_id", plain_string(without_angles(part->content_id)));
    set(r, attachment, "size", json_integer((json_int_t)content->len));
    put_sha256(r, attachment, content);
    if (json_array_append_new(r->attachments, attachment) < 0)
        r->failed = true;
}

static void put_text(struct reading *r, const struct part *part, const char *key,
                     const struct buffer *content)
{
    CLEANUP(buffer_clear) struct buffer charset;
    buffer_init(&charset, 64);
    field_token(part->type, "charset", &charset); /* none is fine: read as UTF-8 */
    set(r, r->out, key,
        utf8_string((struct span){content->data, content->len},
                    (struct span){charset.data, charset.len}));
}

static void read_leaf(struct reading *r, const struct part *part)
{
    CLEANUP(buffer_clear) struct buffer content;
    decode_body(part, &content);
    bool html = field_main_is(part->type, "text/html");
    bool text = part->type.len == 0 || field_main_is(part->type, "text/plain");
    const char *key = html ? "html" : "text";
    if (content.failed)
        r->failed = true;
    else if ((html || text) && !field_main_is(part->disposition, "attachment") &&
             json_object_get(r->out, key) == NULL)
        put_text(r, part, key, &content);
    else
        add_attachment(r, part, &content);
}

/* --- multiparts --------------------------------------------------------------------------- */

enum delimiter { DELIMITER_NONE, DELIMITER_NEXT, DELIMITER_LAST };

/* `line` is with its line end. RFC 2046, 5.1.1: blanks may follow the boundary, nothing else. */
static enum delimiter delimiter_at(struct span line, const struct buffer *boundary)
{
    size_t n = boundary->len + 2;
    if (line.len < n || line.data[0] != '-' || line.data[1] != '-' ||
        memcmp(line.data + 2, boundary->data, boundary->len) != 0)
        return DELIMITER_NONE;
    bool last = line.len >= n + 2 && line.data[n] == '-' && line.data[n + 1] == '-';
    for (size_t i = last ? n + 2 : n; i < line.len; i++)
        if (strchr(" \t\r\n", line.data[i]) == NULL || line.data[i] == '\0')
            return DELIMITER_NONE;
    return last ? DELIMITER_LAST : DELIMITER_NEXT;
}

/*
 * The next part; false: there is none. Its last line end belongs to the delimiter that follows. The
 * preamble is passed over, and a part that nothing ends goes to the body's end.
 */
static bool next_part(struct span *rest, const struct buffer *boundary, bool *begun,
                      struct span *part_out)
{
    const char *from = rest->data, *end = rest->data + rest->len;
    for (const char *p = from, *next; p < end; p = next) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        next = lf != NULL ? lf + 1 : end;
        enum delimiter found = delimiter_at((struct span){p, (size_t)(next - p)}, boundary);
        if (found == DELIMITER_NONE)
            continue;
        if (*begun) {
            size_t len = (size_t)(p - from);
            len -= len > 0;
            len -= len > 0 && from[len - 1] == '\r';
            *part_out = (struct span){from, len};
            *rest = found == DELIMITER_LAST ? (struct span){end, 0}
                                            : (struct span){next, (size_t)(end - next)};
            *begun = found == DELIMITER_NEXT;
            return true;
        }
        if (found == DELIMITER_LAST)
            return false;
        *begun = true;
        from = next;
    }
    *part_out = (struct span){from, (size_t)(end - from)};
    *rest = (struct span){end, 0};
    return *begun && part_out->len > 0;
}

static void read_part(struct reading *r, struct span message, size_t depth);

/* False if not even one delimiter is in it: it is then a text like any other. */
static bool read_multipart(struct reading *r, struct span body, const struct buffer *boundary,
                           size_t depth)
{
    struct span part;
    bool begun = false, any = false;
    while (!r->failed && r->n_parts <= PARTS_MAX && next_part(&body, boundary, &begun, &part)) {
        any = true;
        read_part(r, part, depth + 1);
    }
    return any || begun;
}

static void note_field(struct part *part, const struct field *field)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"Content-Type", offsetof(struct part, type)},
        {"Content-Disposition", offsetof(struct part, disposition)},
        {"Content-ID", offsetof(struct part, content_id)},
        {"Content-Transfer-Encoding", offsetof(struct part, encoding)},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct span *span = (struct span *)((char *)part + fields[i].offset);
        if (span->len == 0 && field_is(field, fields[i].name)) {
            *span = field->value;
            span->len = span->len < VALUE_MAX ? span->len : VALUE_MAX;
        }
    }
}

static void read_part(struct reading *r, struct span message, size_t depth)
{
    static const struct span nothing = {"", 0};
    struct part part = {nothing, nothing, nothing, nothing, nothing};
    struct field field;
    if (depth > DEPTH_MAX || ++r->n_parts > PARTS_MAX) {
        r->truncated = true;
        return;
    }
    while (field_next(&message, &field))
        note_field(&part, &field);
    part.body = message;

    CLEANUP(buffer_clear) struct buffer boundary;
    buffer_init(&boundary, PARAMETER_MAX);
    bool multipart = field_main_begins(part.type, "multipart/") &&
                     field_token(part.type, "boundary", &boundary) && boundary.len > 0 &&
                     !boundary.failed;
    if (multipart && read_multipart(r, part.body, &boundary, depth))
        return;
    if (field_main_begins(part.type, "multipart/"))
        part.type = nothing;
    read_leaf(r, &part);
}

/* --- the whole ---------------------------------------------------------------------------- */

static json_t *value_string(struct span value)
{
    CLEANUP(buffer_clear) struct buffer text;
    if (value.len > VALUE_MAX)
        value.len = VALUE_MAX;
    buffer_init(&text, 3 * value.len + 1);
    coding_words_decode(value.data, value.len, &text);
    return string_of(&text);
}

static void read_fields(struct reading *r, struct span message)
{
    struct field field;
    json_t *fields = json_array();
    set(r, r->out, "headers", fields);
    while (!r->failed && field_next(&message, &field)) {
        if (json_array_size(fields) == FIELDS_MAX) {
            r->truncated = true;
            return;
        }
        json_t *value = value_string(field.value);
        if (field_is(&field, "Subject") && json_object_get(r->out, "subject") == NULL)
            set(r, r->out, "subject", json_incref(value));
        json_t *pair = json_pack("[o, o]", plain_string(field.name), value);
        if (json_array_append_new(fields, pair) < 0)
            r->failed = true;
    }
}

json_t *mime_parse(const char *message, size_t len)
{
    struct reading r = {.out = json_object(), .attachments = json_array()};
    struct span all = {message, len};
    set(&r, r.out, "attachments", r.attachments);
    if (!r.failed)
        read_fields(&r, all);
    if (!r.failed)
        read_part(&r, all, 0);
    if (r.truncated)
        set(&r, r.out, "truncated", json_true());
    if (!r.failed)
        return r.out;
    json_decref(r.out);
    return NULL;
}
