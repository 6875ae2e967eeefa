#include "message/header.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "message/base64.h"
#include "message/text.h"

enum {
    LINE_WANTED = 76,        /* RFC 5322, 2.1.1 says 78 with CRLF not counted; a little less */
    LINE_MAX_OCTETS = 998,   /* RFC 5322, 2.1.1 */
    ENCODED_WORD_MAX = 75,   /* RFC 2047, 2 */
    ENCODED_OCTETS_MAX = 45, /* what fits in one: "=?UTF-8?B?" + 60 + "?=" */
    ENCODED_OCTETS_MIN = 12, /* a word for less is not worth its brackets */
};

/* A field being written. */
struct field {
    struct buffer *out;
    size_t column;   /* where its last line stands */
    size_t line_max; /* how long that may become before it is folded */
};

static void put(struct field *f, const char *s, size_t len)
{
    buffer_append(f->out, s, len);
    f->column += len;
}

/* The blanks before the next piece, on a new line if blanks and piece do not fit on this one. */
static void put_blanks(struct field *f, const char *blanks, size_t n, size_t next_len)
{
    if (f->column + n + next_len > f->line_max && f->column > 0) {
        buffer_append_str(f->out, "\r\n");
        f->column = 0;
    }
    put(f, blanks, n);
    f->line_max = LINE_WANTED;
}

static void put_space(struct field *f, size_t next_len)
{
    put_blanks(f, " ", 1, next_len);
}

static struct field begin(struct buffer *out, const char *name)
{
    struct field f = {.out = out, .line_max = LINE_MAX_OCTETS};
    put(&f, name, strlen(name));
    put(&f, ":", 1);
    return f;
}

static void end(struct field *f)
{
    buffer_append_str(f->out, "\r\n");
}

/* --- words -------------------------------------------------------------------------------- */

/* The next word of what is at `s`, with the blanks before it. */
struct piece {
    size_t n_blanks, len; /* `len`: of the word */
};

static struct piece next_piece(const char *s, size_t len)
{
    struct piece p = {0};
    while (p.n_blanks < len && s[p.n_blanks] == ' ')
        p.n_blanks++;
    while (p.n_blanks + p.len < len && s[p.n_blanks + p.len] != ' ')
        p.len++;
    return p;
}

/* Can every word stand in a line, with the blanks before it? */
static bool fits_lines(const char *s, size_t len)
{
    struct piece p;
    for (size_t i = 0; i < len; i += p.n_blanks + p.len) {
        p = next_piece(s + i, len - i);
        if ((p.n_blanks > 0 ? p.n_blanks : 1) + p.len > LINE_MAX_OCTETS)
            return false;
    }
    return true;
}

/* Would a reader take a part of it for an encoded word? Many are lax about what stands in one. */
static bool reads_as_encoded(const char *s, size_t len)
{
    const char *mark = memmem(s, len, "=?", 2);
    return mark != NULL && memmem(mark + 2, len - (size_t)(mark + 2 - s), "?=", 2) != NULL;
}

/* Can it stand as it is where encoded words are read? */
static bool is_plain(const char *s, size_t len)
{
    return text_is_ascii(s, len) && !reads_as_encoded(s, len) && fits_lines(s, len);
}

static void put_words(struct field *f, const char *s, size_t len)
{
    struct piece p;
    for (size_t i = 0; i < len; i += p.n_blanks + p.len) {
        p = next_piece(s + i, len - i);
        put_blanks(f, p.n_blanks > 0 ? s + i : " ", p.n_blanks > 0 ? p.n_blanks : 1, p.len);
        put(f, s + i + p.n_blanks, p.len);
    }
}

/* --- encoded words ------------------------------------------------------------------------ */

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
        size_t step = utf8_code_point(s + n, len - n, &c);
        if (step == 0 || n + step > wanted)
            break;
        n += step;
    }
    return n > 0 ? n : 1;
}

/* `bare`: no space before the first. RFC 2047, 2: a line that holds one has at most 76. */
static void put_encoded(struct field *f, const char *s, size_t len, bool bare)
{
    f->line_max = LINE_WANTED;
    while (len > 0) {
        char word[ENCODED_WORD_MAX + 8];
        size_t n = word_octets(s, len, octets_wanted(f));
        char encoded[BASE64_LINE + 4];
        size_t n_encoded = base64_encode_lines(s, n, encoded) - 2; /* one line, without its CRLF */
        int n_word = snprintf(word, sizeof(word), "=?UTF-8?B?%.*s?=", (int)n_encoded, encoded);
        if (!bare)
            put_space(f, (size_t)n_word);
        put(f, word, (size_t)n_word);
        s += n;
        len -= n;
        bare = false;
    }
}

