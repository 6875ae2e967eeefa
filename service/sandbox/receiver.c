#include "sandbox/receiver.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "message/text.h"

enum {
    PATH_MAX_OCTETS = 512, /* RFC 5321 has 256; UTF-8 and quoting make it longer */
    OUT_ENOUGH = 32 * 1024,
    REPLY_MAX = 256,
    ERRORS_MAX = 100, /* commands that are none, on one connection, before it is closed */
};

/* What the content's next octet comes behind. Only AT_LINE_START is behind CRLF. */
enum at { AT_LINE_START, AT_DOT, AT_DOT_CR, AT_TEXT, AT_CR };

struct receiver {
    struct receiver_owner owner;
    struct buffer line; /* a command in the making */
    struct buffer out;
    char *from; /* owned; NULL: no MAIL yet */
    char **to;  /* owned, as are its n_to items */
    size_t n_to, size_to;
    bool greeted, smtputf8; /* smtputf8: of this transaction */
    bool line_too_long;
    bool in_content;
    bool in_chunk;   /* of BDAT (RFC 3030): nothing is stuffed, and octets are counted */
    bool chunk_last; /* ... it ends the content */
    bool chunked;    /* the content came in chunks so far */
    bool broken;     /* a chunk was refused: RSET */
    uint64_t chunk_left;
    enum at at;
    struct buffer content; /* begun with bytes_begin() */
    size_t line_octets;    /* of content */
    const char *refusal;   /* what the content will be answered, however it goes on */
    size_t n_errors;
    int64_t delay_ms;
    const char *delayed; /* the reply that waits */
    bool over;
};

static void reply(struct receiver *r, const char *text)
{
    buffer_append_str(&r->out, text);
    buffer_append_str(&r->out, "\r\n");
    if (strncmp(text, "50", 2) == 0 && ++r->n_errors == ERRORS_MAX) {
        buffer_append_str(&r->out, "421 4.7.0 Too many errors\r\n");
        r->over = true;
    }
}

/* --- transactions ------------------------------------------------------------------------- */

static void drop_content(struct receiver *r)
{
    r->owner.budget->used -= r->content.len;
    buffer_clear(&r->content);
}

static void reset(struct receiver *r)
{
    free(r->from);
    r->from = NULL;
    for (size_t i = 0; i < r->n_to; i++)
        free(r->to[i]);
    r->n_to = 0;
    r->smtputf8 = r->chunked = false;
    r->refusal = NULL;
    drop_content(r);
}

/* --- commands ----------------------------------------------------------------------------- */

/* The end of "<path>" that begins at `s`, behind its ">"; NULL if there is no path here. */
static const char *path_end(const char *s)
{
    bool quoted = false;
    if (*s++ != '<')
        return NULL;
    for (; *s != '\0'; s++) {
        if (quoted && *s == '\\' && s[1] != '\0')
            s++;
        else if (*s == '"')
            quoted = !quoted;
        else if (!quoted && (*s == ' ' || *s == '<'))
            return NULL;
        else if (!quoted && *s == '>')
            return s + 1;
    }
    return NULL;
}

/*
 * "<a@b> SIZE=1" to "a@b" and "SIZE=1". NULL and the fault in `*refusal` if it is not of that form.
 * The caller frees.
 */
static char *take_path(const char *args, const char **params, const char **refusal)
{
    while (*args == ' ') /* RFC 5321, 4.1.1.3 has none; half the world's clients do */
        args++;
    const char *end = path_end(args);
    *refusal = "501 5.5.4 Syntax: an address in angle brackets, then parameters";
    if (end == NULL || (*end != '\0' && *end != ' '))
        return NULL;
    *params = end + strspn(end, " ");
    size_t len = (size_t)(end - args) - 2;
    if (len > PATH_MAX_OCTETS)
        return NULL;
    *refusal = "451 4.3.0 Out of memory";
    return strndup(args + 1, len);
}

/* Is the parameter `text` (n octets) one of those? A name that ends in "=" wants a value behind it.
 */
static bool is_one_of(const char *const *names, const char *text, size_t n)
{
    for (; *names != NULL; names++) {
        size_t len = strlen(*names);
        bool named = n >= len && strncasecmp(text, *names, len) == 0;
        if (named && ((*names)[len - 1] == '=' ? n > len : n == len))
            return true;
    }
    return false;
}

