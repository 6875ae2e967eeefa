#ifndef POSTERN_API_RENDER_VERIFY_H
#define POSTERN_API_RENDER_VERIFY_H

/* What a verification found, as the API and `postern verify --json` show it. */

#include <jansson.h>

#include "verify/verify.h"

/* {"step","code","detail","hint","proved"}; null if there is none. NULL without memory. */
json_t *render_trouble(const struct error *error, const char *hint, bool proved);

/* {"ok","steps":[{"step","ok","ms","detail"}],"error":{"step","code","detail","hint","proved"},
 * "tls":{"version","certificate":{"names","issuer","not_before","not_after","pin"}},
 * "extensions":[],"mechanisms":[],"mechanism"}; what there was not is null. NULL without memory. */
json_t *render_verify(const struct verify_report *report);

#endif
