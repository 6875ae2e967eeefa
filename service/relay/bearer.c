#include "relay/bearer.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* It may outlive the session that asked: the cache calls back from its own thread. */
struct bearer_query {
    struct oauth_ask ask;
    uv_async_t answer;
    struct bearer *bearer; /* NULL: nobody waits any more */
    struct session *session;
    atomic_bool answered; /* what the cache's thread wrote into `ask` is seen behind it */
};

static void hand_in(struct bearer *bearer, struct session *session, struct oauth_ask *ask)
{
    struct oauth_token *token = TAKE(ask->token);
    if (token == NULL) {
        session_token(session, NULL, &ask->err);
        return;
    }
    oauth_token_unref(bearer->shown);
    bearer->shown = token;
    session_token(session, oauth_token_secret(token), NULL);
}

static void free_query(uv_handle_t *handle)
{
    struct bearer_query *query = handle->data;
    oauth_token_unref(query->ask.token);
    free(query);
}

static void on_answer(uv_async_t *answer)
{
    struct bearer_query *query = answer->data;
    struct bearer *bearer = query->bearer;
    assert(atomic_load_explicit(&query->answered, memory_order_acquire));
    if (bearer != NULL) {
        bearer->query = NULL;
        hand_in(bearer, query->session, &query->ask); /* `bearer` may be gone after it */
    }
    uv_close((uv_handle_t *)answer, free_query);
}

/* From the cache's thread. */
static void on_answered(struct oauth_ask *ask)
{
    struct bearer_query *query = (struct bearer_query *)ask; /* its first member */
    atomic_store_explicit(&query->answered, true, memory_order_release);
    uv_async_send(&query->answer);
}

static struct bearer_query *new_query(struct bearer *bearer, struct session *session)
{
    struct bearer_query *query = calloc(1, sizeof(*query));
    if (query == NULL || uv_async_init(bearer->loop, &query->answer, on_answer) < 0) {
        free(query);
        return NULL;
    }
    query->ask.answered = on_answered;
    query->answer.data = query;
    query->bearer = bearer;
    query->session = session;
    return query;
}

static void ask(struct bearer *bearer, struct session *session)
{
    struct error err;
    struct bearer_query *query = new_query(bearer, session);
    if (query == NULL) {
        error_set(&err, ERR_NOMEM, "no memory to ask for a token");
        session_token(session, NULL, &err);
        return;
    }
    if (!oauth_cache_get(bearer->cache, bearer->entry, bearer->need_ms, &query->ask)) {
        bearer->query = query;
        return;
    }
    struct oauth_ask answered = query->ask;
    query->ask.token = NULL;
    uv_close((uv_handle_t *)&query->answer, free_query);
    hand_in(bearer, session, &answered);
}

void bearer_want(struct bearer *bearer, struct session *session, bool refused)
{
    struct error err;
    if (bearer->cache == NULL) {
        error_set(&err, ERR_TOKEN_UNAVAILABLE, "nobody here can obtain a token");
        session_token(session, NULL, &err);
    } else if (refused && bearer->shown != NULL &&
               !oauth_cache_refused(bearer->cache, bearer->entry, bearer->shown)) {
        error_set(&err, ERR_AUTH_FAILED, "a fresh token was refused as well");
        session_token(session, NULL, &err);
    } else {
        ask(bearer, session);
    }
}

void bearer_end(struct bearer *bearer)
{
    struct bearer_query *query = TAKE(bearer->query);
    oauth_token_unref(TAKE(bearer->shown));
    if (query == NULL)
        return;
    query->bearer = NULL;
    if (oauth_cache_forget(bearer->cache, &query->ask))
        uv_close((uv_handle_t *)&query->answer, free_query);
}
