#include "api/field.h"

#include <string.h>
#include <strings.h>

#define BLANKS " \t"

size_t field_trimmed(const char *value, size_t len)
{
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    return len;
}

const char *field_skip_blanks(const char *s)
{
    return s + strspn(s, BLANKS);
}

size_t field_token_length(const char *s)
{
    size_t n = 0;
    while (s[n] > ' ' && s[n] < 0x7f && strchr("\"(),/:;<=>?@[\\]{}", s[n]) == NULL)
        n++;
    return n;
}

static void put(char *out, size_t size, size_t *n, char c)
{
    if (*n + 1 < size)
        out[(*n)++] = c;
}

bool field_take_word(const char **at, char *out, size_t size)
{
    const char *s = *at;
    size_t n = 0;
    if (*s != '"') {
        size_t len = field_token_length(s);
        for (size_t i = 0; i < len; i++)
            put(out, size, &n, s[i]);
        s += len;
    } else {
        for (s++; *s != '"' && *s != '\0'; s++) {
            if (*s == '\\' && s[1] != '\0')
                s++;
            put(out, size, &n, *s);
        }
        if (*s++ != '"')
            return false;
    }
    if (s == *at)
        return false;
    out[n] = '\0';
    *at = s;
    return true;
}

const char *field_next_element(const char *s)
{
    bool quoted = false;
    for (; *s != '\0'; s++) {
        if (*s == '"')
            quoted = !quoted;
        else if (quoted && *s == '\\' && s[1] != '\0')
            s++;
        else if (!quoted && *s == ',')
            return s + 1;
    }
    return s;
}

bool field_list_only(const char *list, const char *word)
{
    while (*list != '\0') {
        const char *s = list + strspn(list, BLANKS ",");
        size_t n = strcspn(s, ",");
        size_t len = field_trimmed(s, n);
        if (len > 0 && (len != strlen(word) || strncasecmp(s, word, len) != 0))
            return false;
        list = s + n;
    }
    return true;
}
