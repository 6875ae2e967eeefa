#include "queue/store.h"

#include <string.h>

const struct store_ops *store_for(const char *url, const char **location_out)
{
    static const struct store_ops *const all[] = {&store_sqlite, &store_memory};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        size_t len = strlen(all[i]->scheme);
        if (strncmp(url, all[i]->scheme, len) == 0 && url[len] == ':') {
            *location_out = url + len + 1;
            return all[i];
        }
    }
    return NULL;
}
