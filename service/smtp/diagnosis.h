#ifndef POSTERN_SMTP_DIAGNOSIS_H
#define POSTERN_SMTP_DIAGNOSIS_H

/* From what went wrong on the way to a relay to the setting that mends it (contract section 7). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { DIAGNOSIS_HINT_SIZE = 512 };

struct diagnosis_context {
    const char *host;
    uint16_t port;
    const char *tls;         /* as in the settings: implicit, starttls, none, auto */
    const char *mechanism;   /* as in the settings; NULL: auto */
    const char *oauth;       /* the entry whose token is the login; NULL: none is */
    const char *offered;     /* smtp_extensions.auth; NULL: not known */
    const char *proxy;       /* its host; NULL: none */
    const char *used;        /* the mechanism last tried: "CRAM-MD5"; NULL: not known */
    const char *min_version; /* as in the settings; NULL: "1.2" */
    bool starttls;           /* the server agreed to STARTTLS */
    bool tried;              /* ... the other TLS modes and ports, in vain */
};

/* What may be the matter. Empty where there is nothing to change but to wait. */
void diagnosis_hint(const struct error *why, const struct diagnosis_context *context,
                    char *hint_out, size_t size);

/* Settings unlike those configured, with which it was tried again; zero and NULL: as configured. */
struct diagnosis_change {
    uint16_t port;           /* another port; `tls` is then given too */
    const char *tls;         /* "implicit", "starttls", "none" */
    const char *server_name; /* one the certificate is for */
    const char *min_version; /* "1.2" */
    const char *mechanism;   /* "auto", "plain" */
};

/* The hint that names them, and what they showed: "set tls: implicit: port 465 waits for TLS". */
void diagnosis_hint_change(const struct diagnosis_change *change,
                           const struct diagnosis_context *context, char *hint_out, size_t size);

#endif
