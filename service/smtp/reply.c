#include "smtp/reply.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void smtp_reply_init(struct smtp_reply *reply)
{
    *reply = (struct smtp_reply){0};
}

void smtp_reply_clear(struct smtp_reply *reply)
{
    free(reply->text);
    smtp_reply_init(reply);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Up to three digits, as subject and detail are (RFC 3463, 2). */
static size_t digits(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && n < 4 && is_digit(s[n]))
        n++;
    return n <= 3 ? n : 0;
}

/* Octets of the enhanced status code that `s` begins with; 0 if it does not, or not of the
 * reply's own class: then it is just text. */
static size_t enhanced_len(const char *s, size_t len, int code)
{
    if (len < 5 || s[0] != (char)('0' + code / 100) || s[0] == '3' || s[1] != '.')
        return 0;
    size_t subject = digits(s + 2, len - 2);
    size_t dot = 2 + subject;
    if (subject == 0 || dot >= len || s[dot] != '.')
        return 0;
    size_t detail = digits(s + dot + 1, len - dot - 1);
    size_t end = dot + 1 + detail;
    return detail > 0 && (end == len || s[end] == ' ') ? end : 0;
}

/* Whole lines, as many as fit. Where one has not, none that follows is kept, so that no text stands
 * behind a gap. */
static int add_text(struct smtp_reply *reply, const char *s, size_t len, struct error *err)
{
    reply->full |= reply->text_len + len + 1 > SMTP_REPLY_KEPT_MAX;
    if (reply->full)
        return 0;
    size_t need = reply->text_len + len + 2; /* '\n' and NUL */
    if (need > reply->text_size) {
        size_t size = need < 256 ? 256 : 2 * need;
        size = size < SMTP_REPLY_KEPT_MAX + 2 ? size : SMTP_REPLY_KEPT_MAX + 2;
        char *text = realloc(reply->text, size);
        if (text == NULL)
            return error_set(err, ERR_NOMEM, "a reply of %zu octets", need);
        reply->text = text;
        reply->text_size = size;
    }
    if (reply->n_lines > 0)
        reply->text[reply->text_len++] = '\n';
    memcpy(reply->text + reply->text_len, s, len);
    reply->text_len += len;
    reply->text[reply->text_len] = '\0';
    return 0;
}

static int line_code(const char *s, size_t len)
{
    if (len < 3 || s[0] < '2' || s[0] > '5' || !is_digit(s[1]) || !is_digit(s[2]))
        return -1;
    return 100 * (s[0] - '0') + 10 * (s[1] - '0') + (s[2] - '0');
}

/* Four octets tell HTTP from a TLS alert. More are not shown: a server that echoes would have its
 * reader log an AUTH line. */
static enum smtp_feed not_a_code(const char *s, size_t len, struct error *err)
{
    char shown[5] = "";
    for (size_t i = 0; i < 4 && i < len; i++)
        shown[i] = s[i] >= 0x20 && s[i] < 0x7f ? s[i] : '?';
    return error_set(err, ERR_PROTOCOL, "a reply line that begins \"%s\", not with a code", shown);
}

/* Codes of one class that refuse say one thing. Where another line refuses, that is heard, though
 * the reply is of no use: a banner has begun, and then it is known who we are. */
static int take_code(struct smtp_reply *reply, int code, struct error *err)
{
    int before = reply->code;
    if (reply->n_lines > 0 && code != before && (code < 400 || code / 100 != before / 100)) {
        if (code < 400)
            return error_set(err, ERR_PROTOCOL, "%d and %d in one reply", before, code);
        reply->mixed_with = before;
        reply->text_len = 0; /* what refuses is shown, not the banner */
        reply->n_lines = 0;
    }
    reply->code = code;
    return 0;
}

/* `reply->line` holds one line with its LF. */
static enum smtp_feed take_line(struct smtp_reply *reply, struct error *err)
{
    const char *s = reply->line;
    size_t len = reply->line_len;
    reply->line_len = 0;

    if (len < 2 || s[len - 2] != '\r')
        return error_set(err, ERR_PROTOCOL, "a reply line ends in LF without CR");
    len -= 2;
    if (memchr(s, '\r', len) != NULL || memchr(s, '\0', len) != NULL)
        return error_set(err, ERR_PROTOCOL, "a bare CR or a NUL in a reply line");
    int code = line_code(s, len);
    if (code < 0 || (len > 3 && s[3] != ' ' && s[3] != '-'))
        return not_a_code(s, len, err);
    if (take_code(reply, code, err) < 0)
        return SMTP_FEED_ERROR;

