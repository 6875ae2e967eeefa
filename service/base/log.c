#include "base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"

enum { LINE_MAX_OCTETS = 8192, VALUE_MAX_OCTETS = 1024 };

static atomic_int configured_level = LOG_LEVEL_INFO;
static atomic_int configured_format = LOG_FORMAT_LOGFMT;

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

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store(&configured_level, level);
    atomic_store(&configured_format, format);
}

/* The same quoting serves logfmt and JSON. Octets above 0x7f pass: the log is UTF-8. */
static void append_quoted(struct buffer *line, const char *text)
{
    buffer_append_char(line, '"');
    for (size_t i = 0; text[i] != '\0' && i < VALUE_MAX_OCTETS; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            buffer_printf(line, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buffer_printf(line, "\\u%04x", c);
        else
            buffer_append_char(line, (char)c);
    }
    buffer_append_char(line, '"');
}

static bool is_bare_word(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= VALUE_MAX_OCTETS && strpbrk(text, " \"\\=") == NULL &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                        "-._~+/:@<>[]{}()*!,;#%&'?^|$") == len;
}

static void append_field(struct buffer *line, bool json, const char *key, const char *text,
                         int64_t number)
{
    if (line->len > 0 && !(json && line->len == 1))
        buffer_append_char(line, json ? ',' : ' ');
    buffer_printf(line, json ? "\"%s\":" : "%s=", key);
    if (text == NULL)
        buffer_printf(line, "%" PRId64, number);
    else if (!json && is_bare_word(text))
        buffer_append_str(line, text);
    else
        append_quoted(line, text);
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields,
               size_t n_fields)
{
    if ((int)level < atomic_load_explicit(&configured_level, memory_order_relaxed))
        return;
    bool json = atomic_load_explicit(&configured_format, memory_order_relaxed) == LOG_FORMAT_JSON;
    char ts[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(clock_wall_ms(), ts);

    CLEANUP(buffer_clear) struct buffer line;
    buffer_init(&line, LINE_MAX_OCTETS);
    if (json)
        buffer_append_char(&line, '{');
    append_field(&line, json, "ts", ts, 0);
    append_field(&line, json, "level", level_word(level), 0);
    append_field(&line, json, "msg", msg, 0);
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].key != NULL)
            append_field(&line, json, fields[i].key, fields[i].text, fields[i].number);
    buffer_append_str(&line, json ? "}\n" : "\n");

    /* One write a line, so that lines of several threads do not mix. */
    ssize_t ignored = write(STDERR_FILENO, line.data, line.len);
    (void)ignored; /* a log that cannot be written must not stop mail */
}
