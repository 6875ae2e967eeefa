#include "sandbox/mime.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "message/text.h"

enum { DEPTH_MAX = 10, PARTS_MAX = 200, HEADERS_MAX = 200, DECODED_MAX = 64 << 20 };

struct span {
    const char *data;
    size_t len;
};

struct reading {
    json_t *out, *attachments;
    size_t n_parts;
};

/* --- text --------------------------------------------------------------------------------- */

/* JSON holds UTF-8 only: what is not becomes U+FFFD. */
static json_t *utf8_string(const char *s, size_t len)
{
    struct buffer clean;
    buffer_init(&clean, 3 * len + 1);
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = text_code_point(s + i, len - i, &c);
        if (n == 0)
            buffer_append_str(&clean, "\xef\xbf\xbd");
        else
            buffer_append(&clean, s + i, n);
        i += n > 0 ? n : 1;
    }
    json_t *json = json_stringn(clean.data != NULL ? clean.data : "", clean.len);
    buffer_clear(&clean);
    return json;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static void decode_base64(struct span in, struct buffer *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, n = 0;
    for (size_t i = 0; i < in.len && in.data[i] != '='; i++) {
        const char *at = in.data[i] != '\0' ? strchr(alphabet, in.data[i]) : NULL;
        if (at == NULL)
            continue;
        bits = bits << 6 | (unsigned)(at - alphabet);
        if (++n % 4 != 1)
            buffer_append_char(out, (char)(bits >> (n % 4 == 2 ? 4 : n % 4 == 3 ? 2 : 0)));
    }
}

/* `q`: the form of encoded words, where "_" is a space. */
static void decode_quoted(struct span in, bool q, struct buffer *out)
{
    for (size_t i = 0; i < in.len; i++) {
        char c = in.data[i];
        if (c == '=' && i + 2 < in.len && hex(in.data[i + 1]) >= 0 && hex(in.data[i + 2]) >= 0) {
            buffer_append_char(out, (char)(hex(in.data[i + 1]) * 16 + hex(in.data[i + 2])));
            i += 2;
        } else if (c == '=' && !q) {
            i += i + 2 < in.len && in.data[i + 1] == '\r' ? 2 : 1; /* a soft line break */
        } else {
            buffer_append_char(out, q && c == '_' ? ' ' : c);
        }
    }
}

/* RFC 2047: "=?charset?B?...?=" at `s`; returns its length, 0: none there. */
static size_t decode_word(const char *s, size_t len, struct buffer *out)
{
    if (len < 8 || s[0] != '=' || s[1] != '?')
        return 0;
    const char *end = s + len;
    const char *kind = memchr(s + 2, '?', len - 2);
    if (kind == NULL || end - kind < 4 || kind[2] != '?')
        return 0;
    const char *text = kind + 3;
    const char *close = memmem(text, (size_t)(end - text), "?=", 2);
    if (close == NULL)
        return 0;
    struct span in = {text, (size_t)(close - text)};
    if (kind[1] == 'B' || kind[1] == 'b')
        decode_base64(in, out);
    else if (kind[1] == 'Q' || kind[1] == 'q')
        decode_quoted(in, true, out);
    else
        return 0;
    return (size_t)(close + 2 - s);
}

/* Unfolded, encoded words decoded, white space between two of them dropped. */
static void decode_header(struct span in, struct buffer *out)
{
    size_t blanks = 0;
    bool after_word = false;
    for (size_t i = 0; i < in.len;) {
        if (in.data[i] == '\r' || in.data[i] == '\n') {
            i++;
            continue;
        }
        if (in.data[i] == ' ' || in.data[i] == '\t') {
            blanks++;
            i++;
            continue;
        }
        size_t before = out->len;
        struct buffer word;
        buffer_init(&word, in.len + 1);
        size_t n = decode_word(in.data + i, in.len - i, &word);
        if (before > 0 && blanks > 0 && !(n > 0 && after_word))
            for (; blanks > 0; blanks--)
                buffer_append_char(out, ' ');
        blanks = 0;
        if (n > 0 && word.len > 0)
            buffer_append(out, word.data, word.len);
        else if (n == 0)
            buffer_append_char(out, in.data[i]);
        after_word = n > 0;
        i += n > 0 ? n : 1;
        buffer_clear(&word);
    }
}

/* --- headers ------------------------------------------------------------------------------ */

struct header {
    struct span name, value; /* value with its folds */
};

