#ifndef POSTERN_RELAY_BREAKER_H
#define POSTERN_RELAY_BREAKER_H

/*
 * The breaker: what goes wrong with a relay, and what follows for it. There are two, one for
 * connections (`entry`) and one for transactions (`traffic`). After a failure it is open: nothing
 * goes for a while. Then it is half-open: one probe goes. A success closes it.
 */

#include "relay/state.h"
#include "smtp/reaction.h"

/* A failure made ready before the lock is taken, and what is left over when it was dropped. */
struct breaker_failure {
    struct relay_failure failure; /* in the end: what is to be logged */
    enum error_code code;
    const struct reaction *reaction;
    struct bytes *transcript; /* owned; NULL: none */
    int64_t token_retry_ms;   /* 0: it is not for want of a token */
    int64_t pause_ms;         /* in the end: the pause it means */
    uint32_t dice;
};

/* A connection failed before it was of use. `transcript` (copied) may be NULL. Not under the lock.
 */
void breaker_prepare(const struct relay *relay, enum smtp_step step, const struct error *why,
                     const char *transcript, struct breaker_failure *failure_out);
void breaker_connect_failed(struct relay *relay, struct breaker_failure *failure); /* under it */
/* Logs it if it `happened`. Not under the lock. */
void breaker_finish(const struct relay *relay, struct breaker_failure *failure, bool happened);

/* What a transaction was answered. true: that connection should end. Not under the lock. */
bool breaker_refused(struct relay *relay, enum smtp_step step, const struct reaction *reaction,
                     const struct reply_record *reply);
/* A transaction was answered as it should be; `took`: and something was sent by it. */
void breaker_succeeded(struct relay *relay, bool took);
/* A relay that is down for want of a token is probed as soon as there is one. */
void breaker_look_for_token(struct relay *relay);
/* Find out, without logging in, what is wrong with a relay that nobody gets into. On its loop. */
void breaker_explain(struct relay_slot *slot, uv_loop_t *loop);

#endif
