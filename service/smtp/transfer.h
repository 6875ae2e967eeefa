#ifndef POSTERN_SMTP_TRANSFER_H
#define POSTERN_SMTP_TRANSFER_H

/*
 * A dialogue's transactions, MAIL to the reply to the content, and the RSET between them: how many
 * at once, what a refusal of each command means for whom, what the next one may follow.
 */

#include "smtp/dialogue_state.h"

/* May one more begin, behind those under way? */
bool smtp_transfer_has_room(const struct smtp_dialogue *d);
/* Begin one; only where there is room. ERR_NOMEM. */
int smtp_transfer_begin(struct smtp_dialogue *d, const struct smtp_envelope *envelope,
                        int64_t now_ms, struct error *err);
/* The command of which (more) may be sent now; NULL: none. */
struct smtp_owed *smtp_transfer_next(struct smtp_dialogue *d);
void smtp_transfer_trace_sent(const struct smtp_dialogue *d, const struct smtp_owed *owed);
bool smtp_transfer_is_chunk(const struct smtp_command *command); /* BDAT */
/* The first of those under way has its last reply. */
void smtp_transfer_finish_first(struct smtp_dialogue *d);

#endif
