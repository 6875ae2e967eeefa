#ifndef POSTERN_SMTP_REACTION_H
#define POSTERN_SMTP_REACTION_H

/*
 * What providers' replies ask of us, as one table: for the relay's decisions and for the hints of
 * diagnosis. A reply is known by its code, its enhanced code and words in its text, in any case;
 * the first row that fits counts. Only replies whose meaning is not what their class says need a
 * row. They go stale: a provider's new wording is a new row, and its line in the test.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "mail/reply.h"

enum reaction_kind {
    REACTION_NONE,      /* by its class: 4xx deferred, 5xx failed */
    REACTION_FEWER,     /* too many connections: lower the cap by one, the mail is ready again; with
                           one connection left it is SLOW_DOWN */
    REACTION_NO_NEW,    /* too many logins: no new connections for a while, those there go on */
    REACTION_RECONNECT, /* this connection has ended: another, once free; then it is SLOW_DOWN */
    REACTION_SLOW_DOWN, /* back off: pauses from 1 s on */
    REACTION_RATE,      /* a rate was exceeded: wait `pause_ms`, then keep to the documented one */
    REACTION_QUOTA, /* an hour's or a day's quota, though it may come as 5xx: pause for `pause_ms`
                     */
    REACTION_LOGIN, /* credentials, or a switch of the administrator: pause and explain */
    REACTION_SETUP, /* how we come (the name in EHLO): pause and explain */
    REACTION_TOO_MANY_RECIPIENTS, /* of this transaction: the rest at once in another */
    REACTION_FAIL,                /* the message's own fault, whatever the class says */
};

struct reaction {
    enum reaction_kind kind;
    const char *hint;        /* what to change, for a person; NULL: nothing but to wait */
    int64_t pause_ms;        /* never of FAIL and NONE; 0: the usual backoff */
    int64_t rate_n, rate_ms; /* of RATE; 0: none is documented */
};

/* Never NULL; a row of the table, or one whose kind is REACTION_NONE. Static. */
const struct reaction *reaction_to(const struct reply_record *reply);
/* The same for what ended a connection: `why` is as the dialogue gives it, its detail begins with
 * the server's reply if there was one. */
const struct reaction *reaction_to_error(const struct error *why);

/* Is it about the relay rather than the message (contract section 6)? */
bool reaction_is_of_relay(const struct reaction *reaction);

#endif
