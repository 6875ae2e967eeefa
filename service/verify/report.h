#ifndef POSTERN_VERIFY_REPORT_H
#define POSTERN_VERIFY_REPORT_H

/* What a verify has come upon: each step with its time, and what would mend the one that failed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "smtp/certificate.h"
#include "smtp/diagnosis.h"
#include "smtp/extensions.h"

enum { VERIFY_STEPS_MAX = 12, VERIFY_HINT_SIZE = DIAGNOSIS_HINT_SIZE };

struct verify_step {
    const char *name; /* "dns", "tcp", "tls", ...: static */
    bool ok;
    int64_t took_us;
    char detail[300]; /* of a success: the address, the server's reply; of a failure: why */
};

struct verify_report {
    bool ok; /* it could send now */
    struct verify_step steps[VERIFY_STEPS_MAX];
    size_t n_steps;
    struct error error;          /* ERR_NONE: none. `where` is the step's word */
    char hint[VERIFY_HINT_SIZE]; /* "": none */
    bool hint_proved;            /* it was tried, and it works */
    bool has_certificate;
    struct transport_certificate certificate; /* also one that was refused */
    char tls_version[16];                     /* "": no TLS */
    bool has_extensions;
    struct smtp_extensions extensions; /* as offered last */
    char mechanism[32];                /* the one that was used; "": no login */
};

#endif
