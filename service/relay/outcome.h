#ifndef POSTERN_RELAY_OUTCOME_H
#define POSTERN_RELAY_OUTCOME_H

/*
 * What a reply, or its absence, means for the recipient. The only place where replies are judged;
 * what known ones ask of the relay is smtp/reaction. A failure is named by its reach: what concerns
 * the relay rather than the message costs the message no attempt, also where it comes as 5xx
 * (contract section 6).
 */

#include <stdbool.h>

#include "queue/delivery.h"
#include "smtp/dialogue.h"
#include "smtp/reaction.h"

struct outcome {
    enum delivery_verdict verdict;
    const struct reaction *reaction; /* to its reply; never NULL. Static */
};

/* `some_accepted`: another recipient of the same transaction was accepted by its RCPT. */
struct outcome outcome_of(const struct smtp_recipient_result *recipient,
                          const struct smtp_result *result, bool some_accepted);

#endif
