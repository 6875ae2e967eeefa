#ifndef POSTERN_CONFIG_ENVIRONMENT_H
#define POSTERN_CONFIG_ENVIRONMENT_H

/* The settings that come from the environment: over the file, under nothing. */

#include <jansson.h>

#include "base/error.h"

const char *environment_get(const char *const *environ_, const char *name); /* NULL: not set */

/* POSTERN_RELAY and its like, written into the tree as the file would have said them. */
void environment_apply(json_t *tree, const char *const *environ_, struct error_list *errors);

#endif
