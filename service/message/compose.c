#include "message/compose.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "message/base64.h"
#include "message/body.h"
#include "message/header.h"
#include "message/media_type.h"
#include "message/text.h"

enum { HEADER_ROOM = 4096, BOUNDARY_SIZE = 48, FILE_NAME_MAX = 255 };

/* An attachment, judged. */
struct part {
    const char *type;     /* Content-Type with its parameters, but the name */
    const char *filename; /* NULL: none */
    struct text message;  /* a message/...: its octets; else data is NULL, and it goes as base64 */
    bool eightbit;        /* the message has octets of 0x80 and more */
};

struct composer {
    struct arena *arena;
    const struct message *message;
    const struct compose_options *options;
    struct error_list *errors;
    struct part *parts; /* as many as the message has attachments */
    bool eightbit;      /* of any part */
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
        buffer_append_str(&c->out, "To: undisclosed-recipients:;\r\n");
    if (m->subject != NULL)
        header_text(&c->out, "Subject", m->subject);
    header_words(&c->out, "Message-ID", &message_id, 1);
    if (m->in_reply_to != NULL)
        header_words(&c->out, "In-Reply-To", &m->in_reply_to, 1);
    if (m->n_references > 0)
        header_words(&c->out, "References", m->references, m->n_references);
    for (size_t i = 0; i < m->n_headers; i++)
        header_field(&c->out, &m->headers[i]);
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

static const char *attachment_encoding(const struct part *part)
{
    return part->message.data == NULL ? "base64" : part->eightbit ? "8bit" : "7bit";
}

static void write_base64(struct composer *c, size_t index)
{
    const struct attachment *a = &c->message->attachments[index];
    const char *why;
    char where[64];
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

static void write_attachment(struct composer *c, size_t index)
{
    const struct attachment *a = &c->message->attachments[index];
    const struct part *part = &c->parts[index];
    buffer_printf(&c->out, "Content-Type: %s", part->type);
    if (part->filename != NULL)
        header_parameter_words(&c->out, "name", part->filename);
    buffer_printf(&c->out, "\r\nContent-Disposition: %s", a->is_inline ? "inline" : "attachment");
    if (part->filename != NULL)
        header_parameter(&c->out, "filename", part->filename);
    buffer_append_str(&c->out, "\r\n");
    if (a->content_id != NULL)
        buffer_printf(&c->out, "Content-ID: <%s>\r\n", a->content_id);
    buffer_printf(&c->out, "Content-Transfer-Encoding: %s\r\n\r\n", attachment_encoding(part));
    if (part->message.data != NULL)
        body_write(&c->out, &part->message, BODY_7BIT);
    else
        write_base64(c, index);
}

/* What is around an 8-bit part says so too (RFC 2045, 6.4). `parameters`: "" or "; ...". */
static void open_multipart(struct composer *c, const char *subtype, const char *parameters,
                           bool eightbit, char letter)
{
    buffer_printf(&c->out, "Content-Type: multipart/%s%s;\r\n\tboundary=\"%s%c\"\r\n%s", subtype,
                  parameters, c->mark, letter,
                  eightbit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
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
    open_multipart(c, "alternative", "", false, 'a');
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
    const char *type = c->message->text.data != NULL ? "; type=\"multipart/alternative\""
                                                     : "; type=\"text/html\""; /* RFC 2387, 3.1 */
    open_multipart(c, "related", type, c->eightbit, 'r');
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
    open_multipart(c, "mixed", "", c->eightbit, 'm');
    if (m->text.data != NULL || m->html.data != NULL) {
        next_part(c, 'm');
        write_related(c);
    }
    write_attachments(c, false, 'm');
}

/* --- checks ------------------------------------------------------------------------------- */

static const char *content_id_fault(const char *id)
{
    size_t len = strlen(id);
    if (len == 0 || len > 200 || strpbrk(id, "<>()[]\\,;:\" ") != NULL || !text_is_ascii(id, len))
        return "holds characters that a Content-ID cannot hold";
    return NULL;
}

static int attachment_fault(struct composer *c, size_t i, const char *field, const char *why)
{
    char where[64];
    snprintf(where, sizeof(where), "/attachments/%zu/%s", i, field);
    return error_list_add(c->errors, where, "%s", why);
}

/*
 * A message goes as what it is: nothing may encode it (RFC 2046, 5.2.1; for the others 5.2.4, which
 * are 7-bit). Where the client did not say that it is one, and it cannot be sent so, it is a file
 * like any other. -1 without memory.
 */
static int take_message(struct composer *c, size_t i, bool guessed)
{
    const struct attachment *a = &c->message->attachments[i];
    struct part *part = &c->parts[i];
    const char *why;
    char *octets = arena_alloc(c->arena, base64_lines_size(a->base64_len) + 1);
    if (octets == NULL)
        return -1;
    long n = base64_rewrap(a->base64, a->base64_len, octets, &why);
    if (n < 0)
        return 0; /* told when it is written */
    struct text text = {octets, base64_decode_lines(octets, (size_t)n, octets)};
    why = body_identity_fault(&text, &part->eightbit);
    if (why == NULL && part->eightbit && strcasecmp(part->type, "message/rfc822") != 0)
        why = "is not ASCII, and of message/* only message/rfc822 may be so";
    if (why == NULL && memmem(text.data, text.len, c->mark, strlen(c->mark)) != NULL)
        why = "holds the boundary made for this message: send it again";
    if (why != NULL && !guessed) {
        attachment_fault(c, i, "content", why);
    } else if (why != NULL) {
        part->type = "application/octet-stream";
        part->eightbit = false;
    } else {
        part->message = text;
        c->eightbit = c->eightbit || part->eightbit;
    }
    return 0;
}

static int set_type(struct composer *c, size_t i, struct error *err)
{
    const struct attachment *a = &c->message->attachments[i];
    struct part *part = &c->parts[i];
    struct media_type type = {.text = media_type_of_file(a->filename)};
    if (a->content_type != NULL && media_type_parse(c->arena, a->content_type, &type, err) < 0)
        return -1;
    part->type = type.text;
    part->filename = a->filename != NULL && a->filename[0] != '\0' ? a->filename : type.name;
    if (part->filename != NULL && part->filename[0] == '\0')
        part->filename = NULL;
    if (media_type_is(type.text, "multipart"))
        return error_set(err, ERR_INVALID, "multipart/* is made of parts: it cannot be attached");
    return 0;
}

/* -1 without memory. */
static int check_attachment(struct composer *c, size_t i)
{
    const struct attachment *a = &c->message->attachments[i];
    struct part *part = &c->parts[i];
    struct error err;
    const char *why;
    if (set_type(c, i, &err) < 0) {
        if (err.code == ERR_NOMEM)
            return -1;
        attachment_fault(c, i, "content_type", err.detail);
    } else if (media_type_is(part->type, "message") &&
               take_message(c, i, a->content_type == NULL) < 0) {
        return -1;
    }
    if (a->content_id != NULL && (why = content_id_fault(a->content_id)) != NULL)
        attachment_fault(c, i, "content_id", why);
    if (part->filename != NULL &&
        text_count(part->filename, strlen(part->filename)) > FILE_NAME_MAX)
        attachment_fault(c, i, "filename", "is longer than 255 characters");
    return 0;
}

/* Of our message. RFC 5322, 3.6.4, without the obsolete forms. */
static bool is_message_id(const char *id)
{
    size_t len = strlen(id);
    const char *at = strchr(id, '@');
    return len >= 5 && len <= HEADER_WORD_MAX && id[0] == '<' && id[len - 1] == '>' && at != NULL &&
           at > id + 1 && at < id + len - 2 && strchr(at + 1, '@') == NULL &&
           strpbrk(id, " \t\"(),:;\\") == NULL && strchr(id + 1, '<') == NULL &&
           strchr(id, '>') == id + len - 1 && text_is_ascii(id, len);
}

/* Of somebody else's: it must come back as it came, whatever stands in its brackets. */
static bool is_foreign_id(const char *id)
{
    size_t len = strlen(id);
    if (len < 3 || len > HEADER_WORD_MAX || id[0] != '<' || id[len - 1] != '>')
        return false;
    for (size_t i = 1; i + 1 < len; i++)
        if (id[i] <= ' ' || id[i] >= 0x7f || id[i] == '<' || id[i] == '>')
            return false;
    return true;
}

static void check_ids(struct composer *c)
{
    const struct message *m = c->message;
    static const char want[] = "is not of the form <id>, printable ASCII without blanks, at most "
                               "997 octets";
    if (m->message_id != NULL && !is_message_id(m->message_id))
        error_list_add(c->errors, "/message_id", "is not of the form <left@right>");
    if (m->in_reply_to != NULL && !is_foreign_id(m->in_reply_to))
        error_list_add(c->errors, "/in_reply_to", want);
    for (size_t i = 0; i < m->n_references; i++)
        if (!is_foreign_id(m->references[i])) {
            char where[64];
            snprintf(where, sizeof(where), "/references/%zu", i);
            error_list_add(c->errors, where, want);
        }
}

static bool any_utf8_in(const struct address_list *list)
{
    bool any = false;
    for (size_t i = 0; i < list->n_items; i++)
        any = any || list->items[i].utf8_local;
    return any;
}

/* Of what the header names. A Bcc is not in it, and needs SMTPUTF8 for itself alone. */
static bool any_utf8_local(const struct message *m)
{
    bool any = m->from.utf8_local || (m->sender != NULL && m->sender->utf8_local) ||
               any_utf8_in(&m->to) || any_utf8_in(&m->cc) || any_utf8_in(&m->reply_to);
    for (size_t i = 0; i < m->n_headers; i++)
        any = any || any_utf8_in(&m->headers[i].addresses);
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
    c.parts = arena_alloc_array(arena, message->n_attachments + 1, sizeof(*c.parts));
    for (size_t i = 0; i < message->n_attachments; i++)
        if (c.parts == NULL || check_attachment(&c, i) < 0)
            return error_set(err, ERR_NOMEM, "attachments");
    const char *message_id =
        message->message_id != NULL
            ? message->message_id
            : arena_printf(arena, "<%s@%s>", options->id, message->from.domain);
    if (message_id == NULL)
        return error_set(err, ERR_NOMEM, "message");
    if (errors->n_total > n_faults)
        return -1;

    buffer_init(&c.out, sizeof(struct bytes) + options->size_limit);
    size_t wanted = estimate(message);
    if (wanted < options->size_limit)
        buffer_reserve(&c.out, sizeof(struct bytes) + wanted);
    bytes_begin(&c.out);
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

static size_t add_recipients(const struct address **all, size_t n, const struct address_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        all[n++] = &list->items[i];
    return n;
}

int message_envelope(struct arena *arena, const struct message *message, struct envelope *out,
                     struct error_list *errors, struct error *err)
{
    const struct message *m = message;
    struct envelope envelope = {0};
    size_t n = 0, n_all = m->to.n_items + m->cc.n_items + m->bcc.n_items + m->envelope_to.n_items;
    const struct address **all = arena_alloc_array(arena, n_all + 1, sizeof(*all));
    envelope.to = arena_alloc_array(arena, n_all + 1, sizeof(*envelope.to));
    if (envelope.to == NULL || all == NULL)
        return error_set(err, ERR_NOMEM, "envelope");
    if (m->envelope_to.n_items > 0) {
        n = add_recipients(all, n, &m->envelope_to);
    } else {
        n = add_recipients(all, n, &m->to);
        n = add_recipients(all, n, &m->cc);
        n = add_recipients(all, n, &m->bcc);
    }
    long n_distinct = address_distinct(arena, all, n, address_order);
    if (n_distinct < 0)
        return error_set(err, ERR_NOMEM, "envelope");
    for (; envelope.n_to < (size_t)n_distinct; envelope.n_to++)
        envelope.to[envelope.n_to] = all[envelope.n_to]->email;
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
