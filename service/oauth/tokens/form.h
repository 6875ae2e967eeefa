#ifndef POSTERN_OAUTH_TOKENS_FORM_H
#define POSTERN_OAUTH_TOKENS_FORM_H

/* application/x-www-form-urlencoded, as OAuth sends it (RFC 6749, appendix B): names and values
 * in UTF-8, a space as "+", all but letters, digits, "-", ".", "_", "*" percent-encoded. */

#include <stddef.h>

#include "base/arena.h"

enum { FORM_FIELDS_MAX = 16 };

/* Zero-initialised is empty. Names and values are borrowed. */
struct form {
    struct {
        const char *name, *value;
    } fields[FORM_FIELDS_MAX];
    size_t n_fields;
};

void form_add(struct form *form, const char *name, const char *value); /* `value` NULL: nothing */

/* "a=b&c=d", NUL-terminated, the arena's; NULL without memory. */
char *form_encode(const struct form *form, struct arena *arena);
/* One value alone. */
char *form_encode_value(const char *value, struct arena *arena);

#endif
