#ifndef POSTERN_API_AUTH_H
#define POSTERN_API_AUTH_H

/* API keys: whose request it is. What the key may send, the door judges (admit/rights.h). */

#include "api/request.h"

/* Find the key of the request. false after a 401 or 403 was given. */
bool auth_admit(struct api_request *request, unsigned scope);

#endif
