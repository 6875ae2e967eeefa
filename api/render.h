#ifndef POSTERN_API_RENDER_H
#define POSTERN_API_RENDER_H

/* Records as the API shows them (contract section 5). */

#include <jansson.h>

#include "queue/record.h"
#include "queue/store.h"

/* A string; octets that are not UTF-8 (a relay may say anything) become U+FFFD. NULL without
 * memory. */
json_t *render_text(const char *s);
/* RFC 3339; null for 0. NULL without memory. */
json_t *render_time(int64_t wall_ms);
/* NULL without memory. */
json_t *render_record(const struct message_record *record);
/* What a submission will look like once it is kept: the answer of a 202, without a lookup. */
json_t *render_submission(const struct submission *submission);

#endif
