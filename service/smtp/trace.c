#include "smtp/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum { SHOWN_MAX = 1200 /* more than the longest command of ours; servers' lines are cut */ };

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

static void copy_harmless(const char *text, size_t len, char out[SHOWN_MAX])
{
    size_t n = 0, step;
    uint32_t c;
    for (size_t at = 0; at < len && n + 8 < SHOWN_MAX; at += step > 0 ? step : 1) {
        step = utf8_code_point(text + at, len - at, &c);
        if (step == 0 || is_control(c)) {
            out[n++] = step == 0 ? '?' : ' ';
        } else {
            memcpy(out + n, text + at, step);
            n += step;
        }
    }
    out[n] = '\0';
}

void smtp_trace_line(const struct smtp_trace *trace, void *owner, char who, const char *text,
                     size_t len)
{
    char shown[SHOWN_MAX];
    if (trace->line == NULL)
        return;
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    copy_harmless(text, len, shown);
    trace->line(trace->arg, owner, who, shown);
}

void smtp_trace_say(const struct smtp_trace *trace, void *owner, char who, const char *format, ...)
{
    char text[SHOWN_MAX];
    va_list args;
    if (trace->line == NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    smtp_trace_line(trace, owner, who, text, strlen(text));
}

void smtp_trace_login(const struct smtp_trace *trace, const char *text, size_t len)
{
    static const char command[] = "AUTH ";
    size_t n = sizeof(command) - 1;
    if (len < n || memcmp(text, command, n) != 0) {
        smtp_trace_say(trace, NULL, 'C', "...");
        return;
    }
    while (n < len && text[n] != ' ' && text[n] != '\r')
        n++;
    smtp_trace_say(trace, NULL, 'C', "%.*s%s", (int)n, text, text[n] == ' ' ? " ..." : "");
}

void smtp_trace_reply(const struct smtp_trace *trace, void *owner, const struct smtp_reply *reply,
                      const char *instead)
{
    const char *line = instead != NULL ? instead : smtp_reply_text(reply);
    const char *enhanced = instead != NULL ? "" : reply->enhanced;
    if (trace->line == NULL)
        return;
    for (size_t n;; line += n + 1) {
        n = strcspn(line, "\n");
        smtp_trace_say(trace, owner, 'S', "%d%c%s%s%.*s", reply->code, line[n] != '\0' ? '-' : ' ',
                       enhanced, enhanced[0] != '\0' && n > 0 ? " " : "", (int)n, line);
        if (line[n] == '\0')
            return;
    }
}
