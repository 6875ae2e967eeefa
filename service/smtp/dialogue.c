#include "smtp/dialogue.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "smtp/login.h"
#include "smtp/owed.h"
#include "smtp/parameters.h"
#include "smtp/reaction.h"
#include "smtp/reply.h"
#include "smtp/trace.h"
#include "smtp/transaction.h"

enum {
    OWED_FIRST = 16,            /* more than a login or a QUIT ever needs at once */
    OWED_BESIDE_RECIPIENTS = 4, /* RSET MAIL DATA content */
    /* RFC 5321 has 512, and each parameter adds to it. Addresses are bounded in transaction.c, host
     * names below. */
    LINE_SIZE = 512 + SMTP_PARAMETERS_SIZE,
    /* A content that takes longer than a round trip waits until somebody wants it: with BDAT it
     * must go out whole even if every recipient was refused (RFC 3030, 2). */
    CHUNK_UNASKED_MAX = 256 * 1024,
    CONTENT_RATE_MIN = 1024, /* octets a second; who takes less blocks a connection for hours */
};

struct smtp_tx_list {
    struct smtp_tx *first;
    struct smtp_tx **end;
};

struct smtp_dialogue {
    const struct smtp_options *options; /* borrowed */
    struct smtp_extensions extensions;

    struct smtp_reply reply;   /* being read */
    enum smtp_arrival arrival; /* of its first octet */
    struct reply_record said;  /* the last whole one, fit to be shown */

    struct smtp_owed_queue owed;
    enum smtp_step last_step; /* answered last */
    int64_t since_ms;         /* when the first of them became the first, or last made progress */
    int64_t first_ms;         /* when it became the first; later by what this process stood still */
    uint64_t first_written;   /* ... and `written` then */

    uint64_t pulled, written; /* octets, ever */
    const char *text;         /* the command being sent: what is left of it */
    size_t text_len;
    char line[LINE_SIZE];

    struct sasl_credentials credentials; /* the options', and the token once it has come */
    char *token;                         /* owned; NULL: none has come */
    bool wants_token, token_refused;     /* one was: the next is the last */
    struct smtp_login login;
    struct login_memory *memory; /* of the options, or the next: for this connection alone */
    struct login_memory own_memory;
    bool login_away; /* taken, to be run */
    bool fell_back;  /* a challenge was refused: the password itself follows */
    bool tls, wants_tls;
    bool ready, quitting;
    bool unclear;       /* the last transaction may have left something open at the server */
    bool rset_asked;    /* ... of which the RSET on its way will clear it */
    bool refused_chunk; /* ... and its content may have been read as commands */
    bool grouped;       /* a reply has come for a command that was sent with others behind it */
    bool farewell;      /* it said that it goes: what stands behind that was not done */
    bool over, closed;

    unsigned without; /* enum smtp_extension: on this connection, from its beginning */
    unsigned window;  /* transactions under way at once, now */
    uint64_t n_begun;
    size_t n_under_way;
    struct smtp_tx_list under_way, results;
    struct smtp_tx *shown; /* whose result the caller looks at */
};

/* ---- what handlers say and do ---- */

static int reply_class(const struct smtp_dialogue *d)
{
    return d->said.code / 100;
}

static bool is_refusal(const struct smtp_dialogue *d)
{
    return reply_class(d) == 4 || reply_class(d) == 5;
}

static int refused(const struct smtp_dialogue *d, enum error_code code, struct error *err)
{
    return error_set(err, code, "%d%s%s %s", d->said.code, d->said.enhanced[0] != '\0' ? " " : "",
                     d->said.enhanced, d->said.text);
}

static int relay_refused(const struct smtp_dialogue *d, struct error *err)
{
    return refused(d, smtp_reply_throttles(&d->said) ? ERR_THROTTLED : ERR_RELAY_REFUSED, err);
}

static int no_answer_to(const struct smtp_dialogue *d, const struct smtp_owed *owed,
                        struct error *err)
{
    return error_set(err, ERR_PROTOCOL, "%d does not answer %s", d->said.code,
                     smtp_step_word(owed->command->step));
}

static void send_text(struct smtp_dialogue *d, const char *text, size_t len)
{
    d->text = text;
    d->text_len = len;
}

__attribute__((format(printf, 2, 3))) static void put(struct smtp_dialogue *d, const char *format,
                                                      ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(d->line, sizeof(d->line), format, args);
    va_end(args);
    assert(len > 0 && (size_t)len < sizeof(d->line));
    send_text(d, d->line, (size_t)len);
}

/* Another reply is the first that is owed. */
static void begin_wait(struct smtp_dialogue *d, int64_t now_ms)
{
    d->since_ms = d->first_ms = now_ms;
    d->first_written = d->written;
}

static void ask(struct smtp_dialogue *d, const struct smtp_command *command)
{
    smtp_owed_ask(&d->owed, command, NULL, 0);
}

static void list_append(struct smtp_tx_list *list, struct smtp_tx *tx)
{
    tx->next = NULL;
    *list->end = tx;
    list->end = &tx->next;
}

static struct smtp_tx *list_pop(struct smtp_tx_list *list)
{
    struct smtp_tx *tx = list->first;
    if (tx == NULL)
        return NULL;
    list->first = tx->next;
    if (list->first == NULL)
        list->end = &list->first;
    return tx;
}

/* What it offers does not work; those under way go on as they are. */
static void distrust(struct smtp_dialogue *d, unsigned extensions)
{
    char why[sizeof(d->said.text) + 24];
    snprintf(why, sizeof(why), "%d %s%s%s", d->said.code, d->said.enhanced,
             d->said.enhanced[0] != '\0' ? " " : "", d->said.text);
    smtp_extensions_leave_out(&d->extensions, extensions);
    smtp_distrust_note(d->options->distrust, extensions, why);
}

/* Replies come in order, so transactions end in the order they began. */
static void finish_first(struct smtp_dialogue *d)
{
    struct smtp_tx *tx = list_pop(&d->under_way);
    d->n_under_way--;
    d->unclear |= !tx->content_settled;
    list_append(&d->results, tx);
}

/* ---- steps, in wire order ---- */

