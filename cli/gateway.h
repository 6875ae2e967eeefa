#ifndef POSTERN_CLI_GATEWAY_H
#define POSTERN_CLI_GATEWAY_H

/* What commands that talk to a running gateway have in common: where it is, and the key for it. */

#include <stdbool.h>

#include "config/secret.h"

/*
 * May secrets go to that address? By https, and by http to this machine; elsewhere by http only if
 * `allow_plaintext`, which is for a network that nobody else is on. false after telling why not.
 */
bool cli_gateway_allowed(const char *url, bool allow_plaintext);
bool cli_gateway_is_local(const char *url);

/* POSTERN_API_KEY or what POSTERN_API_KEY_FILE holds, to be wiped; "": neither is set. -1 after
 * telling. */
int cli_gateway_key(char key_out[CONFIG_SECRET_SIZE]);

#endif
