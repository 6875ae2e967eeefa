#include "smtp/dialogue.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "smtp/reply.h"

enum {
    OUT_MAX = 1 << 20,           /* commands not yet pulled: 1,000 recipients of the longest kind */
    AUTH_LINE_MAX = 12288,       /* RFC 4954, 4 */
    AUTH_INITIAL_LINE_MAX = 512, /* RFC 5321, 4.5.3.1.4: longer, and the server is asked first */
    AUTH_STEPS_MAX = 8,
};

struct tx { /* one message on its way */
    struct tx *next;
    struct smtp_envelope env;
    struct smtp_recipient_result *results;
    bool *settled; /* per recipient: its result stands */
    size_t n_accepted, n_replies;
    bool refused;         /* MAIL was */
    bool content_begun;   /* 354 was given for it */
    bool replied;         /* the content was answered */
    uint64_t content_end; /* offset behind the final dot, once content_begun */
};

struct owed;
typedef int on_reply_fn(struct smtp_dialogue *d, const struct owed *owed, struct error *err);

enum timeout { TIMEOUT_GREETING, TIMEOUT_COMMAND, TIMEOUT_DATA, TIMEOUT_FINAL };

struct step {
    enum smtp_step id;
    enum timeout timeout; /* RFC 5321, 4.5.3.2; counted from when it is first in line */
    bool ends_group;      /* RFC 2920, 3.1 */
    on_reply_fn *on_reply;
};

struct owed { /* one reply */
    const struct step *step;
    struct tx *tx;               /* NULL: the connection's own */
    size_t rcpt;                 /* which of the tx's recipients, for RCPT */
    uint64_t out_start, out_end; /* offsets of the command in all that is ever sent */
};

struct smtp_dialogue {
    const struct smtp_options *options;
    struct smtp_reply reply; /* being read */
    struct smtp_extensions extensions;
    struct sasl *sasl;
    size_t n_auth_steps;

    struct owed *owed; /* [owed_head, owed_tail) */
    size_t owed_head, owed_tail, owed_size;

    /* What is sent is one stream; offsets count from its beginning. Commands wait in `out`; a
     * content is read from its envelope and stands before them. */
    struct buffer out;
    uint64_t queued, pulled, written; /* pulled <= queued, written <= pulled */
    struct tx *content;               /* being sent, or NULL */
    uint64_t content_start;
    size_t content_at;     /* how far into its octets */
    bool content_new_line; /* the next octet begins a line */

    struct tx *active;                   /* the transaction under way; the place of a window */
    struct tx *finished, **finished_end; /* results not yet taken */
    struct tx *handed_out;               /* the result the caller looks at now */

    int64_t since_ms; /* when the first reply owed became first, or content last moved */
    bool tls, wants_tls, ready, quitting, over;
    bool needs_rset; /* the last transaction did not end with its content */
};

static on_reply_fn on_greeting, on_ehlo, on_helo, on_starttls, on_auth, on_rset, on_mail, on_rcpt,
    on_data, on_content, on_lone_dot, on_quit;

static const struct step GREETING = {SMTP_STEP_GREETING, TIMEOUT_GREETING, true, on_greeting};
static const struct step EHLO = {SMTP_STEP_EHLO, TIMEOUT_COMMAND, true, on_ehlo};
static const struct step HELO = {SMTP_STEP_EHLO, TIMEOUT_COMMAND, true, on_helo};
static const struct step STARTTLS = {SMTP_STEP_STARTTLS, TIMEOUT_COMMAND, true, on_starttls};
static const struct step AUTH = {SMTP_STEP_AUTH, TIMEOUT_COMMAND, true, on_auth};
static const struct step RSET = {SMTP_STEP_RSET, TIMEOUT_COMMAND, false, on_rset};
static const struct step MAIL = {SMTP_STEP_MAIL, TIMEOUT_COMMAND, false, on_mail};
static const struct step RCPT = {SMTP_STEP_RCPT, TIMEOUT_COMMAND, false, on_rcpt};
static const struct step DATA = {SMTP_STEP_DATA, TIMEOUT_DATA, true, on_data};
static const struct step CONTENT = {SMTP_STEP_CONTENT, TIMEOUT_FINAL, true, on_content};
static const struct step LONE_DOT = {SMTP_STEP_CONTENT, TIMEOUT_FINAL, true, on_lone_dot};
static const struct step QUIT = {SMTP_STEP_QUIT, TIMEOUT_COMMAND, true, on_quit};