static const struct smtp_command GREETING, EHLO, HELO, STARTTLS, AUTH, AUTH_LINE, MAIL, RCPT, DATA,
    CONTENT, CHUNK, LARGE_CHUNK, RSET, LONE_RSET, QUIT, AUTH_CANCEL;

static int on_greeting(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (is_refusal(d))
        return relay_refused(d, err);
    if (d->said.code != 220)
        return no_answer_to(d, owed, err);
    ask(d, &EHLO);
    return 0;
}

static const struct smtp_command GREETING = {SMTP_STEP_GREETING, true, false, NULL, on_greeting};

static int start_auth(struct smtp_dialogue *d, struct error *err);

static int after_ehlo(struct smtp_dialogue *d, struct error *err)
{
    if (d->options->starttls && !d->tls) {
        if (!d->extensions.starttls)
            return error_set(err, ERR_STARTTLS_NOT_OFFERED, "the server offers no STARTTLS");
        ask(d, &STARTTLS);
        return 0;
    }
    if (sasl_wanted(&d->credentials))
        return start_auth(d, err);
    d->ready = true;
    return 0;
}

static void put_ehlo(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "EHLO %.255s\r\n", d->options->hostname);
}

static int on_ehlo(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    const struct smtp_options *options = d->options;
    bool unknown = d->said.code == 500 || d->said.code == 502;
    if (unknown && !options->starttls && !sasl_wanted(&d->credentials)) {
        ask(d, &HELO);
        return 0;
    }
    if (is_refusal(d))
        return relay_refused(d, err);
    if (reply_class(d) != 2)
        return no_answer_to(d, owed, err);
    smtp_extensions_parse(smtp_reply_text(&d->reply), &d->extensions);
    smtp_extensions_leave_out(&d->extensions, d->without);
    return after_ehlo(d, err);
}

static const struct smtp_command EHLO = {SMTP_STEP_EHLO, true, false, put_ehlo, on_ehlo};

static void put_helo(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "HELO %.255s\r\n", d->options->hostname);
}

static int on_helo(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (is_refusal(d))
        return relay_refused(d, err);
    if (reply_class(d) != 2)
        return no_answer_to(d, owed, err);
    return after_ehlo(d, err);
}

static const struct smtp_command HELO = {SMTP_STEP_EHLO, true, false, put_helo, on_helo};

static void put_starttls(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "STARTTLS\r\n");
}

static int on_starttls(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (is_refusal(d))
        return refused(d, ERR_STARTTLS_REFUSED, err);
    if (d->said.code != 220)
        return no_answer_to(d, owed, err);
    d->wants_tls = true; /* smtp_dialogue_tls_done() goes on */
    return 0;
}

static const struct smtp_command STARTTLS = {SMTP_STEP_STARTTLS, true, false, put_starttls,
                                             on_starttls};

/* NULL: the password may not be shown to this server, or it takes none. That it may says the user,
 * by leaving the mechanism to us, and the certificate. */
static const char *password_mechanism(const struct smtp_dialogue *d)
{
    const struct smtp_options *options = d->options;
    if (!d->tls || !options->tls_verified || !sasl_automatic(&options->credentials) ||
        options->credentials.bearer || options->credentials.password == NULL)
        return NULL;
    return smtp_extensions_offer_auth(&d->extensions, "PLAIN")   ? "plain"
           : smtp_extensions_offer_auth(&d->extensions, "LOGIN") ? "login"
                                                                 : NULL;
}

/* A challenge was not met: the password is wrong, or the server has it in a form that it cannot
 * check this way (a directory behind it, or another preparation of its characters). */
static bool may_fall_back(const struct smtp_dialogue *d)
{
    return !d->fell_back && sasl_challenges(d->login.sasl) && password_mechanism(d) != NULL &&
           atomic_load(&d->memory->kind) != LOGIN_CHALLENGE_NEXT;
}

static int fall_back(struct smtp_dialogue *d, struct error *err)
{
    d->fell_back = true;
    return start_auth(d, err);
}

/* See struct login_memory. */
static void remember_refusal(struct smtp_dialogue *d)
{
    bool challenge = sasl_challenges(d->login.sasl);
    unsigned kind = atomic_load(&d->memory->kind);
    if (password_mechanism(d) == NULL)
        return;
    if (challenge && kind != LOGIN_PASSWORD_WORKS)
        kind = LOGIN_PASSWORD_NEXT;
    else if (!challenge && kind != LOGIN_NONE)
        kind = kind == LOGIN_PASSWORD_WORKS ? LOGIN_PASSWORD_NEXT : LOGIN_CHALLENGE_NEXT;
    atomic_store(&d->memory->kind, kind);
}

static void remember_success(struct smtp_dialogue *d)
{
    if (sasl_challenges(d->login.sasl))
        atomic_store(&d->memory->kind, LOGIN_NONE);
    else if (atomic_load(&d->memory->kind) != LOGIN_NONE)
        atomic_store(&d->memory->kind, LOGIN_PASSWORD_WORKS);
    if (d->login.alone)
        atomic_store(&d->memory->alone, true);
}

/* The mechanism is of no use here: the next one, and if there is none what `why` says. */
static int try_next_mechanism(struct smtp_dialogue *d, const struct error *why, struct error *err)
{
    struct error next, first = *why;
    smtp_login_strike(&d->login, &d->extensions);
    if (d->fell_back && password_mechanism(d) == NULL) /* a challenge was refused already */
        return error_set(err, first.code, "%s", first.detail);
    if (start_auth(d, &next) == 0)
        return 0;
    if (next.code != ERR_AUTH_MECHANISM_UNAVAILABLE)
        first = next;
    return error_set(err, first.code, "%s", first.detail);
}

static void put_auth_cancel(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "*\r\n"); /* RFC 4954, 4 */
}

static int on_auth_cancel(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    struct error why = d->login.err;
    if (!is_refusal(d))
        return no_answer_to(d, owed, err);
    return sasl_is_unusable(d->login.sasl) ? try_next_mechanism(d, &why, err) : fall_back(d, err);
}

