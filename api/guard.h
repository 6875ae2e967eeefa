#ifndef POSTERN_API_GUARD_H
#define POSTERN_API_GUARD_H

/*
 * Judges the header of a request before anything in it is believed (RFC 9112, 3.2, 5.1, 6.1, 6.3).
 * libmicrohttpd 0.9.75 accepts both lengths, differing lengths, "Transfer-Encoding :" and two
 * Hosts, and answers the request smuggled behind them; so whatever leaves a doubt about where a
 * request ends is refused here and the connection closed.
 */

#include <stdbool.h>
#include <stddef.h>

struct guard { /* zero-initialised, then shown every field */
    unsigned n_length, n_encoding, n_host;
    size_t octets; /* of the header block, line ends included */
    bool malformed;
    unsigned seen;     /* which fields that stand alone */
    const char *twice; /* the fault of one that does not */
    bool empty;        /* Content-Length: 0 */
};

/* `name` and `value` are NUL-terminated, and may hold a NUL before their end. */
void guard_field(struct guard *guard, const char *name, size_t name_len, const char *value,
                 size_t value_len);
/* NULL, or one sentence for a 400. `version` as in the request line: "HTTP/1.1". */
const char *guard_fault(const struct guard *guard, const char *version);
bool guard_has_body(const struct guard *guard);

/* application/json, in UTF-8 if it says (RFC 8259, 8.1), whatever else it says. NULL is not. */
bool guard_is_json(const char *content_type);

#endif
