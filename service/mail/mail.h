#ifndef POSTERN_MAIL_MAIL_H
#define POSTERN_MAIL_MAIL_H

/*
 * A message, from the face that took it to the wire: one record, whoever has it. What is stored and
 * shown of it stands in one table (fields.h).
 *
 * It has one owner at any time: the face that makes it, the queue, the relay's ready queue, or the
 * connection that carries it. Then it comes back to the queue by queue_settle(), always.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "mail/options.h"
#include "mail/reply.h"

/* As they are stored: those that are open come before those that are final, so that the store asks
 * for them by one comparison. */
enum recipient_status {
    RECIPIENT_QUEUED,
    RECIPIENT_IN_DOUBT,
    RECIPIENT_DEFERRED,
    RECIPIENT_SENT, /* the first that is final */
    RECIPIENT_FAILED,
    RECIPIENT_CANCELED,
    RECIPIENT_SENDING, /* shown, never stored: a session has it now */
};

const char *recipient_status_word(enum recipient_status status);
bool recipient_status_is_final(enum recipient_status status); /* sent, failed, canceled */

/* What a relay made of a recipient in one transaction. */
enum delivery_verdict {
    DELIVERY_UNTRIED,  /* nothing became of this recipient: ready again, no attempt counted */
    DELIVERY_SENT,     /* 2xx to the final dot */
    DELIVERY_DEFERRED, /* refused for now: by the retry schedule, an attempt counted */
    DELIVERY_FAILED,   /* refused for good */
    DELIVERY_IN_DOUBT, /* the last octet went out, no reply was read */
};

struct mail_recipient {
    size_t index; /* among the message's recipients, of which the mail may have some alone */
    const char *address;
    enum recipient_status status;
    uint32_t attempts; /* before the one under way */
    const char *relay; /* that tried it last; NULL: none yet */
    struct reply_record reply;
    int64_t next_attempt_ms; /* wall clock; 0: none */
    int64_t at_ms;           /* of the last change */

    enum delivery_verdict verdict; /* of the transaction under way */
    bool held_back;                /* the relay's: not in it; stays UNTRIED */
};

enum event_type {
    EVENT_MESSAGE_QUEUED,
    EVENT_MESSAGE_DEFERRED,
    EVENT_MESSAGE_SENT,
    EVENT_MESSAGE_FAILED,
    EVENT_MESSAGE_IN_DOUBT,
    EVENT_MESSAGE_CANCELED,
};

const char *event_type_word(enum event_type type); /* "message.queued" */

struct mail_event {
    int64_t id; /* shown as evt_ and the number: one order for all messages */
    enum event_type type;
    int64_t at_ms;
    size_t recipient; /* index into the mail's recipients */
    struct reply_record reply;
};

/* How often in a row a relay complained of itself over this message; the relay's (attribution.h).
 */
struct mail_complaints {
    uint32_t n;
    int64_t last_ms; /* monotonic */
};

struct mail {
    struct mail *next;   /* for whichever list it stands in */
    struct arena *arena; /* owns the mail and all its text */

    /* The fields of the table. Text is never NULL where a comment does not say so. Times are wall
     * clock in the store and in a record, clock_steady_ms() (which no clock that is set can move)
     * on the way out. */
    int64_t seq;            /* the store's key; 0: not stored yet */
    char id[ID_SIZE];       /* shown as msg_ and the ULID */
    const char *message_id; /* with <> */
    const char *sender;     /* of the envelope; "" for the null sender */
    const char *from;       /* of the header, address only */
    const char *subject;
    const char *api_key;  /* name of the key it came with; "": none */
    const char *tags;     /* JSON array, as text */
    const char *metadata; /* JSON object, as text */
    int64_t size;         /* of the content, octets */
    bool smtputf8;        /* RFC 6531 is needed */
    struct mail_options options;
    int64_t created_ms, expires_ms;

    struct bytes *content; /* final octets; a reference of its own. NULL: not with it */
    struct mail_recipient *recipients;
    size_t n_recipients;
    struct mail_event *events; /* in order; of what was looked up alone */
    size_t n_events;

    /* On its way out. */
    int64_t ready_mono_ms; /* when it entered the ready queue */
    const char *relay;     /* that tries it; set by the relay, static for its life */
    bool hold_in_doubt;    /* that relay's on_in_doubt: hold; set by the relay before it departs */
    struct mail_complaints complaints;
    struct claim *claim; /* the queue's own; NULL: it cannot be withdrawn */
    size_t n_ended;      /* the queue's own: recipients that the last outcome ended, */
    size_t n_sent;       /* and those of them that were sent */
    int flight;          /* slot in the flight ledger while a session has it; -1 otherwise */
};

/* In an arena of its own, all text "", no recipients. NULL without memory. */
struct mail *mail_new(void);
void mail_free(struct mail *mail);
DEFINE_CLEANUP(struct mail *, mail_free)
void mail_list_free(struct mail *list); /* through `next` */

/* Room for `n` recipients, their `index` counted up. -1 without memory. */
int mail_reserve_recipients(struct mail *mail, size_t n);
/* What it takes in memory, about. */
uint64_t mail_cost(const struct mail *mail);

/* "queued", "sending", "deferred", "sent", "failed", "canceled", "in_doubt" or "partial". */
const char *mail_status(const struct mail *mail);

#endif