static const struct smtp_command AUTH_CANCEL = {SMTP_STEP_AUTH, true, false, put_auth_cancel,
                                                on_auth_cancel};

/* It came to nothing: for a fault of this mechanism with these credentials, or because a message of
 * its own said what else a 535 says. Is there another? */
static int give_up_mechanism(struct smtp_dialogue *d, struct error *err)
{
    struct error why = d->login.err;
    bool unusable = sasl_is_unusable(d->login.sasl) && sasl_automatic(&d->options->credentials);
    bool refused = why.code == ERR_AUTH_FAILED && !unusable && may_fall_back(d);
    if (refused)
        remember_refusal(d);
    if (d->login.answering && (unusable || refused)) {
        ask(d, &AUTH_CANCEL);
        return 0;
    }
    return unusable ? try_next_mechanism(d, &why, err) : error_set(err, why.code, "%s", why.detail);
}

/* What it came to. */
static int say_login(struct smtp_dialogue *d, struct error *err)
{
    if (d->login.err.code != ERR_NONE)
        return give_up_mechanism(d, err);
    ask(d, d->login.bare ? &AUTH : &AUTH_LINE);
    return 0;
}

/* What may take its time is taken away to be run: smtp_dialogue_take_login(). */
static int go_on_with_login(struct smtp_dialogue *d, struct error *err)
{
    if (smtp_login_waits(&d->login))
        return 0;
    smtp_login_run(&d->login);
    return say_login(d, err);
}

/* Where the token is yet to come, only whether it would be of use is seen; it then begins anew. */
static int start_auth(struct smtp_dialogue *d, struct error *err)
{
    unsigned kind = atomic_load(&d->memory->kind);
    const char *password = password_mechanism(d);
    bool is_next = d->fell_back || kind == LOGIN_PASSWORD_NEXT || kind == LOGIN_PASSWORD_WORKS;
    d->credentials.mechanism =
        is_next && password != NULL ? password : d->options->credentials.mechanism;
    d->login.alone |= atomic_load(&d->memory->alone);
    if (smtp_login_start(&d->login, &d->credentials, &d->options->binding, &d->extensions,
                         d->tls || d->options->allow_plaintext_auth, err) < 0)
        return -1;
    d->wants_token = d->credentials.bearer && d->credentials.token == NULL;
    return d->wants_token ? 0 : go_on_with_login(d, err);
}

/* Offered, but not to be had after all. */
static int on_unknown_mechanism(struct smtp_dialogue *d, struct error *err)
{
    struct error why;
    refused(d, ERR_AUTH_MECHANISM_UNAVAILABLE, &why);
    return try_next_mechanism(d, &why, err);
}

static enum error_code auth_error(const struct smtp_dialogue *d)
{
    int code = d->said.code;
    if (code == 454 || smtp_reply_throttles(&d->said))
        return ERR_THROTTLED;
    if (code / 100 == 4)
        return ERR_RELAY_REFUSED;
    if ((code == 530 || code == 538) && !d->tls)
        return ERR_AUTH_NEEDS_TLS;
    return ERR_AUTH_FAILED;
}

static void drop_token(struct smtp_dialogue *d)
{
    if (d->token != NULL)
        explicit_bzero(d->token, strlen(d->token));
    free(TAKE(d->token));
    d->credentials.token = d->options->credentials.token;
}

/* It may have been revoked, or have come to its end on the way here, whatever was said of its life.
 * Not if the server is in trouble itself, or did not understand us; and if the second was refused
 * too it is the account. */
static bool token_may_be_at_fault(const struct smtp_dialogue *d)
{
    return d->token != NULL && !d->token_refused && auth_error(d) == ERR_AUTH_FAILED &&
           d->said.code / 10 != 50;
}

/* On the same connection: AUTH may be tried again after a refusal (RFC 4954, 4). */
static int want_another_token(struct smtp_dialogue *d, struct error *err)
{
    drop_token(d);
    d->token_refused = true;
    return start_auth(d, err);
}

static void put_auth(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "AUTH %s\r\n", sasl_mechanism(d->login.sasl));
}

static void put_auth_line(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    send_text(d, d->login.line.data, d->login.line.len);
}

/* 503 is about the command, and 534 wants a stronger mechanism. Once: who has a wrong password
 * is not to be locked out for it. */
static int on_refused_login(struct smtp_dialogue *d, struct error *err)
{
    enum error_code code = auth_error(d);
    bool is_of_login = code == ERR_AUTH_FAILED && d->said.code != 503 && d->said.code != 534;
    bool falls_back = is_of_login && may_fall_back(d);
    if (is_of_login)
        remember_refusal(d);
    return falls_back ? fall_back(d, err) : refused(d, code, err);
}

static int on_auth(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (d->said.code == 334) {
        if (smtp_login_challenge(&d->login, smtp_reply_text(&d->reply), err) < 0)
            return -1;
        return go_on_with_login(d, err);
    }
    if (d->said.code == 504)
        return on_unknown_mechanism(d, err);
    if ((d->said.code == 500 || d->said.code == 501) && smtp_login_go_alone(&d->login))
        return start_auth(d, err);
    if (is_refusal(d) && token_may_be_at_fault(d))
        return want_another_token(d, err);
    if (is_refusal(d))
        return on_refused_login(d, err);
    if (reply_class(d) != 2)
        return no_answer_to(d, owed, err);
    if (sasl_accept(d->login.sasl, err) < 0)
        return -1;
    log_debug("logged in", LOG_STR("host", d->credentials.host),
              LOG_STR("mechanism", sasl_mechanism(d->login.sasl)));
    remember_success(d);
    smtp_login_clear(&d->login);
    d->ready = true;
    return 0;
}

static const struct smtp_command AUTH = {SMTP_STEP_AUTH, true, false, put_auth, on_auth};
static const struct smtp_command AUTH_LINE = {SMTP_STEP_AUTH, true, false, put_auth_line, on_auth};

static void put_mail(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    char parameters[SMTP_PARAMETERS_SIZE];
    smtp_mail_parameters(owed->tx, &d->extensions, parameters);
    owed->sent_size = d->extensions.has_size;
    owed->sent_dsn = strstr(parameters, " RET=") != NULL || strstr(parameters, " ENVID=") != NULL;
    put(d, "MAIL FROM:<%s>%s\r\n", owed->tx->envelope.sender, parameters);
}

