#ifndef POSTERN_RELAY_REACTION_H
#define POSTERN_RELAY_REACTION_H

/*
 * What providers' replies ask of us, as a table: the rows of providers.md, section 4. A reply is
 * known by its code, its enhanced code and words in its text, in any case; the first row that fits
 * counts. Only replies whose meaning is not what their class says need a row.
 */

#include <stdbool.h>
#include <stdint.h>

#include "queue/record.h"

enum reaction_kind {
    REACTION_NONE,      /* by its class: 4xx deferred, 5xx failed */
    REACTION_FEWER,     /* too many connections: lower the cap, the mail is ready again */
    REACTION_NO_NEW,    /* too many logins: no new connections for a while, those there go on */
    REACTION_RECONNECT, /* this connection has ended: another, free */
    REACTION_SLOW_DOWN, /* back off: pauses from 1 s on */
    REACTION_RATE,      /* a documented rate was exceeded: wait `pause_ms`, then keep to `rate` */
    REACTION_QUOTA,     /* a day's quota, though it may come as 5xx: pause for `pause_ms` */
    REACTION_LOGIN,     /* credentials, or a switch of the administrator: pause and explain */
    REACTION_TOO_MANY_RECIPIENTS, /* of this transaction: the rest at once in another */
    REACTION_FAIL,                /* the message's own fault, whatever the class says */
};

struct reaction {
    enum reaction_kind kind;
    int64_t pause_ms;        /* of RATE, QUOTA, NO_NEW; 0: the usual backoff */
    int64_t rate_n, rate_ms; /* of RATE; 0: none is documented */
    const char *hint;        /* what to change, for a person; NULL: nothing but to wait */
};

/* Never NULL; a row of the table, or one whose kind is REACTION_NONE. */
const struct reaction *reaction_to(const struct reply_record *reply);
/* Is it about the relay rather than the message (contract section 6)? */
bool reaction_is_of_relay(const struct reaction *reaction);

#endif
