#include "smtp/extensions.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool has_word(const char *words, const char *word, size_t len)
{
    for (const char *p = words; *p != '\0'; p += strcspn(p, " "), p += strspn(p, " "))
        if (strcspn(p, " ") == len && strncasecmp(p, word, len) == 0)
            return true;
    return false;
}

static void add_mechanisms(struct smtp_extensions *out, const char *list, size_t len)
{
    size_t used = strlen(out->auth);
    for (size_t i = 0; i < len;) {
        size_t n = 0;
        while (i + n < len && list[i + n] != ' ' && list[i + n] != '=')
            n++;
        if (n > 0 && used + n + 2 <= sizeof(out->auth) && !has_word(out->auth, list + i, n)) {
            if (used > 0)
                out->auth[used++] = ' ';
            for (size_t k = 0; k < n; k++)
                out->auth[used++] = (char)toupper((unsigned char)list[i + k]);
            out->auth[used] = '\0';
        }
        i += n + 1;
    }
}

/* Garbage behind SIZE is as good as no limit (RFC 1870, 4: the parameter is optional). */
static void set_size(struct smtp_extensions *out, const char *value, size_t len)
{
    out->has_size = true;
    uint64_t size = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)value[i]) || size > UINT64_MAX / 10 - 10)
            return;
        size = size * 10 + (uint64_t)(value[i] - '0');
    }
    out->size = size;
}

static void take_keyword(struct smtp_extensions *out, const char *line, size_t len)
{
    const struct {
        const char *keyword;
        bool *flag;
    } flags[] = {
        {"PIPELINING", &out->pipelining},
        {"CHUNKING", &out->chunking},
        {"8BITMIME", &out->eightbitmime},
        {"SMTPUTF8", &out->smtputf8},
        {"DSN", &out->dsn},
        {"STARTTLS", &out->starttls},
        {"REQUIRETLS", &out->requiretls},
        {"ENHANCEDSTATUSCODES", &out->enhanced_codes},
    };
    size_t word = 0;
    while (word < len && line[word] != ' ' && line[word] != '=')
        word++;
    const char *value = line + (word < len ? word + 1 : word);
    size_t value_len = word < len ? len - word - 1 : 0;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strlen(flags[i].keyword) == word && strncasecmp(line, flags[i].keyword, word) == 0)
            *flags[i].flag = true;
    if (word == 4 && strncasecmp(line, "AUTH", 4) == 0)
        add_mechanisms(out, value, value_len);
    else if (word == 4 && strncasecmp(line, "SIZE", 4) == 0)
        set_size(out, value, value_len);
}

void smtp_extensions_parse(const char *text, struct smtp_extensions *out)
{
    memset(out, 0, sizeof(*out));
    const char *line = strchr(text, '\n'); /* the first line names the server */
    while (line != NULL) {
        line++;
        take_keyword(out, line, strcspn(line, "\n"));
        line = strchr(line, '\n');
    }
}

bool smtp_extensions_offer_auth(const struct smtp_extensions *extensions, const char *mechanism)
{
    return has_word(extensions->auth, mechanism, strlen(mechanism));
}