    bool last = len == 3 || s[3] == ' ';
    size_t at = len == 3 ? 3 : 4;
    size_t n = enhanced_len(s + at, len - at, code);
    if (n > 0 && (reply->enhanced[0] == '\0' || reply->enhanced[0] != s[at]))
        snprintf(reply->enhanced, sizeof(reply->enhanced), "%.*s", (int)n, s + at);
    at += n > 0 && at + n < len ? n + 1 : n;
    if (add_text(reply, s + at, len - at, err) < 0)
        return SMTP_FEED_ERROR;
    reply->n_lines++;
    reply->whole = last;
    return last ? SMTP_FEED_REPLY : SMTP_FEED_MORE;
}

static void start_over(struct smtp_reply *reply)
{
    reply->code = reply->mixed_with = 0;
    reply->full = false;
    reply->enhanced[0] = '\0';
    reply->n_lines = 0;
    reply->text_len = 0;
    reply->total = 0;
    reply->whole = false;
}

enum smtp_feed smtp_reply_feed(struct smtp_reply *reply, const char *data, size_t len, size_t *used,
                               struct error *err)
{
    if (reply->whole)
        start_over(reply);
    *used = 0;
    while (*used < len) {
        const char *from = data + *used;
        const char *lf = memchr(from, '\n', len - *used);
        size_t n = lf != NULL ? (size_t)(lf - from) + 1 : len - *used;

        if (n > sizeof(reply->line) - reply->line_len)
            return error_set(err, ERR_PROTOCOL, "a reply line of over %d octets",
                             SMTP_REPLY_LINE_MAX);
        if (n > SMTP_REPLY_MAX - reply->total)
            return error_set(err, ERR_PROTOCOL, "a reply of over %d octets", SMTP_REPLY_MAX);
        memcpy(reply->line + reply->line_len, from, n);
        reply->line_len += n;
        reply->total += n;
        *used += n;

        enum smtp_feed fed = lf != NULL ? take_line(reply, err) : SMTP_FEED_MORE;
        if (fed != SMTP_FEED_MORE)
            return fed;
    }
    return SMTP_FEED_MORE;
}

const char *smtp_reply_text(const struct smtp_reply *reply)
{
    return reply->text_len > 0 ? reply->text : "";
}

bool smtp_reply_partial(const struct smtp_reply *reply)
{
    return reply->total > 0 && !reply->whole;
}

bool smtp_reply_may_become(const struct smtp_reply *reply, int code)
{
    if (reply->n_lines > 0)
        return reply->code == code;
    char want[12];
    snprintf(want, sizeof(want), "%03d", code);
    return memcmp(reply->line, want, reply->line_len < 3 ? reply->line_len : 3) == 0;
}

/* Octets of the well-formed UTF-8 character at `s` (RFC 3629, 4); 0 if there is none. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++) /* a NUL ends it too */
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0; /* overlong, surrogate, beyond U+10FFFF */
    return n;
}

/* C0, DEL and C1: what a terminal or a log reader might obey. */
static bool is_control(const unsigned char *s, size_t n)
{
    return (n == 1 && (s[0] < 0x20 || s[0] == 0x7f)) || (n == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

void smtp_reply_record(const struct smtp_reply *reply, struct reply_record *record_out)
{
    record_out->code = reply->code;
    memcpy(record_out->enhanced, reply->enhanced, sizeof(record_out->enhanced));

    size_t len = 0;
    const unsigned char *s = (const unsigned char *)smtp_reply_text(reply);
    while (*s != '\0') {
        size_t n = utf8_len(s);
        size_t step = n > 0 ? n : 1;
        size_t add = is_control(s, n) ? 1 : step;
        if (len + add >= sizeof(record_out->text))
            break;
        if (n == 0 || is_control(s, n))
            record_out->text[len] = n == 0 ? '?' : ' ';
        else
            memcpy(record_out->text + len, s, n);
        len += add;
        s += step;
    }
    record_out->text[len] = '\0';
}

bool smtp_reply_refuses_pipelining(const struct reply_record *record)
{
    return record->code / 100 == 5 && (strcasestr(record->text, "pipelin") != NULL ||
                                       strcasestr(record->text, "synchronization error") != NULL);
}

bool smtp_reply_throttles(const struct reply_record *record)
{
    static const char *const words[] = {"too many",      "throttl",        "concurrent",
                                        "rate exceeded", "limit exceeded", "rate limit"};
    if (record->code / 100 != 4)
        return false;
    if (record->code == 432 || (record->code == 454 && strcmp(record->enhanced, "4.7.0") == 0))
        return true;
    if (strcmp(record->enhanced, "4.5.3") == 0 || strcasestr(record->text, "recipients") != NULL)
        return false; /* RFC 5321, 4.5.3.1.10: the rest goes in a next transaction */
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasestr(record->text, words[i]) != NULL)
            return true;
    return false;
}
