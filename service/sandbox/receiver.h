#ifndef POSTERN_SANDBOX_RECEIVER_H
#define POSTERN_SANDBOX_RECEIVER_H

/*
 * The server's side of an SMTP conversation (RFC 5321) without I/O: octets in, octets out. Small
 * and strict, so that what a lenient server forgives is seen here first:
 *
 *   - commands end with CRLF, are UTF-8, and bear only parameters of the extensions offered:
 *     PIPELINING, CHUNKING, 8BITMIME, SMTPUTF8, SIZE, DSN, ENHANCEDSTATUSCODES;
 *   - only CRLF "." CRLF ends a content (what follows LF "." CRLF would else be taken for commands:
 *     SMTP smuggling), and one with a bare CR or LF, or a line over 998 octets, is refused whole;
 *   - behind a refused chunk nothing but RSET begins anew (RFC 3030, 2).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/bytes.h"

enum {
    RECEIVER_MESSAGE_MAX = 64 << 20, /* octets of one content; the SIZE offered */
    RECEIVER_RECIPIENTS_MAX = 1000,
    RECEIVER_COMMAND_MAX = 2048, /* RFC 5321, 4.5.3.1.4 has 512, and extensions add to it */
    RECEIVER_LINE_MAX = 998,     /* of content, without CRLF: RFC 5321, 4.5.3.1.6 */
};

struct receiver_mail { /* borrowed during the call */
    const char *from;
    const char *const *to; /* those accepted */
    size_t n_to;
    struct bytes *content; /* dot-unstuffed; ref it to keep it */
};

/* What becomes of a mail at its end. */
struct receiver_verdict {
    const char *reply; /* "250 2.0.0 ..."; static */
    bool drop;         /* close without a reply */
    int64_t delay_ms;  /* before the reply; 0: none */
};

/* Contents of all receivers that share it, on one thread: who finds no room gets 452 4.3.1. */
struct receiver_budget {
    size_t used, max;
};

struct receiver_owner {
    /* The reply to RCPT, static; NULL: accepted. */
    const char *(*on_recipient)(void *arg, const char *address);
    struct receiver_verdict (*on_mail)(void *arg, const struct receiver_mail *mail);
    void *arg;
    struct receiver_budget *budget;  /* borrowed for the receivers' lives */
    bool no_pipelining, no_chunking; /* not offered */
};

struct receiver;

struct receiver *receiver_new(const struct receiver_owner *owner); /* greets; NULL without memory */
void receiver_free(struct receiver *receiver);                     /* NULL is fine */
DEFINE_CLEANUP(struct receiver *, receiver_free)

/*
 * Take octets; returns how many were taken. Fewer than `len`: it is over, pauses, or has more to
 * say than `out` should hold. Send that, see to the pause, and feed the rest again.
 */
size_t receiver_feed(struct receiver *receiver, const char *data, size_t len);
struct buffer *receiver_out(struct receiver *receiver); /* to be sent, and consumed by the caller */
int64_t receiver_delay_ms(const struct receiver *receiver); /* pause, then resume; 0: none */
void receiver_resume(struct receiver *receiver);
bool receiver_over(const struct receiver *receiver); /* close once `out` is sent */

#endif
