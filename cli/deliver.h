#ifndef POSTERN_CLI_DELIVER_H
#define POSTERN_CLI_DELIVER_H

/* The two ways `postern send` has: through a running gateway, or from this process. */

#include <jansson.h>

#include "config/config.h"

/* The HTTP status and the answer's JSON (the caller's); -1: there was none. `message` is borrowed;
 * `key` is an API key, "" for none. */
int deliver_by_gateway(const char *url, const char *key, const json_t *message, json_t **answer_out,
                       struct error *err);
/* The same answer, from an engine of our own with a queue in memory. */
int deliver_from_here(const struct config *config, const json_t *message, json_t **answer_out,
                      struct error *err);

#endif
