#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/problem.h"
#include "api/render_relay.h"
#include "api/render_verify.h"
#include "verify/relay_verify.h"

/* NULL after a 404. */
static struct relay *find(struct api_request *request)
{
    struct relay *relay = relays_find(request->context->relays, request->param);
    if (relay == NULL)
        problem_respond(request, PROBLEM_NOT_FOUND, "No relay of that name.");
    return relay;
}

static void describe(struct json_writer *w, struct relay *relay)
{
    struct relay_status status;
    relay_status(relay, &status);
    render_relay(w, &status);
}

static void respond_with(struct api_request *request, struct relay *relay)
{
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    describe(&w, relay);
    json_end_object(&w);
    api_respond_json(request, 200);
}

void relays_list(struct api_request *request)
{
    const struct relays *relays = request->context->relays;
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    json_key(&w, "data");
    json_begin_array(&w);
    for (size_t i = 0; i < relays_count(relays); i++) {
        json_begin_object(&w);
        describe(&w, relays_at(relays, i));
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    api_respond_json(request, 200);
}

void relays_get(struct api_request *request)
{
    struct relay *relay = find(request);
    if (relay == NULL)
        return;
    const char *wanted = request->query(request, "transcript");
    char *transcript = wanted != NULL && strcmp(wanted, "1") == 0 ? relay_transcript(relay) : NULL;
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    describe(&w, relay);
    if (transcript != NULL) {
        json_key(&w, "transcript");
        render_lines(&w, transcript);
    }
    json_end_object(&w);
    free(transcript);
    api_respond_json(request, 200);
}

static void on_verified(void *arg, const struct verify_report *report)
{
    struct json_writer w;
    if (report->error.code == ERR_DRAINING) { /* given up by us: it says nothing about the relay */
        problem_respond_error(arg, &report->error);
        return;
    }
    api_begin_json(arg, &w);
    render_verify(&w, report);
    api_respond_json(arg, 200);
}

void relays_verify(struct api_request *request)
{
    struct error err;
    struct relay *relay = find(request);
    if (relay != NULL && relay_verify(relay, on_verified, request, &err) < 0)
        problem_respond_error(request, &err);
}

void relays_pause(struct api_request *request)
{
    struct relay *relay = find(request);
    if (relay == NULL)
        return;
    relay_pause(relay);
    respond_with(request, relay);
}

void relays_resume(struct api_request *request)
{
    struct relay *relay = find(request);
    if (relay == NULL)
        return;
    relay_resume(relay);
    respond_with(request, relay);
}
