#ifndef POSTERN_SMTP_DIALOGUE_H
#define POSTERN_SMTP_DIALOGUE_H

/*
 * One SMTP connection's conversation (RFC 5321), without any I/O: the server's octets go in, octets
 * to send, finished transactions and the next deadline come out. There is no state variable: the
 * state is the queue of replies we are owed, in order, each with the handler that will read it.
 *
 *   greeting> EHLO> [STARTTLS> (TLS) EHLO>] [AUTH>]... and then for each message
 *   MAIL RCPT... DATA> content "."       or, with CHUNKING,       MAIL RCPT... BDAT content
 *
 * ">" ends a group: nothing is sent behind it until its reply is in (RFC 2920, 3.1). What may be
 * under way at once follows from what the server offers:
 *
 *   nothing                  one command                                4 round trips a message
 *   PIPELINING               the next envelope behind the content       1
 *   PIPELINING and CHUNKING  as many transactions as the window allows  1/window
 *
 * The window starts at 1 and doubles with each message taken; when a transaction came upon what
 * the one before it had left behind, it falls to 1 again.
 *
 * Whatever fails here ends the connection: close it, then call smtp_dialogue_lost(), and every
 * transaction begun has come out by smtp_dialogue_next_result().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "smtp/envelope.h"
#include "smtp/extensions.h"
#include "smtp/settings.h"
#include "smtp/step.h"

struct smtp_dialogue;
struct smtp_login; /* smtp/login.h */

struct smtp_dialogue *smtp_dialogue_new(const struct smtp_options *options, int64_t now_ms);
void smtp_dialogue_free(struct smtp_dialogue *d);
DEFINE_CLEANUP(struct smtp_dialogue *, smtp_dialogue_free)

/*
 * Octets from the server. -1: the connection is of no use any more:
 *   ERR_PROTOCOL           unreadable, or answers nothing we sent
 *   ERR_RELAY_CLOSING      421 or 451 4.4.2, at any moment; ERR_THROTTLED if its text is of that
 *   ERR_RELAY_REFUSED      greeting or EHLO refused; ERR_TLS_ON_PLAIN_PORT never (transport's)
 *   ERR_STARTTLS_NOT_OFFERED, ERR_STARTTLS_REFUSED, ERR_INJECTED_RESPONSE (RFC 3207, 4.2)
 *   ERR_AUTH_FAILED, ERR_AUTH_MECHANISM_UNAVAILABLE, ERR_AUTH_NEEDS_TLS, ERR_THROTTLED (454 4.7.0)
 *   ERR_NOMEM
 * `where` in `err` is the step's word; the detail begins with the server's reply if it is one.
 */
int smtp_dialogue_feed(struct smtp_dialogue *d, const char *data, size_t len, int64_t now_ms,
                       struct error *err);

/*
 * Copy up to `size` octets that may be sent now; they are counted as taken. What the kernel (or
 * TLS) then really took is told by smtp_dialogue_written(): only what was written can be answered,
 * and only a final dot that was written puts a message in doubt.
 */
size_t smtp_dialogue_pull(struct smtp_dialogue *d, char *buf, size_t size);
void smtp_dialogue_written(struct smtp_dialogue *d, size_t len, int64_t now_ms);

/* The server agreed to STARTTLS: do the handshake, then say so. Until then nothing is to be fed. */
bool smtp_dialogue_wants_tls(const struct smtp_dialogue *d);
void smtp_dialogue_tls_done(struct smtp_dialogue *d, int64_t now_ms);

/* A step of the login that may wait for others or compute for long is not made here: when there is
 * one, take the login, smtp_login_run() it on a thread that has time, and give it back. Meanwhile
 * the dialogue may be fed (though nothing is owed) and lost; then the login is the taker's to
 * clear. Errors as of smtp_dialogue_feed(). */
bool smtp_dialogue_take_login(struct smtp_dialogue *d, struct smtp_login *login_out);
int smtp_dialogue_give_login(struct smtp_dialogue *d, struct smtp_login *login, int64_t now_ms,
                             struct error *err);

/*
 * A login by bearer token (credentials.bearer) has come to the point where it needs one: hand it
 * in, then it goes on. `*refused_out` (may be NULL): the one handed in before was refused by the
 * server, a fresh one may do; that is asked for once. Only where the server takes tokens at all.
 * Meanwhile nothing is owed and nothing is sent; the deadline is that of a command.
 */
bool smtp_dialogue_wants_token(const struct smtp_dialogue *d, bool *refused_out);
/* Copied, and wiped when it was refused or the connection is lost. Errors as of
 * smtp_dialogue_feed(). */
int smtp_dialogue_token(struct smtp_dialogue *d, const char *token, int64_t now_ms,
                        struct error *err);

bool smtp_dialogue_ready(const struct smtp_dialogue *d); /* logged in: transactions may begin */
bool smtp_dialogue_idle(const struct smtp_dialogue *d);  /* ... and none is under way */
/* Logged in, and one more transaction may begin now. Idle without room: the server takes no more on
 * this connection (RFC 9422, MAILMAX), or has begun to say something: quit. */
bool smtp_dialogue_room(const struct smtp_dialogue *d);

/* Begin a transaction; only when there is room. ERR_NOMEM. A message over the server's SIZE, one
 * that needs SMTPUTF8 or 8BITMIME where there is none, or requires TLS where that cannot be had, is
 * not sent: it comes out as a result with a reply of our own (552 5.3.4, 553 5.6.7, 554 5.6.3,
 * 550 5.7.30). */
int smtp_dialogue_begin(struct smtp_dialogue *d, const struct smtp_envelope *envelope,
                        int64_t now_ms, struct error *err);
bool smtp_dialogue_next_result(struct smtp_dialogue *d, struct smtp_result *result_out);

void smtp_dialogue_quit(struct smtp_dialogue *d, int64_t now_ms); /* only when idle */
/* Close it, nothing is wrong: QUIT was answered, or a content was refused while it was still going
 * out (its result is there) and the rest of it would be taken for commands. */
bool smtp_dialogue_over(const struct smtp_dialogue *d);
/* The last word was the server's, and it was a refusal or an offer that does not do: to say QUIT is
 * right (RFC 5321, 4.1.1.10), and harmless. After an error of smtp_dialogue_feed(). */
bool smtp_dialogue_may_quit(const struct smtp_dialogue *d);
/* Before smtp_dialogue_lost(): the server has not answered in time (`silent`), or has closed the
 * connection. Where that is how something it offers does not work, it is noted. */
void smtp_dialogue_suspect(struct smtp_dialogue *d, bool silent);
/* The connection is gone (closed, timed out, given up): settle what is under way. */
void smtp_dialogue_lost(struct smtp_dialogue *d);

/* When what we wait for is overdue, and what that is; INT64_MAX when nothing is owed or wanted.
 * Counted from when it became the first reply owed (RFC 5321, 4.5.3.2) or its command last made
 * progress. A content whose octets are taken at less than 1 KiB/s all in all is overdue though some
 * are taken. `step_out` may be NULL. */
int64_t smtp_dialogue_deadline(const struct smtp_dialogue *d, enum smtp_step *step_out);
/* Of the first reply owed; TLS or AUTH while that, or a token, is wanted; else the last that was
 * answered. */
enum smtp_step smtp_dialogue_step(const struct smtp_dialogue *d);
const struct smtp_extensions *smtp_dialogue_extensions(const struct smtp_dialogue *d);

#endif
