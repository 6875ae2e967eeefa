#ifndef POSTERN_OAUTH_TOKENS_FETCH_H
#define POSTERN_OAUTH_TOKENS_FETCH_H

/*
 * One attempt at a token, from the settings and the newest refresh token to the endpoint's answer,
 * with what came with it stored:
 *
 *     prepare ──► ask ──► answer ──► keep ──► done
 *        ▲                  │
 *        └─ invalid_grant ──┘   as long as there is another refresh token to try
 *
 * Preparing and keeping read and sync files and sign, so they are not on the loop: on the vault's
 * thread if they have to do with the vault, which another process may hold for long, else on
 * libuv's pool. Asking is HTTP on the loop. All functions on the loop's thread.
 *
 * Which refresh token is the newest? One that could not be stored yet, then the vault's, then the
 * one of the settings. Each is tried once an attempt, and the vault is read anew for each try:
 * another process may have renewed what we hold, or a person logged in. The one of the settings is
 * not tried any more once it has been exchanged for another: servers that notice an old one take it
 * for stolen and revoke all that came from it (RFC 9700, 4.14.2).
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "net/http.h"
#include "oauth/tokens/token.h"
#include "oauth/vault/vault.h"

/* The way out; tests have their own. */
struct fetch_wire {
    int (*client_new)(uv_loop_t *loop, const struct http_settings *settings,
                      struct http_client **client_out, struct error *err);
    void (*client_free)(struct http_client *client);
    struct http_exchange *(*start)(struct http_client *client, const struct http_request *request,
                                   http_done_fn *done, void *arg);
    void (*cancel)(struct http_exchange *exchange);
    bool trusts; /* it wants http_settings.trust */
};
extern const struct fetch_wire FETCH_OVER_HTTP;

struct fetch_outcome {
    struct oauth_token *token; /* a reference, for the receiver to take; NULL: */
    struct error err;          /* ERR_TOKEN_REFUSED, ERR_TOKEN_UNAVAILABLE, ERR_DRAINING */
    int64_t retry_after_ms;    /* -1: none was named */
    unsigned n_requests;       /* made */
    struct error keep_err; /* a new refresh token could not be stored; ERR_NONE: it is, if any */
};

struct fetch_listener {
    void (*done)(void *arg, struct fetch_outcome *outcome);
    /* `changed`: what requests are made from is not what it was at the last one. */
    void (*looked)(void *arg, bool changed, const struct error *keep_err);
    void *arg;
};

struct fetch;

/* All is borrowed. NULL without memory. */
struct fetch *fetch_new(const struct config_oauth *oauth, struct vault *vault,
                        const struct fetch_wire *wire, const struct fetch_listener *listener);
void fetch_free(struct fetch *fetch); /* not while it is busy; wipes; NULL is fine */
/* `trust` is looked at before each request, NULL: there is none. ERR_IO. */
int fetch_attach(struct fetch *fetch, uv_loop_t *loop, struct http_client *client,
                 struct reload *trust, struct error *err);
/* What it has on its loop closes. Not while it is busy; what was not attached is fine. */
void fetch_detach(struct fetch *fetch);

bool fetch_busy(const struct fetch *fetch);
/* A refresh token waits for the vault to take it. */
bool fetch_keeps(const struct fetch *fetch);
/* `done` will be called, not from inside. Not while one is under way. */
void fetch_start(struct fetch *fetch);
/* To see whether another attempt might go better, and to store what could not be stored. `looked`
 * will be called; nothing happens while it is busy. */
void fetch_look(struct fetch *fetch);

/* Begins nothing any more. An attempt that may bring a refresh token goes on, because that would be
 * lost, and with it perhaps the grant; another is given up, without `done`. */
void fetch_end(struct fetch *fetch);
/* That one, too. What is on the pool goes on to its end, then `done`. */
void fetch_abort(struct fetch *fetch);

#endif
