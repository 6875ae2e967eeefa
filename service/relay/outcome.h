#ifndef POSTERN_RELAY_OUTCOME_H
#define POSTERN_RELAY_OUTCOME_H

/*
 * What a reply, or its absence, means: for the recipient, and for the relay. The only place where
 * replies are judged. A failure is named by its reach: what concerns the relay rather than the
 * message costs the message no attempt (contract section 6).
 */

#include <stdbool.h>

#include "queue/delivery.h"
#include "smtp/dialogue.h"

struct outcome {
    enum delivery_verdict verdict;
    bool relay_trouble; /* leave the relay alone for a while */
};

/* `some_accepted`: another recipient of the same transaction was accepted by its RCPT. */
struct outcome outcome_of(const struct smtp_recipient_result *recipient,
                          const struct smtp_result *result, bool some_accepted);

/* Does the reply speak of the relay's state (overload, closing, login wanted), not the message? */
bool outcome_reply_is_of_relay(const struct reply_record *reply);
/* Too many recipients in this transaction (RFC 5321, 4.5.3.1.10)? */
bool outcome_reply_is_too_many(const struct reply_record *reply);

#endif
