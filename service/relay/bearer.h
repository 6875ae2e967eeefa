#ifndef POSTERN_RELAY_BEARER_H
#define POSTERN_RELAY_BEARER_H

/*
 * How a session gets its bearer token: it asks the cache, which may have to ask an endpoint on
 * another thread, and hands the answer to the session on its own loop. A token that the relay
 * refuses is given up and replaced, once.
 */

#include <uv.h>

#include "oauth/tokens/cache.h"
#include "smtp/session.h"

struct bearer_query;

struct bearer { /* embedded in the session's owner; on the session's loop only */
    uv_loop_t *loop;
    struct oauth_cache *cache; /* NULL: there are no tokens */
    size_t entry;
    int64_t need_ms;            /* how long a login may take with it */
    struct oauth_token *shown;  /* the last that was handed in; a reference */
    struct bearer_query *query; /* under way; NULL: none */
};

/* What session_owner.token_wanted is to do. May end the session before it returns. */
void bearer_want(struct bearer *bearer, struct session *session, bool refused);
/* The session has closed. */
void bearer_end(struct bearer *bearer);

#endif
