#include "base/json_text.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Eight at a time, since that is where the time goes. */
size_t json_plain_run(const char *s, size_t len)
{
    const uint64_t ones = 0x0101010101010101U, tops = 0x8080808080808080U;
    size_t n = 0;
    for (; len - n >= 8; n += 8) {
        uint64_t word;
        memcpy(&word, s + n, 8);
        uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        /* An octet's top bit is set here if it is over 0x7f, below 0x20, '"' or '\'; perhaps that
         * of one behind such an octet too, which the loop below sorts out. */
        uint64_t found = word | (word - ones * 0x20) | (quote - ones) | (backslash - ones);
        if ((found & tops) != 0)
            break;
    }
    while (n < len && is_plain((unsigned char)s[n]))
        n++;
    return n;
}

size_t json_escape(unsigned char c, char out[JSON_ESCAPE_MAX])
{
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char hex[] = "0123456789ABCDEF";
    char letter = c == '"' || c == '\\' ? (char)c : letters[c & 0x1f];
    assert(c < 0x20 || c == '"' || c == '\\');
    out[0] = '\\';
    if (letter != '\0') {
        out[1] = letter;
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 0xf];
    return 6;
}

/* C writes an exponent of at least two digits and with its sign: 1e+09 becomes 1e9. */
static void shorten_exponent(char *text)
{
    char *to = strchr(text, 'e');
    if (to == NULL)
        return;
    const char *digits = to + 2; /* behind the sign */
    to += to[1] == '-' ? 2 : 1;
    digits += strspn(digits, "0");
    memmove(to, digits, strlen(digits) + 1);
}

void json_format_real(double value, int digits, char out[JSON_NUMBER_SIZE])
{
    assert(isfinite(value) && digits <= 17);
    int n = snprintf(out, JSON_NUMBER_SIZE, "%.*g", digits, value);
    if (strpbrk(out, ".e") == NULL)
        memcpy(out + n, ".0", 3);
    shorten_exponent(out);
}
