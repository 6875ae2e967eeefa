#ifndef POSTERN_SMTP_LOGIN_H
#define POSTERN_SMTP_LOGIN_H

/*
 * The lines of an AUTH exchange (RFC 4954), kept where they can be wiped: the initial response
 * goes with the command if the line stays within what any server takes; else it is held back for
 * the server's first challenge, which says nothing then (NTLM's is always held back: Exchange
 * announces itself in words there). Zero-initialised is "not logging in".
 */

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "smtp/extensions.h"
#include "smtp/sasl.h"

struct smtp_login {
    struct sasl *sasl;
    struct buffer line; /* the secret line to send next, with its CRLF; empty: none yet */
    bool bare;          /* "AUTH NAME" goes first, without a secret */
    bool unbound;       /* a -PLUS was offered and then refused: no binding any more */
};

/* Begins anew with the best mechanism that is offered. Errors of sasl_start(). */
int smtp_login_start(struct smtp_login *login, const struct sasl_credentials *credentials,
                     const struct sasl_binding *binding, const struct smtp_extensions *extensions,
                     bool clear_allowed, struct error *err);

/* The server does not have the mechanism after all (504): it is struck from `extensions`. */
void smtp_login_strike(struct smtp_login *login, struct smtp_extensions *extensions);

/* To a 334: then `line` is to be sent. */
int smtp_login_answer(struct smtp_login *login, const char *challenge, struct error *err);

void smtp_login_wipe_line(struct smtp_login *login); /* it was sent */
void smtp_login_clear(struct smtp_login *login);

#endif
