#include "message/body.h"

#include <stdlib.h>
#include <string.h>

#include "message/base64.h"

enum { PLAIN_LINE_MAX = 900, LINE_MAX_OCTETS = 998, QP_LINE_MAX = 76 };

const char *body_encoding_word(enum body_encoding encoding)
{
    switch (encoding) {
    case BODY_7BIT:
        return "7bit";
    case BODY_QUOTED_PRINTABLE:
        return "quoted-printable";
    case BODY_BASE64:
        return "base64";
    }
    return "";
}

/* The length of the line end at `s`: CRLF, LF or CR; 0: there is none. */
static size_t line_end(const char *s, size_t len)
{
    if (len == 0 || (*s != '\r' && *s != '\n'))
        return 0;
    return *s == '\r' && len > 1 && s[1] == '\n' ? 2 : 1;
}

enum body_encoding body_encoding_for(const struct text *text)
{
    size_t line = 0, n_high = 0;
    bool plain = true;
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->data[i];
        if (c == '\n' || c == '\r') {
            line = 0;
            continue;
        }
        line++;
        if (c >= 0x80)
            n_high++;
        else if ((c < 0x20 && c != '\t') || c == 0x7f)
            return BODY_BASE64;
        if (line > PLAIN_LINE_MAX)
            plain = false;
    }
    if (n_high == 0 && plain)
        return BODY_7BIT;
    return n_high > text->len / 4 ? BODY_BASE64 : BODY_QUOTED_PRINTABLE;
}

const char *body_identity_fault(const struct text *text, bool *eightbit_out)
{
    size_t line = 0;
    bool eightbit = false;
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->data[i];
        line = c == '\n' || c == '\r' ? 0 : line + 1;
        eightbit = eightbit || c >= 0x80;
        if (c == '\0')
            return "holds a NUL, which cannot be sent but in base64";
        if (line > LINE_MAX_OCTETS)
            return "has a line of more than 998 octets, which cannot be sent but in base64";
    }
    *eightbit_out = eightbit;
    return NULL;
}

/* 8bit too. */
static void write_7bit(struct buffer *out, const struct text *text)
{
    if (text->len == 0)
        return;
    const char *s = text->data, *end = s + text->len;
    while (s < end) {
        const char *stop = s;
        while (stop < end && *stop != '\n' && *stop != '\r')
            stop++;
        buffer_append(out, s, (size_t)(stop - s));
        if (stop < end)
            buffer_append(out, "\r\n", 2);
        s = stop + line_end(stop, (size_t)(end - stop));
    }
}

/* RFC 2045, 6.7: lines of at most 76 with the soft break; blanks at a line's end encoded, and a
 * leading dot, which some relays mishandle. */
static void write_quoted_printable(struct buffer *out, const struct text *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char line[QP_LINE_MAX + 8];
    size_t n = 0;
    for (size_t i = 0; i < text->len;) {
        size_t eol = line_end(text->data + i, text->len - i);
        if (eol > 0) {
            memcpy(line + n, "\r\n", 2);
            buffer_append(out, line, n + 2);
            n = 0;
            i += eol;
            continue;
        }
        unsigned char c = (unsigned char)text->data[i++];
        bool at_end = i == text->len || line_end(text->data + i, 1) > 0;
        bool encode = c >= 0x7f || c == '=' || (c < 0x20 && c != '\t') ||
                      ((c == ' ' || c == '\t') && at_end) || (c == '.' && n == 0);
        if (n + (encode ? 3 : 1) > QP_LINE_MAX - 1) {
            memcpy(line + n, "=\r\n", 3);
            buffer_append(out, line, n + 3);
            n = 0;
            encode = encode || c == '.';
        }
        if (encode) {
            line[n++] = '=';
            line[n++] = hex[c >> 4];
            line[n++] = hex[c & 15];
        } else {
            line[n++] = (char)c;
        }
    }
    buffer_append(out, line, n);
}

/* Line ends are CRLF within base64 too: it is text (RFC 2045, 6.8). */
static void write_base64(struct buffer *out, const struct text *text)
{
    struct buffer canonical;
    buffer_init(&canonical, text->len * 2 + 2);
    for (size_t i = 0; i < text->len;) {
        size_t eol = line_end(text->data + i, text->len - i);
        if (eol > 0)
            buffer_append(&canonical, "\r\n", 2);
        else
            buffer_append_char(&canonical, text->data[i]);
        i += eol > 0 ? eol : 1;
    }
    size_t size = base64_lines_size(base64_encoded_size(canonical.len));
    char *to = canonical.failed ? NULL : buffer_reserve(out, size);
    if (to == NULL)
        out->failed = true;
    else if (canonical.len > 0) /* without the last line's end */
        buffer_grown(out, base64_encode_lines(canonical.data, canonical.len, to) - 2);
    buffer_clear(&canonical);
}

void body_write(struct buffer *out, const struct text *text, enum body_encoding encoding)
{
    switch (encoding) {
    case BODY_7BIT:
        write_7bit(out, text);
        break;
    case BODY_QUOTED_PRINTABLE:
        write_quoted_printable(out, text);
        break;
    case BODY_BASE64:
        write_base64(out, text);
        break;
    }
}