void header_text(struct buffer *out, const char *name, const char *value)
{
    size_t len = text_trim(&value, strlen(value));
    struct field f = begin(out, name);
    if (is_plain(value, len))
        put_words(&f, value, len);
    else
        put_encoded(&f, value, len, false);
    end(&f);
}

void header_words(struct buffer *out, const char *name, const char *const *words, size_t n)
{
    struct field f = begin(out, name);
    for (size_t i = 0; i < n; i++) {
        assert(strlen(words[i]) <= HEADER_WORD_MAX);
        put_space(&f, strlen(words[i]));
        put(&f, words[i], strlen(words[i]));
    }
    end(&f);
}

/* --- addresses ---------------------------------------------------------------------------- */

/* Atoms with one blank between them (RFC 5322, 3.2.5): more would be lost without quotes. */
static bool is_phrase(const char *s)
{
    return s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                       "!#$%&'*+-/=?^_`{|}~ ")] == '\0' &&
           strstr(s, "  ") == NULL;
}

static size_t escaped_len(const char *s, size_t len)
{
    size_t n = len;
    for (size_t i = 0; i < len; i++)
        n += s[i] == '"' || s[i] == '\\';
    return n;
}

static void put_escaped(struct field *f, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '"' || s[i] == '\\')
            put(f, "\\", 1);
        put(f, s + i, 1);
    }
}

/* A quoted string, folded in front of its blanks: a fold is no part of it (RFC 5322, 3.2.4). */
static void put_quoted(struct field *f, const char *s, size_t len)
{
    struct piece p;
    for (size_t i = 0; i < len; i += p.n_blanks + p.len) {
        p = next_piece(s + i, len - i);
        const char *word = s + i + p.n_blanks;
        bool first = i == 0, last = i + p.n_blanks + p.len == len;
        put_blanks(f, first ? " " : s + i, first ? 1 : p.n_blanks,
                   escaped_len(word, p.len) + first + last);
        if (first)
            put(f, "\"", 1);
        put_escaped(f, word, p.len);
        if (last)
            put(f, "\"", 1);
    }
}

/* No blanks around it: address.h says so. */
static void put_name(struct field *f, const char *name)
{
    size_t len = strlen(name);
    bool plain = is_plain(name, len);
    if (plain && is_phrase(name))
        put_words(f, name, len);
    else if (plain && escaped_len(name, len) + 4 <= LINE_MAX_OCTETS)
        put_quoted(f, name, len);
    else
        put_encoded(f, name, len, false);
}