/* Is it the parameters that were refused (RFC 5321, 4.2.2; RFC 5321, 4.1.1.11), rather than what
 * they stand behind? 501 is said of addresses too, so there the enhanced code has to say it. */
static bool refuses_parameters(const struct smtp_dialogue *d)
{
    return d->said.code == 555 || d->said.code == 504 ||
           (d->said.code == 501 && strcmp(d->said.enhanced, "5.5.4") == 0);
}

/* SIZE and what was asked for of DSN can be left out. A BODY or SMTPUTF8 cannot: they stand there
 * only for a message that needs them, so who refuses them refuses the message. */
static unsigned spare_parameters(const struct smtp_dialogue *d, const struct smtp_owed *owed)
{
    bool mail = owed->command->step == SMTP_STEP_MAIL;
    return (mail && owed->sent_size ? SMTP_EXTENSION_SIZE : 0U) |
           (owed->sent_dsn ? SMTP_EXTENSION_DSN : 0U);
}

static int on_mail(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (!is_refusal(d) && reply_class(d) != 2)
        return no_answer_to(d, owed, err);
    if (!is_refusal(d)) {
        d->unclear = false; /* a new transaction has begun there */
        return 0;
    }
    /* Sent before we knew how the one before it ends. Some servers refuse it then for what that one
     * left (RFC 3030, 2), so it has another chance behind an RSET. */
    unsigned spare = spare_parameters(d, owed);
    if (d->unclear) {
        owed->tx->misplaced = owed->tx->untouched = true;
        d->window = 1;
    } else if (refuses_parameters(d) && spare != 0) {
        distrust(d, spare);
        smtp_tx_leave_rest(owed->tx);
    }
    smtp_tx_decide_rest(owed->tx, SMTP_STEP_MAIL, &d->said);
    smtp_owed_forget_unsent(&d->owed, owed->tx);
    return 0;
}

static const struct smtp_command MAIL = {SMTP_STEP_MAIL, false, false, put_mail, on_mail};

static void put_rcpt(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    char parameters[SMTP_PARAMETERS_SIZE];
    smtp_rcpt_parameters(owed->tx, owed->rcpt, &d->extensions, parameters);
    owed->sent_dsn = parameters[0] != '\0';
    put(d, "RCPT TO:<%s>%s\r\n", owed->tx->envelope.recipients[owed->rcpt], parameters);
}

static int on_rcpt(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    struct smtp_tx *tx = owed->tx;
    if (!is_refusal(d) && reply_class(d) != 2)
        return no_answer_to(d, owed, err);
    unsigned spare = spare_parameters(d, owed);
    if (is_refusal(d) && refuses_parameters(d) && spare != 0 && !tx->misplaced) {
        distrust(d, spare);
        smtp_tx_leave(tx, owed->rcpt);
    }
    if (is_refusal(d))
        smtp_tx_decide(tx, owed->rcpt, SMTP_STEP_RCPT, &d->said);
    else if (!smtp_tx_decided(tx, owed->rcpt)) /* it is if MAIL was refused */
        tx->n_accepted++;
    if (--tx->n_unanswered == 0 && tx->n_accepted == 0)
        smtp_owed_forget_unsent(&d->owed, tx);
    return 0;
}

static const struct smtp_command RCPT = {SMTP_STEP_RCPT, false, false, put_rcpt, on_rcpt};

static void put_data(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "DATA\r\n");
}

static int on_data(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    struct smtp_tx *tx = owed->tx;
    if (is_refusal(d)) {
        smtp_tx_decide_rest(tx, SMTP_STEP_DATA, &d->said);
        return 0;
    }
    if (d->said.code != 354)
        return no_answer_to(d, owed, err);
    /* RFC 2920, 3.1: if nobody will get it, end it at once by a lone dot. */
    smtp_content_init(&tx->content, tx->envelope.content,
                      tx->n_accepted > 0 ? tx->envelope.content_len : 0);
    tx->content_begun = true;
    smtp_owed_ask_first(&d->owed, &CONTENT, tx);
    return 0;
}

static const struct smtp_command DATA = {SMTP_STEP_DATA, true, false, put_data, on_data};

static void open_window(struct smtp_dialogue *d)
{
    unsigned most = d->options->window > 1 ? d->options->window : 1;
    d->window = 2 * d->window < most ? 2 * d->window : most;
}

/* 500 to 504 to BDAT is about the command, not about the message: whoever offered CHUNKING is not
 * who we speak to. Unless it is said of a BDAT that has nobody to go to: that is as it should be.
 */
static bool refuses_chunks(const struct smtp_dialogue *d, const struct smtp_owed *owed)
{
    return owed->command != &CONTENT && d->said.code >= 500 && d->said.code <= 504 &&
           owed->tx->n_accepted > 0 && !owed->tx->misplaced;
}

static int on_content(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    struct smtp_tx *tx = owed->tx;
    bool early = d->arrival == SMTP_ARRIVAL_EARLY, taken = reply_class(d) == 2;
    if (taken && early)
        return error_set(err, ERR_PROTOCOL, "%d before the content's end", d->said.code);
    if (taken && tx->misplaced) {
        tx->misplaced = false; /* whether it was delivered, nobody knows */
        return error_set(err, ERR_PROTOCOL, "%d to a content without a sender", d->said.code);
    }
    if (!is_refusal(d) && !taken)
        return no_answer_to(d, owed, err);
    if (taken && owed->command != &CONTENT)
        smtp_distrust_note_success(d->options->distrust, SMTP_EXTENSION_CHUNKING);
    if (refuses_chunks(d, owed)) {
        distrust(d, SMTP_EXTENSION_CHUNKING);
        d->refused_chunk = true;
        smtp_tx_leave_rest(tx);
    }
    smtp_tx_decide_rest(tx, SMTP_STEP_CONTENT, &d->said);
    /* A final dot ends the transaction whatever is said of it; a refused chunk leaves it unclear
     * (RFC 3030, 2). */
    tx->content_settled = taken || owed->command == &CONTENT;
    if (taken)
        open_window(d);
    d->over |= early; /* rather than to send the rest for nothing, or for commands */
    return 0;
}

