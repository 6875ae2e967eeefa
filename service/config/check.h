#ifndef POSTERN_CONFIG_CHECK_H
#define POSTERN_CONFIG_CHECK_H

#include "config/config.h"

/* What no single setting can tell: the TLS words by port, the refusals of contract section 2. Fills
 * in what follows from other settings. */
void config_check(struct config *config, struct error_list *errors);

#endif
