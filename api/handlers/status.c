#include <string.h>

#include "api/handlers.h"
#include "base/metric.h"

enum { METRICS_MAX = 4 << 20 };

/* The specification, built into the binary. */
__asm__(".section .rodata\n"
        "openapi_begin: .incbin \"openapi.yaml\"\n"
        "openapi_end: .byte 0\n"
        ".previous\n");
extern const char openapi_begin[], openapi_end[];

void status_livez(struct api_request *request)
{
    api_respond_json(request, 200, json_pack("{s:s}", "status", "ok"));
}

/* Open to all: no more than which are up. /v1/relays says why one is not. */
static json_t *render_states(const struct relays *relays)
{
    json_t *states = json_object();
    for (size_t i = 0; i < relays_count(relays); i++) {
        struct relay_status status;
        relay_status(relays_at(relays, i), &status);
        json_object_set_new(states, status.name, json_string(status.state));
    }
    return states;
}

/* Whether mail is taken in: a relay that is down does not count, the mail waits. */
void status_readyz(struct api_request *request)
{
    struct error err;
    const struct api_context *context = request->context;
    bool ready = queue_ready(context->queue, &err);
    json_t *json =
        json_pack("{s:s, s:b, s:o}", "status", ready ? "ready" : error_word(err.code), "sandbox",
                  context->sandbox != NULL, "relays", render_states(context->relays));
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    request->response.status = text == NULL || !ready ? 503 : 200;
    request->response.content_type = "application/json";
    request->response.body = text;
    request->response.body_len = text != NULL ? strlen(text) : 0;
    api_respond(request);
}

void status_metrics(struct api_request *request)
{
    CLEANUP(buffer_clear) struct buffer text;
    buffer_init(&text, METRICS_MAX);
    metric_render(&text);
    api_respond_text(request, text.failed ? 503 : 200, "text/plain; version=0.0.4; charset=utf-8",
                     text.data != NULL ? text.data : "", text.len);
}

void status_openapi(struct api_request *request)
{
    api_respond_text(request, 200, "application/yaml", openapi_begin,
                     (size_t)(openapi_end - openapi_begin));
}

void status_root(struct api_request *request)
{
    api_respond_json(request, 200,
                     json_pack("{s:s, s:s, s:s, s:b}", "name", "postern", "version",
                               POSTERN_VERSION, "api", "/openapi.yaml", "sandbox",
                               request->context->sandbox != NULL));
}
