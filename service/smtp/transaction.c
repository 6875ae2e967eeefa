#include "smtp/transaction.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message/text.h"

/* A command line has 512 octets (RFC 5321, 4.5.3.1.4); "MAIL FROM:<" and the line's end are 14. */
enum { ADDRESS_MAX = 498 };

static bool is_ascii(const char *s)
{
    return text_is_ascii(s, strlen(s));
}

/* Addresses were checked when the message came in. What would begin a command of its own, or a
 * parameter, is stopped here nevertheless: it is the last place. */
static bool is_sendable(const char *address)
{
    bool quoted = false, escaped = false;
    for (const char *s = address; *s != '\0'; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
        if (escaped)
            escaped = false;
        else if (quoted && *s == '\\')
            escaped = true;
        else if (*s == '"')
            quoted = !quoted;
        else if (!quoted && strchr(" <>", *s) != NULL)
            return false;
    }
    return !quoted && strlen(address) <= ADDRESS_MAX;
}

static void refuse_all(struct smtp_tx *tx, int code, const char *enhanced, const char *text)
{
    struct reply_record reply = {.code = code};
    snprintf(reply.enhanced, sizeof(reply.enhanced), "%s", enhanced);
    snprintf(reply.text, sizeof(reply.text), "%s", text);
    smtp_tx_decide_rest(tx, SMTP_STEP_MAIL, &reply);
}

static void judge_size(struct smtp_tx *tx, const struct smtp_extensions *extensions)
{
    char text[256];
    size_t len = tx->envelope.content_len;
    if (!extensions->has_size || extensions->size == 0 || len <= extensions->size)
        return;
    snprintf(text, sizeof(text), "the message has %zu octets, the server takes %ju", len,
             (uintmax_t)extensions->size);
    refuse_all(tx, 552, "5.3.4", text);
}

/* RFC 8689, 4.2.1: the next hop must be certain, and must promise the same. */
static void judge_tls(struct smtp_tx *tx, const struct smtp_extensions *extensions,
                      bool tls_verified)
{
    if (!tx->envelope.require_tls)
        return;
    if (!tls_verified)
        refuse_all(tx, 550, "5.7.30",
                   "the message requires TLS, and this connection has none that was verified");
    else if (!extensions->requiretls)
        refuse_all(tx, 550, "5.7.30",
                   "the message requires TLS on its whole way, and the server has no REQUIRETLS");
}

/* The first fault stands. */
static void judge_message(struct smtp_tx *tx, const struct smtp_extensions *extensions,
                          bool tls_verified)
{
    const struct smtp_envelope *envelope = &tx->envelope;
    judge_size(tx, extensions);
    if (!extensions->smtputf8 && (envelope->smtputf8 || !is_ascii(envelope->sender)))
        refuse_all(tx, 553, "5.6.7", "the message needs SMTPUTF8, which the server does not have");
    if (tx->eightbit && !extensions->eightbitmime && !tx->utf8) /* SMTPUTF8 implies it */
        refuse_all(tx, 554, "5.6.3", "the message has 8-bit octets, the server has no 8BITMIME");
    judge_tls(tx, extensions, tls_verified);
    if (!is_sendable(envelope->sender))
        refuse_all(tx, 553, "5.1.7", "the sender's address cannot be written into a command");
}

static void judge_recipients(struct smtp_tx *tx, const struct smtp_extensions *extensions)
{
    static const struct reply_record
        too_many = {452, "4.5.3", "the server takes fewer recipients at a time"},
        no_utf8 = {553, "5.6.7", "the address needs SMTPUTF8, which the server does not have"},
        unwritable = {553, "5.1.3", "the address cannot be written into a command"};
    size_t n = 0;
    for (size_t i = 0; i < tx->envelope.n_recipients; i++) {
        const char *address = tx->envelope.recipients[i];
        if (!is_sendable(address))
            smtp_tx_decide(tx, i, SMTP_STEP_RCPT, &unwritable);
        else if (!extensions->smtputf8 && !is_ascii(address))
            smtp_tx_decide(tx, i, SMTP_STEP_RCPT, &no_utf8);
        else if (extensions->rcpt_max > 0 && n == extensions->rcpt_max)
            smtp_tx_decide(tx, i, SMTP_STEP_RCPT, &too_many);
        else
            n++;
        tx->utf8 |= extensions->smtputf8 && !is_ascii(address);
    }
}

struct smtp_tx *smtp_tx_new(const struct smtp_envelope *envelope,
                            const struct smtp_extensions *extensions, bool tls_verified)
{
    size_t n = envelope->n_recipients;
    if (n > SIZE_MAX / 2 / sizeof(struct smtp_recipient_result))
        return NULL;
    struct smtp_tx *tx = calloc(1, sizeof(*tx) + n * sizeof(tx->recipients[0]));
    if (tx == NULL)
        return NULL;
    tx->envelope = *envelope;
    tx->utf8 = extensions->smtputf8 && (envelope->smtputf8 || !is_ascii(envelope->sender));
    tx->eightbit = smtp_content_is_8bit(envelope->content, envelope->content_len);
    judge_message(tx, extensions, tls_verified);
    judge_recipients(tx, extensions);
    return tx;
}

void smtp_tx_free(struct smtp_tx *tx)
{
    free(tx);
}

void smtp_tx_decide(struct smtp_tx *tx, size_t i, enum smtp_step step,
                    const struct reply_record *reply)
{
    if (tx->misplaced || smtp_tx_decided(tx, i))
        return;
    tx->recipients[i].step = step;
    tx->recipients[i].reply = *reply;
}

void smtp_tx_decide_rest(struct smtp_tx *tx, enum smtp_step step, const struct reply_record *reply)
{
    for (size_t i = 0; i < tx->envelope.n_recipients; i++)
        smtp_tx_decide(tx, i, step, reply);
}

void smtp_tx_leave(struct smtp_tx *tx, size_t i)
{
    if (!smtp_tx_decided(tx, i))
        tx->recipients[i].again = true;
}

void smtp_tx_leave_rest(struct smtp_tx *tx)
{
    for (size_t i = 0; i < tx->envelope.n_recipients; i++)
        smtp_tx_leave(tx, i);
}

bool smtp_tx_decided(const struct smtp_tx *tx, size_t i)
{
    return tx->recipients[i].reply.code != 0 || tx->recipients[i].again;
}

void smtp_tx_lost(struct smtp_tx *tx, enum smtp_step step, bool last_octet_written)
{
    tx->untouched = tx->misplaced || (!tx->answered && !last_octet_written);
    for (size_t i = 0; i < tx->envelope.n_recipients; i++) {
        if (smtp_tx_decided(tx, i))
            continue;
        tx->recipients[i].step = step;
        tx->in_doubt |= last_octet_written && !tx->misplaced;
    }
}

void smtp_tx_list_init(struct smtp_tx_list *list)
{
    *list = (struct smtp_tx_list){.end = &list->first};
}

void smtp_tx_list_append(struct smtp_tx_list *list, struct smtp_tx *tx)
{
    assert(list->end != NULL && *list->end == NULL);
    tx->next = NULL;
    *list->end = tx;
    list->end = &tx->next;
}

struct smtp_tx *smtp_tx_list_pop(struct smtp_tx_list *list)
{
    struct smtp_tx *tx = list->first;
    if (tx == NULL)
        return NULL;
    list->first = tx->next;
    if (list->first == NULL)
        list->end = &list->first;
    return tx;
}

void *smtp_tx_owner(const struct smtp_tx *tx)
{
    return tx != NULL ? tx->envelope.owner : NULL;
}
