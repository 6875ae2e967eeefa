#ifndef POSTERN_SMTP_SETTINGS_H
#define POSTERN_SMTP_SETTINGS_H

/* What a dialogue, and a session around it, are to do: for whoever fills it in and whoever obeys.
 */

#include <stdbool.h>
#include <stdint.h>

#include "smtp/extensions.h"
#include "smtp/sasl.h"

/*
 * Hears every line as it goes out ('C') or comes in ('S'), and remarks ('*'), fit to be shown to
 * the user: no line end, what a login says replaced by "...", a content by its size. `owner` is
 * that of the transaction's envelope, or NULL. `text` is valid during the call.
 */
struct smtp_trace {
    void (*line)(void *arg, void *owner, char who, const char *text); /* NULL: nobody listens */
    void *arg;
};

struct smtp_timeouts { /* milliseconds */
    int64_t greeting, command, data, final;
};

struct smtp_options {     /* borrowed for the dialogue's life */
    const char *hostname; /* EHLO; NULL (a session's alone): the address we come from */
    bool starttls;        /* required: without it nothing goes on */
    bool tls;             /* TLS is up before the greeting (implicit) */
    bool tls_verified;    /* TLS here means that the certificate was verified: for REQUIRETLS */
    bool allow_plaintext_auth;
    unsigned without;               /* enum smtp_extension: not used though they are offered */
    struct smtp_distrust *distrust; /* what turned out not to work; NULL: nothing is kept */
    unsigned window; /* most transactions under way at once; 0 and 1: never across messages */
    struct sasl_credentials credentials;
    struct login_memory *login_memory; /* the relay's; NULL: nothing is remembered */
    struct sasl_binding binding;       /* of the TLS connection, where it is implicit */
    struct smtp_timeouts timeouts;
    struct smtp_trace trace;
};

struct addresses;     /* addresses.h */
struct transport_tls; /* transport_tls.h */

enum session_tls { SESSION_TLS_NONE, SESSION_TLS_IMPLICIT, SESSION_TLS_STARTTLS, SESSION_TLS_AUTO };

/* Connections go through it: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110, 9.3.6). */
struct session_proxy {
    bool http; /* else SOCKS5 */
    const char *host;
    uint16_t port;
    const char *user, *password; /* NULL: none */
};

struct session_settings { /* borrowed for the session's life */
    const char *host;
    uint16_t port;
    struct session_proxy proxy;        /* host NULL: none */
    const char *source_address;        /* IP address; NULL: the system's choice */
    struct addresses *addresses;       /* what is remembered of the host's; NULL: nothing is */
    enum session_tls tls;              /* AUTO: wait 1 s for a greeting, else speak TLS */
    struct transport_tls *tls_context; /* NULL with SESSION_TLS_NONE */
    struct smtp_options smtp;          /* its `tls` and `starttls` follow from the above */
    int64_t connect_timeout_ms, tls_timeout_ms;
};

#endif