/* The reply to parameters that are unknown or wrong, NULL if all is well. */
static const char *read_mail_params(struct receiver *r, const char *params)
{
    static const char *const passed_over[] = {"BODY=8BITMIME", "BODY=7BIT", "RET=FULL",
                                              "RET=HDRS",      "ENVID=",    NULL};
    for (size_t n; (n = strcspn(params, " ")) > 0; params += n, params += strspn(params, " ")) {
        if (n > 5 && strncasecmp(params, "SIZE=", 5) == 0) {
            char *end;
            unsigned long long size = strtoull(params + 5, &end, 10);
            if (end != params + n || params[5] < '0' || params[5] > '9')
                return "501 5.5.4 SIZE is a number";
            if (size > RECEIVER_MESSAGE_MAX)
                return "552 5.3.4 Message too large";
        } else if (n == 8 && strncasecmp(params, "SMTPUTF8", n) == 0) {
            r->smtputf8 = true;
        } else if (!is_one_of(passed_over, params, n)) {
            return "555 5.5.4 A parameter of no extension offered";
        }
    }
    return NULL;
}

static const char *address_fault(const struct receiver *r, const char *address)
{
    if (!r->smtputf8 && !text_is_ascii(address, strlen(address)))
        return "553 5.6.7 A non-ASCII address needs SMTPUTF8";
    return NULL;
}

static void on_mail(struct receiver *r, const char *args)
{
    const char *params, *refusal;
    if (!r->greeted || r->from != NULL || r->broken) {
        reply(r, "503 5.5.1 Bad sequence of commands");
        return;
    }
    r->from = take_path(args, &params, &refusal);
    if (r->from != NULL)
        refusal = read_mail_params(r, params);
    if (r->from != NULL && refusal == NULL)
        refusal = address_fault(r, r->from);
    if (refusal != NULL)
        reset(r);
    reply(r, refusal != NULL ? refusal : "250 2.1.0 Ok");
}

/* Room for one more; grown as needed, because most mails have one. */
static bool has_room(struct receiver *r)
{
    if (r->n_to < r->size_to)
        return true;
    size_t size = r->size_to > 0 ? 2 * r->size_to : 4;
    char **to = realloc(r->to, size * sizeof(*to));
    if (to == NULL)
        return false;
    r->to = to;
    r->size_to = size;
    return true;
}

static const char *read_rcpt_params(const char *params)
{
    static const char *const passed_over[] = {"NOTIFY=", "ORCPT=", NULL};
    for (size_t n; (n = strcspn(params, " ")) > 0; params += n, params += strspn(params, " "))
        if (!is_one_of(passed_over, params, n))
            return "555 5.5.4 A parameter of no extension offered";
    return NULL;
}

/* NULL, and `to` is among the recipients; or why not. */
static const char *add_recipient(struct receiver *r, char *to, const char *params)
{
    if (to[0] == '\0')
        return "501 5.1.3 The null address is no recipient";
    const char *refusal = read_rcpt_params(params);
    if (refusal != NULL)
        return refusal;
    if (r->n_to == RECEIVER_RECIPIENTS_MAX)
        return "452 4.5.3 Too many recipients";
    refusal = address_fault(r, to);
    if (refusal == NULL)
        refusal = r->owner.on_recipient(r->owner.arg, to);
    if (refusal == NULL && !has_room(r))
        refusal = "451 4.3.0 Out of memory";
    if (refusal == NULL)
        r->to[r->n_to++] = to;
    return refusal;
}

static void on_rcpt(struct receiver *r, const char *args)
{
    const char *params, *refusal;
    if (r->from == NULL) {
        reply(r, "503 5.5.1 MAIL first");
        return;
    }
    char *to = take_path(args, &params, &refusal);
    if (to != NULL)
        refusal = add_recipient(r, to, params);
    if (refusal != NULL)
        free(to);
    reply(r, refusal != NULL ? refusal : "250 2.1.5 Ok");
}

static void begin_content(struct receiver *r, enum at at)
{
    bytes_begin(&r->content);
    r->owner.budget->used += r->content.len;
    r->at = at;
    r->line_octets = 0;
}

