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
    static const char text[] = "{\"status\":\"ok\"}";
    api_respond_text(request, 200, "application/json", text, strlen(text));
}

/* Open to all: no more than which are up. /v1/relays says why one is not. */
static void render_states(struct json_writer *w, const struct relays *relays)
{
    json_key(w, "relays");
    json_begin_object(w);
    for (size_t i = 0; i < relays_count(relays); i++) {
        struct relay_status status;
        relay_status(relays_at(relays, i), &status);
        json_member_string(w, status.name, status.state);
    }
    json_end_object(w);
}

/* Whether mail is taken in: a relay that is down does not count, the mail waits. */
void status_readyz(struct api_request *request)
{
    struct error err;
    const struct api_context *context = request->context;
    bool ready = queue_ready(context->queue, &err);
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    json_member_string(&w, "status", ready ? "ready" : error_word(err.code));
    json_member_bool(&w, "sandbox", context->sandbox != NULL);
    render_states(&w, context->relays);
    json_end_object(&w);
    api_respond(request, ready ? 200 : 503, "application/json");
}

void status_metrics(struct api_request *request)
{
    buffer_init(&request->response.body, METRICS_MAX);
    metric_render(&request->response.body);
    api_respond(request, 200, "text/plain; version=0.0.4; charset=utf-8");
}

void status_openapi(struct api_request *request)
{
    api_respond_text(request, 200, "application/yaml", openapi_begin,
                     (size_t)(openapi_end - openapi_begin));
}

void status_root(struct api_request *request)
{
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    json_member_string(&w, "name", "postern");
    json_member_string(&w, "version", POSTERN_VERSION);
    json_member_string(&w, "api", "/openapi.yaml");
    json_member_bool(&w, "sandbox", request->context->sandbox != NULL);
    json_end_object(&w);
    api_respond_json(request, 200);
}
