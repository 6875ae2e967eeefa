#ifndef POSTERN_ADMIT_MAKE_H
#define POSTERN_ADMIT_MAKE_H

/* The one place that makes the record of a message. */

#include "config/config.h"
#include "mail/mail.h"
#include "message/compose.h"

/* All that a mail is made of; borrowed, but for the content. */
struct mail_parts {
    int64_t now_ms;
    const char *id;                       /* a ULID */
    const struct config_api_key *api_key; /* NULL: none */
    int64_t max_age_ms;
    const struct message *message;
    const struct envelope *envelope;
    struct composed *composed; /* its content is taken, whatever happens */
};

/* NULL without memory. */
struct mail *mail_make(const struct mail_parts *parts);

#endif
