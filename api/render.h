#ifndef POSTERN_API_RENDER_H
#define POSTERN_API_RENDER_H

/* Records as the API shows them (contract section 5). */

#include "base/json_write.h"
#include "queue/record.h"
#include "queue/store.h"

/* Of an object that is open: all its members; "id" and "recipients" alone. */
void render_record(struct json_writer *w, const struct message_record *record);
void render_outcome(struct json_writer *w, const struct message_record *record);
/* An object: the problem of a message that every recipient was refused for good, with what each was
 * told. */
void render_refused_by_relay(struct json_writer *w, const struct message_record *record);
/* An object: what a submission will look like once it is kept: the answer of a 202, without a
 * lookup. */
void render_submission(struct json_writer *w, const struct submission *submission);

#endif
