#ifndef POSTERN_MAIL_OPTIONS_H
#define POSTERN_MAIL_OPTIONS_H

/* What a client may ask of the delivery of a message. Zero: nothing but high priority, which none
 * asks for unless it says so: see MAIL_OPTIONS_NONE. */

#include <stdbool.h>

enum mail_priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW }; /* as they are stored */

struct mail_dsn {       /* delivery status notifications, in the words of RFC 3461 */
    const char *notify; /* "FAILURE,DELAY", "NEVER"; NULL: not said */
    const char *ret;    /* "HDRS", "FULL"; NULL: not said */
    const char *envid;  /* printable ASCII, not yet as xtext; NULL: none */
};

struct mail_options {
    const char *relay; /* the one it must go through; NULL: by the routes */
    enum mail_priority priority;
    bool require_tls; /* RFC 8689 */
    struct mail_dsn dsn;
};

#define MAIL_OPTIONS_NONE ((struct mail_options){.priority = PRIORITY_NORMAL})

#endif
