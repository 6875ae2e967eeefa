#ifndef POSTERN_OAUTH_LOGIN_UPLOAD_H
#define POSTERN_OAUTH_LOGIN_UPLOAD_H

/* A grant that was obtained here is put into a gateway that runs elsewhere: PUT
 * /v1/oauth/{name}/grant. It travels by https, or over loopback. */

#include "base/error.h"

/*
 * `gateway` is its base URL, `key` an API key with scope admin (NULL: none is sent). 0: it is
 * durable there. ERR_FORBIDDEN, ERR_NOT_FOUND (no entry of that name there), ERR_PROTOCOL with the
 * status, those of http.h.
 */
int oauth_upload_grant(const char *gateway, const char *key, const char *name,
                       const char *refresh_token, struct error *err);

#endif
