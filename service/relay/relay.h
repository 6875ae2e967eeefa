#ifndef POSTERN_RELAY_RELAY_H
#define POSTERN_RELAY_RELAY_H

/*
 * A configured relay: its ready queue, its pool of persistent connections, its limits, its breaker.
 * Sessions pull: an idle one takes the next delivery; if there is none idle and the pool is below
 * its maximum a connection is opened; only then more goes onto connections that are busy. So
 * balance and back-pressure come by themselves.
 *
 * A relay is *available* when mail given to it now is likely to go at once: it is not paused, not
 * resting on its own wish or for a quota, not down, and does not keep us waiting at its door. Which
 * relay a message goes to is decided by relays.c.
 */

#include "config/config.h"
#include "oauth/tokens/cache.h"
#include "relay/connect.h"
#include "relay/rate.h"
#include "relay/surroundings.h"
#include "relay/task.h"
#include "smtp/diagnosis.h"

struct relay;

/* `settings` is borrowed for the relay's life. */
int relay_new(const struct config_relay *settings, const struct relay_surroundings *surroundings,
              struct relay **relay_out, struct error *err);
/* Only when the workers have ended. */
void relay_free(struct relay *relay);
const char *relay_name(const struct relay *relay);

/* Takes a list of deliveries; recipients that are `held_back` stay out of it. Any thread; does not
 * block. */
void relay_push(struct relay *relay, struct mail *list);
/* Gives back what no session has taken yet. */
struct mail *relay_take_back(struct relay *relay);
bool relay_available(struct relay *relay);
/* Mail that would rather have come here went elsewhere, or waits: look whether it is up again. */
void relay_want(struct relay *relay);

/* By an operator, until resumed or the process ends: transactions under way finish, mail waits or
 * goes elsewhere. */
void relay_pause(struct relay *relay);
void relay_resume(struct relay *relay);

/* No new transactions: idle connections say QUIT, busy ones finish. */
void relay_drain(struct relay *relay);
/* Close every connection now; what was under way is settled as lost or in doubt. The relay's part
 * of the workers' loops ends with it: workers_stop() may follow. */
void relay_abort(struct relay *relay);
bool relay_at_rest(struct relay *relay); /* no connection is left, no relay_task is under way */

/* `n_messages` to `n_recipients` went through it in the hour that began at `hour_ms` (wall clock),
 * before this process began. */
void relay_remember(struct relay *relay, int64_t n_messages, int64_t n_recipients, int64_t hour_ms);

/* For a verify of it; borrowed for the relay's life. */
const struct config_relay *relay_settings(const struct relay *relay);
const struct relay_files *relay_files(const struct relay *relay);
struct oauth_cache *relay_tokens(const struct relay *relay); /* NULL: it needs none */

enum { RELAY_RATES_MAX = 8 };

struct relay_rate {
    const char *of; /* "messages", "recipients" */
    struct rate_limit limit;
    int64_t used; /* within the last `limit.per_ms` */
};

struct relay_status {
    const char *name, *host, *service; /* service NULL: none */
    uint16_t port;
    enum config_tls tls;
    const char *state; /* "idle" (never tried), "up", "down", "throttled", "paused" */
    size_t n_connections, n_opening, n_idle, n_max;
    size_t n_cap; /* connections it bears, as far as we know: at most n_max */
    size_t n_ready;
    struct relay_rate rates[RELAY_RATES_MAX];
    size_t n_rates;
    int64_t retry_in_ms;     /* until it is tried again; 0: now, or when somebody resumes it */
    struct error last_error; /* ERR_NONE: none since the last success; `where` is the step */
    char hint[DIAGNOSIS_HINT_SIZE]; /* of it; "": none */
    bool hint_proved;
    int64_t last_error_ms; /* wall clock */
    bool has_oauth;
    struct oauth_status oauth; /* of the token it logs in with */
};

void relay_status(struct relay *relay, struct relay_status *status_out);
/* How the last connection that failed went, as a transcript: malloc'd, the caller's; NULL: none. */
char *relay_transcript(struct relay *relay);

#endif
