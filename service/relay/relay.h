#ifndef POSTERN_RELAY_RELAY_H
#define POSTERN_RELAY_RELAY_H

/*
 * A configured relay: its ready queue, its pool of persistent connections, its backoff. Sessions
 * pull: an idle one takes the next delivery, and only if there is none and the pool is below its
 * maximum a connection is opened. So balance and back-pressure come by themselves.
 */

#include "config/config.h"
#include "queue/queue.h"
#include "relay/worker.h"

struct relay;

/* `settings` and `queue` are borrowed for the relay's life. */
int relay_new(const struct config_relay *settings, struct queue *queue, struct workers *workers,
              struct relay **relay_out, struct error *err);
/* Only when the workers have ended. */
void relay_free(struct relay *relay);

/* Takes a list of deliveries. Any thread; does not block. */
void relay_push(struct relay *relay, struct delivery *list);

/* No new transactions: idle connections say QUIT, busy ones finish. */
void relay_drain(struct relay *relay);
/* Close every connection now; what was under way is settled as lost or in doubt. The relay's part
 * of the workers' loops ends with it: workers_stop() may follow. */
void relay_abort(struct relay *relay);

struct relay_status {
    const char *name;
    const char *state; /* "up", "down", "idle" (never tried) */
    size_t n_connections, n_idle, n_ready;
    struct error last_error; /* ERR_NONE: none since the last success */
    int64_t last_error_ms;   /* wall clock */
};

void relay_status(struct relay *relay, struct relay_status *status_out);

#endif
