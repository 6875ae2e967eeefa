#ifndef POSTERN_RELAY_RELAYS_H
#define POSTERN_RELAY_RELAYS_H

/*
 * All configured relays, and which of them a message goes to: the first of its route that is
 * available; if none is, the first of them keeps it, and it moves on as soon as one is. Mail whose
 * recipients have different routes goes out route by route, those first whose relay is available.
 */

#include "relay/relay.h"

struct relays;

/*
 * `config`, `queue`, `tokens` (NULL: none are needed), `reloader` and `explainer` are borrowed.
 * `sandbox` is the relay that stands for the receiver inside; NULL: none. It serves messages that
 * name it, and all mail if no relay is configured.
 */
int relays_new(const struct config *config, const struct config_relay *sandbox, struct queue *queue,
               struct workers *workers, struct oauth_cache *tokens, struct reloader *reloader,
               const struct explainer *explainer, struct relays **relays_out, struct error *err);
/* Only when the workers have ended. */
void relays_free(struct relays *relays);

/* Takes a list of deliveries. Any thread; does not block. */
void relays_push(struct relays *relays, struct mail *list);

void relays_drain(struct relays *relays);
void relays_abort(struct relays *relays);
bool relays_at_rest(struct relays *relays);

size_t relays_count(const struct relays *relays);
struct relay *relays_at(const struct relays *relays, size_t i);           /* as configured */
struct relay *relays_find(const struct relays *relays, const char *name); /* NULL: none */
struct transcripts *relays_transcripts(const struct relays *relays);

#endif
