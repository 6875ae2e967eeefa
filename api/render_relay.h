#ifndef POSTERN_API_RENDER_RELAY_H
#define POSTERN_API_RENDER_RELAY_H

/* Relays, and what was said with them, as the API shows them. */

#include "base/json_write.h"
#include "relay/relay.h"

/* Of an object that is open: the members of a relay. */
void render_relay(struct json_writer *w, const struct relay_status *status);
/* A transcript: an array of its lines. */
void render_lines(struct json_writer *w, const char *text);

#endif
