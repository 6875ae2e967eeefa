#ifndef POSTERN_OAUTH_TOKENS_CACHE_H
#define POSTERN_OAUTH_TOKENS_CACHE_H

/*
 * One token for each configured oauth entry, shared by all relays and workers:
 *
 *   empty ── ask ──► fetching ── answer ──► fresh ── at 80 % of its life ──► refreshing ─► fresh
 *                        │                    │                                   │ failed
 *                        ▼ failed             ▼ refused by a relay                ▼
 *                     failed (backoff)      empty                  fresh (old) until it expires
 *
 * Single flight: the first to need a token fetches it, all others wait for that answer, good or
 * bad. It is refreshed ahead at 80 % of its life, with jitter, while the old one serves; so a busy
 * gateway makes one request a lifetime, and one that nobody has asked for a day makes none. An
 * outage of the endpoint is not a wrong password: the old token serves as long as it lasts, then
 * those who ask are told ERR_TOKEN_UNAVAILABLE at once and the endpoint is tried again by backoff
 * with jitter (1 s to 5 min), or when Retry-After says (an hour at most). `invalid_grant` first
 * reads the stored grant again (another process may have renewed it); if that is the same it waits
 * for a person: ERR_TOKEN_REFUSED, tried again every 15 min, and at once when the grant or a file
 * of the entry changes.
 *
 * A refresh token that came with an answer is in the vault before the access token is handed out.
 * If the vault cannot take it, that is told, tried again, and the token used all the same.
 *
 * The engine of states is pure (cache_entry.h), one attempt is fetch.h; this drives them on one
 * loop and hands tokens to other threads.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "oauth/tokens/token.h"
#include "oauth/vault/vault.h"

struct oauth_cache;
struct fetch_wire;

/* `config` and `vault` are borrowed. ERR_NOMEM. */
int oauth_cache_new(const struct config *config, struct vault *vault,
                    struct oauth_cache **cache_out, struct error *err);
/* With another way out than HTTP, for tests. */
int oauth_cache_new_over(const struct config *config, struct vault *vault,
                         const struct fetch_wire *wire, struct oauth_cache **cache_out,
                         struct error *err);
void oauth_cache_free(struct oauth_cache *cache); /* after its loop has ended */

/* It lives on `loop` from now on; call on its thread. Who asked before is served now. After a
 * failure (ERR_IO, ERR_NOMEM, ERR_CONFIG: a proxy) what was begun is closed on the loop, and all
 * who ask, before or later, are told ERR_TOKEN_UNAVAILABLE. */
int oauth_cache_attach(struct oauth_cache *cache, uv_loop_t *loop, struct error *err);
/* On that thread, whether or not that went well: everybody who waits is told, handles close. A
 * request that may bring a new refresh token is waited for, up to 5 s, because the grant would be
 * lost with it. */
void oauth_cache_detach(struct oauth_cache *cache);
/* The detach to come lingers for half a second only. From any thread. */
void oauth_cache_hurry(struct oauth_cache *cache);

/* Somebody who needs a token. Embedded in something of the asker's. */
struct oauth_ask {
    struct oauth_ask *next; /* the cache's */
    /* Called once, from the cache's thread, under no lock: `token` or `err` of the ask are set.
     * Should only post to the asker's own thread. */
    void (*answered)(struct oauth_ask *ask);
    struct oauth_token *token; /* a reference, the asker's to give back; NULL: */
    struct error err;          /* ERR_TOKEN_UNAVAILABLE, ERR_TOKEN_REFUSED, ERR_DRAINING */
    bool waiting;
};

/* Any thread. The index is that of config->oauth[]. true: `ask` is answered already, `answered` is
 * not called; false: it will be. `need_ms`: how long the token must still be good for. */
bool oauth_cache_get(struct oauth_cache *cache, size_t entry, int64_t need_ms,
                     struct oauth_ask *ask);
/* Any thread. It is not wanted any more: if this returns true `answered` will not be called; if
 * false it has been, or will be any moment, and `ask` must live until then. */
bool oauth_cache_forget(struct oauth_cache *cache, struct oauth_ask *ask);
/* Any thread. A relay refused it: drop it, unless it has been replaced meanwhile; ask for another.
 * false: it has itself replaced a refused one, less than 5 min ago: it is not the token's fault. */
bool oauth_cache_refused(struct oauth_cache *cache, size_t entry, const struct oauth_token *token);

struct oauth_status {
    const char *name;
    const char *state;       /* "empty", "fetching", "fresh", "refreshing", "failed" */
    int64_t seconds_left;    /* of the token; 0: none */
    struct error last_error; /* ERR_NONE: none since the last success */
    int64_t retry_in_ms;     /* 0: not by time */
    uint64_t n_requests;     /* to the endpoint, ever; that are over */
};
/* Any thread. */
void oauth_cache_status(struct oauth_cache *cache, size_t entry, struct oauth_status *status_out);

#endif
