#ifndef POSTERN_SMTP_TRANSACTION_H
#define POSTERN_SMTP_TRANSACTION_H

/*
 * One message on its way through a conversation: its envelope, and what was decided for each
 * recipient, where, and by which reply. Knows nothing of the order of commands; dialogue.c does.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "smtp/content.h"
#include "smtp/envelope.h"
#include "smtp/extensions.h"

struct smtp_tx {
    struct smtp_tx *next; /* under way, or its result waiting: in the order they began */
    struct smtp_envelope envelope;
    struct smtp_content content;
    bool utf8;            /* MAIL says SMTPUTF8 */
    bool eightbit;        /* the content has octets of 0x80 and more */
    size_t n_owed;        /* its replies still to come, sent or not; at 0 it is over */
    size_t n_unanswered;  /* of its RCPTs */
    size_t n_accepted;    /* by a 2xx to RCPT */
    bool answered;        /* by any reply at all */
    bool content_begun;   /* the server waits for it, or it is asked for in a chunk */
    bool content_settled; /* the server is through with it, and clear for the next MAIL */
    bool misplaced;       /* MAIL came upon the ruins of the one before: this one is not judged */
    bool untouched;       /* as in the result */
    bool in_doubt;
    struct smtp_recipient_result recipients[]; /* reply.code 0: undecided */
};

/* Looks at what the server can take: whoever cannot be asked for has a reply of our own already.
 * `tls_verified`: the connection is under TLS, with a certificate that was verified. NULL without
 * memory. */
struct smtp_tx *smtp_tx_new(const struct smtp_envelope *envelope,
                            const struct smtp_extensions *extensions, bool tls_verified);
void smtp_tx_free(struct smtp_tx *tx);
DEFINE_CLEANUP(struct smtp_tx *, smtp_tx_free)

/* The first reply that decides about a recipient stands. */
void smtp_tx_decide(struct smtp_tx *tx, size_t i, enum smtp_step step,
                    const struct reply_record *reply);
void smtp_tx_decide_rest(struct smtp_tx *tx, enum smtp_step step, const struct reply_record *reply);
/* Whoever is undecided is to be tried again, at no cost: not they were refused, but what we asked
 * for beside them. */
void smtp_tx_leave(struct smtp_tx *tx, size_t i);
void smtp_tx_leave_rest(struct smtp_tx *tx);
bool smtp_tx_decided(const struct smtp_tx *tx, size_t i);

/* The connection is gone; `step`: what the undecided recipients waited for. */
void smtp_tx_lost(struct smtp_tx *tx, enum smtp_step step, bool last_octet_written);

/* In the order they began. Zero-initialised is not empty: smtp_tx_list_init(). */
struct smtp_tx_list {
    struct smtp_tx *first;
    struct smtp_tx **end;
};

void smtp_tx_list_init(struct smtp_tx_list *list);
void smtp_tx_list_append(struct smtp_tx_list *list, struct smtp_tx *tx); /* takes it */
struct smtp_tx *smtp_tx_list_pop(struct smtp_tx_list *list);             /* NULL: it is empty */

void *smtp_tx_owner(const struct smtp_tx *tx); /* of the envelope; NULL: `tx` is */

#endif
