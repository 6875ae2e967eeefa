#ifndef POSTERN_SANDBOX_RECEIVER_H
#define POSTERN_SANDBOX_RECEIVER_H

/*
 * The server's side of an SMTP conversation (RFC 5321) without I/O: octets in, octets out. Small
 * and strict: lines end with CRLF, a bare LF or CR in the content is refused.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

enum { RECEIVER_MESSAGE_MAX = 64 << 20, RECEIVER_RECIPIENTS_MAX = 1000 };

/* What a message's recipients ask for at its end. */
struct receiver_verdict {
    const char *reply; /* "250 2.0.0 ..."; static */
    bool drop;         /* close without a reply */
    int64_t delay_ms;  /* before the reply */
    bool keep;         /* it was received */
};

struct receiver_mail { /* borrowed during the call */
    const char *from;
    const char *const *to;
    size_t n_to;
    const char *content; /* dot-unstuffed */
    size_t content_len;
};

struct receiver_owner {
    /* The reply to RCPT; NULL: accepted. */
    const char *(*on_recipient)(void *arg, const char *address);
    struct receiver_verdict (*on_mail)(void *arg, const struct receiver_mail *mail);
    void *arg;
};

struct receiver;

struct receiver *receiver_new(const struct receiver_owner *owner); /* greets; NULL without memory */
void receiver_free(struct receiver *receiver);

/* Takes octets until it wants a pause: returns how many were taken. */
size_t receiver_feed(struct receiver *receiver, const char *data, size_t len);
struct buffer *receiver_out(struct receiver *receiver); /* to be sent, and consumed by the caller */
int64_t receiver_delay_ms(struct receiver *receiver);   /* pause so long, then resume; 0: none */
void receiver_resume(struct receiver *receiver);
bool receiver_over(const struct receiver *receiver); /* close once `out` is sent */

#endif