static const struct smtp_command CONTENT = {SMTP_STEP_CONTENT, false, false, NULL, on_content};

static void put_chunk(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    struct smtp_tx *tx = owed->tx;
    put(d, "BDAT %zu LAST\r\n",
        smtp_content_init_chunk(&tx->content, tx->envelope.content, tx->envelope.content_len));
}

static const struct smtp_command CHUNK = {SMTP_STEP_CONTENT, false, false, put_chunk, on_content};
static const struct smtp_command LARGE_CHUNK = {SMTP_STEP_CONTENT, false, true, put_chunk,
                                                on_content};

static bool carries_content(const struct smtp_command *command)
{
    return command == &CONTENT || command == &CHUNK || command == &LARGE_CHUNK;
}

static void put_rset(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "RSET\r\n");
}

static int on_rset(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (reply_class(d) != 2 && d->refused_chunk) {
        d->over = true; /* it answers the lines of the content, each by itself */
        return 0;
    }
    d->refused_chunk = false;
    if (reply_class(d) != 2)
        return no_answer_to(d, owed, err);
    d->unclear = d->rset_asked = false;
    return 0;
}

static const struct smtp_command RSET = {SMTP_STEP_RSET, false, false, put_rset, on_rset};
static const struct smtp_command LONE_RSET = {SMTP_STEP_RSET, true, false, put_rset, on_rset};

static void put_quit(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    put(d, "QUIT\r\n");
}

static int on_quit(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    d->over = true;
    return 0;
}

static const struct smtp_command QUIT = {SMTP_STEP_QUIT, true, false, put_quit, on_quit};

/* ---- what is told of it ---- */

static void *owner_of(const struct smtp_tx *tx)
{
    return tx != NULL ? tx->envelope.owner : NULL;
}

/* A command that goes out now. */
static void trace_sent(const struct smtp_dialogue *d, const struct smtp_owed *owed)
{
    const struct smtp_trace *trace = &d->options->trace;
    const struct smtp_tx *tx = owed->tx;
    if (trace->line == NULL)
        return;
    if (owed->command->step == SMTP_STEP_AUTH)
        smtp_trace_login(trace, d->text, d->text_len);
    else if (d->text_len > 0)
        smtp_trace_line(trace, owner_of(tx), 'C', d->text, d->text_len);
    if (owed->command == &CONTENT)
        smtp_trace_say(trace, owner_of(tx), 'C', "(%zu octets of content)",
                       (size_t)(tx->content.end - tx->content.begin));
    else if (carries_content(owed->command))
        smtp_trace_say(trace, owner_of(tx), 'C', "(chunk of %zu octets)",
                       (size_t)(tx->content.end - tx->content.begin) + strlen(tx->content.trailer));
    if (owed->command == &MAIL && !d->extensions.dsn && smtp_dsn_is_asked(&tx->envelope.dsn))
        smtp_trace_say(trace, owner_of(tx), '*',
                       "the server has no DSN: no notification can be asked for");
}

/* What was decided without the server. */
static void trace_own_refusals(const struct smtp_dialogue *d, const struct smtp_tx *tx)
{
    const struct smtp_trace *trace = &d->options->trace;
    for (size_t i = 0; trace->line != NULL && i < tx->envelope.n_recipients; i++) {
        const struct smtp_recipient_result *r = &tx->recipients[i];
        bool of_message = r->step == SMTP_STEP_MAIL;
        if (!smtp_tx_decided(tx, i))
            continue;
        smtp_trace_say(trace, owner_of(tx), '*', "%s is not sent: %d %s %s",
                       of_message ? "the message" : tx->envelope.recipients[i], r->reply.code,
                       r->reply.enhanced, r->reply.text);
        if (of_message)
            return;
    }
}

/* ---- a connection's life ---- */

struct smtp_dialogue *smtp_dialogue_new(const struct smtp_options *options, int64_t now_ms)
{
    struct smtp_dialogue *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return NULL;
    d->options = options;
    d->credentials = options->credentials;
    d->tls = options->tls;
    d->without = options->without | smtp_distrust_begin(options->distrust);
    begin_wait(d, now_ms);
    d->window = 1;
    d->under_way.end = &d->under_way.first;
    d->results.end = &d->results.first;
    smtp_reply_init(&d->reply);
    if (smtp_owed_reserve(&d->owed, OWED_FIRST) < 0) {
        smtp_dialogue_free(d);
        return NULL;
    }
    d->memory = options->login_memory != NULL ? options->login_memory : &d->own_memory;
    ask(d, &GREETING);
    smtp_owed_was_sent(&d->owed, 0); /* to connect was to ask for it */
    return d;
}

void smtp_dialogue_free(struct smtp_dialogue *d)
{
    if (d == NULL)
        return;
    for (struct smtp_tx *tx; (tx = list_pop(&d->under_way)) != NULL;)
        smtp_tx_free(tx);
    for (struct smtp_tx *tx; (tx = list_pop(&d->results)) != NULL;)
        smtp_tx_free(tx);
    smtp_tx_free(d->shown);
    smtp_login_clear(&d->login);
    drop_token(d);
    smtp_reply_clear(&d->reply);
    smtp_owed_clear(&d->owed);
    free(d);
}

/* What a server says is shown in logs and events, where a password it repeats has no business, and
 * in traces, where a challenge has none either. */
static void take_record(struct smtp_dialogue *d)
{
    const struct smtp_owed *first = smtp_owed_first(&d->owed);
    const char *instead = NULL;
    smtp_reply_record(&d->reply, &d->said);
    if (sasl_text_reveals(&d->credentials, smtp_reply_text(&d->reply))) {
        snprintf(d->said.text, sizeof(d->said.text), "(not shown: it repeats the password)");
        instead = d->said.text;
    }
    if (d->said.code == 334)
        instead = "...";
    smtp_trace_reply(&d->options->trace, first != NULL ? owner_of(first->tx) : NULL, &d->reply,
                     instead);
}

