#ifndef POSTERN_API_RENDER_RELAY_H
#define POSTERN_API_RENDER_RELAY_H

/* Relays, and what was said with them, as the API shows them. */

#include <jansson.h>

#include "relay/relay.h"

/* Both return NULL without memory. */
json_t *render_relay(const struct relay_status *status);
/* A transcript: an array of its lines. */
json_t *render_lines(const char *text);

#endif
