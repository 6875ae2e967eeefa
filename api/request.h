#ifndef POSTERN_API_REQUEST_H
#define POSTERN_API_REQUEST_H

/*
 * A request and its response, as handlers see them: no socket, no HTTP library. A handler fills
 * `response` and calls api_respond(), at once or later from another thread; then the request is the
 * server's again.
 */

#include "api/api.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/json_write.h"

enum { API_HEADERS_MAX = 8, REQUEST_ID_SIZE = 129, API_BODY_MAX = 256 << 20 };

struct api_header {
    const char *name, *value;
};

struct api_response {
    int status;
    const char *content_type; /* static, or the arena's */
    struct buffer body;       /* owned */
    struct api_header headers[API_HEADERS_MAX];
    size_t n_headers;
};

struct api_request {
    const struct api_context *context;
    struct arena *arena;
    const char *method, *path;
    const char *param; /* what stood in place of {id} or {name}; "": the route has none */
    struct buffer body;
    const struct config_api_key *api_key; /* NULL: the gateway has none and is open */
    char id[REQUEST_ID_SIZE];             /* X-Request-Id */
    struct api_response response;

    /* A field's value without blanks around it; of several lines the first. NULL: none. */
    const char *(*header)(const struct api_request *request, const char *name);
    /* All lines of a field that is a list, with commas between (RFC 9110, 5.3). NULL: none. */
    const char *(*header_list)(const struct api_request *request, const char *name);
    const char *(*query)(const struct api_request *request,
                         const char *name); /* or NULL; "?name" is
                                               "" */
    void (*complete)(struct api_request *request);
};

/*
 * The response is complete with what was put into response.body; `request` is not to be touched any
 * more. Half a body is none: without memory the response is an empty 503.
 */
void api_respond(struct api_request *request, int status, const char *content_type);
/*
 * The response as JSON: what is written by `w` becomes its body, until api_respond_json(). Its type
 * is application/problem+json from 400 on.
 */
void api_begin_json(struct api_request *request, struct json_writer *w);
void api_respond_json(struct api_request *request, int status);
/* Copies `text`. */
void api_respond_text(struct api_request *request, int status, const char *content_type,
                      const char *text, size_t len);
void api_add_header(struct api_request *request, const char *name, const char *value);

#endif
