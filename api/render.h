#ifndef POSTERN_API_RENDER_H
#define POSTERN_API_RENDER_H

/* Records as the API shows them (contract section 5). */

#include "base/json_write.h"
#include "mail/mail.h"

/* Of an object that is open: all its members, also of a mail that is not stored yet (so a 202 needs
 * no lookup); "id" and "recipients" alone. */
void render_record(struct json_writer *w, const struct mail *mail);
void render_outcome(struct json_writer *w, const struct mail *mail);

/* An object: the problem of a message that every recipient was refused for good, with what each was
 * told. */
void render_refused_by_relay(struct json_writer *w, const struct mail *mail);

#endif
