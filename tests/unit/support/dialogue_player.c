#include "tests/unit/support/dialogue_player.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/dialogue.h"
#include "smtp/login.h"

enum { MAX_WORDS = 64, OUT_MAX = 64 * 1024 };

struct message { /* what an envelope borrows */
    struct message *next;
    unsigned number;        /* from 1 on */
    char *words[MAX_WORDS]; /* sender, recipients */
    char *line, *content;
};

struct player {
    const struct conversation *conversation;
    const struct dialogue_pace *pace;
    size_t at; /* the event being played */
    struct smtp_options options;
    struct smtp_dialogue *dialogue; /* made at the first event that is no option */
    const char *content;
    size_t content_len;
    bool smtputf8, require_tls;
    struct mail_dsn dsn;
    struct message *messages;
    unsigned n_messages;
    struct error error; /* unread */
    bool has_error;
    struct smtp_result result;
    size_t result_at; /* the recipient to be looked at next */
    bool has_result;
    char text[600]; /* what TEXT looks at */
    char out[OUT_MAX];
};

__attribute__((format(printf, 2, 3))) static bool wrong(const struct player *p, const char *format,
                                                        ...)
{
    const struct conversation *c = p->conversation;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%u (%s): ", c->path, p->at < c->n_events ? c->events[p->at].line : 0,
            p->pace->name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

/* Splits `line` in place; returns how many there are. */
static size_t split(char *line, char *words[MAX_WORDS])
{
    size_t n = 0;
    for (char *word, *rest = line; n < MAX_WORDS && (word = strsep(&rest, " ")) != NULL;)
        if (*word != '\0')
            words[n++] = word;
    return n;
}

static bool set_option(struct player *p, char *line)
{
    char *words[MAX_WORDS];
    if (strncmp(line, "envid ", 6) == 0) { /* may have spaces */
        p->dsn.envid = line + 6;
        return true;
    }
    size_t n = split(line, words);
    if (n == 0)
        return wrong(p, "an option without a name");
    if (strcmp(words[0], "starttls") == 0)
        p->options.starttls = true;
    else if (strcmp(words[0], "tls") == 0)
        p->options.tls = true;
    else if (strcmp(words[0], "plaintext") == 0)
        p->options.allow_plaintext_auth = true;
    else if (strcmp(words[0], "smtputf8") == 0)
        p->smtputf8 = true;
    else if (strcmp(words[0], "verified") == 0)
        p->options.tls_verified = true;
    else if (strcmp(words[0], "require_tls") == 0)
        p->require_tls = true;
    else if (strcmp(words[0], "notify") == 0)
        p->dsn.notify = n == 2 ? words[1] : "";
    else if (strcmp(words[0], "ret") == 0)
        p->dsn.ret = n == 2 ? words[1] : NULL;
    else if (strcmp(words[0], "window") == 0 && n == 2)
        p->options.window = (unsigned)atoi(words[1]);
    else if (strcmp(words[0], "without") == 0 && n == 2)
        p->options.without |= strcmp(words[1], "chunking") == 0     ? SMTP_EXTENSION_CHUNKING
                              : strcmp(words[1], "pipelining") == 0 ? SMTP_EXTENSION_PIPELINING
                              : strcmp(words[1], "smtputf8") == 0   ? SMTP_EXTENSION_SMTPUTF8
                              : strcmp(words[1], "8bitmime") == 0   ? SMTP_EXTENSION_8BITMIME
                              : strcmp(words[1], "dsn") == 0        ? SMTP_EXTENSION_DSN
                                                                    : SMTP_EXTENSION_SIZE;
    else if (strcmp(words[0], "login") == 0 && n >= 3)
        p->options.credentials =
            (struct sasl_credentials){n > 3 ? words[3] : "auto", words[1], words[2]};
    else if (strcmp(words[0], "token") == 0 && n >= 3)
        p->options.credentials = (struct sasl_credentials){
            .mechanism = n > 3 ? words[3] : "auto", .user = words[1], .token = words[2]};
    else if (strcmp(words[0], "bearer") == 0 && n >= 2)
        p->options.credentials = (struct sasl_credentials){
            .mechanism = n > 2 ? words[2] : "auto", .user = words[1], .bearer = true};
    else if (strcmp(words[0], "mechanism") == 0 && n == 2)
        p->options.credentials = (struct sasl_credentials){.mechanism = words[1]};
    else
        return wrong(p, "no such option: %s", words[0]);
    return true;
}

static void lose(struct player *p)
{
    smtp_dialogue_lost(p->dialogue);
}

static void run_login(struct player *p)
{
    struct smtp_login login;
    if (p->has_error || !smtp_dialogue_take_login(p->dialogue, &login))
        return;
    smtp_login_run(&login);
    if (smtp_dialogue_give_login(p->dialogue, &login, 0, &p->error) < 0) {
        p->has_error = true;
        lose(p);
    }
}

static bool server_says(struct player *p, const char *data, size_t len)
{
    size_t piece = p->pace->feed > 0 ? p->pace->feed : len;
    for (size_t at = 0; at < len && !p->has_error; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        char *copy = malloc(n); /* so that the sanitizer sees one octet too far */
        memcpy(copy, data + at, n);
        if (smtp_dialogue_feed(p->dialogue, copy, n, 0, &p->error) < 0) {
            p->has_error = true;
            lose(p);
        }
        run_login(p);
        free(copy);
    }
    return true;
}

/* All that the server says before the client is heard again, in one segment. */
static bool play_server(struct player *p)
{
    const struct conversation *c = p->conversation;
    size_t len = 0, end = p->at;
    for (; end < c->n_events && c->events[end].kind == CONVERSATION_SERVER; end++)
        len += c->events[end].len;
    char *data = malloc(len);
    len = 0;
    for (size_t i = p->at; i < end; i++) {
        memcpy(data + len, c->events[i].text, c->events[i].len);
        len += c->events[i].len;
    }
    bool good = server_says(p, data, len);
    free(data);
    p->at = end - 1;
    return good;
}

static size_t pull_up_to(struct player *p, size_t most)
{
    size_t len = 0, n;
    do {
        size_t piece = p->pace->pull > 0 && p->pace->pull < most - len ? p->pace->pull : most - len;
        n = smtp_dialogue_pull(p->dialogue, p->out + len, piece);
        smtp_dialogue_written(p->dialogue, n, 0);
        len += n;
    } while (n > 0 && len < most);
    return len;
}

/* Exactly this, and then nothing more unless the block ends in the middle of a line. */
static bool play_client(struct player *p)
{
    const struct conversation *c = p->conversation;
    size_t want_len = 0;
    bool part = false;
    char *want = malloc(OUT_MAX);
    for (; p->at < c->n_events; p->at++) {
        const struct conversation_event *event = &c->events[p->at];
        if (event->kind != CONVERSATION_CLIENT && event->kind != CONVERSATION_CLIENT_PART)
            break;
        memcpy(want + want_len, event->text, event->len);
        want_len += event->len;
        part = event->kind == CONVERSATION_CLIENT_PART;
    }
    p->at--;
    size_t len = pull_up_to(p, part ? want_len : OUT_MAX);
    bool good = len == want_len && memcmp(p->out, want, len) == 0;
    if (!good)
        wrong(p, "the client says\n%.*s\nrather than\n%.*s", (int)len, p->out, (int)want_len, want);
    free(want);
    return good;
}

static bool play_begin(struct player *p, const struct conversation_event *event)
{
    struct message *message = calloc(1, sizeof(*message));
    message->next = p->messages;
    message->number = ++p->n_messages;
    p->messages = message;
    message->line = strdup(event->text);
    message->content = malloc(p->content_len + 1);
    memcpy(message->content, p->content, p->content_len);
    size_t n = split(message->line, message->words);
    const struct smtp_envelope envelope = {
        .sender = strcmp(message->words[0], "<>") == 0 ? "" : message->words[0],
        .recipients = (const char *const *)message->words + 1,
        .n_recipients = n - 1,
        .content = message->content,
        .content_len = p->content_len,
        .smtputf8 = p->smtputf8,
        .require_tls = p->require_tls,
        .dsn = p->dsn,
        .owner = message,
    };
    if (!smtp_dialogue_room(p->dialogue))
        return wrong(p, "there is no room to begin");
    if (smtp_dialogue_begin(p->dialogue, &envelope, 0, &p->error) < 0)
        return wrong(p, "%s", p->error.detail);
    return true;
}

static bool play_token(struct player *p, const char *token)
{
    if (!smtp_dialogue_wants_token(p->dialogue, NULL))
        return wrong(p, "it wants no token");
    char *copy = strdup(token); /* it must not be borrowed */
    if (smtp_dialogue_token(p->dialogue, copy, 0, &p->error) < 0) {
        p->has_error = true;
        lose(p);
    }
    free(copy);
    return true;
}

static bool play_is(struct player *p, const char *word, bool wanted)
{
    const struct smtp_dialogue *d = p->dialogue;
    bool refused, wants = smtp_dialogue_wants_token(d, &refused);
    bool is = strcmp(word, "ready") == 0           ? smtp_dialogue_ready(d)
              : strcmp(word, "idle") == 0          ? smtp_dialogue_idle(d)
              : strcmp(word, "room") == 0          ? smtp_dialogue_room(d)
              : strcmp(word, "token") == 0         ? wants && !refused
              : strcmp(word, "another_token") == 0 ? wants && refused
                                                   : smtp_dialogue_over(d);
    return is == wanted || wrong(p, "it is%s %s", is ? "" : " not", word);
}

static void describe(const struct smtp_result *result, size_t i, char *out, size_t size)
{
    const struct smtp_recipient_result *r = &result->recipients[i];
    if (r->again)
        snprintf(out, size, "again");
    else if (r->reply.code == 0 && result->untouched)
        snprintf(out, size, "untouched");
    else if (r->reply.code == 0 && r->step == SMTP_STEP_CONTENT && result->in_doubt)
        snprintf(out, size, "in-doubt");
    else if (r->reply.code == 0)
        snprintf(out, size, "lost %s", smtp_step_word(r->step));
    else if (r->reply.code / 100 == 2)
        snprintf(out, size, "sent %d", r->reply.code);
    else
        snprintf(out, size, "refused %s %d", smtp_step_word(r->step), r->reply.code);
}

static bool play_result(struct player *p, const char *want)
{
    if (p->has_result && p->result_at == p->result.n_recipients)
        p->has_result = false;
    if (!p->has_result) {
        if (!smtp_dialogue_next_result(p->dialogue, &p->result))
            return wrong(p, "no result (%s)", want);
        p->has_result = true;
        p->result_at = 0;
    }
    size_t i = p->result_at++;
    const struct message *message = p->result.owner;
    const struct reply_record *reply = &p->result.recipients[i].reply;
    char verdict[64], is[600];
    describe(&p->result, i, verdict, sizeof(verdict));
    snprintf(is, sizeof(is), "%s %s", message->words[1 + i], verdict);
    snprintf(p->text, sizeof(p->text), "%s %s", reply->enhanced, reply->text);
    size_t n_code = strlen(error_word(p->error.code)); /* a file may leave out the step */
    bool is_so =
        strcmp(is, want) == 0 || (strlen(want) == n_code && strncmp(is, want, n_code) == 0);
    return is_so || wrong(p, "%s", is);
}

static bool play_error(struct player *p, const char *want)
{
    char is[300];
    if (!p->has_error)
        return wrong(p, "no error, though %s was to come", want);
    p->has_error = false;
    snprintf(is, sizeof(is), "%s %s", error_word(p->error.code), p->error.where);
    snprintf(p->text, sizeof(p->text), "%s", p->error.detail);
    size_t n_code = strlen(error_word(p->error.code)); /* a file may leave out the step */
    bool is_so =
        strcmp(is, want) == 0 || (strlen(want) == n_code && strncmp(is, want, n_code) == 0);
    return is_so || wrong(p, "%s: %s", is, p->error.detail);
}

static bool play_event(struct player *p, const struct conversation_event *event)
{
    switch (event->kind) {
    case CONVERSATION_OPTION:
        return set_option(p, event->text);
    case CONVERSATION_SERVER:
        return play_server(p);
    case CONVERSATION_DROP:
        lose(p);
        return true;
    case CONVERSATION_DELAY:
        return true;
    case CONVERSATION_CLIENT:
    case CONVERSATION_CLIENT_PART:
        return play_client(p);
    case CONVERSATION_TLS:
        if (!smtp_dialogue_wants_tls(p->dialogue))
            return wrong(p, "it does not want TLS");
        smtp_dialogue_tls_done(p->dialogue, 0);
        return true;
    case CONVERSATION_TOKEN:
        return play_token(p, event->text);
    case CONVERSATION_CONTENT:
        p->content = event->text;
        p->content_len = event->len;
        return true;
    case CONVERSATION_BEGIN:
        return play_begin(p, event);
    case CONVERSATION_QUIT:
        smtp_dialogue_quit(p->dialogue, 0);
        return true;
    case CONVERSATION_IS:
        return play_is(p, event->text, true);
    case CONVERSATION_ISNT:
        return play_is(p, event->text, false);
    case CONVERSATION_RESULT:
        return play_result(p, event->text);
    case CONVERSATION_ERROR:
        return play_error(p, event->text);
    case CONVERSATION_TEXT:
        return strstr(p->text, event->text) != NULL || wrong(p, "the text is: %s", p->text);
    }
    return false;
}

static bool nothing_left(struct player *p)
{
    if (p->has_error)
        return wrong(p, "an error nobody expected: %s in %s: %s", error_word(p->error.code),
                     p->error.where, p->error.detail);
    size_t n = smtp_dialogue_pull(p->dialogue, p->out, sizeof(p->out));
    if (n > 0)
        return wrong(p, "the client says more than expected: %.*s", (int)n, p->out);
    if (p->has_result && p->result_at < p->result.n_recipients)
        return wrong(p, "recipients that nobody asked about");
    if (smtp_dialogue_next_result(p->dialogue, &p->result))
        return wrong(p, "a result nobody expected");
    return true;
}

static bool play_all(struct player *p)
{
    const struct conversation *c = p->conversation;
    for (; p->at < c->n_events; p->at++) {
        const struct conversation_event *event = &c->events[p->at];
        if (p->dialogue == NULL && event->kind != CONVERSATION_OPTION)
            p->dialogue = smtp_dialogue_new(&p->options, 0);
        if (p->has_error && event->kind != CONVERSATION_ERROR)
            return nothing_left(p);
        if (!play_event(p, event))
            return false;
    }
    return nothing_left(p);
}

static void on_line(void *arg, void *owner, char who, const char *text)
{
    const struct player *p = arg;
    const struct message *message = owner;
    if (message != NULL)
        buffer_printf(p->pace->trace, "%c%u: %s\n", who, message->number, text);
    else
        buffer_printf(p->pace->trace, "%c: %s\n", who, text);
}

bool dialogue_play(const struct conversation *conversation, const struct dialogue_pace *pace)
{
    struct player *p = calloc(1, sizeof(*p));
    static const char content[] = "Subject: hello\r\n\r\nhello\r\n";
    p->conversation = conversation;
    p->pace = pace;
    p->options = (struct smtp_options){.hostname = "client.example",
                                       .timeouts = {30000, 60000, 120000, 600000}};
    if (pace->trace != NULL)
        p->options.trace = (struct smtp_trace){.line = on_line, .arg = p};
    p->content = content;
    p->content_len = strlen(content);
    bool good = play_all(p);
    smtp_dialogue_free(p->dialogue);
    while (p->messages != NULL) {
        struct message *message = p->messages;
        p->messages = message->next;
        free(message->line);
        free(message->content);
        free(message);
    }
    free(p);
    return good;
}
