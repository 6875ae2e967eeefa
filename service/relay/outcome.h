#ifndef POSTERN_RELAY_OUTCOME_H
#define POSTERN_RELAY_OUTCOME_H

/*
 * What a reply, or its absence, means for the recipient. The only place where replies are judged;
 * what known ones ask of the relay is smtp/reaction. A failure is named by its reach: what concerns
 * the relay rather than the message costs the message no attempt, also where it comes as 5xx
 * (contract section 6).
 */

#include <stdbool.h>

#include "mail/mail.h"
#include "smtp/envelope.h"
#include "smtp/reaction.h"

struct outcome {
    enum delivery_verdict verdict;
    const struct reaction *reaction; /* to its reply; never NULL. Static */
};

/* `shrinks`: somebody in the same transaction was told something else than that they are too many,
 * so the next one has fewer recipients. */
struct outcome outcome_of(const struct smtp_recipient_result *recipient,
                          const struct smtp_result *result, bool shrinks);

/* The same, where what the relay said of itself, or did, counts as said of the message
 * (attribution.h).
 */
struct outcome outcome_attributed(const struct outcome *outcome);

#endif
