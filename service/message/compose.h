#ifndef POSTERN_MESSAGE_COMPOSE_H
#define POSTERN_MESSAGE_COMPOSE_H

/*
 * From a message to the octets that are stored and sent: RFC 5322 header and MIME body, CRLF line
 * ends, no line over 998 octets, 7-bit throughout but for UTF-8 local parts in headers (RFC 6532),
 * which set `smtputf8`, and messages attached that are 8-bit themselves, which nothing may encode
 * (RFC 2046, 5.2.1). Not dot-stuffed: that belongs to DATA. Ends with CRLF. Bcc is not in it.
 */

#include "base/bytes.h"
#include "message/message.h"

struct compose_options {
    int64_t now_ms;    /* wall clock: Date */
    const char *id;    /* the message's ULID: the Message-ID's left side, the boundaries' seed */
    size_t size_limit; /* of the result, in octets */
};

struct composed {
    struct bytes *content;  /* the caller's */
    const char *message_id; /* with <>, the arena's */
    bool smtputf8;
};

/*
 * -1 with every fault in `errors`, each by JSON pointer ("/attachments/0/content": not base64), or
 * in `err` for ERR_NOMEM and ERR_TOO_LARGE.
 */
int message_compose(struct arena *arena, const struct message *message,
                    const struct compose_options *options, struct composed *out,
                    struct error_list *errors, struct error *err);

/* Who it goes to: the envelope's list, or to, cc and bcc, each mailbox once, in their order. */
struct envelope {
    const char *from; /* "" for the null sender */
    const char **to;
    size_t n_to;
};

int message_envelope(struct arena *arena, const struct message *message, struct envelope *out,
                     struct error_list *errors, struct error *err);

#endif
