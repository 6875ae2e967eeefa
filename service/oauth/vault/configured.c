#include "oauth/vault/configured.h"

#include <stdio.h>
#include <string.h>

int vault_open_configured(const struct config *config, struct vault **vault_out, struct error *err)
{
    char path[4096];
    const char *store = config->queue.store;
    bool on_disk = strncmp(store, "sqlite:", 7) == 0;
    int n = snprintf(path, sizeof(path), "%s.grants", on_disk ? store + 7 : "");
    if (n < 0 || (size_t)n >= sizeof(path))
        return error_set(err, ERR_CONFIG, "queue.store: the path is too long");
    const struct vault_settings settings = {.path = on_disk ? path : NULL,
                                            .key = config->secret_key,
                                            .key_file = config->secret_key_file};
    return vault_open(&settings, vault_out, err);
}
