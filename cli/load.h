#ifndef POSTERN_CLI_LOAD_H
#define POSTERN_CLI_LOAD_H

#include "config/config.h"

/* The configuration from `path` (NULL: the usual places) and this process's environment; NULL after
 * every fault has been told on stderr. */
struct config *cli_load_config(const char *path);
/* A relay alone, from a URL as POSTERN_RELAY's; of the environment only its password is looked at.
 */
struct config *cli_load_relay(const char *url);

#endif
