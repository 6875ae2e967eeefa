#include "message/encoded_word.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "message/base64.h"
#include "message/text.h"

enum { WORD_MAX = 75 }; /* RFC 2047, 2 */

struct word {
    const char *charset, *text;
    size_t charset_len, text_len;
    char encoding; /* 'B' or 'Q' */
};

/* "=?charset?B?text?=" at `s`; returns its length, 0: none there. */
static size_t read_word(const char *s, size_t len, struct word *word)
{
    len = len < WORD_MAX ? len : WORD_MAX;
    if (len < 8 || s[0] != '=' || s[1] != '?')
        return 0;
    const char *end = s + len, *mark = memchr(s + 2, '?', len - 2);
    if (mark == NULL || mark == s + 2 || end - mark < 5 || mark[2] != '?')
        return 0;
    word->encoding = (char)(mark[1] & ~0x20);
    if (word->encoding != 'B' && word->encoding != 'Q')
        return 0;
    word->text = mark + 3;
    const char *stop = memchr(word->text, '?', (size_t)(end - word->text));
    if (stop == NULL || stop + 1 == end || stop[1] != '=' ||
        memchr(s, ' ', (size_t)(stop - s)) != NULL)
        return 0;
    const char *star = memchr(s + 2, '*', (size_t)(mark - s - 2)); /* RFC 2231, 5: a language */
    word->charset = s + 2;
    word->charset_len = (size_t)((star != NULL ? star : mark) - word->charset);
    word->text_len = (size_t)(stop - word->text);
    return (size_t)(stop - s) + 2;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The octets of a word; -1: it is no good. */
static int word_octets(const struct word *word, char out[2 * WORD_MAX])
{
    int n = 0;
    if (word->encoding == 'B') {
        const char *why;
        long lines = base64_rewrap(word->text, word->text_len, out, &why);
        return lines < 0 ? -1 : (int)base64_decode_lines(out, (size_t)lines, out);
    }
    for (size_t i = 0; i < word->text_len; i++) {
        char c = word->text[i];
        if (c == '=') {
            int high = i + 2 < word->text_len ? hex(word->text[i + 1]) : -1;
            int low = i + 2 < word->text_len ? hex(word->text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            c = (char)(16 * high + low);
            i += 2;
        } else if (c == '_') {
            c = ' ';
        }
        out[n++] = c;
    }
    return n;
}

static bool is_charset(const struct word *word, const char *name)
{
    return word->charset_len == strlen(name) &&
           strncasecmp(word->charset, name, word->charset_len) == 0;
}

/* Windows-1252, which everybody means by ISO-8859-1. Returns how much was written. */
static size_t western_to_utf8(const char *s, size_t len, char *out)
{
    static const uint16_t upper[32] = {
        /* 0x80 to 0x9f; 0: no character */
        0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned c = (unsigned char)s[i];
        if (c >= 0x80 && c < 0xa0)
            c = upper[c - 0x80] != 0 ? upper[c - 0x80] : 0xfffd;
        if (c >= 0x800) {
            out[n++] = (char)(0xe0 | c >> 12);
            out[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        } else if (c >= 0x80) {
            out[n++] = (char)(0xc0 | c >> 6);
        }
        out[n++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3f));
    }
    return n;
}

static bool is_utf8(const char *s, size_t len)
{
    uint32_t c;
    for (size_t step; len > 0; s += step, len -= step)
        if ((step = utf8_code_point(s, len, &c)) == 0)
            return false;
    return true;
}

static bool same_charset(const struct word *a, const struct word *b)
{
    return a->charset_len == b->charset_len &&
           strncasecmp(a->charset, b->charset, a->charset_len) == 0;
}

static bool is_known(const struct word *word)
{
    static const char *const charsets[] = {"utf-8", "us-ascii", "iso-8859-1", "windows-1252"};
    for (size_t i = 0; i < sizeof(charsets) / sizeof(charsets[0]); i++)
        if (is_charset(word, charsets[i]))
            return true;
    return false;
}

/*
 * The words from `text` on, of one charset, which only blanks part: many a mailer splits a
 * character between two. Returns the length of them all, 0: there is none that is known. What they
 * stand for goes to `out`, which has room for three octets for each of theirs; they go as they are
 * if that is no text.
 */
static size_t decode_run(const char *text, size_t len, char *out, size_t *n_out)
{
    struct word first = {0}, word;
    size_t used = 0, n = 0, at = 0;
    for (;;) {
        char octets[2 * WORD_MAX];
        size_t n_word = read_word(text + at, len - at, &word);
        if (n_word == 0 || !is_known(&word) || (used > 0 && !same_charset(&first, &word)))
            break;
        int n_octets = word_octets(&word, octets);
        if (n_octets < 0)
            break;
        first = word;
        if (is_charset(&word, "iso-8859-1") || is_charset(&word, "windows-1252")) {
            n += western_to_utf8(octets, (size_t)n_octets, out + n);
        } else {
            memcpy(out + n, octets, (size_t)n_octets);
            n += (size_t)n_octets;
        }
        used = at + n_word;
        for (at = used; at < len && text[at] == ' '; at++)
            ;
    }
    if (!is_utf8(out, n) || memchr(out, '\0', n) != NULL) {
        memcpy(out, text, used);
        n = used;
    }
    *n_out = n;
    return used;
}

/* Of what stands between two words of unlike charsets, blanks are no text either. */
static size_t without_gap(char *out, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (out[i] != ' ')
            return to;
    return from;
}

char *encoded_word_decode(struct arena *arena, const char *text, size_t len)
{
    char *out = arena_alloc(arena, 3 * len + 1);
    if (out == NULL)
        return NULL;
    size_t n = 0, word_end = 0; /* in `out`; 0: there was no word yet */
    for (size_t i = 0; i < len;) {
        size_t n_text, at = word_end > 0 ? without_gap(out, word_end, n) : n;
        size_t used = text[i] == '=' ? decode_run(text + i, len - i, out + at, &n_text) : 0;
        if (used > 0) {
            word_end = n = at + n_text;
            i += used;
        } else {
            out[n++] = text[i++];
        }
    }
    return out; /* zeroed behind what was written */
}
