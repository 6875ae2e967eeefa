#include "sandbox/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LINE_MAX = 4096, OUT_MAX = 1 << 20, ADDRESS_MAX = 512 };

struct receiver {
    struct receiver_owner owner;
    struct buffer line, out, content;
    char *from; /* NULL: no MAIL yet */
    char **to;
    size_t n_to;
    bool in_content, bad_content, over, greeted;
    int64_t delay_ms;
    const char *delayed; /* the reply that waits */
};

static void reply(struct receiver *r, const char *text)
{
    buffer_append_str(&r->out, text);
    buffer_append_str(&r->out, "\r\n");
}

static void reset(struct receiver *r)
{
    free(r->from);
    r->from = NULL;
    for (size_t i = 0; i < r->n_to; i++)
        free(r->to[i]);
    r->n_to = 0;
    buffer_reset(&r->content);
    if (r->content.size > 1 << 20) /* one large message must not hold its memory for ever */
        buffer_clear(&r->content);
    r->bad_content = false;
}

/* "MAIL FROM:<a@b> SIZE=1" to "a@b", a copy; NULL if it is not of that form. */
static char *path_of(const char *line, const char *keyword)
{
    size_t n = strlen(keyword);
    if (strncasecmp(line, keyword, n) != 0)
        return NULL;
    const char *open = line + n + strspn(line + n, " ");
    const char *close = strrchr(open, '>');
    if (*open != '<' || close == NULL || close - open - 1 >= ADDRESS_MAX)
        return NULL;
    return strndup(open + 1, (size_t)(close - open - 1));
}

static void on_mail(struct receiver *r, const char *line)
{
    char *from = path_of(line, "MAIL FROM:");
    if (!r->greeted || r->from != NULL) {
        reply(r, "503 5.5.1 Bad sequence of commands");
    } else if (from != NULL) {
        r->from = from;
        reply(r, "250 2.1.0 Ok");
        return;
    } else {
        reply(r, "501 5.5.4 Syntax: MAIL FROM:<address>");
    }
    free(from);
}

static void on_rcpt(struct receiver *r, const char *line)
{
    char *to = path_of(line, "RCPT TO:");
    const char *refusal = NULL;
    if (r->from == NULL)
        refusal = "503 5.5.1 MAIL first";
    else if (to == NULL || to[0] == '\0')
        refusal = "501 5.5.4 Syntax: RCPT TO:<address>";
    else if (r->n_to == RECEIVER_RECIPIENTS_MAX)
        refusal = "452 4.5.3 Too many recipients";
    else
        refusal = r->owner.on_recipient(r->owner.arg, to);
    if (refusal == NULL) {
        r->to[r->n_to++] = to;
        reply(r, "250 2.1.5 Ok");
        return;
    }
    free(to);
    reply(r, refusal);
}

static void on_command(struct receiver *r, const char *line)
{
    if (strncasecmp(line, "EHLO", 4) == 0) {
        r->greeted = true;
        reset(r);
        buffer_printf(&r->out,
                      "250-sandbox.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
                      "250-SIZE %d\r\n250 ENHANCEDSTATUSCODES\r\n",
                      RECEIVER_MESSAGE_MAX);
    } else if (strncasecmp(line, "HELO", 4) == 0) {
        r->greeted = true;
        reset(r);
        reply(r, "250 sandbox.test");
    } else if (strncasecmp(line, "MAIL", 4) == 0) {
        on_mail(r, line);
    } else if (strncasecmp(line, "RCPT", 4) == 0) {
        on_rcpt(r, line);
    } else if (strcasecmp(line, "DATA") == 0) {
        r->in_content = r->n_to > 0;
        reply(r, r->n_to > 0 ? "354 End data with <CR><LF>.<CR><LF>"
                             : "554 5.5.1 No valid recipients");
    } else if (strcasecmp(line, "RSET") == 0) {
        reset(r);
        reply(r, "250 2.0.0 Ok");
    } else if (strncasecmp(line, "NOOP", 4) == 0) {
        reply(r, "250 2.0.0 Ok");
    } else if (strcasecmp(line, "QUIT") == 0) {
        reply(r, "221 2.0.0 Bye");
        r->over = true;
    } else {
        reply(r, "502 5.5.2 Command not recognized");
    }
}

