#ifndef POSTERN_SANDBOX_SANDBOX_H
#define POSTERN_SANDBOX_SANDBOX_H

/*
 * The receiver inside: a small SMTP server on a port of 127.0.0.1 that keeps what arrives, so that
 * the whole way works on a laptop with no account. It has a thread of its own.
 *
 * Recipients at sandbox.test steer it: ok@, bounce@ (550 5.1.1), defer@ (451 4.3.0 twice a message,
 * then 250), slow@ (5 s), throttle@ (432 4.3.2), drop@ (keeps the message and closes behind the
 * final dot, once a message). Any other address is accepted. sandbox/steering.h has it exactly.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define SANDBOX_RELAY "sandbox" /* how messages and routes name it */

struct sandbox;

struct sandbox_settings {
    uint16_t port;       /* 0: any free one */
    size_t max_messages; /* kept; the oldest goes first */
    uint64_t max_bytes;  /* of contents kept */
    size_t max_clients;  /* 0: 256; one more gets 421 */
    int64_t idle_ms; /* 0: 5 min (RFC 5321, 4.5.3.2.7); a client that is silent so long gets 421 */
};

/* ERR_NOMEM; ERR_IO: the port is not to be had. */
int sandbox_start(const struct sandbox_settings *settings, struct sandbox **sandbox_out,
                  struct error *err);
uint16_t sandbox_port(const struct sandbox *sandbox);
void sandbox_stop(struct sandbox *sandbox); /* NULL is fine */

/*
 * What was received. Any thread; the caller owns what is returned, NULL without memory.
 *
 * The list is newest first: {"id", "received_at", "envelope": {"from", "to"}, "size", ...} and what
 * mime_parse() (sandbox/mime.h) finds, without the headers.
 */
json_t *sandbox_list(struct sandbox *sandbox);
/* The same of one message, with the headers and "raw": the octets as text, null if they are not
 * UTF-8. NULL: none of that id. */
json_t *sandbox_get(struct sandbox *sandbox, const char *id);
/* The octets as they arrived, dot-unstuffed; the caller frees. NULL: none of that id. */
char *sandbox_raw(struct sandbox *sandbox, const char *id, size_t *len_out);
size_t sandbox_delete_all(struct sandbox *sandbox); /* how many */

#endif
