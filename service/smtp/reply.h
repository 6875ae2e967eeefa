#ifndef POSTERN_SMTP_REPLY_H
#define POSTERN_SMTP_REPLY_H

/*
 * SMTP replies (RFC 5321, 4.2; enhanced status codes RFC 2034), taken from a stream of octets in
 * whatever pieces they come. Strict: CRLF ends a line, the codes of a multiline reply agree (or
 * refuse alike: "554-" and "550" are one refusal, and the last line's code counts), no NUL;
 * whatever does not read so is ERR_PROTOCOL and the connection is to be closed, because a
 * skipped line would let the next reply be taken for an earlier command's.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "mail/reply.h"

enum {
    /* Octets of one line. RFC 5321 says 512, servers send more; a challenge of a login may have
     * 12288 (RFC 4954, 4), with "334 " and CRLF. */
    SMTP_REPLY_LINE_MAX = 12288 + 6,
    SMTP_REPLY_KEPT_MAX = 32 * 1024, /* octets of a reply's text; the lines behind are dropped */
    SMTP_REPLY_MAX = 1024 * 1024,    /* octets of a whole reply */
};

enum smtp_feed {
    SMTP_FEED_ERROR = -1, /* ERR_PROTOCOL, ERR_NOMEM */
    SMTP_FEED_MORE,       /* all taken, no whole reply yet */
    SMTP_FEED_REPLY,      /* one whole reply; `*used` octets were taken */
};

struct smtp_reply {
    int code;          /* 200 to 599 */
    int mixed_with;    /* 0; else `code` is a refusal, and an earlier line had this code, which is
                          not of its class: the reply is no answer to anything, but its words count */
    char enhanced[12]; /* "2.1.5", or "" */
    size_t n_lines;
    /* private */
    char *text; /* lines joined by '\n', codes and enhanced status codes taken off; owned */
    size_t text_len, text_size;
    char line[SMTP_REPLY_LINE_MAX];
    size_t line_len;
    size_t total;
    bool whole, full;
};

void smtp_reply_init(struct smtp_reply *reply);
void smtp_reply_clear(struct smtp_reply *reply);

/* After SMTP_FEED_REPLY the next feed begins a new reply. */
enum smtp_feed smtp_reply_feed(struct smtp_reply *reply, const char *data, size_t len, size_t *used,
                               struct error *err);

const char *smtp_reply_text(const struct smtp_reply *reply); /* valid until the next feed */
bool smtp_reply_partial(const struct smtp_reply *reply);     /* octets of an unfinished one held */

/* Could what is held become a reply of that code? True while fewer than three octets disagree. */
bool smtp_reply_may_become(const struct smtp_reply *reply, int code);

/* The reply as it is kept and shown: valid UTF-8, one line, no control characters. */
void smtp_reply_record(const struct smtp_reply *reply, struct reply_record *record_out);

/* The server takes it ill that commands were sent without waiting for replies. */
bool smtp_reply_refuses_pipelining(const struct reply_record *record);

/* A refusal for now because of how often or how much we come (providers' words for it), rather
 * than for what we brought. */
bool smtp_reply_throttles(const struct reply_record *record);

#endif
