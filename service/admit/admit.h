#ifndef POSTERN_ADMIT_ADMIT_H
#define POSTERN_ADMIT_ADMIT_H

/*
 * The door: the only way in for mail. Every face (JSON, the command line, ...) makes a `struct
 * message` of what it heard, calls admit() and says the answer in its own words. The door judges
 * the key's rights, the limits and the relay that is named, composes, dates, makes the record
 * and gives it to the queue. It knows no HTTP.
 *
 * Many messages at once is the plain case. Each is judged on its own: one that is refused holds up
 * none of the others, and each goes to the queue as soon as it is made, so that the first are
 * committed while the last are composed.
 */

#include "base/arena.h"
#include "base/buffer.h"
#include "config/config.h"
#include "message/message.h"
#include "queue/queue.h"

enum {
    ADMIT_KEY_MAX = 255,                 /* of an idempotency key, octets */
    ADMIT_CONTENT_MAX = 64 << 20,        /* of a composed message, octets */
    ADMIT_WAIT_MAX_MS = 300 * 1000,      /* who would wait longer waits so long */
    ADMIT_WAIT_IN_MEMORY_MS = 30 * 1000, /* nothing is durable there: all wait, at least so long */
};

/* Where mail goes; borrowed for as long as anything that was admitted is not answered. */
struct admit_door {
    const struct config *config;
    struct queue *queue;
    bool sandbox; /* there is one: messages may name SANDBOX_RELAY */
};

/* One message that wants in. Read until its `kept` is called, or until it is refused. */
struct admit_mail {
    const struct message *message;
    const char *idempotency_key; /* as admit_key_valid() has it; NULL: none */
    const uint8_t *fingerprint;  /* 32 octets by which a request with that key is known again;
                                    NULL without a key */
    void *arg;                   /* for `kept` and `result` */
};

/* What a face will answer once the message is kept: for its idempotency key. */
struct admit_receipt {
    int status;
    const char *text; /* `len` octets, without NUL; copied */
    size_t len;
};

/*
 * All is well with the message and it is about to go to the queue. Called in the thread of admit(),
 * in the order of the array. `mail` is as it will be stored, valid during the call. Nothing that
 * the admit_mail points to is read any more: what the message was read from may be freed here.
 * false without memory: the message is refused by ERR_NOMEM.
 */
typedef bool admit_kept_fn(void *arg, const struct mail *mail, struct admit_receipt *receipt_out);

struct admit_result { /* valid during the call */
    /* QUEUE_REFUSED: by the queue or by the door. */
    const struct queue_answer *answer;
    /* Why it was refused, else NULL. At least one, all of the same code: each with a JSON pointer
     * into the message (or "", if it is not about a part of it) and a sentence.
     *   ERR_INVALID    the message
     *   ERR_FORBIDDEN  the API key does not allow it
     *   ERR_MALFORMED  the idempotency key is none
     *   ERR_TOO_LARGE  composed it would be over ADMIT_CONTENT_MAX
     *   ERR_NOMEM, ERR_DRAINING, ERR_STORE_*  not now
     */
    const struct error_list *errors;
    const struct admit_pending *pending; /* the door's: for admit_remember() */
};

/*
 * What became of one message; called exactly once for each. Those that the door refuses are
 * answered by the thread of admit(), before it returns. All others by a thread of the queue (as
 * queue_submit() says, and perhaps before admit() returns): those of one array by several threads,
 * even at once. It must not block, and call nothing of the queue or the door but admit_remember().
 */
typedef void admit_result_fn(void *arg, const struct admit_result *result);

/* Who wants what in. Itself and `mails` are read until the last `kept` or refusal, hence never
 * after all of them are answered. */
struct admission {
    const struct config_api_key *api_key; /* NULL: anything is allowed. Lives as the config does */
    const struct admit_mail *mails;
    size_t n_mails;
    int64_t wait_ms; /* for the outcome; 0: only until it is durable */
    /* Alive until the last answer. The door's until the last mail is handed over: of one array of
     * several, `result` takes nothing from it. */
    struct arena *arena;
    admit_kept_fn *kept; /* NULL: none of them has an idempotency key */
    admit_result_fn *result;
};

void admit(const struct admit_door *door, const struct admission *admission);

/*
 * Within `result`: what a client that waited is told at last, to be told again for its idempotency
 * key; does nothing if it has none. `text` holds no NUL; it is copied, and one is put behind its
 * end.
 */
void admit_remember(const struct admit_result *result, int status, struct buffer *text);

/* 1 to ADMIT_KEY_MAX printable ASCII characters. */
bool admit_key_valid(const char *key);

#endif
