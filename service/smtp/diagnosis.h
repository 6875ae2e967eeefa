#ifndef POSTERN_SMTP_DIAGNOSIS_H
#define POSTERN_SMTP_DIAGNOSIS_H

/* From what went wrong on the way to a relay to the setting that mends it (contract section 7). */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { DIAGNOSIS_HINT_SIZE = 320 };

struct diagnosis_context {
    const char *host;
    uint16_t port;
    const char *tls;      /* as in the settings: implicit, starttls, none, auto */
    const char *username; /* NULL: no login is configured */
};

/* Empty where there is nothing to change but to wait. */
void diagnosis_hint(const struct error *why, const struct diagnosis_context *context,
                    char *hint_out, size_t size);

#endif
