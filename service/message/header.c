#include "message/header.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "message/base64.h"
#include "message/text.h"

enum {
    LINE_WANTED = 76,        /* RFC 5322, 2.1.1 says 78 with CRLF not counted; a little less */
    ENCODED_WORD_MAX = 75,   /* RFC 2047, 2 */
    ENCODED_OCTETS_MAX = 45, /* what fits in one: "=?UTF-8?B?" + 60 + "?=" */
    ENCODED_OCTETS_MIN = 12, /* a word for less is not worth its brackets */
    WORD_MAX = 900,          /* longer words cannot stand as they are: lines end at 998 */
};

/* A field being written; `column` is where its last line stands. */
struct field {
    struct buffer *out;
    size_t column;
};

static void put(struct field *f, const char *s, size_t len)
{
    buffer_append(f->out, s, len);
    f->column += len;
}

/* A space before the next piece, as a new line if the piece does not fit on this one. */
static void put_space(struct field *f, size_t next_len)
{
    if (f->column + 1 + next_len > LINE_WANTED && f->column > 1) {
        buffer_append_str(f->out, "\r\n");
        f->column = 0;
    }
    put(f, " ", 1);
}

static struct field begin(struct buffer *out, const char *name)
{
    struct field f = {.out = out};
    put(&f, name, strlen(name));
    put(&f, ":", 1);
    return f;
}

static void end(struct field *f)
{
    buffer_append_str(f->out, "\r\n");
}

/* What an encoded word can hold on the line begun, or on a new one if that would be next to
 * nothing. Nothing is gained by a first line that holds only the field's name, and some readers
 * take its fold for a space of the text. */
static size_t octets_wanted(const struct field *f)
{
    size_t taken = f->column + 1 +
                   strlen("=?UTF-8?B?"
                          "?=");
    size_t room = taken < LINE_WANTED ? (LINE_WANTED - taken) / 4 * 3 : 0;
    if (room < ENCODED_OCTETS_MIN)
        return ENCODED_OCTETS_MAX;
    return room < ENCODED_OCTETS_MAX ? room : ENCODED_OCTETS_MAX;
}

/* How many octets of `s` the next encoded word takes: whole code points only (RFC 2047, 5). */
static size_t word_octets(const char *s, size_t len, size_t wanted)
{
    size_t n = 0;
    while (n < len) {
        uint32_t c;
        size_t step = text_code_point(s + n, len - n, &c);
        if (step == 0 || n + step > wanted)
            break;
        n += step;
    }
    return n > 0 ? n : 1;
}

static void put_encoded(struct field *f, const char *s, size_t len)
{
    while (len > 0) {
        char word[ENCODED_WORD_MAX + 8];
        size_t n = word_octets(s, len, octets_wanted(f));
        char encoded[BASE64_LINE + 4];
        size_t n_encoded = base64_encode_lines(s, n, encoded) - 2; /* one line, without its CRLF */
        int n_word = snprintf(word, sizeof(word), "=?UTF-8?B?%.*s?=", (int)n_encoded, encoded);
        put_space(f, (size_t)n_word);
        put(f, word, (size_t)n_word);
        s += n;
        len -= n;
    }
}

/* Can it stand as it is? Not what is no ASCII, has a word too long for a line, or would be read as
 * an encoded word or lose its spaces. */
static bool is_plain(const char *s)
{
    size_t len = strlen(s), word = 0;
    if (!text_is_ascii(s, len) || strstr(s, "=?") != NULL)
        return false;
    if (len > 0 && (s[0] == ' ' || s[len - 1] == ' ' || strstr(s, "  ") != NULL))
        return false;
    for (size_t i = 0; i < len; i++) {
        word = s[i] == ' ' ? 0 : word + 1;
        if (word > WORD_MAX)
            return false;
    }
    return true;
}

static void put_plain(struct field *f, const char *s)
{
    while (*s != '\0') {
        size_t n = strcspn(s, " ");
        put_space(f, n);
        put(f, s, n);
        s += n;
        s += *s == ' ' ? 1 : 0;
    }
}

static void put_text(struct field *f, const char *value)
{
    if (is_plain(value))
        put_plain(f, value);
    else
        put_encoded(f, value, strlen(value));
}

void header_text(struct buffer *out, const char *name, const char *value)
{
    struct field f = begin(out, name);
    put_text(&f, value);
    end(&f);
}

