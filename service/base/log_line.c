#include "base/log_line.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { TAIL_ROOM = 32 /* for `cut` and the end of the line */ };

struct line {
    char *at;
    size_t len, size;
    bool json;
    bool failed; /* something did not fit */
};

static const char *level_word(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG:
        return "debug";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_WARN:
        return "warn";
    case LOG_LEVEL_ERROR:
        return "error";
    }
    return "unknown";
}

static void append(struct line *line, const char *octets, size_t n)
{
    if (n > line->size - line->len) {
        line->failed = true;
        return;
    }
    memcpy(line->at + line->len, octets, n);
    line->len += n;
}

static void append_str(struct line *line, const char *text)
{
    append(line, text, strlen(text));
}

/* The length of the character at `s` and its code point; 0: it is none (RFC 3629, 4). */
static size_t take_character(const unsigned char *s, uint32_t *code_out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80             ? 1
               : (s[0] & 0xe0) == 0xc0 ? 2
               : (s[0] & 0xf0) == 0xe0 ? 3
               : (s[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    uint32_t code = n > 1 ? s[0] & (0x7fU >> n) : s[0];
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0; /* the text's NUL too */
        code = code << 6 | (s[i] & 0x3f);
    }
    if (n == 0 || code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *code_out = code;
    return n;
}

/* One that moves the cursor or ends the line, where people read or programs split. */
static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

/* The same quoting serves logfmt and JSON. */
static void append_quoted(struct line *line, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    append(line, "\"", 1);
    for (size_t i = 0, n; s[i] != '\0'; i += n) {
        uint32_t code = 0;
        n = take_character(s + i, &code);
        if (i + n > LOG_LINE_VALUE_MAX || (n == 0 && i == LOG_LINE_VALUE_MAX)) {
            append_str(line, "...");
            break;
        }
        if (n == 0) {
            append_str(line, "\xef\xbf\xbd"); /* U+FFFD */
            n = 1;
        } else if (is_control(code)) {
            char escaped[12];
            snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)code);
            append_str(line, escaped);
        } else {
            if (code == '"' || code == '\\')
                append(line, "\\", 1);
            append(line, text + i, n);
        }
    }
    append(line, "\"", 1);
}

static bool is_bare_word(const char *text)
{
    size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                              "-._~+/:@<>[]{}()*!,;#%&'?^|$");
    return len > 0 && len <= LOG_LINE_VALUE_MAX && text[len] == '\0';
}

/* Whole, or not at all. */
static bool append_field(struct line *line, const char *key, const char *text, int64_t number)
{
    size_t before = line->len;
    if (line->len > line->json)
        append(line, line->json ? "," : " ", 1);
    append_str(line, line->json ? "\"" : "");
    append_str(line, key);
    append_str(line, line->json ? "\":" : "=");
    if (text == NULL) {
        char digits[24];
        snprintf(digits, sizeof(digits), "%" PRId64, number);
        append_str(line, digits);
    } else if (!line->json && is_bare_word(text)) {
        append_str(line, text);
    } else {
        append_quoted(line, text);
    }
    if (!line->failed)
        return true;
    line->failed = false;
    line->len = before;
    return false;
}

size_t log_line_format(enum log_format format, int64_t wall_ms, enum log_level level,
                       const char *msg, const struct log_field *fields, size_t n_fields,
                       char out[LOG_LINE_SIZE])
{
    struct line line = {
        .at = out, .size = LOG_LINE_SIZE - TAIL_ROOM, .json = format == LOG_FORMAT_JSON};
    char ts[CLOCK_RFC3339_SIZE];
    int64_t cut = 0;
    clock_format_rfc3339(wall_ms, ts);
    append_str(&line, line.json ? "{" : "");
    append_field(&line, "ts", ts, 0);
    append_field(&line, "level", level_word(level), 0);
    append_field(&line, "msg", msg, 0);
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].key != NULL &&
            !append_field(&line, fields[i].key, fields[i].text, fields[i].number))
            cut++;
    line.size = LOG_LINE_SIZE;
    if (cut > 0)
        append_field(&line, "cut", NULL, cut);
    append_str(&line, line.json ? "}\n" : "\n");
    return line.len;
}
