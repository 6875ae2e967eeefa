#ifndef POSTERN_SMTP_OWED_H
#define POSTERN_SMTP_OWED_H

/*
 * The replies we are owed, in order, and so the commands that wait to be sent: one queue for both,
 * since replies come in the order of the commands. It knows what may be sent before which reply
 * (RFC 2920), and how a reply that begins now stands to what has been written.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "smtp/transaction.h"

struct smtp_dialogue;
struct smtp_owed;

/* One kind of command. It is written when its turn comes, not when it is asked for: what has not
 * been sent can still be taken back. */
struct smtp_command {
    enum smtp_step step;
    bool ends_group; /* nothing is sent behind it until its reply is in: RFC 2920, 3.1 */
    bool waits;      /* not sent before all that stands before it is answered */
    void (*put)(struct smtp_dialogue *d, struct smtp_owed *owed);
    int (*on_reply)(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err);
};

/* A content, or a chunk of one. */
static inline bool smtp_owed_is_content(const struct smtp_command *command)
{
    return command->step == SMTP_STEP_CONTENT;
}

#define SMTP_UNSENT UINT64_MAX

/* One reply. `begins` and `ends` are where its command stands in all that we ever sent,
 * SMTP_UNSENT while the first or last octet has not been pulled. */
struct smtp_owed {
    const struct smtp_command *command;
    struct smtp_tx *tx; /* NULL outside of transactions */
    size_t rcpt;        /* which of its recipients, for RCPT */
    uint64_t begins, ends;
    bool sent_size, sent_dsn; /* parameters that stand behind it, and could be left out */
};

struct smtp_owed_queue {
    struct smtp_owed *items; /* owned */
    size_t head, sent, tail; /* [head, sent) wait for replies, [sent, tail) wait to be sent */
    size_t size;
};

/* Room for `n` more, without which they must not be asked for. -1: no memory. */
int smtp_owed_reserve(struct smtp_owed_queue *queue, size_t n);
void smtp_owed_clear(struct smtp_owed_queue *queue);

void smtp_owed_ask(struct smtp_owed_queue *queue, const struct smtp_command *command,
                   struct smtp_tx *tx, size_t rcpt);
/* Before all that waits to be sent. For the handler of a command that ends its group: nothing
 * behind it is out, and its own place is free. */
void smtp_owed_ask_first(struct smtp_owed_queue *queue, const struct smtp_command *command,
                         struct smtp_tx *tx);
/* Right before the next to be sent, of which nothing must be out; there must be room. */
struct smtp_owed *smtp_owed_ask_next(struct smtp_owed_queue *queue,
                                     const struct smtp_command *command);
/* What of a transaction has become pointless before its first octet went out. */
void smtp_owed_forget_unsent(struct smtp_owed_queue *queue, struct smtp_tx *tx);

bool smtp_owed_none(const struct smtp_owed_queue *queue);
/* The reply that comes next; NULL if none is owed. */
const struct smtp_owed *smtp_owed_first(const struct smtp_owed_queue *queue);
/* The last that a transaction asked for; NULL: none is left. */
const struct smtp_owed *smtp_owed_last_of(const struct smtp_owed_queue *queue,
                                          const struct smtp_tx *tx);
struct smtp_owed smtp_owed_take(struct smtp_owed_queue *queue);
void smtp_owed_put_back(struct smtp_owed_queue *queue); /* right after _take: it was no answer */

/* The command of which (more) may be sent now, or NULL: the whole pipelining policy. */
struct smtp_owed *smtp_owed_sendable(struct smtp_owed_queue *queue, bool pipelining);
void smtp_owed_was_sent(struct smtp_owed_queue *queue, uint64_t ends); /* that command, whole */

/* How the first octet of a reply stands to what had been written when it came. */
enum smtp_arrival {
    SMTP_ARRIVAL_DUE,     /* the command was out as a whole */
    SMTP_ARRIVAL_EARLY,   /* the content was partly out: it may be refused by now, not accepted */
    SMTP_ARRIVAL_UNASKED, /* answers nothing we sent */
};

enum smtp_arrival smtp_owed_arrival(const struct smtp_owed_queue *queue, uint64_t written);

#endif
