#ifndef POSTERN_API_RENDER_VERIFY_H
#define POSTERN_API_RENDER_VERIFY_H

/* What a verification found, as the API and `postern verify --json` show it. */

#include "base/json_write.h"
#include "verify/verify.h"

/* Of an object that is open: "step", "code", "detail", "hint", "proved". */
void render_trouble(struct json_writer *w, const struct error *error, const char *hint,
                    bool proved);
/* An object of these; null if there is no error. */
void render_error(struct json_writer *w, const struct error *error, const char *hint, bool proved);

/* {"ok","steps":[{"step","ok","ms","detail"}],"error":{"step","code","detail","hint","proved"},
 * "tls":{"version","certificate":{"names","issuer","not_before","not_after","pin"}},
 * "extensions":[],"mechanisms":[],"mechanism"}; what there was not is null. */
void render_verify(struct json_writer *w, const struct verify_report *report);

#endif
