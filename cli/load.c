#include "cli/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct config *load(const char *path, const char *const *environ_)
{
    struct config *config = NULL;
    CLEANUP(error_list_clear) struct error_list errors = {0};
    if (config_load(path, environ_, &config, &errors) == 0)
        return config;
    for (size_t i = 0; i < errors.n_items; i++)
        fprintf(stderr, "postern: %s%s%s\n", errors.items[i].where,
                errors.items[i].where[0] != '\0' ? ": " : "", errors.items[i].detail);
    if (errors.n_total > errors.n_items)
        fprintf(stderr, "postern: and %zu more\n", errors.n_total - errors.n_items);
    return NULL;
}

struct config *cli_load_config(const char *path)
{
    return load(path, (const char *const *)environ);
}

struct config *cli_load_relay(const char *url)
{
    static const char password[] = "POSTERN_RELAY_PASSWORD"; /* and its _FILE */
    const char *environ_[4] = {NULL};
    size_t n = 0;
    char *relay = NULL;
    if (asprintf(&relay, "POSTERN_RELAY=%s", url) < 0)
        return NULL;
    environ_[n++] = relay;
    for (char **e = environ; *e != NULL && n < 3; e++)
        if (strncmp(*e, password, sizeof(password) - 1) == 0)
            environ_[n++] = *e;
    struct config *config = load("/dev/null", environ_);
    explicit_bzero(relay, strlen(relay));
    free(relay);
    return config;
}
