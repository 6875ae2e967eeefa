#include <stdlib.h>

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

void sandbox_messages_list(struct api_request *request)
{
    if (!has_sandbox(request))
        return;
    json_t *list = sandbox_list(request->context->sandbox);
    api_respond_json(request, 200, list != NULL ? json_pack("{s:o}", "data", list) : NULL);
}

void sandbox_messages_get(struct api_request *request)
{
    if (!has_sandbox(request))
        return;
    json_t *message = sandbox_get(request->context->sandbox, request->param);
    if (message != NULL)
        api_respond_json(request, 200, message);
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
    api_respond_json(request, 200, json_pack("{s:I}", "deleted", (json_int_t)n));
}
