#ifndef POSTERN_QUEUE_DELIVERY_H
#define POSTERN_QUEUE_DELIVERY_H

/*
 * A message on its way out: what the queue hands to a relay, and what it hears back. A delivery
 * has one owner at any time: the queue, the relay's ready queue, or the session that carries it;
 * it comes back to the queue by queue_settle(), always.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/id.h"
#include "queue/record.h"

enum delivery_verdict {
    DELIVERY_UNTRIED,  /* nothing became of this recipient: ready again, no attempt counted */
    DELIVERY_SENT,     /* 2xx to the final dot */
    DELIVERY_DEFERRED, /* refused for now: by the retry schedule, an attempt counted */
    DELIVERY_FAILED,   /* refused for good */
    DELIVERY_IN_DOUBT, /* the last octet went out, no reply was read */
};

struct delivery_recipient {
    size_t index; /* among the message's recipients */
    const char *address;
    uint32_t attempts; /* before this one */
    enum delivery_verdict verdict;
    bool held_back; /* the relay's: not in the transaction under way; stays UNTRIED */
    struct reply_record reply;
};

/* How often in a row a relay complained of itself over this message; the relay's (blame.h). */
struct delivery_complaints {
    uint32_t n;
    int64_t last_ms; /* monotonic */
};

enum delivery_priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW };

/* What routes look at, and what the client asked of the relay. Strings are never NULL. */
struct delivery_wishes {
    const char *from;    /* of the header, address only */
    const char *api_key; /* name of the key it came with; "": none */
    const char *tags;    /* JSON array, as text */
    const char *relay;   /* the one it must go through; "": by the routes */
    enum delivery_priority priority;
    bool require_tls;                             /* RFC 8689 */
    const char *dsn_notify, *dsn_ret, *dsn_envid; /* RFC 3461, as smtp_dsn has them; "": not said */
};

struct delivery {
    struct delivery *next; /* for whichever list it stands in */
    int64_t seq;           /* the store's key of the message */
    char id[ID_SIZE];
    const char *sender; /* "" for the null sender */
    bool smtputf8;
    struct delivery_wishes wishes;
    struct bytes *content; /* a reference of its own */
    int64_t created_ms;    /* clock_steady_ms(), which no clock that is set can move */
    int64_t expires_ms;    /* the same: created + max_age */
    int64_t ready_mono_ms; /* when it entered the ready queue */
    const char *relay;     /* the relay that tried it; set by the relay, static for its life */
    bool hold_in_doubt;    /* that relay's on_in_doubt: hold; set by the relay before it departs */
    struct delivery_complaints complaints;
    struct claim *claim; /* the queue's own; NULL: it cannot be withdrawn */
    size_t n_ended;      /* the queue's own: recipients that the last settlement ended, */
    size_t n_sent;       /* and those of them that were sent */
    int flight;          /* slot in the flight ledger while a session has it; -1 otherwise */
    size_t n_recipients;
    struct delivery_recipient recipients[]; /* all strings are in the same allocation */
};

/* All strings are copied behind the struct; `content` gets a reference. NULL without memory. */
struct delivery *delivery_new(const char *sender, const struct delivery_wishes *wishes,
                              const char *const *addresses, size_t n, struct bytes *content);
void delivery_free(struct delivery *delivery);
DEFINE_CLEANUP(struct delivery *, delivery_free)

#endif
