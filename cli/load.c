#include "cli/load.h"

#include <stdio.h>
#include <unistd.h>

struct config *cli_load_config(const char *path)
{
    struct config *config = NULL;
    CLEANUP(error_list_clear) struct error_list errors = {0};
    if (config_load(path, (const char *const *)environ, &config, &errors) == 0)
        return config;
    for (size_t i = 0; i < errors.n_items; i++)
        fprintf(stderr, "postern: %s%s%s\n", errors.items[i].where,
                errors.items[i].where[0] != '\0' ? ": " : "", errors.items[i].detail);
    if (errors.n_total > errors.n_items)
        fprintf(stderr, "postern: and %zu more\n", errors.n_total - errors.n_items);
    return NULL;
}
