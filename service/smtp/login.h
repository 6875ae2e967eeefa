#ifndef POSTERN_SMTP_LOGIN_H
#define POSTERN_SMTP_LOGIN_H

/*
 * The lines of an AUTH exchange (RFC 4954), kept where they can be wiped: the initial response
 * goes with the command if the line stays within what any server takes; else it is held back for
 * the server's first challenge, which says nothing then (NTLM's is always held back: Exchange
 * announces itself in words there). Zero-initialised is "not logging in".
 *
 * What is to be said is worked out by smtp_login_run(), apart from what makes it due: it may take
 * its time (a KDC that does not answer: 30 s; SCRAM as the server likes), which belongs on another
 * thread. A login is therefore complete in itself and may be moved.
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
    bool initial;       /* `line` holds the command and the initial response */
    bool alone;         /* such a line was refused: the response waits for a challenge */
    bool answering;     /* the server waits for our answer to its challenge */
    bool unbound;       /* a -PLUS was offered and then refused: no binding any more */
    enum { SMTP_LOGIN_NONE, SMTP_LOGIN_FIRST, SMTP_LOGIN_NEXT } due; /* what run() is to do */
    char *challenge;                                                 /* owned; to the next step */
    struct error err; /* of the last run; ERR_NONE: go on */
};

/* Begins anew with the best mechanism that is offered. Errors of sasl_start(). */
int smtp_login_start(struct smtp_login *login, const struct sasl_credentials *credentials,
                     const struct sasl_binding *binding, const struct smtp_extensions *extensions,
                     bool clear_allowed, struct error *err);

/* The server does not have the mechanism after all (504): it is struck from `extensions`. */
void smtp_login_strike(struct smtp_login *login, struct smtp_extensions *extensions);

/* It did not understand a command with an initial response (500, 501): as it was before RFC 4954.
 * false: there was none. Then begin anew. */
bool smtp_login_go_alone(struct smtp_login *login);

/* The text of a 334. */
int smtp_login_challenge(struct smtp_login *login, const char *text, struct error *err);

/* Something is due that may wait for others or compute for long. */
bool smtp_login_waits(const struct smtp_login *login);
/* Does what is due: then `line` is to be sent, or `err` says why not. On any thread. */
void smtp_login_run(struct smtp_login *login);

void smtp_login_wipe_line(struct smtp_login *login); /* it was sent */
void smtp_login_clear(struct smtp_login *login);

#endif