void header_addresses(struct buffer *out, const char *name, const struct address_list *list)
{
    if (list->n_items == 0)
        return;
    struct field f = begin(out, name);
    for (size_t i = 0; i < list->n_items; i++) {
        const struct address *a = &list->items[i];
        bool named = a->name != NULL, more = i + 1 < list->n_items;
        size_t len = strlen(a->email);
        if (named)
            put_name(&f, a->name);
        put_space(&f, len + (named ? 2 : 0) + more);
        put(&f, "<", named);
        put(&f, a->email, len);
        put(&f, ">", named);
        put(&f, ",", more);
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

/* Could it stand between quotes as it is, and be read as it is? Backslashes are left out because
 * some readers forget what they are for (RFC 2045, 5.1 knows). */
static bool is_quotable(const char *s, size_t len)
{
    return text_is_ascii(s, len) && !reads_as_encoded(s, len) && strpbrk(s, "\"\\") == NULL;
}

static void put_plain_parameter(struct buffer *out, const char *name, const char *value)
{
    const char *quote = is_token(value) ? "" : "\"";
    buffer_printf(out, ";\r\n\t%s=%s%s%s", name, quote, value, quote);
}

/* A character in RFC 2231's extended form; returns how many octets of `s` it takes. */
static size_t extend(const char *s, size_t len, char out[16], size_t *n_out)
{
    uint32_t c;
    size_t n = utf8_code_point(s, len, &c);
    char one[2] = {s[0], '\0'};
    assert(n > 0);
    *n_out = 0;
    if (is_token(one)) {
        out[(*n_out)++] = s[0];
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        *n_out += (size_t)snprintf(out + *n_out, 16 - *n_out, "%%%02X", (unsigned char)s[i]);
    return n;
}

static size_t extended_len(const char *s, size_t len)
{
    size_t total = 0, n;
    char ignored[16];
    for (size_t i = 0; i < len; total += n)
        i += extend(s + i, len - i, ignored, &n);
    return total;
}

/* RFC 2231, 3 and 4: in as many lines as it takes, cut between characters. */
static void put_extended(struct buffer *out, const char *name, const char *value)
{
    static const char charset[] = "UTF-8''";
    size_t len = strlen(value), i = 0;
    struct field f = {.out = out};
    bool whole = 1 + strlen(name) + 2 + strlen(charset) + extended_len(value, len) <= LINE_WANTED;
    for (unsigned section = 0; i < len; section++) {
        char head[48];
        int n_head = whole ? snprintf(head, sizeof(head), "%s*=", name)
                           : snprintf(head, sizeof(head), "%s*%u*=", name, section);
        buffer_append_str(out, ";\r\n\t");
        f.column = 1;
        put(&f, head, (size_t)n_head);
        if (section == 0)
            put(&f, charset, strlen(charset));
        while (i < len) {
            char extended[16];
            size_t n_extended, n = extend(value + i, len - i, extended, &n_extended);
            if (f.column + n_extended > LINE_WANTED)
                break;
            put(&f, extended, n_extended);
            i += n;
        }
    }
}

void header_parameter(struct buffer *out, const char *name, const char *value)
{
    size_t len = strlen(value);
    if (is_quotable(value, len) && 1 + strlen(name) + 3 + len <= LINE_WANTED)
        put_plain_parameter(out, name, value);
    else
        put_extended(out, name, value);
}

void header_parameter_words(struct buffer *out, const char *name, const char *value)
{
    size_t len = strlen(value);
    if (is_quotable(value, len) && 1 + strlen(name) + 3 + len < LINE_MAX_OCTETS) {
        put_plain_parameter(out, name, value);
        return;
    }
    struct field f = {.out = out};
    buffer_append_str(out, ";\r\n\t");
    f.column = 1;
    put(&f, name, strlen(name));
    put(&f, "=\"", 2);
    put_encoded(&f, value, len, true);
    put(&f, "\"", 1);
}

/* --- what a client may set ---------------------------------------------------------------- */

enum kind {
    TAKEN,      /* not a client's to set */
    FREE_TEXT,  /* what is not ASCII is encoded */
    MAILBOXES,  /* of what is not ASCII the phrases are encoded */
    LIST_ID,    /* RFC 2919: a phrase, then an identifier in angle brackets */
    STRUCTURED, /* ASCII only: nobody decodes words in it */
};

static enum kind kind_of(const char *name)
{
    static const struct {
        const char *name;
        enum kind kind;
    } fields[] = {
        /* Each has a field of the message, or is the gateway's, or a server's on the way. */
        {"From", TAKEN},
        {"Sender", TAKEN},
        {"To", TAKEN},
        {"Cc", TAKEN},
        {"Bcc", TAKEN},
        {"Reply-To", TAKEN},
        {"Subject", TAKEN},
        {"Date", TAKEN},
        {"Message-ID", TAKEN},
        {"In-Reply-To", TAKEN},
        {"References", TAKEN},
        {"MIME-Version", TAKEN},
        {"Received", TAKEN},
        {"Return-Path", TAKEN},
        {"DKIM-Signature", TAKEN},
        {"ARC-Seal", TAKEN},
        {"ARC-Message-Signature", TAKEN},
        {"ARC-Authentication-Results", TAKEN},
        {"Authentication-Results", TAKEN},
        {"Delivered-To", TAKEN},
        {"Resent-From", TAKEN},
        {"Resent-To", TAKEN},
        {"Resent-Cc", TAKEN},
        {"Resent-Bcc", TAKEN},
        {"Resent-Sender", TAKEN},
        {"Resent-Date", TAKEN},
        {"Resent-Message-ID", TAKEN},
        {"Comments", FREE_TEXT},
        {"Keywords", FREE_TEXT},
        {"Organization", FREE_TEXT},
        {"Author", MAILBOXES},
        {"Abuse-Reports-To", MAILBOXES},
        {"Disposition-Notification-To", MAILBOXES},
        {"Errors-To", MAILBOXES},
        {"Mail-Followup-To", MAILBOXES},
        {"Mail-Reply-To", MAILBOXES},
        {"Original-From", MAILBOXES},
        {"Resent-Reply-To", MAILBOXES},
        {"Return-Receipt-To", MAILBOXES},
        {"List-Id", LIST_ID},
    };
    if (strncasecmp(name, "Content-", 8) == 0)
        return TAKEN;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strcasecmp(name, fields[i].name) == 0)
            return fields[i].kind;
    return strncasecmp(name, "X-", 2) == 0 ? FREE_TEXT : STRUCTURED;
}

const char *header_name_fault(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > 76)
        return "a header's name has 1 to 76 characters";
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':')
            return "a header's name holds printable ASCII only, no space, no colon";
    if (kind_of(name) != TAKEN)
        return NULL;
    return strncasecmp(name, "Content-", 8) == 0
               ? "Content-* follows from the message's parts"
               : "this header is not set here: it has a field of its own, or is the gateway's";
}

