#ifndef POSTERN_SMTP_SESSION_H
#define POSTERN_SMTP_SESSION_H

/*
 * One SMTP connection on a worker's loop: resolve, connect, TLS, and then octets moved between the
 * transport and the dialogue. Used on its loop's thread only; nothing of it is shared.
 *
 * It tells its owner what happens through three functions. Inside `ready` and `result` the owner
 * may call session_carry(), session_quit() and session_abort(), which then only note what is
 * wanted. Called from elsewhere these may call the owner back before they return, `closed`
 * included, so they come last in what the owner does. After `closed` the session frees itself:
 * forget it.
 */

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "smtp/dialogue.h"
#include "smtp/transport.h"

enum session_tls { SESSION_TLS_NONE, SESSION_TLS_IMPLICIT, SESSION_TLS_STARTTLS, SESSION_TLS_AUTO };

struct session_settings { /* borrowed for the session's life */
    const char *host;
    uint16_t port;
    enum session_tls tls;              /* AUTO: wait 1 s for a greeting, else speak TLS */
    struct transport_tls *tls_context; /* NULL with SESSION_TLS_NONE */
    struct smtp_options smtp;          /* its `tls` and `starttls` follow from the above */
    int64_t connect_timeout_ms, tls_timeout_ms;
};

struct session;

struct session_owner {
    /* There is room for a transaction: the owner may call session_carry(), now or later. Called
     * when the login is done and after every result. */
    void (*ready)(void *arg, struct session *session);
    void (*result)(void *arg, struct session *session, const struct smtp_result *result);
    /* ERR_NONE: we said QUIT. `step` is where it was. All transactions have had their result. */
    void (*closed)(void *arg, struct session *session, enum smtp_step step,
                   const struct error *why);
    void *arg;
};

/* Begins at once; what goes wrong comes by `closed`. NULL only without memory. */
struct session *session_open(uv_loop_t *loop, const struct session_settings *settings,
                             const struct session_owner *owner);

/* Begin a transaction; only when there is room. -1: it was not begun (no memory). */
int session_carry(struct session *session, const struct smtp_envelope *envelope, struct error *err);
void session_quit(struct session *session);  /* say QUIT when idle, and close */
void session_abort(struct session *session); /* close now; what is under way is lost */
bool session_has_room(const struct session *session);

#endif
