#ifndef POSTERN_CONFIG_CHECK_OAUTH_H
#define POSTERN_CONFIG_CHECK_OAUTH_H

/* What of oauth[], and of the relays that log in by its tokens, cannot work as it is written. */

#include "config/config.h"

/* The entry `config->oauth[i]`, after what its provider gives is filled in. */
void config_check_oauth(struct config *config, size_t i, struct error_list *errors);
/* What tokens that are renewed are encrypted with. */
void config_check_secret_key(const struct config *config, struct error_list *errors);

/* Finds the entry that the relay `config->relays[i]` names. A relay without a user name gets the
 * subject of grant jwt_bearer: the token is that user's. */
void config_find_oauth(struct config *config, size_t i, struct error_list *errors);

#endif