/* A phrase in quotes out of them, in place: it is quoted anew, or encoded. */
static void unquote(char *s)
{
    size_t len = strlen(s), n = 0;
    if (len < 2 || s[0] != '"' || s[len - 1] != '"')
        return;
    for (size_t i = 1; i + 1 < len; i++) {
        if (s[i] == '\\' && i + 2 < len)
            i++;
        s[n++] = s[i];
    }
    s[n] = '\0';
}

/* "für alle <news.example.com>": written as a mailbox is. */
static int set_list_id(struct arena *arena, const char *value, size_t len,
                       struct header_field *field, struct error *err)
{
    const char *open = memrchr(value, '<', len), *phrase = value;
    if (open == NULL || value[len - 1] != '>' || !text_is_ascii(open, (size_t)(value + len - open)))
        return error_set(err, ERR_INVALID,
                         "is not of the form: phrase <list.example.com>, ASCII in the brackets");
    size_t n = text_trim(&phrase, (size_t)(open - value));
    struct address *id = arena_alloc(arena, sizeof(*id));
    char *name = arena_strndup(arena, phrase, n);
    char *inner = arena_strndup(arena, open + 1, (size_t)(value + len - open) - 2);
    if (id == NULL || name == NULL || inner == NULL)
        return error_set(err, ERR_NOMEM, "header");
    if (strlen(inner) > HEADER_WORD_MAX - 2 || strchr(inner, ' ') != NULL)
        return error_set(err, ERR_INVALID, "has an identifier with blanks in it, or too long");
    unquote(name);
    *id = (struct address){.name = name, .email = inner};
    field->addresses = (struct address_list){id, 1};
    return 0;
}

int header_field_set(struct arena *arena, const char *name, const char *value,
                     struct header_field *out, struct error *err)
{
    enum kind kind = kind_of(name);
    size_t len = text_trim(&value, strlen(value));
    bool ascii = text_is_ascii(value, len);
    struct header_field field = {.name = name, .value = value, .is_free_text = kind == FREE_TEXT};
    if (ascii && !fits_lines(value, len))
        return error_set(err, ERR_INVALID, "has a word that no line of %d octets can hold",
                         LINE_MAX_OCTETS);
    if (value[len] != '\0' && (field.value = arena_strndup(arena, value, len)) == NULL)
        return error_set(err, ERR_NOMEM, "header");
    if (!ascii && kind == STRUCTURED)
        return error_set(err, ERR_INVALID,
                         "takes ASCII only: encoded words are not read in this header");
    if (!ascii && kind == MAILBOXES &&
        address_list_parse(arena, value, len, &field.addresses, err) < 0)
        return -1;
    if (!ascii && kind == LIST_ID && set_list_id(arena, value, len, &field, err) < 0)
        return -1;
    *out = field;
    return 0;
}

void header_field(struct buffer *out, const struct header_field *field)
{
    if (field->addresses.n_items > 0) {
        header_addresses(out, field->name, &field->addresses);
    } else if (field->is_free_text) {
        header_text(out, field->name, field->value);
    } else {
        struct field f = begin(out, field->name);
        put_words(&f, field->value, strlen(field->value));
        end(&f);
    }
}
