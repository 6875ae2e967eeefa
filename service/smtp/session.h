#ifndef POSTERN_SMTP_SESSION_H
#define POSTERN_SMTP_SESSION_H

/*
 * One SMTP connection on a worker's loop: resolve, connect, TLS, and then octets moved between the
 * transport and the dialogue. An address that connects, and then does not get us as far as EHLO and
 * TLS, is followed at once by the host's next (RFC 5321, 5.1): DNS, TCP and so on are told again
 * then; only when all have failed is it closed, and the last tells why. Used on its loop's thread
 * only; nothing of it is shared.
 *
 * It tells its owner what happens through three functions. Inside `ready` and `result` the owner
 * may call session_carry(), session_quit() and session_abort(), which then only note what is
 * wanted; inside `token_wanted` session_token() likewise. Called from elsewhere these may call the
 * owner back before they return, `closed` included, so they come last in what the owner does. After
 * `closed` the session frees itself: forget it.
 */

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "smtp/envelope.h"
#include "smtp/extensions.h"
#include "smtp/settings.h"
#include "smtp/step.h"
#include "smtp/transport.h"

struct session;

struct session_owner {
    /* There is room for a transaction: the owner may call session_carry(), now or later. Called
     * when the login is done and after every result. */
    void (*ready)(void *arg, struct session *session);
    void (*result)(void *arg, struct session *session, const struct smtp_result *result);
    /* ERR_NONE: we said QUIT. `step` is where it was. All transactions have had their result. */
    void (*closed)(void *arg, struct session *session, enum smtp_step step,
                   const struct error *why);
    /* These two may be NULL. A step has succeeded: DNS, TCP, PROXY, TLS, GREETING, EHLO, STARTTLS,
     * AUTH, in the order they happen (EHLO twice with STARTTLS), and how long it took. */
    void (*step)(void *arg, struct session *session, enum smtp_step step, int64_t took_us);
    /* As struct smtp_trace has it, with remarks on addresses and TLS in between. Like `step` it
     * only listens: neither may call the session. */
    void (*said)(void *arg, void *owner, char who, const char *text);
    /* A login by bearer token needs one (`refused`: another, this one was no good): call
     * session_token(), now or later, within the timeout of a command; what has not come by then is
     * not waited for. `closed` may come first: then there is nobody to give it to. NULL: there are
     * no tokens. */
    void (*token_wanted)(void *arg, struct session *session, bool refused);
    struct smtp_distrust *distrust; /* extensions.h; NULL: nothing of that is kept */
    void *arg;
};

/* Begins at once; what goes wrong comes by `closed`. NULL only without memory. */
struct session *session_open(uv_loop_t *loop, const struct session_settings *settings,
                             const struct session_owner *owner);

/* Begin a transaction; only when there is room. -1: it was not begun (no memory). */
int session_carry(struct session *session, const struct smtp_envelope *envelope, struct error *err);
/* What was asked for by `token_wanted`, once for each time: the token (copied), or NULL and why
 * there is none; then the session ends with that, at AUTH. */
void session_token(struct session *session, const char *token, const struct error *why);
void session_quit(struct session *session);  /* say QUIT when idle, and close */
void session_abort(struct session *session); /* close now; what is under way is lost */
bool session_has_room(const struct session *session);
/* NULL: not connected. In `closed` it is still there, to be looked at. */
const struct transport *session_transport(const struct session *session);
/* As of the last EHLO; NULL: the server has not been talked to. In `closed` too. */
const struct smtp_extensions *session_extensions(const struct session *session);

#endif