static void on_data(struct receiver *r, const char *args)
{
    if (r->from == NULL) {
        reply(r, "503 5.5.1 MAIL first");
    } else if (r->n_to == 0) {
        reply(r, "554 5.5.1 No valid recipients");
    } else if (r->chunked) {
        reply(r, "503 5.5.1 DATA behind BDAT");
    } else {
        begin_content(r, AT_LINE_START);
        r->in_content = true;
        reply(r, "354 End data with <CR><LF>.<CR><LF>");
    }
}

/* "BDAT 12" or "BDAT 12 LAST". Its octets come in any case, and are to be counted. */
static void on_bdat(struct receiver *r, const char *args)
{
    char *end = NULL;
    unsigned long long size = args[0] >= '0' && args[0] <= '9' ? strtoull(args, &end, 10) : 0;
    bool last = end != NULL && strcasecmp(end, " LAST") == 0;
    if (end == NULL || (*end != '\0' && !last) || size > INT64_MAX) {
        reply(r, "501 5.5.4 BDAT has a size, and perhaps LAST");
        r->over = true; /* where the next command begins, nobody knows */
        return;
    }
    r->in_chunk = true;
    r->chunk_left = size;
    r->chunk_last = last;
    if (r->from == NULL || r->broken)
        r->refusal = "503 5.5.1 MAIL first";
    else if (r->n_to == 0)
        r->refusal = "554 5.5.1 No valid recipients";
    else if (!r->chunked)
        begin_content(r, AT_TEXT);
    r->chunked = true;
}

static void on_ehlo(struct receiver *r, const char *args)
{
    r->greeted = true;
    r->broken = false;
    reset(r);
    buffer_printf(&r->out,
                  "250-sandbox.test\r\n%s%s250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
                  "250-SIZE %d\r\n250 ENHANCEDSTATUSCODES\r\n",
                  r->owner.no_pipelining ? "" : "250-PIPELINING\r\n",
                  r->owner.no_chunking ? "" : "250-CHUNKING\r\n", RECEIVER_MESSAGE_MAX);
}

static void on_helo(struct receiver *r, const char *args)
{
    r->greeted = true;
    r->broken = false;
    reset(r);
    reply(r, "250 sandbox.test");
}

static void on_rset(struct receiver *r, const char *args)
{
    r->broken = false;
    reset(r);
    reply(r, "250 2.0.0 Ok");
}

static void on_noop(struct receiver *r, const char *args)
{
    reply(r, "250 2.0.0 Ok");
}

static void on_vrfy(struct receiver *r, const char *args)
{
    reply(r, "252 2.5.0 Send some mail, and see");
}

static void on_quit(struct receiver *r, const char *args)
{
    reply(r, "221 2.0.0 Bye");
    r->over = true;
}

static const struct command {
    const char *verb;
    enum { ARGS_NONE, ARGS_ANY, ARGS_SOME } args;
    void (*run)(struct receiver *r, const char *args);
} commands[] = {
    {"MAIL FROM:", ARGS_SOME, on_mail}, {"RCPT TO:", ARGS_SOME, on_rcpt},
    {"DATA", ARGS_NONE, on_data},       {"BDAT", ARGS_ANY, on_bdat},
    {"EHLO", ARGS_SOME, on_ehlo},       {"HELO", ARGS_SOME, on_helo},
    {"RSET", ARGS_NONE, on_rset},       {"NOOP", ARGS_ANY, on_noop},
    {"VRFY", ARGS_SOME, on_vrfy},       {"QUIT", ARGS_NONE, on_quit},
};

static const char *line_fault(const char *line, size_t len)
{
    if (len == 0 || line[len - 1] != '\r')
        return "500 5.5.2 A line ends with CRLF";
    if (text_header_fault(line, len - 1) != NULL)
        return "500 5.5.2 A command is UTF-8 without control characters";
    return NULL;
}

