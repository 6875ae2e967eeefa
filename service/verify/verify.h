#ifndef POSTERN_VERIFY_VERIFY_H
#define POSTERN_VERIFY_VERIFY_H

/*
 * One connection to a relay, probed step by step: dns, tcp, (proxy), greeting, ehlo, (starttls,
 * tls, ehlo), auth; each with its time. When a step fails, the cause is made certain by trying:
 * the other TLS mode on that port, then the ports relays listen on (465, 587, 2525, 2465, 2587). A
 * hint that names a setting is given as proved only if it worked. It takes seconds, never the
 * minutes of timeouts.greeting. No mail is sent, and at most one login is made.
 */

#include <stdbool.h>
#include <uv.h>

#include "config/config.h"
#include "oauth/tokens/cache.h"
#include "relay/connect.h"
#include "verify/report.h"

struct verify;

struct verify_options {
    const struct relay_files *files; /* borrowed until it is done; NULL: they are read here, by
                                         whoever calls, who may wait */
    struct oauth_cache *tokens;      /* whom to ask for one, attached to a loop; NULL: nobody */
    bool no_login; /* stop before AUTH, and see only whether there could be one: a wrong password is
                      not tried again */
    struct error known; /* with that: how AUTH went before, which is what is wrong if all else is
                           well; ERR_NONE: it was not come to */
};

/*
 * Begins on `loop` and calls `done` once, on its thread, never before it returns, with a report
 * valid during the call; then it frees itself. `relay` is borrowed until then. NULL: no memory.
 */
struct verify *verify_start(uv_loop_t *loop, const struct config_relay *relay,
                            const struct verify_options *options,
                            void (*done)(void *arg, const struct verify_report *report), void *arg);
/* `done` is called soon, with what is known; ERR_DRAINING: that is not what is wrong with the
 * relay. */
void verify_abort(struct verify *verify);

/* The same on a loop of its own, which `options->tokens` is attached to for as long; returns when
 * it is done. 0, or -1 without memory. */
int verify_run(const struct config_relay *relay, const struct verify_options *options,
               struct verify_report *report_out, struct error *err);

#endif
