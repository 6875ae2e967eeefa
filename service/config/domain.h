#ifndef POSTERN_CONFIG_DOMAIN_H
#define POSTERN_CONFIG_DOMAIN_H

/* Names of hosts as DNS has them: labels of letters, digits and hyphens, and dots between. */

#include <stdbool.h>

#include "base/arena.h"

enum { DOMAIN_MAX = 253, DOMAIN_LABEL_MAX = 63 }; /* RFC 1035, 2.3.4, as they are written */

enum domain_rules {
    /* What resolvers look up: a label may have underscores, as the inside of clusters shows, and a
     * dot may end the name. */
    DOMAIN_LOOKED_UP,
    /* What servers believe in EHLO (RFC 1123, 2.1); an underscore is what they refuse first. */
    DOMAIN_STRICT,
};

bool domain_is(const char *name, enum domain_rules rules);

/* An internationalised name as A-labels (RFC 5891), the arena's. NULL: it is none, `*why_out` says
 * why (static), or there is no memory. */
char *domain_to_ascii(const char *name, struct arena *arena, const char **why_out);

#endif
