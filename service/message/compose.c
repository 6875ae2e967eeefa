#include "message/compose.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "message/base64.h"
#include "message/body.h"
#include "message/header.h"
#include "message/text.h"

enum { HEADER_ROOM = 4096, BOUNDARY_SIZE = 48, FILENAME_MAX_OCTETS = 255 };

struct composer {
    struct arena *arena;
    const struct message *message;
    const struct compose_options *options;
    struct error_list *errors;
    struct buffer out;
    char mark[BOUNDARY_SIZE - 8]; /* what all boundaries begin with */
};

/* --- header ------------------------------------------------------------------------------- */

static void write_date(struct composer *c)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(c->options->now_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    buffer_printf(&c->out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
                  tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                  tm.tm_sec);
}

static void write_one_address(struct composer *c, const char *name, const struct address *address)
{
    const struct address_list one = {.items = (struct address *)address, .n_items = 1};
    header_addresses(&c->out, name, &one);
}

static void write_header(struct composer *c, const char *message_id)
{
    const struct message *m = c->message;
    write_date(c);
    write_one_address(c, "From", &m->from);
    if (m->sender != NULL)
        write_one_address(c, "Sender", m->sender);
    header_addresses(&c->out, "Reply-To", &m->reply_to);
    header_addresses(&c->out, "To", &m->to);
    header_addresses(&c->out, "Cc", &m->cc);
    if (m->to.n_items == 0 && m->cc.n_items == 0) /* RFC 5322, 3.6.3: Bcc alone shows nobody */
        header_text(&c->out, "To", "undisclosed-recipients:;");
    if (m->subject != NULL)
        header_text(&c->out, "Subject", m->subject);
    header_words(&c->out, "Message-ID", &message_id, 1);
    if (m->in_reply_to != NULL)
        header_words(&c->out, "In-Reply-To", &m->in_reply_to, 1);
    if (m->n_references > 0)
        header_words(&c->out, "References", m->references, m->n_references);
    for (size_t i = 0; i < m->n_headers; i++)
        header_text(&c->out, m->headers[i].name, m->headers[i].value);
    buffer_append_str(&c->out, "MIME-Version: 1.0\r\n");
}

/* --- parts -------------------------------------------------------------------------------- */

/* A text that holds the boundaries' mark cannot go as it is. Quoted-printable and base64 cannot
 * hold it: their "=" is never followed by "_". */
static enum body_encoding encoding_for(const struct composer *c, const struct text *text)
{
    enum body_encoding encoding = body_encoding_for(text);
    if (encoding == BODY_7BIT && text->data != NULL &&
        memmem(text->data, text->len, c->mark, strlen(c->mark)) != NULL)
        return BODY_QUOTED_PRINTABLE;
    return encoding;
}

static void write_text(struct composer *c, const char *subtype, const struct text *text)
{
    enum body_encoding encoding = encoding_for(c, text);
    buffer_printf(&c->out,
                  "Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n",
                  subtype, body_encoding_word(encoding));
    body_write(&c->out, text, encoding);
}

/* The last component of a path in either style: a receiver must not be led elsewhere. */
static const char *base_name(const char *filename)
{
    const char *slash = strrchr(filename, '/');
    filename = slash != NULL ? slash + 1 : filename;
    const char *backslash = strrchr(filename, '\\');
    return backslash != NULL ? backslash + 1 : filename;
}

static void write_attachment(struct composer *c, size_t index)
{
    const struct attachment *a = &c->message->attachments[index];
    const char *why;
    char where[64];
    buffer_printf(&c->out, "Content-Type: %s", a->content_type);
    const char *filename = a->filename != NULL ? base_name(a->filename) : "";
    if (filename[0] != '\0')
        header_parameter(&c->out, "name", filename);
    buffer_printf(&c->out, "\r\nContent-Disposition: %s", a->is_inline ? "inline" : "attachment");
    if (filename[0] != '\0')
        header_parameter(&c->out, "filename", filename);
    buffer_append_str(&c->out, "\r\n");
    if (a->content_id != NULL)
        buffer_printf(&c->out, "Content-ID: <%s>\r\n", a->content_id);
    buffer_append_str(&c->out, "Content-Transfer-Encoding: base64\r\n\r\n");

    char *to = buffer_reserve(&c->out, base64_lines_size(a->base64_len));
    if (to == NULL)
        return;
    long n = base64_rewrap(a->base64, a->base64_len, to, &why);
    if (n < 0) {
        snprintf(where, sizeof(where), "/attachments/%zu/content", index);
        error_list_add(c->errors, where, "is not base64: %s", why);
        return;
    }
    buffer_grown(&c->out, n > 0 ? (size_t)n - 2 : 0); /* without the last line's end */
}

static void open_multipart(struct composer *c, const char *subtype, char letter)
{
    buffer_printf(&c->out, "Content-Type: multipart/%s;\r\n\tboundary=\"%s%c\"\r\n", subtype,
                  c->mark, letter);
}

/* The CRLF before it belongs to the delimiter (RFC 2046, 5.1.1), so texts keep theirs. */
static void next_part(struct composer *c, char letter)
{
    buffer_printf(&c->out, "\r\n--%s%c\r\n", c->mark, letter);
}

