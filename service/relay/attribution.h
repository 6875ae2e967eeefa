#ifndef POSTERN_RELAY_ATTRIBUTION_H
#define POSTERN_RELAY_ATTRIBUTION_H

/*
 * The relay, or the message? What a relay says of itself (421, 4.3.2 ...) costs a message no
 * attempt, nor does a line that it cuts before it has said anything. But there are messages on
 * which some filter makes a relay do so each time. They would be tried for ever, and each time the
 * relay would be left alone for a while, to the harm of all others. So: when a message has met with
 * that ATTRIBUTION_COMPLAINTS times in a row, and each time others were taken in between, it is the
 * message's own: it counts as an attempt, and the relay has no pause for it.
 *
 * A relay that fails takes nobody in between, so an outage never counts. What it wants less
 * of (connections, messages a minute) is never the message's: it meets whoever comes.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mail/mail.h"
#include "smtp/reaction.h"

enum { ATTRIBUTION_COMPLAINTS = 3 };

bool attribution_applies(const struct reaction *reaction); /* may it be the message's? */
/* One more complaint; the relay last took a message at `took_ms`. true: it is the message's, and
 * counting begins anew. */
bool attribute_to_message(struct mail_complaints *complaints, int64_t took_ms, int64_t now_ms);

#endif
