#ifndef POSTERN_QUEUE_SUBMISSION_H
#define POSTERN_QUEUE_SUBMISSION_H

/*
 * A mail that was submitted: the queue's note of who is to be told what. Nobody else looks in here.
 * The mail itself goes on to a relay, or back to the store; this stays while a client waits.
 */

#include "queue/queue.h"

struct claim;

struct submission {
    struct submission *next;
    struct mail *mail; /* owned; NULL when it has gone on */
    char id[ID_SIZE];
    int64_t seq; /* of the mail, once it is stored */
    queue_answer_fn *answer;
    void *arg;
    int64_t deadline_ms; /* until when the client waits for an outcome, monotonic; 0: it does not */
    const char *api_key, *key; /* idempotency; `key` NULL: none */
    const uint8_t *fingerprint;
    int answer_status;
    const char *answer_body;     /* the mail's */
    struct claim *claim;         /* a reference; NULL: it cannot be withdrawn */
    size_t n_open, n_sent;       /* recipients, while the client waits */
    bool overdue;                /* the wait is over, but a session has the message */
    enum queue_answer_kind kind; /* on its way to the reader */
};

/* Takes `mail`; keeps what `request` says. NULL without memory: `mail` is the caller's still. */
struct submission *submission_new(struct mail *mail, const struct queue_request *request);
void submission_free(struct submission *submission);

/* Tells the client, and takes it. */
void submission_answer(struct submission *submission, const struct queue_answer *answer);

#endif
