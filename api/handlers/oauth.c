#include <string.h>

#include "api/decode.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "oauth/vault/vault.h"

/* NULL after a 404. */
static const struct config_oauth *find(struct api_request *request)
{
    const struct config *config = request->context->config;
    for (size_t i = 0; i < config->n_oauth; i++)
        if (strcmp(config->oauth[i].name, request->param) == 0 &&
            config->oauth[i].grant == CONFIG_OAUTH_REFRESH_TOKEN)
            return &config->oauth[i];
    problem_respond(request, PROBLEM_NOT_FOUND,
                    "No oauth entry of that name has grant: refresh_token.");
    return NULL;
}

/* On the vault's thread. */
static void on_stored(void *arg, const struct error *err)
{
    struct api_request *request = arg;
    struct json_writer w;
    if (err->code != ERR_NONE) {
        problem_respond_error(request, err);
        return;
    }
    api_begin_json(request, &w);
    json_begin_object(&w);
    json_member_string(&w, "name", request->param);
    json_member_bool(&w, "stored", true);
    json_end_object(&w);
    api_respond_json(request, 200);
}

static void store(struct api_request *request, const struct config_oauth *oauth, const char *token)
{
    struct error err;
    if (vault_put_later(request->context->vault, oauth->name, token, on_stored, request, &err) < 0)
        problem_respond_error(request, &err);
}

/* What `postern login --to-gateway` obtained. It is durable when this is answered, and never shown
 * again: no copy of it is left behind in memory, but the vault's. It is read where it stands, in
 * the body, which is wiped when the request ends: the route says so. */
void oauth_put_grant(struct api_request *request)
{
    struct error err;
    const struct json_value *grant;
    const struct config_oauth *oauth = find(request);
    if (oauth == NULL)
        return;
    if (decode_json(request->arena, &request->body, &grant, &err) < 0) {
        problem_respond_error(request, &err);
        return;
    }
    const struct json_value *token = json_member(grant, "refresh_token");
    if (json_is(token, JSON_KIND_STRING) && token->text[0] != '\0' && grant->n == 1)
        store(request, oauth, token->text); /* may be answered, and the request gone, by now */
    else
        problem_respond(request, PROBLEM_INVALID_MESSAGE,
                        "{\"refresh_token\": \"...\"} is wanted, and nothing else.");
}
