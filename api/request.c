#include "api/request.h"

#include <assert.h>
#include <string.h>

void api_respond(struct api_request *request, int status, const char *content_type)
{
    struct api_response *response = &request->response;
    response->status = response->body.failed ? 503 : status;
    response->content_type = content_type;
    if (response->body.failed)
        buffer_clear(&response->body);
    request->complete(request);
}

enum { JSON_FIRST = 512 /* that an answer takes at once: more than most */ };

void api_begin_json(struct api_request *request, struct json_writer *w)
{
    struct buffer *body = &request->response.body;
    buffer_clear(body); /* what was written before is not said */
    buffer_init(body, API_BODY_MAX);
    buffer_reserve(body, JSON_FIRST);
    json_writer_init(w, body);
}

void api_respond_json(struct api_request *request, int status)
{
    api_respond(request, status, status >= 400 ? "application/problem+json" : "application/json");
}

void api_respond_text(struct api_request *request, int status, const char *content_type,
                      const char *text, size_t len)
{
    struct buffer *body = &request->response.body;
    buffer_clear(body);
    buffer_init(body, API_BODY_MAX);
    buffer_append(body, text, len);
    api_respond(request, status, content_type);
}

void api_add_header(struct api_request *request, const char *name, const char *value)
{
    struct api_response *response = &request->response;
    assert(response->n_headers < API_HEADERS_MAX);
    response->headers[response->n_headers++] = (struct api_header){name, value};
}