/* That it goes may be said at any moment (RFC 5321, 3.8); 451 4.4.2 is how some say it, or 451
 * and words for it. */
static bool is_farewell(const struct smtp_dialogue *d)
{
    return d->said.code == 421 ||
           (d->said.code == 451 && reaction_to(&d->said)->kind == REACTION_RECONNECT);
}

/* 421 answers the transaction it interrupts, also one whose content is on its way, and nothing
 * behind it is done: none of that is in doubt. Who says 451 4.4.2 may go on all the same: it
 * answers what was asked, and what stands whole behind it is in doubt. What nothing was said about
 * yet is as if the connection had just ended. */
static int take_farewell(struct smtp_dialogue *d, struct error *err)
{
    const struct smtp_owed *first = smtp_owed_first(&d->owed);
    struct smtp_tx *tx = first != NULL ? first->tx : NULL;
    d->farewell = d->said.code == 421;
    if (tx != NULL && tx->answered && first->command == &RCPT && !d->farewell)
        smtp_tx_decide(tx, first->rcpt, SMTP_STEP_RCPT, &d->said);
    else if (tx != NULL && tx->answered)
        smtp_tx_decide_rest(tx, first->command->step, &d->said);
    return refused(d, smtp_reply_throttles(&d->said) ? ERR_THROTTLED : ERR_RELAY_CLOSING, err);
}

/* Several commands went out together: have more than the first of them an answer? */
static void note_pipelining(struct smtp_dialogue *d)
{
    if (d->grouped)
        smtp_distrust_note_success(d->options->distrust, SMTP_EXTENSION_PIPELINING);
    d->grouped = d->owed.sent > d->owed.head + 1;
    if (is_refusal(d) && d->extensions.pipelining && smtp_reply_refuses_pipelining(&d->said))
        distrust(d, SMTP_EXTENSION_PIPELINING);
}

static int take_reply(struct smtp_dialogue *d, int64_t now_ms, struct error *err)
{
    take_record(d);
    bool unasked = d->arrival == SMTP_ARRIVAL_UNASKED;
    if (d->reply.mixed_with != 0)
        return relay_refused(d, err);
    if (is_farewell(d) && (unasked || !d->quitting))
        return take_farewell(d, err);
    if (unasked && d->refused_chunk) { /* as in on_rset() */
        d->over = true;
        return 0;
    }
    if (unasked)
        return error_set(err, ERR_PROTOCOL, "%d answers nothing we sent", d->said.code);

    note_pipelining(d);
    const struct smtp_owed owed = smtp_owed_take(&d->owed);
    if (owed.command->on_reply(d, &owed, err) < 0) {
        smtp_owed_put_back(&d->owed);
        return -1;
    }
    d->last_step = owed.command->step;
    begin_wait(d, now_ms);
    if (owed.tx != NULL) {
        owed.tx->answered = true;
        if (--owed.tx->n_owed == 0)
            finish_first(d);
    }
    return 0;
}

static int take_octets(struct smtp_dialogue *d, const char *data, size_t len, size_t *used,
                       int64_t now_ms, struct error *err)
{
    if (!smtp_reply_partial(&d->reply))
        d->arrival = smtp_owed_arrival(&d->owed, d->written);
    switch (smtp_reply_feed(&d->reply, data, len, used, err)) {
    case SMTP_FEED_ERROR:
        return -1;
    case SMTP_FEED_MORE:
        if (d->arrival == SMTP_ARRIVAL_UNASKED && !d->refused_chunk &&
            !smtp_reply_may_become(&d->reply, 421) && !smtp_reply_may_become(&d->reply, 451))
            return error_set(err, ERR_PROTOCOL, "octets that answer nothing we sent");
        return 0;
    case SMTP_FEED_REPLY:
        break;
    }
    if (take_reply(d, now_ms, err) < 0)
        return -1;
    if (d->wants_tls && *used < len) /* plaintext posing as TLS: RFC 3207, 4.2 */
        return error_set(err, ERR_INJECTED_RESPONSE, "%zu octets behind the reply to STARTTLS",
                         len - *used);
    return 0;
}

int smtp_dialogue_feed(struct smtp_dialogue *d, const char *data, size_t len, int64_t now_ms,
                       struct error *err)
{
    if (d->wants_tls && len > 0) {
        d->closed = true;
        return error_set(err, ERR_INJECTED_RESPONSE, "%zu octets before the TLS handshake", len);
    }
    while (len > 0 && !d->over) {
        enum smtp_step step = smtp_dialogue_step(d);
        size_t used = 0;
        if (take_octets(d, data, len, &used, now_ms, err) < 0) {
            d->closed = true;
            return error_at(err, "%s", smtp_step_word(step));
        }
        data += used;
        len -= used;
    }
    return 0;
}

static size_t pull_text(struct smtp_dialogue *d, char *buf, size_t size)
{
    size_t n = d->text_len < size ? d->text_len : size;
    memcpy(buf, d->text, n);
    d->text += n;
    d->text_len -= n;
    return n;
}

static size_t pull_some(struct smtp_dialogue *d, struct smtp_owed *owed, char *buf, size_t size)
{
    bool content = carries_content(owed->command);
    if (owed->begins == SMTP_UNSENT) {
        owed->begins = d->pulled;
        if (owed->command->put != NULL)
            owed->command->put(d, owed);
        trace_sent(d, owed);
    }
    size_t n = pull_text(d, buf, size);
    if (content)
        n += smtp_content_pull(&owed->tx->content, buf + n, size - n);
    d->pulled += n;
    if (d->text_len == 0 && (!content || smtp_content_done(&owed->tx->content))) {
        smtp_owed_was_sent(&d->owed, d->pulled);
        if (owed->command == &AUTH_LINE)
            smtp_login_wipe_line(&d->login);
    }
    return n;
}

/* What is to be sent next. RSET is asked for here, when MAIL's turn has come: only then it is known
 * how the transaction before it has ended. */