static void close_multipart(struct composer *c, char letter)
{
    buffer_printf(&c->out, "\r\n--%s%c--\r\n", c->mark, letter);
}

/* An image that the HTML shows stands beside it, not among the attachments. */
static bool is_related(const struct composer *c, const struct attachment *a)
{
    return c->message->html.data != NULL && a->is_inline && a->content_id != NULL;
}

static size_t count_related(const struct composer *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->message->n_attachments; i++)
        n += is_related(c, &c->message->attachments[i]);
    return n;
}

static void write_alternatives(struct composer *c)
{
    const struct message *m = c->message;
    if (m->text.data == NULL || m->html.data == NULL) {
        write_text(c, m->html.data != NULL ? "html" : "plain",
                   m->html.data != NULL ? &m->html : &m->text);
        return;
    }
    open_multipart(c, "alternative", 'a');
    next_part(c, 'a');
    write_text(c, "plain", &m->text);
    next_part(c, 'a');
    write_text(c, "html", &m->html);
    close_multipart(c, 'a');
}

static void write_attachments(struct composer *c, bool related, char letter)
{
    for (size_t i = 0; i < c->message->n_attachments; i++)
        if (is_related(c, &c->message->attachments[i]) == related) {
            next_part(c, letter);
            write_attachment(c, i);
        }
    close_multipart(c, letter);
}

static void write_related(struct composer *c)
{
    if (count_related(c) == 0) {
        write_alternatives(c);
        return;
    }
    open_multipart(c, "related", 'r');
    next_part(c, 'r');
    write_alternatives(c);
    write_attachments(c, true, 'r');
}

static void write_body(struct composer *c)
{
    const struct message *m = c->message;
    if (m->n_attachments == count_related(c)) {
        write_related(c);
        return;
    }
    open_multipart(c, "mixed", 'm');
    if (m->text.data != NULL || m->html.data != NULL) {
        next_part(c, 'm');
        write_related(c);
    }
    write_attachments(c, false, 'm');
}

/* --- checks ------------------------------------------------------------------------------- */

/* RFC 2045, 5.1: type "/" subtype *(";" parameter), printable. */
static const char *content_type_fault(const char *type)
{
    static const char tokens[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                 "!#$&+-.^_";
    size_t n = strspn(type, tokens);
    size_t m = type[n] == '/' ? strspn(type + n + 1, tokens) : 0;
    const char *rest = type + n + 1 + m;
    if (n == 0 || m == 0 || (*rest != '\0' && *rest != ';') || strlen(type) > 200)
        return "is not a media type such as application/pdf";
    for (; *rest != '\0'; rest++)
        if (*rest < ' ' || *rest >= 0x7f)
            return "is not a media type such as application/pdf";
    if (strncasecmp(type, "multipart/", 10) == 0 || strncasecmp(type, "message/", 8) == 0)
        return "of this kind cannot be attached as base64: use application/octet-stream";
    return NULL;
}

static const char *content_id_fault(const char *id)
{
    size_t len = strlen(id);
    if (len == 0 || len > 200 || strpbrk(id, "<>()[]\\,;:\" ") != NULL || !text_is_ascii(id, len))
        return "holds characters that a Content-ID cannot hold";
    return NULL;
}

static void check_attachment(struct composer *c, size_t i)
{
    const struct attachment *a = &c->message->attachments[i];
    const char *why;
    char where[64];
    if ((why = content_type_fault(a->content_type)) != NULL) {
        snprintf(where, sizeof(where), "/attachments/%zu/content_type", i);
        error_list_add(c->errors, where, "%s", why);
    }
    if (a->content_id != NULL && (why = content_id_fault(a->content_id)) != NULL) {
        snprintf(where, sizeof(where), "/attachments/%zu/content_id", i);
        error_list_add(c->errors, where, "%s", why);
    }
    if (a->filename != NULL && strlen(a->filename) > FILENAME_MAX_OCTETS) {
        snprintf(where, sizeof(where), "/attachments/%zu/filename", i);
        error_list_add(c->errors, where, "is longer than %d octets", FILENAME_MAX_OCTETS);
    }
}

/* RFC 5322, 3.6.4, without the obsolete forms. */
static bool is_message_id(const char *id)
{
    size_t len = strlen(id);
    const char *at = strchr(id, '@');
    return len >= 5 && len <= 900 && id[0] == '<' && id[len - 1] == '>' && at != NULL &&
           at > id + 1 && at < id + len - 2 && strchr(at + 1, '@') == NULL &&
           strpbrk(id, " \t\"(),:;\\") == NULL && strchr(id + 1, '<') == NULL &&
           strchr(id, '>') == id + len - 1 && text_is_ascii(id, len);
}

static void check_ids(struct composer *c)
{
    const struct message *m = c->message;
    static const char want[] = "is not of the form <left@right>";
    if (m->message_id != NULL && !is_message_id(m->message_id))
        error_list_add(c->errors, "/message_id", want);
    if (m->in_reply_to != NULL && !is_message_id(m->in_reply_to))
        error_list_add(c->errors, "/in_reply_to", want);
    for (size_t i = 0; i < m->n_references; i++)
        if (!is_message_id(m->references[i])) {
            char where[64];
            snprintf(where, sizeof(where), "/references/%zu", i);
            error_list_add(c->errors, where, want);
        }
}

static bool any_utf8_local(const struct message *m)
{
    const struct address_list *lists[] = {&m->to, &m->cc, &m->reply_to};
    bool any = m->from.utf8_local || (m->sender != NULL && m->sender->utf8_local);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < lists[k]->n_items; i++)
            any = any || lists[k]->items[i].utf8_local;
    return any;
}

