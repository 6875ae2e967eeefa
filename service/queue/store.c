#include "queue/store.h"

#include <string.h>

#include "base/arena.h"

static const char *or_nothing(const char *s)
{
    return s != NULL ? s : "";
}

struct delivery_wishes submission_wishes(const struct submission *submission)
{
    return (struct delivery_wishes){
        .from = submission->from,
        .api_key = submission->api_key,
        .tags = submission->tags,
        .relay = or_nothing(submission->relay),
        .priority = submission->priority,
        .require_tls = submission->require_tls,
        .dsn_notify = or_nothing(submission->dsn_notify),
        .dsn_ret = or_nothing(submission->dsn_ret),
        .dsn_envid = or_nothing(submission->dsn_envid),
    };
}

void submission_free(struct submission *submission)
{
    if (submission == NULL)
        return;
    bytes_unref(submission->content);
    arena_free(submission->arena); /* which the submission itself is from */
}

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