static void end_content(struct receiver *r)
{
    const struct receiver_mail mail = {.from = r->from,
                                       .to = (const char *const *)r->to,
                                       .n_to = r->n_to,
                                       .content = r->content.data != NULL ? r->content.data : "",
                                       .content_len = r->content.len};
    struct receiver_verdict verdict = {.reply = "554 5.6.0 Bare CR or LF in the content"};
    if (r->content.failed)
        verdict.reply = "552 5.3.4 Message too large";
    else if (!r->bad_content)
        verdict = r->owner.on_mail(r->owner.arg, &mail);
    r->in_content = false;
    reset(r);
    if (verdict.drop) {
        r->over = true;
        buffer_reset(&r->out);
    } else if (verdict.delay_ms > 0) {
        r->delay_ms = verdict.delay_ms;
        r->delayed = verdict.reply;
    } else {
        reply(r, verdict.reply);
    }
}

/* A line with its CRLF. */
static void on_content_line(struct receiver *r, const char *line, size_t len)
{
    if (len == 3 && memcmp(line, ".\r\n", 3) == 0) {
        end_content(r);
        return;
    }
    if (len > 0 && line[0] == '.')
        line++, len--;
    if (memchr(line, '\r', len) != line + len - 2)
        r->bad_content = true;
    buffer_append(&r->content, line, len);
}

static void on_line(struct receiver *r)
{
    char *line = r->line.data;
    size_t len = r->line.len;
    bool crlf = len >= 2 && line[len - 2] == '\r';
    if (r->in_content) {
        if (!crlf)
            r->bad_content = true;
        else
            on_content_line(r, line, len);
    } else if (!crlf || memchr(line, '\0', len) != NULL) {
        reply(r, "500 5.5.2 A line ends with CRLF");
    } else {
        line[len - 2] = '\0';
        on_command(r, line);
    }
    buffer_reset(&r->line);
}

struct receiver *receiver_new(const struct receiver_owner *owner)
{
    struct receiver *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->owner = *owner;
    r->to = calloc(RECEIVER_RECIPIENTS_MAX, sizeof(*r->to));
    buffer_init(&r->line, LINE_MAX);
    buffer_init(&r->out, OUT_MAX);
    buffer_init(&r->content, RECEIVER_MESSAGE_MAX);
    if (r->to == NULL) {
        receiver_free(r);
        return NULL;
    }
    reply(r, "220 sandbox.test ESMTP postern sandbox");
    return r;
}

void receiver_free(struct receiver *r)
{
    if (r == NULL)
        return;
    reset(r);
    buffer_clear(&r->line);
    buffer_clear(&r->out);
    buffer_clear(&r->content);
    free(r->to);
    free(r);
}

size_t receiver_feed(struct receiver *r, const char *data, size_t len)
{
    size_t used = 0;
    while (used < len && !r->over && r->delay_ms == 0) {
        const char *lf = memchr(data + used, '\n', len - used);
        size_t n = lf != NULL ? (size_t)(lf - data) + 1 - used : len - used;
        if (buffer_append(&r->line, data + used, n) < 0) {
            reply(r, "500 5.5.2 Line too long");
            r->over = true;
            break;
        }
        used += n;
        if (lf != NULL)
            on_line(r);
    }
    if (r->out.failed) /* it asks without reading our answers */
        r->over = true;
    return used;
}

struct buffer *receiver_out(struct receiver *r)
{
    return &r->out;
}

int64_t receiver_delay_ms(struct receiver *r)
{
    return r->delay_ms;
}

void receiver_resume(struct receiver *r)
{
    if (r->delay_ms > 0)
        reply(r, r->delayed);
    r->delay_ms = 0;
}

bool receiver_over(const struct receiver *r)
{
    return r->over;
}
