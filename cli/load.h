#ifndef POSTERN_CLI_LOAD_H
#define POSTERN_CLI_LOAD_H

#include "config/config.h"

/* The configuration from `path` (NULL: the usual places) and this process's environment; NULL after
 * every fault has been told on stderr. */
struct config *cli_load_config(const char *path);

#endif
