#ifndef POSTERN_ADMIT_SUBMISSION_H
#define POSTERN_ADMIT_SUBMISSION_H

/* The one place that makes what the queue keeps. */

#include "config/config.h"
#include "message/compose.h"
#include "queue/store.h"

/* All that a submission is made of; borrowed, but for the content. */
struct submission_parts {
    int64_t now_ms;
    const char *id;                       /* a ULID */
    const struct config_api_key *api_key; /* NULL: none */
    int64_t max_age_ms;
    const struct message *message;
    const struct envelope *envelope;
    struct composed *composed;   /* its content is taken, whatever happens */
    const char *idempotency_key; /* NULL: none */
    const uint8_t *fingerprint;  /* of 32 octets, if there is a key */
};

/* NULL without memory. */
struct submission *submission_make(const struct submission_parts *parts);
/* What will be answered once it is kept, if it has a key (`text` is copied); false without memory.
 */
bool submission_set_receipt(struct submission *submission, int status, const char *text,
                            size_t len);

#endif
