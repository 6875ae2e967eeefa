#ifndef POSTERN_OAUTH_LOGIN_QUERY_H
#define POSTERN_OAUTH_LOGIN_QUERY_H

/* The query of an address, as a redirect brings its answer (RFC 6749, 4.1.2). form.h writes. */

#include <stdbool.h>
#include <stddef.h>

/* The value of `name`, decoded, in `out` as a string. false, with `out` untouched: it is not there,
 * is there twice (RFC 6749, 3.1), is malformed, does not fit, or has control characters. */
bool query_get(const char *query, const char *name, char *out, size_t size);

#endif
