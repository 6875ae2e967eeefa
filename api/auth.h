#ifndef POSTERN_API_AUTH_H
#define POSTERN_API_AUTH_H

/* API keys: whose request it is, and what it may do. */

#include "api/request.h"
#include "message/compose.h"

/* Find the key of the request. false after a 401 or 403 was given. */
bool auth_admit(struct api_request *request, unsigned scope);
/* Do the key's allow-lists have the message's addresses, and its relay the one it names? Faults go
 * to `errors`. */
bool auth_allows(const struct config_api_key *key, const struct message *message,
                 const struct envelope *envelope, struct error_list *errors);

#endif
