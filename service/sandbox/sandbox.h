#ifndef POSTERN_SANDBOX_SANDBOX_H
#define POSTERN_SANDBOX_SANDBOX_H

/*
 * The receiver inside: a small SMTP server on a loopback port that keeps what arrives, so that the
 * whole way works on a laptop with no account. Recipients at sandbox.test steer it: ok@, bounce@
 * (550 5.1.1), defer@ (451 4.3.0 twice, then 250), slow@ (5 s), throttle@ (432 4.3.2), drop@
 * (closes after the final dot). Any other address is accepted. It has a thread of its own.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct sandbox;

struct sandbox_settings {
    uint16_t port;       /* 0: any free one */
    size_t max_messages; /* kept; the oldest goes first */
    uint64_t max_bytes;  /* of contents kept */
};

int sandbox_start(const struct sandbox_settings *settings, struct sandbox **sandbox_out,
                  struct error *err);
uint16_t sandbox_port(const struct sandbox *sandbox);
void sandbox_stop(struct sandbox *sandbox); /* NULL is fine */

/* Newest first, without contents: [{"id","received_at","envelope":{from,to},"subject","size",…}].
 * The caller owns what is returned; NULL without memory. Any thread. */
json_t *sandbox_list(struct sandbox *sandbox);
/* One message, parsed: headers, text, html, attachments (name, type, size, sha256), raw. NULL: none
 * of that id. */
json_t *sandbox_get(struct sandbox *sandbox, const char *id);
/* The octets as they arrived, dot-unstuffed; the caller frees. NULL: none of that id. */
char *sandbox_raw(struct sandbox *sandbox, const char *id, size_t *len_out);
size_t sandbox_delete_all(struct sandbox *sandbox); /* how many */

#endif