/* The next field of a header block; false at its end, `rest` then behind the empty line. */
static bool next_header(struct span *rest, struct header *out)
{
    const char *lf = memchr(rest->data, '\n', rest->len);
    if (rest->len == 0 || rest->data[0] == '\n' || (rest->len > 1 && rest->data[0] == '\r')) {
        size_t skip = lf != NULL ? (size_t)(lf - rest->data) + 1 : rest->len;
        rest->data += skip;
        rest->len -= skip;
        return false;
    }
    size_t n = lf != NULL ? (size_t)(lf - rest->data) + 1 : rest->len;
    while (n < rest->len && (rest->data[n] == ' ' || rest->data[n] == '\t')) {
        lf = memchr(rest->data + n, '\n', rest->len - n);
        n = lf != NULL ? (size_t)(lf - rest->data) + 1 : rest->len;
    }
    const char *colon = memchr(rest->data, ':', n);
    size_t name = colon != NULL ? (size_t)(colon - rest->data) : n;
    out->name = (struct span){rest->data, name};
    out->value = (struct span){rest->data + name + (colon != NULL), n - name - (colon != NULL)};
    rest->data += n;
    rest->len -= n;
    return true;
}

static bool is_named(const struct header *h, const char *name)
{
    return h->name.len == strlen(name) && strncasecmp(h->name.data, name, h->name.len) == 0;
}

/* A parameter of a structured field, RFC 2231 sections put together; the caller frees. NULL: none.
 */
static char *parameter(struct span value, const char *name)
{
    struct buffer out;
    buffer_init(&out, 4096);
    bool found = false;
    size_t n = strlen(name);
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '"') { /* a quoted string is no place to look */
            do
                i += value.data[i] == '\\' ? 2 : 1;
            while (i < value.len && value.data[i] != '"');
            continue;
        }
        if (value.data[i] != ';')
            continue;
        size_t at = i + 1;
        while (at < value.len && strchr(" \t\r\n", value.data[at]) != NULL && value.data[at] != 0)
            at++;
        if (value.len - at < n || strncasecmp(value.data + at, name, n) != 0)
            continue;
        at += n;
        bool extended = false;
        while (at < value.len && (value.data[at] == '*' || hex(value.data[at]) >= 0)) {
            extended = value.data[at] == '*' && at + 1 < value.len && value.data[at + 1] == '=';
            at++;
        }
        if (at >= value.len || value.data[at] != '=')
            continue;
        at++;
        if (extended && !found) { /* charset'language' */
            const char *quote = memchr(value.data + at, '\'', value.len - at);
            quote = quote != NULL
                        ? memchr(quote + 1, '\'', value.len - (size_t)(quote + 1 - value.data))
                        : NULL;
            at = quote != NULL ? (size_t)(quote + 1 - value.data) : at;
        }
        found = true;
        bool quoted = at < value.len && value.data[at] == '"';
        for (at += quoted; at < value.len; at++) {
            char c = value.data[at];
            if (quoted ? c == '"' : c == ';' || c == ' ' || c == '\r' || c == '\n' || c == '\t')
                break;
            if (quoted && c == '\\' && at + 1 < value.len)
                c = value.data[++at];
            if (extended && c == '%' && at + 2 < value.len && hex(value.data[at + 1]) >= 0 &&
                hex(value.data[at + 2]) >= 0) {
                c = (char)(hex(value.data[at + 1]) * 16 + hex(value.data[at + 2]));
                at += 2;
            }
            buffer_append_char(&out, c);
        }
        i = at - 1 + (quoted ? 1 : 0);
    }
    char *text = found ? buffer_steal_str(&out) : NULL;
    buffer_clear(&out);
    return text;
}

/* --- parts -------------------------------------------------------------------------------- */

struct part {
    struct span type, disposition, content_id, encoding, body;
};

static void read_part(struct reading *r, struct span message, size_t depth);

static bool begins(struct span s, const char *word)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t'))
        s.data++, s.len--;
    return s.len >= strlen(word) && strncasecmp(s.data, word, strlen(word)) == 0;
}

static void decode_body(const struct part *part, struct buffer *out)
{
    if (begins(part->encoding, "base64"))
        decode_base64(part->body, out);
    else if (begins(part->encoding, "quoted-printable"))
        decode_quoted(part->body, false, out);
    else
        buffer_append(out, part->body.data, part->body.len);
}

static json_t *trimmed(struct span s, const char *strip)
{
    while (s.len > 0 && strchr(strip, s.data[0]) != NULL && s.data[0] != '\0')
        s.data++, s.len--;
    while (s.len > 0 && strchr(strip, s.data[s.len - 1]) != NULL && s.data[s.len - 1] != '\0')
        s.len--;
    return utf8_string(s.data, s.len);
}

