#include "smtp/dialogue.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/authentication.h"
#include "smtp/dialogue_state.h"
#include "smtp/opening.h"
#include "smtp/reaction.h"
#include "smtp/trace.h"
#include "smtp/transfer.h"

enum {
    OWED_FIRST = 16,         /* more than a login or a QUIT ever needs at once */
    CONTENT_RATE_MIN = 1024, /* octets a second; who takes less blocks a connection for hours */
};

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
    dialogue_begin_wait(d, now_ms);
    d->window = 1;
    smtp_tx_list_init(&d->under_way);
    smtp_tx_list_init(&d->results);
    smtp_reply_init(&d->reply);
    if (smtp_owed_reserve(&d->owed, OWED_FIRST) < 0) {
        smtp_dialogue_free(d);
        return NULL;
    }
    d->memory = options->login_memory != NULL ? options->login_memory : &d->own_memory;
    smtp_opening_begin(d);
    return d;
}

void smtp_dialogue_free(struct smtp_dialogue *d)
{
    if (d == NULL)
        return;
    for (struct smtp_tx *tx; (tx = smtp_tx_list_pop(&d->under_way)) != NULL;)
        smtp_tx_free(tx);
    for (struct smtp_tx *tx; (tx = smtp_tx_list_pop(&d->results)) != NULL;)
        smtp_tx_free(tx);
    smtp_tx_free(d->shown);
    smtp_login_clear(&d->login);
    smtp_auth_drop_token(d);
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
    smtp_trace_reply(&d->options->trace, first != NULL ? smtp_tx_owner(first->tx) : NULL, &d->reply,
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
    if (tx != NULL && tx->answered && first->command->step == SMTP_STEP_RCPT && !d->farewell)
        smtp_tx_decide(tx, first->rcpt, SMTP_STEP_RCPT, &d->said);
    else if (tx != NULL && tx->answered)
        smtp_tx_decide_rest(tx, first->command->step, &d->said);
    return dialogue_refused(d, smtp_reply_throttles(&d->said) ? ERR_THROTTLED : ERR_RELAY_CLOSING,
                            err);
}

/* Several commands went out together: have more than the first of them an answer? */
static void note_pipelining(struct smtp_dialogue *d)
{
    if (d->grouped)
        smtp_distrust_note_success(d->options->distrust, SMTP_EXTENSION_PIPELINING);
    d->grouped = d->owed.sent > d->owed.head + 1;
    if (dialogue_is_refused(d) && d->extensions.pipelining &&
        smtp_reply_refuses_pipelining(&d->said))
        dialogue_distrust(d, SMTP_EXTENSION_PIPELINING);
}

static int take_reply(struct smtp_dialogue *d, int64_t now_ms, struct error *err)
{
    take_record(d);
    bool unasked = d->arrival == SMTP_ARRIVAL_UNASKED;
    if (d->reply.mixed_with != 0)
        return dialogue_relay_refused(d, err);
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
    dialogue_begin_wait(d, now_ms);
    if (owed.tx != NULL) {
        owed.tx->answered = true;
        if (--owed.tx->n_owed == 0)
            smtp_transfer_finish_first(d);
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
    bool content = smtp_owed_is_content(owed->command);
    if (owed->begins == SMTP_UNSENT) {
        owed->begins = d->pulled;
        if (owed->command->put != NULL)
            owed->command->put(d, owed);
        smtp_transfer_trace_sent(d, owed);
    }
    size_t n = pull_text(d, buf, size);
    if (content)
        n += smtp_content_pull(&owed->tx->content, buf + n, size - n);
    d->pulled += n;
    if (d->text_len == 0 && (!content || smtp_content_done(&owed->tx->content))) {
        smtp_owed_was_sent(&d->owed, d->pulled);
        smtp_auth_was_sent(d, owed->command);
    }
    return n;
}

size_t smtp_dialogue_pull(struct smtp_dialogue *d, char *buf, size_t size)
{
    size_t len = 0;
    struct smtp_owed *owed;
    while (len < size && !d->over && !d->closed && (owed = smtp_transfer_next(d)) != NULL)
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

void smtp_dialogue_tls_done(struct smtp_dialogue *d, int64_t now_ms)
{
    d->wants_tls = false;
    d->tls = true;
    dialogue_begin_wait(d, now_ms);
    smtp_opening_repeat(d);
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
    dialogue_begin_wait(d, now_ms);
    if (smtp_auth_go_on(d, err) == 0)
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
    int rc = d->token != NULL ? smtp_authenticate(d, err) : error_set(err, ERR_NOMEM, "a token");
    if (rc == 0) {
        dialogue_begin_wait(d, now_ms);
        return 0;
    }
    d->closed = true;
    return error_at(err, "%s", smtp_step_word(SMTP_STEP_AUTH));
}

bool smtp_dialogue_ready(const struct smtp_dialogue *d)
{
    return d->ready && !d->quitting && !d->over && !d->closed;
}

bool smtp_dialogue_room(const struct smtp_dialogue *d)
{
    bool allowed = d->extensions.mail_max == 0 || d->n_begun < d->extensions.mail_max;
    bool interrupted = smtp_reply_partial(&d->reply) && d->arrival == SMTP_ARRIVAL_UNASKED;
    return smtp_dialogue_ready(d) && allowed && !interrupted && smtp_transfer_has_room(d);
}

bool smtp_dialogue_idle(const struct smtp_dialogue *d)
{
    return smtp_dialogue_ready(d) && d->under_way.first == NULL && smtp_owed_none(&d->owed);
}

/* ---- the end ---- */

static void put_quit(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_put(d, "QUIT\r\n");
}

static int on_quit(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    d->over = true;
    return 0;
}

static const struct smtp_command QUIT = {SMTP_STEP_QUIT, true, false, put_quit, on_quit};

int smtp_dialogue_begin(struct smtp_dialogue *d, const struct smtp_envelope *envelope,
                        int64_t now_ms, struct error *err)
{
    assert(smtp_dialogue_room(d));
    return smtp_transfer_begin(d, envelope, now_ms, err);
}

bool smtp_dialogue_next_result(struct smtp_dialogue *d, struct smtp_result *result_out)
{
    smtp_tx_free(d->shown);
    d->shown = smtp_tx_list_pop(&d->results);
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
    dialogue_begin_wait(d, now_ms);
    dialogue_ask(d, &QUIT);
}

bool smtp_dialogue_over(const struct smtp_dialogue *d)
{
    return d->over;
}

bool smtp_dialogue_may_quit(const struct smtp_dialogue *d)
{
    bool in_exchange =
        d->said.code == 0 || dialogue_reply_class(d) == 3; /* of a login, or none at all */
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
    bool chunk = smtp_transfer_is_chunk(first->command);
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
    for (struct smtp_tx *tx; (tx = smtp_tx_list_pop(&d->under_way)) != NULL;) {
        while (smtp_owed_first(&d->owed)->tx != tx) /* it has one, or it would be over */
            smtp_owed_take(&d->owed);
        const struct smtp_owed *last = smtp_owed_last_of(&d->owed, tx);
        bool whole =
            smtp_owed_is_content(last->command) && last->ends <= d->written && !d->farewell;
        enum smtp_step waited_for = smtp_owed_first(&d->owed)->command->step;
        smtp_tx_lost(tx, whole ? SMTP_STEP_CONTENT : waited_for, whole);
        smtp_tx_list_append(&d->results, tx);
    }
    d->n_under_way = 0;
    smtp_owed_clear(&d->owed);
    smtp_login_clear(&d->login);
    smtp_auth_drop_token(d);
    d->closed = true;
}

/* ---- what it waits for ---- */

static int64_t timeout_ms(const struct smtp_dialogue *d, const struct smtp_owed *owed)
{
    const struct smtp_timeouts *timeouts = &d->options->timeouts;
    if (owed->command->step == SMTP_STEP_GREETING)
        return timeouts->greeting;
    if (smtp_owed_is_content(owed->command) && owed->ends <= d->written)
        return timeouts->final;
    if (smtp_owed_is_content(owed->command) || owed->command->step == SMTP_STEP_DATA)
        return timeouts->data;
    return timeouts->command;
}

/* A server that takes an octet now and then makes progress for ever; so there is a rate, too. */
static int64_t slowest_ms(const struct smtp_dialogue *d, const struct smtp_owed *first)
{
    if (!smtp_owed_is_content(first->command) || first->ends <= d->written)
        return INT64_MAX;
    return d->first_ms + d->options->timeouts.data +
           (int64_t)(d->written - d->first_written) * 1000 / CONTENT_RATE_MIN;
}

int64_t smtp_dialogue_deadline(const struct smtp_dialogue *d, enum smtp_step *step_out)
{
    const struct smtp_owed *first = smtp_owed_first(&d->owed);
    if (step_out != NULL)
        *step_out = smtp_dialogue_step(d);
    if (smtp_auth_pauses(d))
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
    if (smtp_auth_pauses(d))
        return SMTP_STEP_AUTH;
    return first != NULL ? first->command->step : d->last_step;
}

const struct smtp_extensions *smtp_dialogue_extensions(const struct smtp_dialogue *d)
{
    return &d->extensions;
}