const char *smtp_step_word(enum smtp_step step)
{
    static const char *const words[] = {
        [SMTP_STEP_CONNECT] = "connect",   [SMTP_STEP_TLS] = "tls",
        [SMTP_STEP_GREETING] = "greeting", [SMTP_STEP_EHLO] = "ehlo",
        [SMTP_STEP_STARTTLS] = "starttls", [SMTP_STEP_AUTH] = "auth",
        [SMTP_STEP_MAIL] = "mail",         [SMTP_STEP_RCPT] = "rcpt",
        [SMTP_STEP_DATA] = "data",         [SMTP_STEP_CONTENT] = "content",
        [SMTP_STEP_RSET] = "rset",         [SMTP_STEP_QUIT] = "quit",
    };
    return words[step];
}

/* --- owing -------------------------------------------------------------------------------- */

static int owe(struct smtp_dialogue *d, const struct step *step, struct tx *tx, size_t rcpt,
               uint64_t out_start, struct error *err)
{
    if (d->owed_head == d->owed_tail)
        d->owed_head = d->owed_tail = 0;
    if (d->owed_tail == d->owed_size) {
        size_t size = d->owed_size > 0 ? d->owed_size * 2 : 8;
        struct owed *owed = realloc(d->owed, size * sizeof(*owed));
        if (owed == NULL)
            return error_set(err, ERR_NOMEM, "replies owed");
        d->owed = owed;
        d->owed_size = size;
    }
    d->owed[d->owed_tail++] = (struct owed){step, tx, rcpt, out_start, d->queued};
    return 0;
}

/* A command, and the reply it will have. */
__attribute__((format(printf, 6, 7))) static int ask(struct smtp_dialogue *d,
                                                     const struct step *step, struct tx *tx,
                                                     size_t rcpt, struct error *err,
                                                     const char *format, ...)
{
    char line[AUTH_LINE_MAX + 2];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line) - 2, format, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < sizeof(line) - 2);
    line[len++] = '\r';
    line[len++] = '\n';
    int rc = buffer_append(&d->out, line, (size_t)len);
    if (step == &AUTH)
        explicit_bzero(line, (size_t)len);
    if (rc < 0)
        return error_set(err, ERR_NOMEM, "commands");
    uint64_t start = d->queued;
    d->queued += (uint64_t)len;
    return owe(d, step, tx, rcpt, start, err);
}

/* Take back what was asked and has not left yet. */
static void take_back(struct smtp_dialogue *d)
{
    while (d->owed_tail > d->owed_head) {
        const struct owed *last = &d->owed[d->owed_tail - 1];
        if (last->out_start < d->pulled || last->step == &CONTENT)
            break;
        d->out.len -= (size_t)(last->out_end - last->out_start);
        d->queued = last->out_start;
        d->owed_tail--;
    }
}

/* --- results ------------------------------------------------------------------------------ */