void header_words(struct buffer *out, const char *name, const char *const *words, size_t n)
{
    struct field f = begin(out, name);
    for (size_t i = 0; i < n; i++) {
        put_space(&f, strlen(words[i]));
        put(&f, words[i], strlen(words[i]));
    }
    end(&f);
}

/* --- addresses ---------------------------------------------------------------------------- */

static bool is_phrase(const char *s)
{
    return s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                       "!#$%&'*+-/=?^_`{|}~ ")] == '\0';
}

static void put_quoted(struct field *f, const char *s)
{
    char quoted[2 * LINE_WANTED + 4];
    size_t n = 0;
    quoted[n++] = '"';
    for (; *s != '\0' && n + 3 < sizeof(quoted); s++) {
        if (*s == '"' || *s == '\\')
            quoted[n++] = '\\';
        quoted[n++] = *s;
    }
    quoted[n++] = '"';
    put_space(f, n);
    put(f, quoted, n);
}

static void put_name(struct field *f, const char *name)
{
    if (!is_plain(name) || strlen(name) > LINE_WANTED)
        put_encoded(f, name, strlen(name));
    else if (is_phrase(name))
        put_plain(f, name);
    else
        put_quoted(f, name);
}

void header_addresses(struct buffer *out, const char *name, const struct address_list *list)
{
    if (list->n_items == 0)
        return;
    struct field f = begin(out, name);
    for (size_t i = 0; i < list->n_items; i++) {
        const struct address *a = &list->items[i];
        char email[400];
        bool named = a->name != NULL && a->name[0] != '\0';
        int n = snprintf(email, sizeof(email), "%s%s%s%s", named ? "<" : "", a->email,
                         named ? ">" : "", i + 1 < list->n_items ? "," : "");
        if (named)
            put_name(&f, a->name);
        put_space(&f, (size_t)n);
        put(&f, email, (size_t)n);
    }
    end(&f);
}

/* --- parameters --------------------------------------------------------------------------- */

static bool is_token(const char *s)
{
    return s[0] != '\0' &&
           s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                       "!#$&+-.^_`{|}~")] == '\0';
}

/* RFC 2231, 3 and 4: pieces of so many octets, each percent-encoded where it must be. */
static void put_extended(struct buffer *out, const char *name, const char *value)
{
    size_t len = strlen(value);
    unsigned section = 0;
    bool split = len > 20; /* three characters an octet at worst */
    for (size_t i = 0; i < len || section == 0; section++) {
        if (split)
            buffer_printf(out, ";\r\n\t%s*%u*=%s", name, section, section == 0 ? "UTF-8''" : "");
        else
            buffer_printf(out, ";\r\n\t%s*=UTF-8''", name);
        for (size_t end_at = i + 20; i < len && i < end_at; i++) {
            char c[2] = {value[i], '\0'};
            if (is_token(c))
                buffer_append_char(out, value[i]);
            else
                buffer_printf(out, "%%%02X", (unsigned char)value[i]);
        }
    }
}

void header_parameter(struct buffer *out, const char *name, const char *value)
{
    size_t len = strlen(value);
    if (!text_is_ascii(value, len) || len > 60 || strpbrk(value, "\"\\%*'") != NULL)
        put_extended(out, name, value);
    else if (is_token(value))
        buffer_printf(out, ";\r\n\t%s=%s", name, value);
    else
        buffer_printf(out, ";\r\n\t%s=\"%s\"", name, value);
}

/* --- names -------------------------------------------------------------------------------- */

const char *header_name_fault(const char *name)
{
    /* Each has a field of the message, or is not a client's to set. */
    static const char *const taken[] = {
        "From",
        "Sender",
        "To",
        "Cc",
        "Bcc",
        "Reply-To",
        "Subject",
        "Date",
        "Message-ID",
        "In-Reply-To",
        "References",
        "MIME-Version",
        "Received",
        "Return-Path",
        "DKIM-Signature",
        "ARC-Seal",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
        "Authentication-Results",
        "Delivered-To",
        "Resent-From",
        "Resent-To",
        "Resent-Cc",
        "Resent-Bcc",
        "Resent-Sender",
        "Resent-Date",
        "Resent-Message-ID",
    };
    size_t len = strlen(name);
    if (len == 0 || len > 76)
        return "a header's name has 1 to 76 characters";
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':')
            return "a header's name holds printable ASCII only, no space, no colon";
    if (strncasecmp(name, "Content-", 8) == 0)
        return "Content-* follows from the message's parts";
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        if (strcasecmp(name, taken[i]) == 0)
            return "this header is not set here: it has a field of its own, or is the gateway's";
    return NULL;
}