static struct smtp_owed *next_to_send(struct smtp_dialogue *d)
{
    struct smtp_owed *owed = smtp_owed_sendable(&d->owed, d->extensions.pipelining);
    if (owed == NULL || owed->command != &MAIL || owed->begins != SMTP_UNSENT || !d->unclear ||
        d->rset_asked)
        return owed;
    d->rset_asked = true;
    return smtp_owed_ask_next(&d->owed, d->refused_chunk ? &LONE_RSET : &RSET);
}

size_t smtp_dialogue_pull(struct smtp_dialogue *d, char *buf, size_t size)
{
    size_t len = 0;
    struct smtp_owed *owed;
    while (len < size && !d->over && !d->closed && (owed = next_to_send(d)) != NULL)
        len += pull_some(d, owed, buf + len, size - len);
    return len;
}

/* Nobody stalls for longer than he may: in a gap beyond that this process stood still (stopped, or
 * its machine was), and the server is not to blame for a rate that was nobody's. */
static int64_t stood_still_ms(const struct smtp_dialogue *d, int64_t now_ms)
{
    int64_t gap_ms = now_ms - d->since_ms;
    return gap_ms > d->options->timeouts.data ? gap_ms : 0;
}

void smtp_dialogue_written(struct smtp_dialogue *d, size_t len, int64_t now_ms)
{
    assert(len <= d->pulled - d->written);
    const struct smtp_owed *first = smtp_owed_first(&d->owed);
    if (first != NULL && first->ends > d->written) {
        d->first_ms += stood_still_ms(d, now_ms);
        d->since_ms = now_ms;
    }
    d->written += len;
}

bool smtp_dialogue_wants_tls(const struct smtp_dialogue *d)
{
    return d->wants_tls;
}

/* Nothing learned before TLS is believed after it (RFC 3207, 4.2). */
void smtp_dialogue_tls_done(struct smtp_dialogue *d, int64_t now_ms)
{
    d->wants_tls = false;
    d->tls = true;
    begin_wait(d, now_ms);
    d->extensions = (struct smtp_extensions){0};
    ask(d, &EHLO);
}

bool smtp_dialogue_take_login(struct smtp_dialogue *d, struct smtp_login *login_out)
{
    if (d->closed || !smtp_login_waits(&d->login))
        return false;
    *login_out = d->login;
    d->login = (struct smtp_login){0};
    d->login_away = true;
    return true;
}

int smtp_dialogue_give_login(struct smtp_dialogue *d, struct smtp_login *login, int64_t now_ms,
                             struct error *err)
{
    assert(d->login_away && !d->closed);
    d->login = *login;
    *login = (struct smtp_login){0};
    d->login_away = false;
    begin_wait(d, now_ms);
    if (say_login(d, err) == 0)
        return 0;
    d->closed = true;
    return error_at(err, "%s", smtp_step_word(SMTP_STEP_AUTH));
}

bool smtp_dialogue_wants_token(const struct smtp_dialogue *d, bool *refused_out)
{
    if (refused_out != NULL)
        *refused_out = d->token_refused;
    return d->wants_token && !d->closed;
}

int smtp_dialogue_token(struct smtp_dialogue *d, const char *token, int64_t now_ms,
                        struct error *err)
{
    assert(smtp_dialogue_wants_token(d, NULL));
    d->credentials.token = d->token = strdup(token);
    int rc = d->token != NULL ? start_auth(d, err) : error_set(err, ERR_NOMEM, "a token");
    if (rc == 0) {
        begin_wait(d, now_ms);
        return 0;
    }
    d->closed = true;
    return error_at(err, "%s", smtp_step_word(SMTP_STEP_AUTH));
}

bool smtp_dialogue_ready(const struct smtp_dialogue *d)
{
    return d->ready && !d->quitting && !d->over && !d->closed;
}

/* Chunks may follow each other; the next MAIL may follow a final dot, but not wait for it behind
 * DATA, which ends its group (RFC 2920, 3.1). */
static bool room_behind_others(const struct smtp_dialogue *d)
{
    if (d->n_under_way == 0)
        return smtp_owed_none(&d->owed);
    if (!d->extensions.pipelining || d->n_under_way >= d->window)
        return false;
    return d->extensions.chunking || (d->n_under_way == 1 && d->under_way.first->content_begun);
}

bool smtp_dialogue_room(const struct smtp_dialogue *d)
{
    bool allowed = d->extensions.mail_max == 0 || d->n_begun < d->extensions.mail_max;
    bool interrupted = smtp_reply_partial(&d->reply) && d->arrival == SMTP_ARRIVAL_UNASKED;
    return smtp_dialogue_ready(d) && allowed && !interrupted && room_behind_others(d);
}

bool smtp_dialogue_idle(const struct smtp_dialogue *d)
{
    return smtp_dialogue_ready(d) && d->under_way.first == NULL && smtp_owed_none(&d->owed);
}

/* ---- transactions ---- */

static void ask_envelope(struct smtp_dialogue *d, struct smtp_tx *tx)
{
    smtp_owed_ask(&d->owed, &MAIL, tx, 0);
    for (size_t i = 0; i < tx->envelope.n_recipients; i++)
        if (!smtp_tx_decided(tx, i)) {
            smtp_owed_ask(&d->owed, &RCPT, tx, i);
            tx->n_unanswered++;
        }
    bool chunk = d->extensions.pipelining && d->extensions.chunking;
    bool large = tx->envelope.content_len > CHUNK_UNASKED_MAX;
    smtp_owed_ask(&d->owed, !chunk ? &DATA : large ? &LARGE_CHUNK : &CHUNK, tx, 0);
    tx->content_begun = chunk;
}

