#include "api/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void api_respond(struct api_request *request)
{
    request->complete(request);
}

static void set_body(struct api_request *request, int status, const char *content_type, char *body,
                     size_t len)
{
    request->response.status = body != NULL ? status : 503;
    request->response.content_type = content_type;
    request->response.body = body;
    request->response.body_len = body != NULL ? len : 0;
}

void api_respond_json(struct api_request *request, int status, json_t *json)
{
    char *body = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    const char *type = status >= 400 ? "application/problem+json" : "application/json";
    set_body(request, status, type, body, body != NULL ? strlen(body) : 0);
    api_respond(request);
}

void api_respond_text(struct api_request *request, int status, const char *content_type,
                      const char *text, size_t len)
{
    char *body = malloc(len + 1);
    if (body != NULL)
        memcpy(body, text, len);
    set_body(request, status, content_type, body, len);
    api_respond(request);
}

void api_add_header(struct api_request *request, const char *name, const char *value)
{
    struct api_response *response = &request->response;
    assert(response->n_headers < API_HEADERS_MAX);
    response->headers[response->n_headers++] = (struct api_header){name, value};
}