/* A little more than the result will have. */
static size_t estimate(const struct message *m)
{
    size_t size = HEADER_ROOM + m->text.len + m->text.len / 8 + m->html.len + m->html.len / 8;
    for (size_t i = 0; i < m->n_attachments; i++)
        size += base64_lines_size(m->attachments[i].base64_len) + 1024;
    return size;
}

int message_compose(struct arena *arena, const struct message *message,
                    const struct compose_options *options, struct composed *out,
                    struct error_list *errors, struct error *err)
{
    struct composer c = {.arena = arena, .message = message, .options = options, .errors = errors};
    size_t n_faults = errors->n_total;
    snprintf(c.mark, sizeof(c.mark), "=_%s_", options->id);
    check_ids(&c);
    for (size_t i = 0; i < message->n_attachments; i++)
        check_attachment(&c, i);
    const char *message_id =
        message->message_id != NULL
            ? message->message_id
            : arena_printf(arena, "<%s@%s>", options->id, message->from.domain);
    if (message_id == NULL)
        return error_set(err, ERR_NOMEM, "message");
    if (errors->n_total > n_faults)
        return -1;

    buffer_init(&c.out, sizeof(struct bytes) + options->size_limit);
    bytes_begin(&c.out);
    size_t wanted = estimate(message);
    if (wanted < options->size_limit)
        buffer_reserve(&c.out, wanted);
    write_header(&c, message_id);
    write_body(&c);
    if (c.out.len < 2 || memcmp(c.out.data + c.out.len - 2, "\r\n", 2) != 0)
        buffer_append_str(&c.out, "\r\n");
    if (errors->n_total > n_faults) {
        buffer_clear(&c.out);
        return -1;
    }
    size_t len = c.out.len;
    struct bytes *content = bytes_end(&c.out);
    if (content == NULL)
        return len + wanted > options->size_limit
                   ? error_set(err, ERR_TOO_LARGE, "the message would have more than %zu octets",
                               options->size_limit)
                   : error_set(err, ERR_NOMEM, "message of %zu octets", len);
    *out = (struct composed){
        .content = content, .message_id = message_id, .smtputf8 = any_utf8_local(message)};
    return 0;
}

/* --- envelope ----------------------------------------------------------------------------- */

/* Each mailbox once. Lists are short or it would be a table: at most 1,000. */
static void add_recipients(struct envelope *envelope, const struct address **seen,
                           const struct address_list *list)
{
    for (size_t i = 0; i < list->n_items && envelope->n_to <= MESSAGE_RECIPIENTS_MAX; i++) {
        size_t k = 0;
        while (k < envelope->n_to && !address_same(seen[k], &list->items[i]))
            k++;
        if (k < envelope->n_to)
            continue;
        seen[envelope->n_to] = &list->items[i];
        envelope->to[envelope->n_to++] = list->items[i].email;
    }
}

int message_envelope(struct arena *arena, const struct message *message, struct envelope *out,
                     struct error_list *errors, struct error *err)
{
    struct envelope envelope = {0};
    size_t most = message->to.n_items + message->cc.n_items + message->bcc.n_items +
                  message->envelope_to.n_items;
    most = most < MESSAGE_RECIPIENTS_MAX + 1 ? most : MESSAGE_RECIPIENTS_MAX + 1;
    envelope.to = arena_alloc_array(arena, most + 1, sizeof(*envelope.to));
    const struct address **seen = arena_alloc_array(arena, most + 1, sizeof(*seen));
    if (envelope.to == NULL || seen == NULL)
        return error_set(err, ERR_NOMEM, "envelope");
    if (message->envelope_to.n_items > 0) {
        add_recipients(&envelope, seen, &message->envelope_to);
    } else {
        add_recipients(&envelope, seen, &message->to);
        add_recipients(&envelope, seen, &message->cc);
        add_recipients(&envelope, seen, &message->bcc);
    }
    if (envelope.n_to == 0)
        return error_list_add(errors, "/to", "no recipient: give at least one in to, cc or bcc");
    if (envelope.n_to > MESSAGE_RECIPIENTS_MAX)
        return error_list_add(errors, "/to", "more than %d recipients", MESSAGE_RECIPIENTS_MAX);
    envelope.from = message->envelope_from != NULL ? message->envelope_from
                    : message->sender != NULL      ? message->sender->email
                                                   : message->from.email;
    *out = envelope;
    return 0;
}
