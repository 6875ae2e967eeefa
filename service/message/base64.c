#include "message/base64.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { BAD = 0, SPACE = 0x80, PAD = 0x81 };

/* What a character stands for: one more than its value, so that those not named are BAD. */
static const uint8_t VALUES[256] = {
    ['A'] = 1,      ['B'] = 2,     ['C'] = 3,   ['D'] = 4,  ['E'] = 5,      ['F'] = 6,
    ['G'] = 7,      ['H'] = 8,     ['I'] = 9,   ['J'] = 10, ['K'] = 11,     ['L'] = 12,
    ['M'] = 13,     ['N'] = 14,    ['O'] = 15,  ['P'] = 16, ['Q'] = 17,     ['R'] = 18,
    ['S'] = 19,     ['T'] = 20,    ['U'] = 21,  ['V'] = 22, ['W'] = 23,     ['X'] = 24,
    ['Y'] = 25,     ['Z'] = 26,    ['a'] = 27,  ['b'] = 28, ['c'] = 29,     ['d'] = 30,
    ['e'] = 31,     ['f'] = 32,    ['g'] = 33,  ['h'] = 34, ['i'] = 35,     ['j'] = 36,
    ['k'] = 37,     ['l'] = 38,    ['m'] = 39,  ['n'] = 40, ['o'] = 41,     ['p'] = 42,
    ['q'] = 43,     ['r'] = 44,    ['s'] = 45,  ['t'] = 46, ['u'] = 47,     ['v'] = 48,
    ['w'] = 49,     ['x'] = 50,    ['y'] = 51,  ['z'] = 52, ['0'] = 53,     ['1'] = 54,
    ['2'] = 55,     ['3'] = 56,    ['4'] = 57,  ['5'] = 58, ['6'] = 59,     ['7'] = 60,
    ['8'] = 61,     ['9'] = 62,    ['+'] = 63,  ['/'] = 64, ['\t'] = SPACE, ['\n'] = SPACE,
    ['\r'] = SPACE, [' '] = SPACE, ['='] = PAD,
};

static bool is_digit64(char c)
{
    return (uint8_t)(VALUES[(uint8_t)c] - 1) < 64;
}

static unsigned value64(char c)
{
    return VALUES[(uint8_t)c] - 1u;
}

size_t base64_lines_size(size_t n_characters)
{
    return n_characters + (n_characters + BASE64_LINE - 1) / BASE64_LINE * 2;
}

size_t base64_encoded_size(size_t len)
{
    return (len + 2) / 3 * 4;
}

static char *encode_group(const unsigned char *in, size_t n, char *out)
{
    uint32_t bits =
        (uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0) | (n > 2 ? (uint32_t)in[2] : 0);
    *out++ = ALPHABET[bits >> 18];
    *out++ = ALPHABET[bits >> 12 & 63];
    *out++ = n > 1 ? ALPHABET[bits >> 6 & 63] : '=';
    *out++ = n > 2 ? ALPHABET[bits & 63] : '=';
    return out;
}

size_t base64_encode_lines(const char *data, size_t len, char *out)
{
    const unsigned char *in = (const unsigned char *)data;
    char *to = out;
    while (len > 0) {
        for (size_t column = 0; column < BASE64_LINE && len > 0; column += 4) {
            size_t n = len < 3 ? len : 3;
            to = encode_group(in, n, to);
            in += n;
            len -= n;
        }
        *to++ = '\r';
        *to++ = '\n';
    }
    return (size_t)(to - out);
}

char *base64_encode_str(const char *data, size_t len)
{
    char *out = malloc(base64_encoded_size(len) + 1);
    if (out == NULL)
        return NULL;
    char *to = out;
    for (size_t i = 0; i < len; i += 3)
        to = encode_group((const unsigned char *)data + i, len - i < 3 ? len - i : 3, to);
    *to = '\0';
    return out;
}

/* How many leading characters of a full line are of the alphabet; the hot loop. */
static size_t good_run(const char *s, size_t len)
{
    size_t i = 0;
    while (i + 4 <= len &&
           is_digit64(s[i]) & is_digit64(s[i + 1]) & is_digit64(s[i + 2]) & is_digit64(s[i + 3]))
        i += 4;
    while (i < len && is_digit64(s[i]))
        i++;
    return i;
}

struct wrap {
    char *to;
    size_t column, n; /* characters in this line, in all */
};

static void put(struct wrap *w, const char *s, size_t len)
{
    while (len > 0) {
        size_t n = BASE64_LINE - w->column;
        n = n < len ? n : len;
        memcpy(w->to, s, n);
        w->to += n;
        w->column += n;
        w->n += n;
        s += n;
        len -= n;
        if (w->column == BASE64_LINE) {
            *w->to++ = '\r';
            *w->to++ = '\n';
            w->column = 0;
        }
    }
}

long base64_rewrap(const char *base64, size_t len, char *out, const char **why)
{
    struct wrap w = {.to = out};
    size_t n_pads = 0;
    char last = 'A';
    for (size_t i = 0; i < len;) {
        size_t run = n_pads == 0 ? good_run(base64 + i, len - i) : 0;
        if (run > 0) {
            put(&w, base64 + i, run);
            i += run;
            last = base64[i - 1];
            continue;
        }
        uint8_t value = VALUES[(uint8_t)base64[i]];
        if (value == PAD && n_pads < 2) {
            n_pads++;
            put(&w, "=", 1);
        } else if (value != SPACE) {
            *why = value != BAD ? "characters behind the padding"
                   : base64[i] == '-' || base64[i] == '_'
                       ? "the URL-safe alphabet is not taken here"
                       : "a character that is not base64";
            return -1;
        }
        i++;
    }
    if (w.n % 4 != 0) {
        *why = "its length is not a multiple of four: cut off, or padding is missing";
        return -1;
    }
    if ((n_pads == 1 && (value64(last) & 3)) || (n_pads == 2 && (value64(last) & 15))) {
        *why = "bits are left over before the padding";
        return -1;
    }
    if (w.column > 0) {
        *w.to++ = '\r';
        *w.to++ = '\n';
    }
    return w.to - out;
}

size_t base64_decode_lines(const char *lines, size_t len, char *out)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit64(lines[i])) /* a line's end, or padding */
            continue;
        bits = bits << 6 | (uint32_t)value64(lines[i]);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (char)(bits >> n_bits & 0xff);
        }
    }
    return n;
}