static void add_attachment(struct reading *r, const struct part *part, const struct buffer *content)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char sha256[2 * SHA256_DIGEST_LENGTH + 1];
    SHA256((const unsigned char *)(content->data != NULL ? content->data : ""), content->len,
           digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(sha256 + 2 * i, 3, "%02x", digest[i]);
    char *filename = parameter(part->disposition, "filename");
    if (filename == NULL)
        filename = parameter(part->type, "name");
    struct span type = part->type;
    const char *semicolon = memchr(type.data, ';', type.len);
    type.len = semicolon != NULL ? (size_t)(semicolon - type.data) : type.len;
    json_t *a = json_pack("{s:o, s:o, s:s, s:I, s:s}", "filename",
                          filename != NULL ? utf8_string(filename, strlen(filename)) : json_null(),
                          "content_type", trimmed(type, " \t\r\n"), "disposition",
                          begins(part->disposition, "inline") ? "inline" : "attachment", "size",
                          (json_int_t)content->len, "sha256", sha256);
    if (part->content_id.len > 0)
        json_object_set_new(a, "content_id", trimmed(part->content_id, " \t\r\n<>"));
    json_array_append_new(r->attachments, a);
    free(filename);
}

static void read_leaf(struct reading *r, const struct part *part)
{
    struct buffer content;
    buffer_init(&content, DECODED_MAX);
    decode_body(part, &content);
    bool html = begins(part->type, "text/html");
    bool text = part->type.len == 0 || begins(part->type, "text/plain");
    const char *field = html ? "html" : "text";
    if ((html || text) && !begins(part->disposition, "attachment") &&
        json_object_get(r->out, field) == NULL)
        json_object_set_new(r->out, field,
                            utf8_string(content.data != NULL ? content.data : "", content.len));
    else
        add_attachment(r, part, &content);
    buffer_clear(&content);
}

/* Is there a delimiter line at `s`? Its length with the line's end; `*last`: the closing one. */
static size_t delimiter(struct span s, const char *boundary, bool *last)
{
    size_t n = strlen(boundary);
    if (s.len < n + 2 || s.data[0] != '-' || s.data[1] != '-' ||
        memcmp(s.data + 2, boundary, n) != 0)
        return 0;
    *last = s.len >= n + 4 && s.data[n + 2] == '-' && s.data[n + 3] == '-';
    const char *lf = memchr(s.data, '\n', s.len);
    return lf != NULL ? (size_t)(lf - s.data) + 1 : s.len;
}

static void read_multipart(struct reading *r, struct span body, const char *boundary, size_t depth)
{
    const char *begin = NULL;
    bool last = false;
    for (const char *p = body.data, *end = body.data + body.len; p < end && !last;) {
        size_t n = delimiter((struct span){p, (size_t)(end - p)}, boundary, &last);
        if (n > 0) {
            if (begin != NULL && p > begin) { /* the CRLF before it is the delimiter's */
                size_t len = (size_t)(p - begin);
                len -= len >= 2 && p[-2] == '\r' ? 2 : 1;
                read_part(r, (struct span){begin, len}, depth + 1);
            }
            begin = p + n;
            p += n;
            continue;
        }
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        p = lf != NULL ? lf + 1 : end;
    }
}

static void read_part(struct reading *r, struct span message, size_t depth)
{
    struct part part = {{"", 0}, {"", 0}, {"", 0}, {"", 0}, {"", 0}};
    struct header h;
    if (depth > DEPTH_MAX || ++r->n_parts > PARTS_MAX)
        return;
    for (size_t i = 0; i < HEADERS_MAX && next_header(&message, &h); i++) {
        if (is_named(&h, "Content-Type"))
            part.type = h.value;
        else if (is_named(&h, "Content-Disposition"))
            part.disposition = h.value;
        else if (is_named(&h, "Content-ID"))
            part.content_id = h.value;
        else if (is_named(&h, "Content-Transfer-Encoding"))
            part.encoding = h.value;
    }
    part.body = message;
    char *boundary = begins(part.type, "multipart/") ? parameter(part.type, "boundary") : NULL;
    if (boundary != NULL)
        read_multipart(r, part.body, boundary, depth);
    else
        read_leaf(r, &part);
    free(boundary);
}

static json_t *read_headers(struct reading *r, struct span message)
{
    json_t *list = json_array();
    struct header h;
    for (size_t i = 0; i < HEADERS_MAX && next_header(&message, &h); i++) {
        struct buffer value;
        buffer_init(&value, 2 * h.value.len + 64);
        decode_header(h.value, &value);
        json_t *text = utf8_string(value.data != NULL ? value.data : "", value.len);
        if (is_named(&h, "Subject"))
            json_object_set(r->out, "subject", text);
        json_array_append_new(list,
                              json_pack("[o, o]", utf8_string(h.name.data, h.name.len), text));
        buffer_clear(&value);
    }
    return list;
}

json_t *mime_parse(const char *message, size_t len)
{
    struct reading r = {.out = json_object(), .attachments = json_array()};
    if (r.out == NULL || r.attachments == NULL) {
        json_decref(r.out);
        json_decref(r.attachments);
        return NULL;
    }
    struct span all = {message, len};
    json_object_set_new(r.out, "headers", read_headers(&r, all));
    read_part(&r, all, 0);
    json_object_set_new(r.out, "attachments", r.attachments);
    return r.out;
}
