#ifndef POSTERN_OAUTH_VAULT_CONFIGURED_H
#define POSTERN_OAUTH_VAULT_CONFIGURED_H

/* The vault that a configuration means: beside its queue, and with its key. */

#include "config/config.h"
#include "oauth/vault/vault.h"

/* A queue that is not on disk keeps its grants in memory. Errors as of vault_open(). */
int vault_open_configured(const struct config *config, struct vault **vault_out, struct error *err);

#endif
