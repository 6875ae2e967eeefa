#ifndef POSTERN_ADMIT_RIGHTS_H
#define POSTERN_ADMIT_RIGHTS_H

/* What an API key may send, and through which relay. */

#include "config/config.h"
#include "message/compose.h"

/*
 * Do the key's allow-lists have the message's addresses (From, Sender and the envelope's sender by
 * `from`, every recipient by `to`), and is its relay the one it names? NULL is a key that may do
 * anything. -1 with ERR_FORBIDDEN faults in `errors`.
 */
int rights_check(const struct config_api_key *key, const struct message *message,
                 const struct envelope *envelope, struct error_list *errors);

/* A relay that is named must be there: -1 with an ERR_INVALID fault. `sandbox`: there is one. */
int rights_check_relay(const struct config *config, bool sandbox, const struct message *message,
                       struct error_list *errors);

#endif
