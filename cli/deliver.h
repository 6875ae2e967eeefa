#ifndef POSTERN_CLI_DELIVER_H
#define POSTERN_CLI_DELIVER_H

/* The two ways `postern send` has: through a running gateway, or from this process. */

#include <jansson.h>

#include "config/config.h"

enum deliver_result {
    DELIVER_FAILED = -1, /* there is no answer: `err` */
    DELIVER_SENT,        /* at least one recipient has it; the answer is the message's record */
    DELIVER_NOT_YET,     /* a gateway has it and goes on trying; its record */
    DELIVER_REFUSED,     /* a problem document, with recipients if the relay refused them */
};

/* The answer's JSON is the caller's. `message` is borrowed; `key` is an API key, "" for none. */
enum deliver_result deliver_by_gateway(const char *url, const char *key, const json_t *message,
                                       json_t **answer_out, struct error *err);
/* The same answer, from an engine of our own with a queue in memory. */
enum deliver_result deliver_from_here(const struct config *config, const json_t *message,
                                      json_t **answer_out, struct error *err);

#endif
