#include "oauth/login/query.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of it, and `s` goes behind it; -1: malformed. */
static int decode_one(const char **s, const char *end)
{
    char c = *(*s)++;
    if (c == '+')
        return ' ';
    if (c != '%')
        return (unsigned char)c;
    int high = end - *s >= 2 ? hex_digit((*s)[0]) : -1;
    int low = high >= 0 ? hex_digit((*s)[1]) : -1;
    if (low < 0)
        return -1;
    *s += 2;
    return 16 * high + low;
}

/* How long it is decoded; with `out` that is written too. -1: as query_get() says. */
static long decode(const char *s, const char *end, char *out, size_t size)
{
    size_t len = 0;
    while (s < end) {
        int c = decode_one(&s, end);
        if (c < 0x20 || c == 0x7f || ++len >= size)
            return -1;
        if (out != NULL)
            out[len - 1] = (char)c;
    }
    return (long)len;
}

bool query_get(const char *query, const char *name, char *out, size_t size)
{
    const char *found = NULL, *found_end = NULL;
    size_t name_len = strlen(name);
    for (const char *pair = query, *end; *pair != '\0'; pair = end + (*end != '\0')) {
        end = pair + strcspn(pair, "&");
        if (strncmp(pair, name, name_len) != 0 || pair[name_len] != '=')
            continue;
        if (found != NULL)
            return false;
        found = pair + name_len + 1;
        found_end = end;
    }
    if (found == NULL || decode(found, found_end, NULL, size) < 0)
        return false;
    out[decode(found, found_end, out, size)] = '\0';
    return true;
}