int smtp_dialogue_begin(struct smtp_dialogue *d, const struct smtp_envelope *envelope,
                        int64_t now_ms, struct error *err)
{
    assert(smtp_dialogue_room(d));
    if (d->n_under_way == 0) /* other connections may have found out */
        smtp_extensions_leave_out(&d->extensions, smtp_distrust_now(d->options->distrust));
    CLEANUP(smtp_tx_free)
    struct smtp_tx *tx = smtp_tx_new(envelope, &d->extensions, d->tls && d->options->tls_verified);
    if (tx == NULL ||
        smtp_owed_reserve(&d->owed, envelope->n_recipients + OWED_BESIDE_RECIPIENTS) < 0)
        return error_set(err, ERR_NOMEM, "a transaction of %zu recipients", envelope->n_recipients);
    if (smtp_owed_none(&d->owed))
        begin_wait(d, now_ms);

    trace_own_refusals(d, tx);
    size_t n_decided = 0;
    while (n_decided < envelope->n_recipients && smtp_tx_decided(tx, n_decided))
        n_decided++;
    if (n_decided == envelope->n_recipients) { /* nobody left to ask for */
        list_append(&d->results, TAKE(tx));
        return 0;
    }
    d->n_begun++;
    d->n_under_way++;
    ask_envelope(d, tx);
    list_append(&d->under_way, TAKE(tx));
    return 0;
}

bool smtp_dialogue_next_result(struct smtp_dialogue *d, struct smtp_result *result_out)
{
    smtp_tx_free(d->shown);
    d->shown = list_pop(&d->results);
    if (d->shown == NULL)
        return false;
    *result_out = (struct smtp_result){
        .owner = d->shown->envelope.owner,
        .recipients = d->shown->recipients,
        .n_recipients = d->shown->envelope.n_recipients,
        .untouched = d->shown->untouched,
        .in_doubt = d->shown->in_doubt,
    };
    return true;
}

void smtp_dialogue_quit(struct smtp_dialogue *d, int64_t now_ms)
{
    assert(smtp_dialogue_idle(d));
    d->quitting = true;
    begin_wait(d, now_ms);
    ask(d, &QUIT);
}

bool smtp_dialogue_over(const struct smtp_dialogue *d)
{
    return d->over;
}

bool smtp_dialogue_may_quit(const struct smtp_dialogue *d)
{
    bool in_exchange = d->said.code == 0 || reply_class(d) == 3; /* of a login, or none at all */
    return d->closed && !d->farewell && !d->wants_tls && !in_exchange && !d->ready &&
           d->text_len == 0 && !smtp_reply_partial(&d->reply) && d->owed.sent <= d->owed.head + 1;
}

/* The first in a group was answered and then nothing is: that is what a box does that throws away
 * the rest of a segment. Of a whole chunk there is nothing more to be said. */
void smtp_dialogue_suspect(struct smtp_dialogue *d, bool silent)
{
    const struct smtp_owed *first = smtp_owed_first(&d->owed);
    struct smtp_distrust *shared = d->options->distrust;
    if (first == NULL || first->tx == NULL || d->farewell || first->ends > d->written)
        return;
    bool chunk = carries_content(first->command) && first->command != &CONTENT;
    unsigned extension = chunk        ? SMTP_EXTENSION_CHUNKING
                         : d->grouped ? SMTP_EXTENSION_PIPELINING
                                      : 0;
    if (extension == 0 || smtp_distrust_knows(shared, extension))
        return;
    if (silent)
        smtp_distrust_note(shared, extension, "no reply where it is used");
    else
        smtp_distrust_note_end(shared, extension);
}

void smtp_dialogue_lost(struct smtp_dialogue *d)
{
    for (struct smtp_tx *tx; (tx = list_pop(&d->under_way)) != NULL;) {
        while (smtp_owed_first(&d->owed)->tx != tx) /* it has one, or it would be over */
            smtp_owed_take(&d->owed);
        const struct smtp_owed *last = smtp_owed_last_of(&d->owed, tx);
        bool whole = carries_content(last->command) && last->ends <= d->written && !d->farewell;
        enum smtp_step waited_for = smtp_owed_first(&d->owed)->command->step;
        smtp_tx_lost(tx, whole ? SMTP_STEP_CONTENT : waited_for, whole);
        list_append(&d->results, tx);
    }
    d->n_under_way = 0;
    smtp_owed_clear(&d->owed);
    smtp_login_clear(&d->login);
    drop_token(d);
    d->closed = true;
}

/* ---- what it waits for ---- */

static int64_t timeout_ms(const struct smtp_dialogue *d, const struct smtp_owed *owed)
{
    const struct smtp_timeouts *timeouts = &d->options->timeouts;
    if (owed->command == &GREETING)
        return timeouts->greeting;
    if (carries_content(owed->command) && owed->ends <= d->written)
        return timeouts->final;
    if (carries_content(owed->command) || owed->command == &DATA)
        return timeouts->data;
    return timeouts->command;
}

/* A server that takes an octet now and then makes progress for ever; so there is a rate, too. */
static int64_t slowest_ms(const struct smtp_dialogue *d, const struct smtp_owed *first)
{
    if (!carries_content(first->command) || first->ends <= d->written)
        return INT64_MAX;
    return d->first_ms + d->options->timeouts.data +
           (int64_t)(d->written - d->first_written) * 1000 / CONTENT_RATE_MIN;
}

/* Then nothing is owed: it is our turn to say something. */
static bool login_pauses(const struct smtp_dialogue *d)
{
    return d->login_away || d->wants_token || smtp_login_waits(&d->login);
}

int64_t smtp_dialogue_deadline(const struct smtp_dialogue *d, enum smtp_step *step_out)
{
    const struct smtp_owed *first = smtp_owed_first(&d->owed);
    if (step_out != NULL)
        *step_out = smtp_dialogue_step(d);
    if (login_pauses(d))
        return d->since_ms + d->options->timeouts.command;
    if (first == NULL)
        return INT64_MAX;
    int64_t stalled_ms = d->since_ms + timeout_ms(d, first), slow_ms = slowest_ms(d, first);
    return stalled_ms < slow_ms ? stalled_ms : slow_ms;
}

enum smtp_step smtp_dialogue_step(const struct smtp_dialogue *d)
{
    const struct smtp_owed *first = smtp_owed_first(&d->owed);
    if (d->wants_tls)
        return SMTP_STEP_TLS;
    if (login_pauses(d))
        return SMTP_STEP_AUTH;
    return first != NULL ? first->command->step : d->last_step;
}

const struct smtp_extensions *smtp_dialogue_extensions(const struct smtp_dialogue *d)
{
    return &d->extensions;
}