/* `len` octets of which the last should be a CR: its LF is taken off. */
static void on_line(struct receiver *r, char *line, size_t len)
{
    const char *fault = line_fault(line, len);
    if (fault != NULL) {
        reply(r, fault);
        return;
    }
    line[len - 1] = '\0';
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *command = &commands[i];
        size_t n = strlen(command->verb);
        bool whole = command->verb[n - 1] == ':' || line[n] == ' ' || line[n] == '\0';
        if (strncasecmp(line, command->verb, n) != 0 || !whole)
            continue;
        const char *args = line + n + strspn(line + n, " ");
        if (args[0] == '\0' ? command->args == ARGS_SOME : command->args == ARGS_NONE)
            reply(r, "501 5.5.4 Wrong arguments");
        else
            command->run(r, args);
        return;
    }
    reply(r, "500 5.5.1 Command not recognized");
}

/* Takes up to the end of a command, or all there is. */
static size_t feed_command(struct receiver *r, const char *data, size_t len)
{
    const char *lf = memchr(data, '\n', len);
    size_t n = lf != NULL ? (size_t)(lf - data) + 1 : len;
    if (!r->line_too_long && buffer_append(&r->line, data, n) < 0)
        r->line_too_long = true; /* the rest of it is passed over */
    if (lf == NULL)
        return n;
    if (r->line_too_long)
        reply(r, "500 5.5.2 Line too long");
    else
        on_line(r, r->line.data, r->line.len - 1);
    buffer_reset(&r->line);
    r->line_too_long = false;
    return n;
}

/* --- content ------------------------------------------------------------------------------ */

/* The first reason stays: what follows it may only be its consequence. */
static void refuse(struct receiver *r, const char *refusal)
{
    if (r->refusal != NULL)
        return;
    r->refusal = refusal;
    drop_content(r);
}

static void keep(struct receiver *r, const char *data, size_t len)
{
    struct receiver_budget *budget = r->owner.budget;
    if (r->refusal != NULL)
        return;
    if (r->content.len + len > r->content.limit)
        refuse(r, "552 5.3.4 Message too large");
    else if (budget->used + len > budget->max || buffer_append(&r->content, data, len) < 0)
        refuse(r, "452 4.3.1 No room for it now");
    else
        budget->used += len;
}

/* A run of text, or one CR or LF, that is part of the content. */
static void keep_octets(struct receiver *r, const char *data, size_t len)
{
    r->line_octets += len;
    if (r->line_octets > RECEIVER_LINE_MAX + 2 ||
        (r->line_octets > RECEIVER_LINE_MAX && data[len - 1] != '\r' && data[len - 1] != '\n'))
        refuse(r, "554 5.6.0 A line of the content is over 998 octets");
    keep(r, data, len);
    if (data[len - 1] == '\n')
        r->line_octets = 0;
}

static struct receiver_verdict judge(struct receiver *r)
{
    if (r->refusal != NULL)
        return (struct receiver_verdict){.reply = r->refusal};
    r->owner.budget->used -= r->content.len;
    CLEANUP(bytes_unref) struct bytes *content = bytes_end(&r->content);
    if (content == NULL)
        return (struct receiver_verdict){.reply = "451 4.3.0 Out of memory"};
    const struct receiver_mail mail = {
        .from = r->from, .to = (const char *const *)r->to, .n_to = r->n_to, .content = content};
    return r->owner.on_mail(r->owner.arg, &mail);
}

static void end_content(struct receiver *r)
{
    struct receiver_verdict verdict = judge(r);
    r->in_content = false;
    r->broken = r->chunked && !verdict.drop && verdict.reply[0] != '2';
    reset(r);
    if (verdict.drop) {
        r->over = true;
    } else if (verdict.delay_ms > 0) {
        r->delay_ms = verdict.delay_ms;
        r->delayed = verdict.reply;
    } else {
        reply(r, verdict.reply);
    }
}

static const char BARE[] = "554 5.6.0 Bare CR or LF in the content";

/*
 *                 "."            CR               LF
 *   LINE_START ---------> DOT --------> DOT_CR --------> the end
 *       ^  \ other         \ other: the dot was stuffed, TEXT
 *       |   v        CR
 *       |   TEXT ---------> CR
 *       |     bare LF: TEXT  | LF
 *       +--------------------+
 */
