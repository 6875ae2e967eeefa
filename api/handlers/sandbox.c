#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/problem.h"

static bool has_sandbox(struct api_request *request)
{
    if (request->context->sandbox != NULL)
        return true;
    problem_respond(request, PROBLEM_NOT_FOUND,
                    "The sandbox is off: it is on when no relay is configured.");
    return false;
}

/* What the sandbox parsed is a tree already. Takes it; NULL: no memory. */
static void respond_tree(struct api_request *request, json_t *tree)
{
    char *text = tree != NULL ? json_dumps(tree, JSON_COMPACT) : NULL;
    json_decref(tree);
    if (text == NULL)
        problem_respond(request, PROBLEM_UNAVAILABLE, "out of memory");
    else
        api_respond_text(request, 200, "application/json", text, strlen(text));
    free(text);
}

void sandbox_messages_list(struct api_request *request)
{
    if (!has_sandbox(request))
        return;
    json_t *list = sandbox_list(request->context->sandbox);
    respond_tree(request, list != NULL ? json_pack("{s:o}", "data", list) : NULL);
}

void sandbox_messages_get(struct api_request *request)
{
    if (!has_sandbox(request))
        return;
    json_t *message = sandbox_get(request->context->sandbox, request->param);
    if (message != NULL)
        respond_tree(request, message);
    else
        problem_respond(request, PROBLEM_NOT_FOUND, "The sandbox has no message of that id.");
}

void sandbox_messages_raw(struct api_request *request)
{
    size_t len;
    if (!has_sandbox(request))
        return;
    char *raw = sandbox_raw(request->context->sandbox, request->param, &len);
    if (raw == NULL) {
        problem_respond(request, PROBLEM_NOT_FOUND, "The sandbox has no message of that id.");
        return;
    }
    api_respond_text(request, 200, "message/rfc822", raw, len);
    free(raw);
}

void sandbox_messages_delete(struct api_request *request)
{
    if (!has_sandbox(request))
        return;
    size_t n = sandbox_delete_all(request->context->sandbox);
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    json_member_integer(&w, "deleted", (int64_t)n);
    json_end_object(&w);
    api_respond_json(request, 200);
}
