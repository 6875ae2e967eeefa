#ifndef POSTERN_BASE_ERROR_H
#define POSTERN_BASE_ERROR_H

/*
 * Why something failed: a code that says what the caller may do, a sentence for a person, and
 * where it was. The same object becomes the problem document, the log line and the event.
 */

#include <stddef.h>

#include "base/cleanup.h"

/* Each code and its word, as the API, the log and the command line spell it. */
#define ERROR_CODES(X)                                                                             \
    X(ERR_NONE, "none")                                                                            \
    X(ERR_NOMEM, "out_of_memory")                                                                  \
    X(ERR_IO, "io_error")                                                                          \
    X(ERR_INTERNAL, "internal_error")                                                              \
    X(ERR_USAGE, "usage")                                                                          \
    X(ERR_CONFIG, "configuration")                                                                 \
    /* what a client sent */                                                                       \
    X(ERR_MALFORMED, "malformed")                                                                  \
    X(ERR_INVALID, "invalid")                                                                      \
    X(ERR_TOO_LARGE, "too_large")                                                                  \
    X(ERR_NOT_FOUND, "not_found")                                                                  \
    X(ERR_FORBIDDEN, "forbidden")                                                                  \
    /* the store */                                                                                \
    X(ERR_STORE_FULL, "store_full")               /* no space: later, by itself */                 \
    X(ERR_STORE_UNAVAILABLE, "store_unavailable") /* read-only, locked, gone: later, perhaps */    \
    X(ERR_STORE_BROKEN, "store_broken")           /* a failed sync, corruption: stop */            \
    X(ERR_DRAINING, "draining")                                                                    \
    /* the relay, as contract section 7 names it */                                                \
    X(ERR_DNS_FAILED, "dns_failed")                                                                \
    X(ERR_CONNECT_REFUSED, "connect_refused")                                                      \
    X(ERR_CONNECT_TIMEOUT, "connect_timeout")                                                      \
    X(ERR_CONNECT_FAILED, "connect_failed")                                                        \
    X(ERR_PROXY_FAILED, "proxy_failed")                                                            \
    X(ERR_GREETING_TIMEOUT, "greeting_timeout")                                                    \
    X(ERR_TLS_REQUIRED_FROM_START, "tls_required_from_start")                                      \
    X(ERR_TLS_ON_PLAIN_PORT, "tls_on_plain_port")                                                  \
    X(ERR_STARTTLS_NOT_OFFERED, "starttls_not_offered")                                            \
    X(ERR_STARTTLS_REFUSED, "starttls_refused")                                                    \
    X(ERR_CERTIFICATE_NAME_MISMATCH, "certificate_name_mismatch")                                  \
    X(ERR_CERTIFICATE_EXPIRED, "certificate_expired")                                              \
    X(ERR_CERTIFICATE_NOT_YET_VALID, "certificate_not_yet_valid")                                  \
    X(ERR_CERTIFICATE_UNTRUSTED, "certificate_untrusted")                                          \
    X(ERR_TLS_VERSION, "tls_version")                                                              \
    X(ERR_TLS_FAILED, "tls_failed")                                                                \
    X(ERR_TLS_TIMEOUT, "tls_timeout")                                                              \
    X(ERR_AUTH_MECHANISM_UNAVAILABLE, "auth_mechanism_unavailable")                                \
    X(ERR_AUTH_FAILED, "auth_failed")                                                              \
    X(ERR_AUTH_NEEDS_TLS, "auth_needs_tls")                                                        \
    X(ERR_TOKEN_REFUSED, "token_refused")         /* the grant: a person must log in again */      \
    X(ERR_TOKEN_UNAVAILABLE, "token_unavailable") /* the token endpoint is out of order */         \
    X(ERR_RELAY_REFUSED, "relay_refused")         /* it does not want us: greeting, EHLO */        \
    X(ERR_RELAY_CLOSING, "relay_closing")         /* 421 */                                        \
    X(ERR_THROTTLED, "throttled")                                                                  \
    X(ERR_CONNECTION_LOST, "connection_lost")                                                      \
    X(ERR_TIMEOUT, "timeout") /* no reply in time to a command */                                  \
    X(ERR_PROTOCOL, "protocol_error")                                                              \
    X(ERR_INJECTED_RESPONSE, "injected_response")

enum error_code {
#define X(code, word) code,
    ERROR_CODES(X)
#undef X
};

struct error {
    enum error_code code;
    char where[128];  /* a JSON pointer, a setting's path, an SMTP step; may be empty */
    char detail[512]; /* one sentence, no secrets, control characters made harmless */
};

/* Fill `err` (which may be NULL) and return -1, so that a failure is one `return` line. */
int error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Say where: `error_at(err, "/to/%zu", i)`. Returns -1 too. */
int error_at(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *error_word(enum error_code code);

/*
 * Several faults of one document, so that a user mends them all at once. Holds at most
 * ERROR_LIST_MAX; further ones are counted only. Zero-initialised is empty.
 */
enum { ERROR_LIST_MAX = 64 };

struct error_list {
    struct error *items; /* owned */
    size_t n_items;      /* kept */
    size_t n_total;      /* seen */
};

/* Returns -1 as error_set does. `where` is copied. */
int error_list_add(struct error_list *list, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void error_list_clear(struct error_list *list);
DEFINE_CLEANUP_CLEAR(struct error_list, error_list_clear)

#endif