static void feed_octet(struct receiver *r, const char *c)
{
    switch (r->at) {
    case AT_DOT_CR:
        if (*c == '\n') {
            end_content(r);
            return;
        }
        keep_octets(r, "\r", 1);
        break;
    case AT_LINE_START:
        if (*c == '.') {
            r->at = AT_DOT;
            return;
        }
        break;
    case AT_DOT:
        if (*c == '\r') {
            r->at = AT_DOT_CR;
            return;
        }
        break;
    case AT_TEXT:
    case AT_CR:
        break;
    }
    bool behind_cr = r->at == AT_CR || r->at == AT_DOT_CR;
    if (behind_cr != (*c == '\n'))
        refuse(r, BARE);
    keep_octets(r, c, 1);
    bool line_starts = *c == '\n' && behind_cr && !r->in_chunk;
    r->at = *c == '\r' ? AT_CR : line_starts ? AT_LINE_START : AT_TEXT;
}

/* Takes up to the content's or the `len` octets' end. */
static size_t feed_content(struct receiver *r, const char *data, size_t len)
{
    size_t used = 0;
    while (used < len && (r->in_content || r->in_chunk)) {
        /* Most octets are text behind text: those go by runs. */
        if (r->at == AT_TEXT) {
            const char *cr = memchr(data + used, '\r', len - used);
            size_t run = cr != NULL ? (size_t)(cr - data) - used : len - used;
            const char *bare = memchr(data + used, '\n', run); /* judged by itself, in its turn */
            if (bare != NULL)
                run = (size_t)(bare - data) - used;
            if (run > 0)
                keep_octets(r, data + used, run);
            used += run;
            if (used == len)
                return used;
        }
        feed_octet(r, data + used++);
    }
    return used;
}

/* The answer to a chunk that is in. One that was refused takes its transaction with it. */
static void end_chunk(struct receiver *r)
{
    r->in_chunk = false;
    if (r->chunk_last && r->refusal == NULL && r->line_octets > 0)
        refuse(r, "554 5.6.0 The content's last line has no CRLF");
    if (r->chunk_last && r->refusal == NULL) {
        end_content(r);
    } else if (r->refusal == NULL) {
        reply(r, "250 2.0.0 Ok");
    } else {
        reply(r, r->refusal);
        r->broken = true;
        reset(r);
    }
}

/* Takes up to the chunk's end, or all there is. */
static size_t feed_chunk(struct receiver *r, const char *data, size_t len)
{
    if (len > r->chunk_left)
        len = (size_t)r->chunk_left;
    if (r->refusal == NULL)
        feed_content(r, data, len);
    r->chunk_left -= len;
    if (r->chunk_left == 0)
        end_chunk(r);
    return len;
}

/* --- outside ------------------------------------------------------------------------------ */

struct receiver *receiver_new(const struct receiver_owner *owner)
{
    struct receiver *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->owner = *owner;
    buffer_init(&r->line, RECEIVER_COMMAND_MAX);
    buffer_init(&r->out, OUT_ENOUGH + 2 * REPLY_MAX);
    buffer_init(&r->content, RECEIVER_MESSAGE_MAX + sizeof(struct bytes));
    reply(r, "220 sandbox.test ESMTP postern sandbox");
    if (!r->out.failed)
        return r;
    receiver_free(r);
    return NULL;
}

void receiver_free(struct receiver *r)
{
    if (r == NULL)
        return;
    reset(r);
    buffer_clear(&r->line);
    buffer_clear(&r->out);
    free(r->to);
    free(r);
}

size_t receiver_feed(struct receiver *r, const char *data, size_t len)
{
    size_t used = 0;
    while (used < len && !r->over && r->delay_ms == 0 && r->out.len < OUT_ENOUGH)
        used += r->in_content ? feed_content(r, data + used, len - used)
                : r->in_chunk ? feed_chunk(r, data + used, len - used)
                              : feed_command(r, data + used, len - used);
    if (r->in_chunk && r->chunk_left == 0) /* "BDAT 0 LAST" */
        end_chunk(r);
    if (r->out.failed) /* no memory for a reply: the client would wait for it in vain */
        r->over = true;
    return used;
}

struct buffer *receiver_out(struct receiver *r)
{
    return &r->out;
}

int64_t receiver_delay_ms(const struct receiver *r)
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
