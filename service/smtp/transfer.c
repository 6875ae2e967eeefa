#include "smtp/transfer.h"

#include <assert.h>
#include <string.h>

#include "smtp/trace.h"

enum {
    OWED_BESIDE_RECIPIENTS = 4, /* RSET MAIL DATA content */
    /* A content that takes longer than a round trip waits until somebody wants it: with BDAT it
     * must go out whole even if every recipient was refused (RFC 3030, 2). */
    CHUNK_UNASKED_MAX = 256 * 1024,
};

/* ---- commands, in wire order ---- */

static const struct smtp_command CONTENT;

static void put_mail(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    char parameters[SMTP_PARAMETERS_SIZE];
    smtp_mail_parameters(owed->tx, &d->extensions, parameters);
    owed->sent_size = d->extensions.has_size;
    owed->sent_dsn = strstr(parameters, " RET=") != NULL || strstr(parameters, " ENVID=") != NULL;
    dialogue_put(d, "MAIL FROM:<%s>%s\r\n", owed->tx->envelope.sender, parameters);
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
    if (!dialogue_is_refused(d) && dialogue_reply_class(d) != 2)
        return dialogue_no_answer(d, owed, err);
    if (!dialogue_is_refused(d)) {
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
        dialogue_distrust(d, spare);
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
    dialogue_put(d, "RCPT TO:<%s>%s\r\n", owed->tx->envelope.recipients[owed->rcpt], parameters);
}

static int on_rcpt(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    struct smtp_tx *tx = owed->tx;
    if (!dialogue_is_refused(d) && dialogue_reply_class(d) != 2)
        return dialogue_no_answer(d, owed, err);
    unsigned spare = spare_parameters(d, owed);
    if (dialogue_is_refused(d) && refuses_parameters(d) && spare != 0 && !tx->misplaced) {
        dialogue_distrust(d, spare);
        smtp_tx_leave(tx, owed->rcpt);
    }
    if (dialogue_is_refused(d))
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
    dialogue_put(d, "DATA\r\n");
}

static int on_data(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    struct smtp_tx *tx = owed->tx;
    if (dialogue_is_refused(d)) {
        smtp_tx_decide_rest(tx, SMTP_STEP_DATA, &d->said);
        return 0;
    }
    if (d->said.code != 354)
        return dialogue_no_answer(d, owed, err);
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
    bool early = d->arrival == SMTP_ARRIVAL_EARLY, taken = dialogue_reply_class(d) == 2;
    if (taken && early)
        return error_set(err, ERR_PROTOCOL, "%d before the content's end", d->said.code);
    if (taken && tx->misplaced) {
        tx->misplaced = false; /* whether it was delivered, nobody knows */
        return error_set(err, ERR_PROTOCOL, "%d to a content without a sender", d->said.code);
    }
    if (!dialogue_is_refused(d) && !taken)
        return dialogue_no_answer(d, owed, err);
    if (taken && owed->command != &CONTENT)
        smtp_distrust_note_success(d->options->distrust, SMTP_EXTENSION_CHUNKING);
    if (refuses_chunks(d, owed)) {
        dialogue_distrust(d, SMTP_EXTENSION_CHUNKING);
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
    dialogue_put(
        d, "BDAT %zu LAST\r\n",
        smtp_content_init_chunk(&tx->content, tx->envelope.content, tx->envelope.content_len));
}

static const struct smtp_command CHUNK = {SMTP_STEP_CONTENT, false, false, put_chunk, on_content};
static const struct smtp_command LARGE_CHUNK = {SMTP_STEP_CONTENT, false, true, put_chunk,
                                                on_content};

static void put_rset(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_put(d, "RSET\r\n");
}

static int on_rset(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (dialogue_reply_class(d) != 2 && d->refused_chunk) {
        d->over = true; /* it answers the lines of the content, each by itself */
        return 0;
    }
    d->refused_chunk = false;
    if (dialogue_reply_class(d) != 2)
        return dialogue_no_answer(d, owed, err);
    d->unclear = d->rset_asked = false;
    return 0;
}

static const struct smtp_command RSET = {SMTP_STEP_RSET, false, false, put_rset, on_rset};
static const struct smtp_command LONE_RSET = {SMTP_STEP_RSET, true, false, put_rset, on_rset};

bool smtp_transfer_is_chunk(const struct smtp_command *command)
{
    return command == &CHUNK || command == &LARGE_CHUNK;
}

/* ---- what is traced of it ---- */

void smtp_transfer_trace_sent(const struct smtp_dialogue *d, const struct smtp_owed *owed)
{
    const struct smtp_trace *trace = &d->options->trace;
    const struct smtp_tx *tx = owed->tx;
    if (trace->line == NULL)
        return;
    if (owed->command->step == SMTP_STEP_AUTH)
        smtp_trace_login(trace, d->text, d->text_len);
    else if (d->text_len > 0)
        smtp_trace_line(trace, smtp_tx_owner(tx), 'C', d->text, d->text_len);
    if (owed->command == &CONTENT)
        smtp_trace_say(trace, smtp_tx_owner(tx), 'C', "(%zu octets of content)",
                       (size_t)(tx->content.end - tx->content.begin));
    else if (smtp_owed_is_content(owed->command))
        smtp_trace_say(trace, smtp_tx_owner(tx), 'C', "(chunk of %zu octets)",
                       (size_t)(tx->content.end - tx->content.begin) + strlen(tx->content.trailer));
    if (owed->command == &MAIL && !d->extensions.dsn && smtp_dsn_is_asked(&tx->envelope.dsn))
        smtp_trace_say(trace, smtp_tx_owner(tx), '*',
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
        smtp_trace_say(trace, smtp_tx_owner(tx), '*', "%s is not sent: %d %s %s",
                       of_message ? "the message" : tx->envelope.recipients[i], r->reply.code,
                       r->reply.enhanced, r->reply.text);
        if (of_message)
            return;
    }
}

/* ---- which, and when ---- */

/* Chunks may follow each other; the next MAIL may follow a final dot, but not wait for it behind
 * DATA, which ends its group (RFC 2920, 3.1). */
bool smtp_transfer_has_room(const struct smtp_dialogue *d)
{
    if (d->n_under_way == 0)
        return smtp_owed_none(&d->owed);
    if (!d->extensions.pipelining || d->n_under_way >= d->window)
        return false;
    return d->extensions.chunking || (d->n_under_way == 1 && d->under_way.first->content_begun);
}

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

int smtp_transfer_begin(struct smtp_dialogue *d, const struct smtp_envelope *envelope,
                        int64_t now_ms, struct error *err)
{
    if (d->n_under_way == 0) /* other connections may have found out */
        smtp_extensions_leave_out(&d->extensions, smtp_distrust_now(d->options->distrust));
    CLEANUP(smtp_tx_free)
    struct smtp_tx *tx = smtp_tx_new(envelope, &d->extensions, d->tls && d->options->tls_verified);
    if (tx == NULL ||
        smtp_owed_reserve(&d->owed, envelope->n_recipients + OWED_BESIDE_RECIPIENTS) < 0)
        return error_set(err, ERR_NOMEM, "a transaction of %zu recipients", envelope->n_recipients);
    if (smtp_owed_none(&d->owed))
        dialogue_begin_wait(d, now_ms);

    trace_own_refusals(d, tx);
    size_t n_decided = 0;
    while (n_decided < envelope->n_recipients && smtp_tx_decided(tx, n_decided))
        n_decided++;
    if (n_decided == envelope->n_recipients) { /* nobody left to ask for */
        smtp_tx_list_append(&d->results, TAKE(tx));
        return 0;
    }
    d->n_begun++;
    d->n_under_way++;
    ask_envelope(d, tx);
    smtp_tx_list_append(&d->under_way, TAKE(tx));
    return 0;
}

/* Replies come in order, so transactions end in the order they began. */
void smtp_transfer_finish_first(struct smtp_dialogue *d)
{
    struct smtp_tx *tx = smtp_tx_list_pop(&d->under_way);
    assert(tx != NULL && tx->n_owed == 0 && d->n_under_way > 0);
    d->n_under_way--;
    d->unclear |= !tx->content_settled;
    smtp_tx_list_append(&d->results, tx);
}

/* What is to be sent next. RSET is asked for here, when MAIL's turn has come: only then it is known
 * how the transaction before it has ended. */
struct smtp_owed *smtp_transfer_next(struct smtp_dialogue *d)
{
    struct smtp_owed *owed = smtp_owed_sendable(&d->owed, d->extensions.pipelining);
    if (owed == NULL || owed->command != &MAIL || owed->begins != SMTP_UNSENT || !d->unclear ||
        d->rset_asked)
        return owed;
    d->rset_asked = true;
    return smtp_owed_ask_next(&d->owed, d->refused_chunk ? &LONE_RSET : &RSET);
}
