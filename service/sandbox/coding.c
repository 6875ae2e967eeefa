#include "sandbox/coding.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "message/text.h"

/* RFC 2047 says 75; longer ones are seen. A bound, because each "=?" makes us look so far ahead. */
enum { WORD_MAX = 512 };

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The octet that two hexadecimal digits at `s` make; -1: none. */
static int hex_octet(const char *s, size_t len)
{
    return len >= 2 && hex(s[0]) >= 0 && hex(s[1]) >= 0 ? 16 * hex(s[0]) + hex(s[1]) : -1;
}

/* --- octets ------------------------------------------------------------------------------- */

static int base64_value(unsigned char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

void coding_base64_decode(const char *data, size_t len, struct buffer *out)
{
    char *to = buffer_reserve(out, len / 4 * 3 + 3);
    size_t n = 0;
    uint32_t bits = 0;
    int n_bits = 0;
    if (to == NULL)
        return;
    for (size_t i = 0; i < len && data[i] != '='; i++) {
        int value = base64_value((unsigned char)data[i]);
        if (value < 0)
            continue;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            to[n++] = (char)(bits >> n_bits);
        }
    }
    buffer_grown(out, n);
}

/* The length of the line end at `s`, with blanks before it; 0: none there. */
static size_t line_end(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len && (s[i] == ' ' || s[i] == '\t'))
        i++;
    if (i == len)
        return i; /* the text ends here */
    if (s[i] == '\r' && i + 1 < len && s[i + 1] == '\n')
        return i + 2;
    return s[i] == '\n' ? i + 1 : 0;
}

void coding_quoted_decode(const char *data, size_t len, struct buffer *out)
{
    for (size_t i = 0; i < len;) {
        const char *equal = memchr(data + i, '=', len - i);
        size_t plain = equal != NULL ? (size_t)(equal - data) - i : len - i;
        buffer_append(out, data + i, plain);
        i += plain;
        if (equal == NULL)
            return;
        i++;
        int octet = hex_octet(data + i, len - i);
        size_t soft = octet < 0 ? line_end(data + i, len - i) : 0;
        if (octet >= 0)
            buffer_append_char(out, (char)octet);
        else if (soft == 0 && i < len)
            buffer_append_char(out, '='); /* stands for itself, says RFC 2045 */
        i += octet >= 0 ? 2 : soft;
    }
}

void coding_percent_decode(const char *data, size_t len, struct buffer *out)
{
    for (size_t i = 0; i < len; i++) {
        int octet = data[i] == '%' ? hex_octet(data + i + 1, len - i - 1) : -1;
        buffer_append_char(out, octet >= 0 ? (char)octet : data[i]);
        i += octet >= 0 ? 2 : 0;
    }
}

/* --- charsets ----------------------------------------------------------------------------- */

static void put_code_point(struct buffer *out, uint32_t c)
{
    if (c < 0x80) {
        buffer_append_char(out, (char)c);
    } else if (c < 0x800) {
        const char utf8[] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        buffer_append(out, utf8, sizeof(utf8));
    } else {
        const char utf8[] = {(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                             (char)(0x80 | (c & 0x3f))};
        buffer_append(out, utf8, sizeof(utf8));
    }
}

static void put_windows_1252(const char *data, size_t len, struct buffer *out)
{
    static const uint16_t upper[32] = {
        /* 0x80 to 0x9f */
        0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178};
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        put_code_point(out, c >= 0x80 && c < 0xa0 ? upper[c - 0x80] : c);
    }
}

static void put_utf8(const char *data, size_t len, struct buffer *out)
{
    size_t good = 0; /* octets at the front of what is left that are valid */
    while (good < len) {
        uint32_t c;
        size_t n = utf8_code_point(data + good, len - good, &c);
        good += n;
        if (n > 0)
            continue;
        buffer_append(out, data, good);
        buffer_append_str(out, "\xef\xbf\xbd");
        data += good + 1;
        len -= good + 1;
        good = 0;
    }
    buffer_append(out, data, good);
}