static void record_reply(const struct smtp_reply *reply, struct reply_record *out)
{
    out->code = reply->code;
    snprintf(out->enhanced, sizeof(out->enhanced), "%s", reply->enhanced);
    snprintf(out->text, sizeof(out->text), "%s", smtp_reply_text(reply));
    size_t len = strlen(out->text);
    if (len == sizeof(out->text) - 1) /* cut: not in the middle of a UTF-8 character */
        while (len > 0 && ((unsigned char)out->text[len - 1] & 0xc0) == 0x80)
            len--;
    if (len > 0 && len < strlen(out->text) && (unsigned char)out->text[len - 1] >= 0xc0)
        len--;
    out->text[len] = '\0';
    for (char *p = out->text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
}

static void settle_rcpt(struct tx *tx, size_t i, enum smtp_step step,
                        const struct smtp_reply *reply)
{
    tx->results[i].step = step;
    if (reply != NULL)
        record_reply(reply, &tx->results[i].reply);
    tx->settled[i] = true;
}

static void settle_rest(struct tx *tx, enum smtp_step step, const struct smtp_reply *reply)
{
    for (size_t i = 0; i < tx->env.n_recipients; i++)
        if (!tx->settled[i])
            settle_rcpt(tx, i, step, reply);
}

static void finish(struct smtp_dialogue *d, struct tx *tx)
{
    if (d->active == tx)
        d->active = NULL;
    if (d->content == tx)
        d->content = NULL;
    *d->finished_end = tx;
    d->finished_end = &tx->next;
}

static void tx_free(struct tx *tx)
{
    if (tx != NULL) {
        free(tx->results);
        free(tx->settled);
    }
    free(tx);
}

static struct tx *tx_new(const struct smtp_envelope *env)
{
    struct tx *tx = calloc(1, sizeof(*tx));
    if (tx == NULL)
        return NULL;
    tx->env = *env;
    tx->results = calloc(env->n_recipients, sizeof(*tx->results));
    tx->settled = calloc(env->n_recipients, sizeof(*tx->settled));
    if (tx->results == NULL || tx->settled == NULL) {
        tx_free(tx);
        return NULL;
    }
    for (size_t i = 0; i < env->n_recipients; i++)
        tx->results[i].step = SMTP_STEP_MAIL;
    return tx;
}

/* --- getting in: greeting, EHLO, STARTTLS, AUTH ------------------------------------------- */

static int refused(struct smtp_dialogue *d, enum error_code code, const char *what,
                   struct error *err)
{
    return error_set(err, code, "%s: %d %s%s%s", what, d->reply.code, d->reply.enhanced,
                     d->reply.enhanced[0] != '\0' ? " " : "", smtp_reply_text(&d->reply));
}

static int on_greeting(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    if (d->reply.code != 220)
        return refused(d, ERR_RELAY_REFUSED, "greeting", err);
    return ask(d, &EHLO, NULL, 0, err, "EHLO %s", d->options->hostname);
}

static int log_in(struct smtp_dialogue *d, struct error *err)
{
    const struct sasl_credentials *credentials = &d->options->credentials;
    if (credentials->user == NULL) {
        d->ready = true;
        return 0;
    }
    if (sasl_start(credentials, d->extensions.auth, d->tls, d->options->allow_plaintext_auth,
                   &d->sasl, err) < 0)
        return -1;

    struct buffer initial;
    buffer_init(&initial, AUTH_LINE_MAX);
    int rc = 0;
    if (sasl_client_first(d->sasl))
        rc = sasl_step(d->sasl, NULL, &initial, err);
    const char *mechanism = sasl_mechanism(d->sasl);
    if (rc == 0 && initial.len > 0 &&
        strlen("AUTH  \r\n") + strlen(mechanism) + initial.len <= AUTH_INITIAL_LINE_MAX)
        rc = ask(d, &AUTH, NULL, 0, err, "AUTH %s %.*s", mechanism, (int)initial.len, initial.data);
    else if (rc == 0)
        rc = ask(d, &AUTH, NULL, 0, err, "AUTH %s", mechanism);
    if (initial.data != NULL)
        explicit_bzero(initial.data, initial.len);
    buffer_clear(&initial);
    return rc;
}

static int on_ehlo(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    bool bare = !d->options->starttls && d->options->credentials.user == NULL;
    if (smtp_reply_class(&d->reply) == 5 && bare) /* RFC 5321, 3.2 */
        return ask(d, &HELO, NULL, 0, err, "HELO %s", d->options->hostname);
    if (smtp_reply_class(&d->reply) != 2)
        return refused(d, ERR_RELAY_REFUSED, "EHLO", err);
    smtp_extensions_parse(smtp_reply_text(&d->reply), &d->extensions);
    if (!d->options->starttls || d->tls)
        return log_in(d, err);
    if (!d->extensions.starttls)
        return error_set(err, ERR_STARTTLS_NOT_OFFERED, "the server does not offer STARTTLS");
    return ask(d, &STARTTLS, NULL, 0, err, "STARTTLS");
}

static int on_helo(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    if (smtp_reply_class(&d->reply) != 2)
        return refused(d, ERR_RELAY_REFUSED, "HELO", err);
    d->ready = true;
    return 0;
}

static int on_starttls(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    if (d->reply.code != 220)
        return refused(d, ERR_STARTTLS_REFUSED, "STARTTLS", err);
    d->wants_tls = true;
    return 0;
}

static int on_auth(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    if (d->reply.code == 235) {
        sasl_free(TAKE(d->sasl));
        d->ready = true;
        return 0;
    }
    if (d->reply.code == 504)
        return refused(d, ERR_AUTH_MECHANISM_UNAVAILABLE, "AUTH", err);
    if (smtp_reply_class(&d->reply) == 4)
        return refused(d, ERR_THROTTLED, "AUTH", err);
    if (d->reply.code != 334)
        return refused(d, smtp_reply_class(&d->reply) == 5 ? ERR_AUTH_FAILED : ERR_PROTOCOL, "AUTH",
                       err);
    if (++d->n_auth_steps > AUTH_STEPS_MAX)
        return error_set(err, ERR_PROTOCOL, "AUTH: the server asks without end");

    struct buffer response;
    buffer_init(&response, AUTH_LINE_MAX);
    int rc = sasl_step(d->sasl, smtp_reply_text(&d->reply), &response, err);
    if (rc == 0)
        rc = ask(d, &AUTH, NULL, 0, err, "%.*s", (int)response.len,
                 response.data != NULL ? response.data : "");
    if (response.data != NULL)
        explicit_bzero(response.data, response.len);
    buffer_clear(&response);
    return rc;
}

/* --- a message: MAIL, RCPT, DATA, content ------------------------------------------------- */

static int ask_envelope(struct smtp_dialogue *d, struct tx *tx, struct error *err)
{
    char size[32] = "";
    if (d->extensions.has_size)
        snprintf(size, sizeof(size), " SIZE=%zu", tx->env.content_len);
    if (d->needs_rset && ask(d, &RSET, NULL, 0, err, "RSET") < 0)
        return -1;
    d->needs_rset = false;
    const char *utf8 = !tx->env.smtputf8            ? ""
                       : d->extensions.eightbitmime ? " BODY=8BITMIME SMTPUTF8"
                                                    : " SMTPUTF8";
    if (ask(d, &MAIL, tx, 0, err, "MAIL FROM:<%s>%s%s", tx->env.sender, size, utf8) < 0)
        return -1;
    for (size_t i = 0; i < tx->env.n_recipients; i++)
        if (ask(d, &RCPT, tx, i, err, "RCPT TO:<%s>", tx->env.recipients[i]) < 0)
            return -1;
    return ask(d, &DATA, tx, 0, err, "DATA");
}

static int on_rset(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    return smtp_reply_class(&d->reply) == 2 ? 0 : refused(d, ERR_PROTOCOL, "RSET", err);
}

/* The transaction ends without its content, unless more replies to it are owed. */
static void end_without_content(struct smtp_dialogue *d, struct tx *tx)
{
    take_back(d);
    d->needs_rset = true;
    if (d->owed_head == d->owed_tail || d->owed[d->owed_tail - 1].tx != tx)
        finish(d, tx);
}

static int on_mail(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    struct tx *tx = owed->tx;
    tx->n_replies++;
    switch (smtp_reply_class(&d->reply)) {
    case 2:
        for (size_t i = 0; i < tx->env.n_recipients; i++)
            tx->results[i].step = SMTP_STEP_RCPT;
        return 0;
    case 3:
        return refused(d, ERR_PROTOCOL, "MAIL", err);
    default:
        tx->refused = true;
        settle_rest(tx, SMTP_STEP_MAIL, &d->reply);
        end_without_content(d, tx);
        return 0;
    }
}

static int on_rcpt(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    struct tx *tx = owed->tx;
    size_t i = owed->rcpt;
    tx->n_replies++;
    if (smtp_reply_class(&d->reply) == 3)
        return refused(d, ERR_PROTOCOL, "RCPT", err);
    if (tx->refused)
        return 0;
    if (smtp_reply_class(&d->reply) == 2) {
        tx->n_accepted++;
        tx->results[i].step = SMTP_STEP_DATA;
    } else {
        settle_rcpt(tx, i, SMTP_STEP_RCPT, &d->reply);
    }
    if (i + 1 == tx->env.n_recipients && tx->n_accepted == 0)
        end_without_content(d, tx);
    return 0;
}

/* How long the content is on the wire: a dot more for every line that begins with one. */
static uint64_t wire_len(const struct smtp_envelope *env)
{
    const char *p = env->content, *end = p + env->content_len;
    uint64_t len = env->content_len + (p < end && *p == '.' ? 1 : 0);
    while ((p = memmem(p, (size_t)(end - p), "\n.", 2)) != NULL) {
        len++;
        p++;
    }
    return len;
}

static int begin_content(struct smtp_dialogue *d, struct tx *tx, struct error *err)
{
    assert(d->out.len == 0); /* DATA ended its group */
    for (size_t i = 0; i < tx->env.n_recipients; i++)
        if (!tx->settled[i])
            tx->results[i].step = SMTP_STEP_CONTENT;
    tx->content_begun = true;
    d->content = tx;
    d->content_start = d->queued;
    d->content_at = 0;
    d->content_new_line = true;
    d->queued += wire_len(&tx->env) + strlen(".\r\n");
    tx->content_end = d->queued;
    return owe(d, &CONTENT, tx, 0, d->content_start, err);
}

static int on_data(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    struct tx *tx = owed->tx;
    tx->n_replies++;
    if (smtp_reply_class(&d->reply) == 2 ||
        (smtp_reply_class(&d->reply) == 3 && d->reply.code != 354))
        return refused(d, ERR_PROTOCOL, "DATA", err);
    if (d->reply.code == 354 && tx->n_accepted > 0)
        return begin_content(d, tx, err);
    if (d->reply.code == 354) /* nobody will get it: end it at once (RFC 2920, 3.1) */
        return ask(d, &LONE_DOT, tx, 0, err, ".");
    settle_rest(tx, SMTP_STEP_DATA, &d->reply);
    d->needs_rset = true;
    finish(d, tx);
    return 0;
}

static int on_content(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    struct tx *tx = owed->tx;
    if (smtp_reply_class(&d->reply) == 3)
        return refused(d, ERR_PROTOCOL, "content", err);
    bool early = d->written < owed->out_end;
    tx->n_replies++;
    tx->replied = true;
    settle_rest(tx, SMTP_STEP_CONTENT, &d->reply);
    finish(d, tx);
    if (early) /* what is left of the content would be taken for commands */
        return error_set(err, ERR_RELAY_CLOSING, "the content was refused before its end");
    return 0;
}

static int on_lone_dot(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    d->needs_rset = true;
    finish(d, owed->tx);
    return 0;
}

static int on_quit(struct smtp_dialogue *d, const struct owed *owed, struct error *err)
{
    d->over = true;
    return 0;
}

/* --- in ----------------------------------------------------------------------------------- */

/* It says that it goes: RFC 5321, 3.8. 451 4.4.2 is how some say it of an idle connection. */
static bool is_farewell(const struct smtp_reply *reply)
{
    return reply->code == 421 || (reply->code == 451 && strcmp(reply->enhanced, "4.4.2") == 0);
}

static bool speaks_of_throttling(const struct smtp_reply *reply)
{
    const char *text = smtp_reply_text(reply);
    return strcmp(reply->enhanced, "4.7.0") == 0 || strcasestr(text, "too many") != NULL ||
           strcasestr(text, "rate") != NULL || strcasestr(text, "limit") != NULL;
}

static int take_farewell(struct smtp_dialogue *d, struct error *err)
{
    struct tx *tx = d->owed_head < d->owed_tail ? d->owed[d->owed_head].tx : NULL;
    if (tx != NULL && tx->n_replies > 0) /* else the message was not touched */
        settle_rest(tx, d->owed[d->owed_head].step->id, &d->reply);
    if (tx != NULL && d->owed[d->owed_head].step == &CONTENT)
        tx->replied = true;
    return refused(d, speaks_of_throttling(&d->reply) ? ERR_THROTTLED : ERR_RELAY_CLOSING,
                   "the server closes", err);
}

static bool was_sent(const struct smtp_dialogue *d, const struct owed *owed)
{
    if (owed->step == &CONTENT && smtp_reply_class(&d->reply) >= 4)
        return owed->out_start <= d->written; /* it may refuse before the end */
    return owed->out_end <= d->written;
}

static int take_reply(struct smtp_dialogue *d, struct error *err)
{
    if (d->over || d->quitting) { /* whatever it says now */
        d->over = true;
        return 0;
    }
    if (is_farewell(&d->reply))
        return take_farewell(d, err);
    if (d->owed_head == d->owed_tail || !was_sent(d, &d->owed[d->owed_head]))
        return refused(d, ERR_PROTOCOL, "a reply to nothing we sent", err);
    const struct owed owed = d->owed[d->owed_head++];
    return owed.step->on_reply(d, &owed, err);
}

int smtp_dialogue_feed(struct smtp_dialogue *d, const char *data, size_t len, int64_t now_ms,
                       struct error *err)
{
    while (len > 0) {
        size_t used;
        enum smtp_feed fed = smtp_reply_feed(&d->reply, data, len, &used, err);
        data += used;
        len -= used;
        if (fed == SMTP_FEED_ERROR)
            return -1;
        if (fed == SMTP_FEED_MORE)
            break;
        if (take_reply(d, err) < 0)
            return -1;
        d->since_ms = now_ms;
        if (d->wants_tls && len > 0) /* plain text posing as TLS: RFC 3207, 4.2 */
            return error_set(err, ERR_INJECTED_RESPONSE, "%zu octets behind STARTTLS", len);
    }
    return 0;
}

/* --- out ---------------------------------------------------------------------------------- */

/* How far may be sent now. The whole pipelining policy is here. */
static uint64_t sendable(const struct smtp_dialogue *d)
{
    for (size_t i = d->owed_head; i < d->owed_tail; i++)
        if (!d->extensions.pipelining || d->owed[i].step->ends_group)
            return d->owed[i].out_end;
    return d->queued;
}

/* Content with its dots stuffed (RFC 5321, 4.5.2) and the final one; up to `size` octets. */
static size_t pull_content(struct smtp_dialogue *d, char *buf, size_t size)
{
    const struct smtp_envelope *env = &d->content->env;
    size_t n = 0;
    while (n < size && d->content_at < env->content_len) {
        const char *from = env->content + d->content_at;
        if (d->content_new_line && *from == '.') {
            buf[n++] = '.';
            d->content_new_line = false; /* the dot itself comes next */
            continue;
        }
        size_t most = env->content_len - d->content_at;
        most = most < size - n ? most : size - n;
        /* up to the next place where a dot has to be doubled */
        const char *stop = memmem(from, most, "\n.", 2);
        size_t len = stop != NULL ? (size_t)(stop - from) + 1 : most;
        memcpy(buf + n, from, len);
        n += len;
        d->content_at += len;
        d->content_new_line = from[len - 1] == '\n';
    }
    static const char end[] = ".\r\n";
    uint64_t left = d->content->content_end - d->pulled - n;
    while (n < size && d->content_at == env->content_len && left > 0) {
        buf[n++] = end[sizeof(end) - 1 - left];
        left--;
    }
    return n;
}

size_t smtp_dialogue_pull(struct smtp_dialogue *d, char *buf, size_t size)
{
    uint64_t limit = sendable(d);
    size_t n = 0;
    if (d->wants_tls || limit <= d->pulled)
        return 0;
    if (d->content != NULL && d->pulled < d->content->content_end) {
        n = pull_content(d, buf, size);
        d->pulled += n;
        return n;
    }
    n = (size_t)(limit - d->pulled);
    n = n < d->out.len ? n : d->out.len;
    n = n < size ? n : size;
    memcpy(buf, d->out.data, n);
    if (!d->ready)
        explicit_bzero(d->out.data, n);
    buffer_consume(&d->out, n);
    d->pulled += n;
    return n;
}

void smtp_dialogue_written(struct smtp_dialogue *d, size_t len, int64_t now_ms)
{
    d->written += len;
    assert(d->written <= d->pulled);
    if (d->owed_head < d->owed_tail && d->owed[d->owed_head].step == &CONTENT)
        d->since_ms = now_ms;
}

bool smtp_dialogue_wants_tls(const struct smtp_dialogue *d)
{
    return d->wants_tls;
}

void smtp_dialogue_tls_done(struct smtp_dialogue *d, int64_t now_ms)
{
    d->wants_tls = false;
    d->tls = true;
    d->since_ms = now_ms;
    memset(&d->extensions, 0, sizeof(d->extensions)); /* RFC 3207, 4.2: asked anew */
    if (ask(d, &EHLO, NULL, 0, NULL, "EHLO %s", d->options->hostname) < 0)
        d->over = true; /* no memory: an orderly end */
}

/* --- for the session ---------------------------------------------------------------------- */

struct smtp_dialogue *smtp_dialogue_new(const struct smtp_options *options, int64_t now_ms)
{
    struct smtp_dialogue *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return NULL;
    d->options = options;
    d->tls = options->tls;
    d->since_ms = now_ms;
    d->finished_end = &d->finished;
    smtp_reply_init(&d->reply);
    buffer_init(&d->out, OUT_MAX);
    if (owe(d, &GREETING, NULL, 0, 0, NULL) < 0) {
        smtp_dialogue_free(d);
        return NULL;
    }
    return d;
}

void smtp_dialogue_free(struct smtp_dialogue *d)
{
    if (d == NULL)
        return;
    for (struct tx *tx = d->finished, *next; tx != NULL; tx = next) {
        next = tx->next;
        tx_free(tx);
    }
    tx_free(d->active);
    tx_free(d->handed_out);
    sasl_free(d->sasl);
    smtp_reply_clear(&d->reply);
    if (d->out.data != NULL)
        explicit_bzero(d->out.data, d->out.size);
    buffer_clear(&d->out);
    free(d->owed);
    free(d);
}

bool smtp_dialogue_ready(const struct smtp_dialogue *d)
{
    return d->ready;
}

bool smtp_dialogue_idle(const struct smtp_dialogue *d)
{
    return d->ready && d->active == NULL && d->owed_head == d->owed_tail;
}

bool smtp_dialogue_room(const struct smtp_dialogue *d)
{
    return smtp_dialogue_idle(d) && !d->quitting && !d->over;
}

/* Refused by ourselves, in the words a server would use. */
static bool cannot_carry(const struct smtp_dialogue *d, struct tx *tx)
{
    const struct smtp_extensions *e = &d->extensions;
    struct reply_record reply = {0};
    if (e->has_size && e->size > 0 && tx->env.content_len > e->size) {
        reply = (struct reply_record){.code = 552, .enhanced = "5.3.4"};
        snprintf(reply.text, sizeof(reply.text),
                 "the message has %zu octets, the relay takes at most %llu", tx->env.content_len,
                 (unsigned long long)e->size);
    } else if (tx->env.smtputf8 && !e->smtputf8) {
        reply = (struct reply_record){.code = 553, .enhanced = "5.6.7"};
        snprintf(reply.text, sizeof(reply.text),
                 "an address has a non-ASCII local part and the relay has no SMTPUTF8");
    }
    for (size_t i = 0; reply.code != 0 && i < tx->env.n_recipients; i++)
        tx->results[i].reply = reply;
    return reply.code != 0;
}

int smtp_dialogue_begin(struct smtp_dialogue *d, const struct smtp_envelope *envelope,
                        int64_t now_ms, struct error *err)
{
    assert(smtp_dialogue_room(d) && envelope->n_recipients > 0);
    struct tx *tx = tx_new(envelope);
    if (tx == NULL)
        return error_set(err, ERR_NOMEM, "transaction");
    if (cannot_carry(d, tx)) {
        finish(d, tx);
        return 0;
    }
    if (ask_envelope(d, tx, err) < 0) {
        take_back(d); /* nothing was under way, so all that is owed is this one's, and unsent */
        tx_free(tx);
        return -1;
    }
    d->active = tx;
    d->since_ms = now_ms;
    return 0;
}

bool smtp_dialogue_next_result(struct smtp_dialogue *d, struct smtp_result *result_out)
{
    tx_free(TAKE(d->handed_out));
    struct tx *tx = d->finished;
    if (tx == NULL)
        return false;
    d->finished = tx->next;
    if (d->finished == NULL)
        d->finished_end = &d->finished;
    d->handed_out = tx;
    *result_out = (struct smtp_result){
        .owner = tx->env.owner,
        .recipients = tx->results,
        .n_recipients = tx->env.n_recipients,
        .untouched = tx->n_replies == 0 && tx->results[0].reply.code == 0,
        .in_doubt = tx->content_begun && !tx->replied && d->written >= tx->content_end,
    };
    return true;
}

void smtp_dialogue_quit(struct smtp_dialogue *d, int64_t now_ms)
{
    if (d->quitting)
        return;
    d->quitting = true;
    d->since_ms = now_ms;
    if (ask(d, &QUIT, NULL, 0, NULL, "QUIT") < 0)
        d->over = true;
}

bool smtp_dialogue_over(const struct smtp_dialogue *d)
{
    return d->over;
}

void smtp_dialogue_lost(struct smtp_dialogue *d)
{
    if (d->active != NULL)
        finish(d, d->active);
    d->owed_head = d->owed_tail = 0;
    d->over = true;
}

int64_t smtp_dialogue_deadline(const struct smtp_dialogue *d, enum smtp_step *step_out)
{
    if (d->owed_head == d->owed_tail)
        return INT64_MAX;
    const struct owed *first = &d->owed[d->owed_head];
    const struct smtp_timeouts *t = &d->options->timeouts;
    int64_t timeout_ms = 0;
    switch (first->step->timeout) {
    case TIMEOUT_GREETING:
        timeout_ms = t->greeting;
        break;
    case TIMEOUT_COMMAND:
        timeout_ms = t->command;
        break;
    case TIMEOUT_DATA:
        timeout_ms = t->data;
        break;
    case TIMEOUT_FINAL: /* while the content still goes out, each piece has its time */
        timeout_ms = d->written < first->out_end ? t->data : t->final;
        break;
    }
    if (step_out != NULL)
        *step_out = first->step->id;
    return d->since_ms + timeout_ms;
}

enum smtp_step smtp_dialogue_step(const struct smtp_dialogue *d)
{
    if (d->owed_head < d->owed_tail)
        return d->owed[d->owed_head].step->id;
    return d->quitting ? SMTP_STEP_QUIT : SMTP_STEP_MAIL;
}

const struct smtp_extensions *smtp_dialogue_extensions(const struct smtp_dialogue *d)
{
    return &d->extensions;
}
