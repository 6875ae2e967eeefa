#include "smtp/reply.h"

#include <stdlib.h>
#include <string.h>

void smtp_reply_init(struct smtp_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
}

void smtp_reply_clear(struct smtp_reply *reply)
{
    free(reply->text);
    smtp_reply_init(reply);
}

static void begin_anew(struct smtp_reply *reply)
{
    reply->code = 0;
    reply->enhanced[0] = '\0';
    reply->n_lines = 0;
    reply->text_len = 0;
    reply->total = 0;
    reply->whole = false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 2034: class "." subject "." detail, each subject and detail up to three digits. */
static size_t enhanced_len(const char *s, size_t len)
{
    size_t i = 0;
    for (int part = 0; part < 3; part++) {
        size_t start = i, most = part == 0 ? 1 : 3;
        while (i < len && i - start < most && is_digit(s[i]))
            i++;
        if (i == start)
            return 0;
        if (part < 2 && (i == len || s[i++] != '.'))
            return 0;
    }
    if (s[0] != '2' && s[0] != '4' && s[0] != '5')
        return 0;
    return i == len || s[i] == ' ' ? i : 0;
}

static int append_text(struct smtp_reply *reply, const char *s, size_t len, struct error *err)
{
    size_t need = reply->text_len + len + 2;
    if (need > reply->text_size) {
        size_t size = need < 256 ? 256 : need * 2;
        char *text = realloc(reply->text, size);
        if (text == NULL)
            return error_set(err, ERR_NOMEM, "reply of %zu octets", need);
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

/* One line without its CRLF. 1: it was the last of its reply. */
static int take_line(struct smtp_reply *reply, const char *line, size_t len, struct error *err)
{
    if (len < 3 || !is_digit(line[0]) || !is_digit(line[1]) || !is_digit(line[2]) ||
        line[0] < '2' || line[0] > '5' || (len > 3 && line[3] != ' ' && line[3] != '-'))
        return error_set(err, ERR_PROTOCOL, "not an SMTP reply: %.*s", (int)(len < 80 ? len : 80),
                         line);
    int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
    if (reply->n_lines > 0 && code != reply->code)
        return error_set(err, ERR_PROTOCOL, "a reply of two codes, %d and %d", reply->code, code);
    reply->code = code;

    const char *text = line + (len > 3 ? 4 : 3);
    size_t text_len = len > 3 ? len - 4 : 0;
    size_t skip = enhanced_len(text, text_len);
    if (skip > 0 && text[0] == line[0] && skip < sizeof(reply->enhanced)) {
        if (reply->n_lines == 0) {
            memcpy(reply->enhanced, text, skip);
            reply->enhanced[skip] = '\0';
        }
        skip += skip < text_len ? 1 : 0;
        text += skip;
        text_len -= skip;
    }
    if (append_text(reply, text, text_len, err) < 0)
        return -1;
    reply->n_lines++;
    return len == 3 || line[3] == ' ';
}

/* A whole line stands in reply->line, CRLF included. */
static int end_line(struct smtp_reply *reply, struct error *err)
{
    size_t len = reply->line_len;
    reply->line_len = 0;
    if (len < 2 || reply->line[len - 2] != '\r')
        return error_set(err, ERR_PROTOCOL, "a reply line without CR");
    if (memchr(reply->line, '\0', len) != NULL || memchr(reply->line, '\r', len - 2) != NULL)
        return error_set(err, ERR_PROTOCOL, "NUL or CR inside a reply line");
    return take_line(reply, reply->line, len - 2, err);
}

enum smtp_feed smtp_reply_feed(struct smtp_reply *reply, const char *data, size_t len, size_t *used,
                               struct error *err)
{
    *used = 0;
    if (reply->whole)
        begin_anew(reply);
    while (*used < len) {
        const char *from = data + *used;
        const char *lf = memchr(from, '\n', len - *used);
        size_t n = lf != NULL ? (size_t)(lf - from) + 1 : len - *used;
        if (n > sizeof(reply->line) - reply->line_len || n > SMTP_REPLY_MAX - reply->total) {
            error_set(err, ERR_PROTOCOL, "a reply without end");
            return SMTP_FEED_ERROR;
        }
        memcpy(reply->line + reply->line_len, from, n);
        reply->line_len += n;
        reply->total += n;
        *used += n;
        if (lf == NULL)
            break;
        int last = end_line(reply, err);
        if (last < 0)
            return SMTP_FEED_ERROR;
        if (last > 0) {
            reply->whole = true;
            return SMTP_FEED_REPLY;
        }
    }
    return SMTP_FEED_MORE;
}

const char *smtp_reply_text(const struct smtp_reply *reply)
{
    return reply->text != NULL ? reply->text : "";
}

int smtp_reply_class(const struct smtp_reply *reply)
{
    return reply->code / 100;
}

bool smtp_reply_partial(const struct smtp_reply *reply)
{
    return reply->line_len > 0 || (reply->n_lines > 0 && !reply->whole);
}
