#ifndef POSTERN_SMTP_ENVELOPE_H
#define POSTERN_SMTP_ENVELOPE_H

/* What a transaction is asked to carry, and what came of it. */

#include <stdbool.h>
#include <stddef.h>

#include "mail/options.h"
#include "mail/reply.h"
#include "smtp/step.h"

struct smtp_envelope {  /* borrowed until its result is out */
    const char *sender; /* "" for the null sender */
    const char *const *recipients;
    size_t n_recipients;
    const char *content; /* CRLF line ends, not dot-stuffed, CRLF at the end */
    size_t content_len;
    bool smtputf8;
    bool require_tls;    /* RFC 8689 */
    struct mail_dsn dsn; /* asked for only where the server has DSN */
    void *owner;         /* comes back with the result */
};

struct smtp_recipient_result {
    enum smtp_step step;       /* where it was decided */
    struct reply_record reply; /* code 0: none came */
    bool again; /* ... and none counts: what was refused is an extension that the server offered,
                   and that is not used again. It costs nothing */
};

struct smtp_result { /* valid until the next call */
    void *owner;
    const struct smtp_recipient_result *recipients; /* as in the envelope, same order */
    size_t n_recipients;
    bool untouched; /* nothing was said about it, and its content cannot have arrived whole (or it
                       was refused for what another transaction had left): it costs nothing */
    bool in_doubt;  /* for recipients whose step is CONTENT without a reply: the last octet had gone
                       out; those with step CONTENT, no reply and !in_doubt were cut off before */
};

#endif