void coding_to_utf8(const char *data, size_t len, const char *charset, size_t charset_len,
                    struct buffer *out)
{
    static const char *const western[] = {"iso-8859-1", "windows-1252", "latin1", "cp1252"};
    for (size_t i = 0; i < sizeof(western) / sizeof(western[0]); i++)
        if (charset_len == strlen(western[i]) &&
            strncasecmp(charset, western[i], charset_len) == 0) {
            put_windows_1252(data, len, out);
            return;
        }
    put_utf8(data, len, out);
}

/* --- encoded words ------------------------------------------------------------------------ */

struct word {
    const char *charset, *text;
    size_t charset_len, text_len;
    bool base64;
};

/* "=?charset?B?text?=" at `s`; returns its length, 0: none there. */
static size_t read_word(const char *s, size_t len, struct word *word)
{
    len = len < WORD_MAX ? len : WORD_MAX;
    if (len < 8 || s[0] != '=' || s[1] != '?')
        return 0;
    const char *kind = memchr(s + 2, '?', len - 2);
    if (kind == NULL || s + len - kind < 5 || kind[2] != '?' || strchr("BbQq", kind[1]) == NULL ||
        kind[1] == '\0')
        return 0;
    const char *text = kind + 3;
    const char *end = memchr(text, '?', (size_t)(s + len - text));
    if (end == NULL || end + 1 == s + len || end[1] != '=' ||
        memchr(text, ' ', (size_t)(end - text)) != NULL)
        return 0;
    const char *star = memchr(s + 2, '*', (size_t)(kind - s - 2)); /* RFC 2231, 5: the language */
    word->charset = s + 2;
    word->charset_len = (size_t)((star != NULL ? star : kind) - word->charset);
    word->base64 = kind[1] == 'B' || kind[1] == 'b';
    word->text = text;
    word->text_len = (size_t)(end - text);
    return (size_t)(end - s) + 2;
}

static void decode_word(const struct word *word, struct buffer *octets)
{
    char text[WORD_MAX];
    if (word->base64) {
        coding_base64_decode(word->text, word->text_len, octets);
        return;
    }
    for (size_t i = 0; i < word->text_len; i++)
        text[i] = word->text[i] == '_' ? ' ' : word->text[i];
    coding_quoted_decode(text, word->text_len, octets);
}

static bool same_charset(const struct word *a, const struct word *b)
{
    return a->charset_len == b->charset_len &&
           strncasecmp(a->charset, b->charset, a->charset_len) == 0;
}

static size_t blanks_at(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && (s[n] == ' ' || s[n] == '\t' || s[n] == '\r' || s[n] == '\n'))
        n++;
    return n;
}

/*
 * A run of words that only blanks part. Those of one charset are put together before they are read
 * as text: many a mailer splits a character between two.
 */
static size_t decode_run(const char *data, size_t len, struct buffer *out)
{
    struct word word, next;
    CLEANUP(buffer_clear) struct buffer octets;
    buffer_init(&octets, out->limit);
    size_t used = read_word(data, len, &word);
    while (used > 0) {
        decode_word(&word, &octets);
        size_t blanks = blanks_at(data + used, len - used);
        size_t n = read_word(data + used + blanks, len - used - blanks, &next);
        if (n == 0 || !same_charset(&word, &next)) {
            coding_to_utf8(octets.data, octets.len, word.charset, word.charset_len, out);
            out->failed = out->failed || octets.failed;
            buffer_reset(&octets);
        }
        if (n == 0)
            break;
        used += blanks + n;
        word = next;
    }
    return used;
}

void coding_words_decode(const char *data, size_t len, struct buffer *out)
{
    size_t plain = 0; /* octets at the front of what is left that are no word */
    while (plain < len) {
        if (data[plain] == '\r' || data[plain] == '\n') { /* a fold: its white space stays */
            put_utf8(data, plain, out);
            data += plain + 1;
            len -= plain + 1;
            plain = 0;
            continue;
        }
        struct word word;
        if (data[plain] != '=' || read_word(data + plain, len - plain, &word) == 0) {
            plain++;
            continue;
        }
        put_utf8(data, plain, out);
        plain += decode_run(data + plain, len - plain, out);
        data += plain;
        len -= plain;
        plain = 0;
    }
    put_utf8(data, plain, out);
}
