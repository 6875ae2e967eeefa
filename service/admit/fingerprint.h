#ifndef POSTERN_ADMIT_FINGERPRINT_H
#define POSTERN_ADMIT_FINGERPRINT_H

/* By what a request is known again when its idempotency key comes a second time. */

#include <stdint.h>

#include "base/json_read.h"
#include "queue/store.h"

/* SHA-256 of the canonical JSON: the same for the same request, whatever the order of its keys.
 * Stores keep it. false without memory. */
bool fingerprint_json(struct arena *arena, const struct json_value *request,
                      uint8_t out[STORE_FINGERPRINT_SIZE]);

#endif
