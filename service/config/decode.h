#ifndef POSTERN_CONFIG_DECODE_H
#define POSTERN_CONFIG_DECODE_H

/* From the tree to the structs, by the table of settings; every fault is told, but for lack of
 * memory, which the arena remembers. */

#include <jansson.h>

#include "base/arena.h"
#include "config/config.h"
#include "config/yaml.h"

struct decoder {
    struct arena *arena;
    struct error_list *errors;
    const char *const *environ_;
    const char *file; /* NULL: none */
    const struct yaml_lines *lines;
};

void decode_config(struct decoder *decoder, const json_t *tree, struct config *config);

#endif
