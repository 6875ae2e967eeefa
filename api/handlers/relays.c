#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/problem.h"
#include "api/render.h"
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

static json_t *describe(struct relay *relay)
{
    struct relay_status status;
    relay_status(relay, &status);
    return render_relay(&status);
}

void relays_list(struct api_request *request)
{
    const struct relays *relays = request->context->relays;
    json_t *list = json_array();
    for (size_t i = 0; i < relays_count(relays); i++)
        json_array_append_new(list, describe(relays_at(relays, i)));
    api_respond_json(request, 200, json_pack("{s:o}", "data", list));
}

void relays_get(struct api_request *request)
{
    struct relay *relay = find(request);
    if (relay == NULL)
        return;
    json_t *json = describe(relay);
    const char *wanted = request->query(request, "transcript");
    char *transcript = wanted != NULL && strcmp(wanted, "1") == 0 ? relay_transcript(relay) : NULL;
    if (transcript != NULL)
        json_object_set_new(json, "transcript", render_lines(transcript));
    free(transcript);
    api_respond_json(request, 200, json);
}

static void on_verified(void *arg, const struct verify_report *report)
{
    if (report->error.code == ERR_DRAINING) /* given up by us: it says nothing about the relay */
        problem_respond_error(arg, &report->error);
    else
        api_respond_json(arg, 200, render_verify(report));
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
    api_respond_json(request, 200, describe(relay));
}

void relays_resume(struct api_request *request)
{
    struct relay *relay = find(request);
    if (relay == NULL)
        return;
    relay_resume(relay);
    api_respond_json(request, 200, describe(relay));
}
