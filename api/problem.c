#include "api/problem.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *name, *title, *description;
} problems[] = {
    [PROBLEM_MALFORMED] = {400, "malformed", "The request cannot be read",
                           "The HTTP request or its JSON is not well-formed; nothing was done."},
    [PROBLEM_UNAUTHORIZED] = {401, "unauthorized", "An API key is wanted",
                              "Send Authorization: Bearer KEY with a key of the configuration."},
    [PROBLEM_FORBIDDEN] = {403, "forbidden", "The API key does not allow this",
                           "The key lacks the scope, its from or to list does not have the "
                           "address, or its mail goes through another relay."},
    [PROBLEM_NOT_FOUND] = {404, "not-found", "There is nothing here",
                           "No such route, or no such message (records end with "
                           "queue.retention.record)."},
    [PROBLEM_METHOD_NOT_ALLOWED] = {405, "method-not-allowed", "Not with this method",
                                    "The Allow header lists the methods of this path."},
    [PROBLEM_IN_PROGRESS] = {409, "idempotency-in-progress", "The first request is still running",
                             "A request with this Idempotency-Key waits for its outcome; ask again "
                             "later."},
    [PROBLEM_TOO_LARGE] = {413, "too-large", "The request is too large",
                           "The body is over http.max_body, or has too many parts."},
    [PROBLEM_URI_TOO_LONG] = {414, "uri-too-long", "The request target is too long",
                              "At most 8 KiB."},
    [PROBLEM_UNSUPPORTED_MEDIA_TYPE] = {415, "unsupported-media-type", "This is not taken here",
                                        "application/json in UTF-8, without a content coding. "
                                        "Accept-Encoding says which codings are taken."},
    [PROBLEM_INVALID_MESSAGE] = {422, "invalid-message", "The message is not valid",
                                 "errors has every fault by JSON pointer; nothing was sent."},
    [PROBLEM_IDEMPOTENCY_MISMATCH] = {422, "idempotency-mismatch",
                                      "The Idempotency-Key was used for another request",
                                      "The same key came with another body."},
    [PROBLEM_HEADER_TOO_LARGE] = {431, "header-too-large", "The request's header is too large",
                                  "At most 16 KiB."},
    [PROBLEM_REJECTED_BY_RELAY] = {502, "rejected-by-relay", "The relay refused the message",
                                   "Every recipient was refused for good; recipients has the "
                                   "replies."},
    [PROBLEM_UNAVAILABLE] = {503, "unavailable", "Not now",
                             "The message could not be made durable, or memory is short; nothing "
                             "was kept. Try again after Retry-After."},
    [PROBLEM_DRAINING] = {503, "draining", "The gateway is shutting down",
                          "No more mail is taken in; ask another replica, or try again."},
    [PROBLEM_NOT_DELIVERED_IN_TIME] = {504, "not-delivered-in-time",
                                       "The outcome could not be had in time",
                                       "The store keeps nothing on disk, so the message was "
                                       "withdrawn and will not be sent."},
    [PROBLEM_VERSION] = {505, "http-version", "This version of HTTP is not spoken",
                         "HTTP/1.1 and HTTP/1.0 are."},
};

enum { N_PROBLEMS = sizeof(problems) / sizeof(problems[0]) };

int problem_status(enum problem problem)
{
    return problems[problem].status;
}

void problem_members(struct json_writer *w, enum problem problem, const char *detail,
                     const struct error_list *errors)
{
    char type[64];
    snprintf(type, sizeof(type), "/problems/%s", problems[problem].name);
    json_member_string(w, "type", type);
    json_member_string(w, "title", problems[problem].title);
    json_member_integer(w, "status", problems[problem].status);
    json_member_string(w, "detail", detail != NULL ? detail : problems[problem].description);
    if (errors == NULL || errors->n_total == 0)
        return;
    json_key(w, "errors");
    json_begin_array(w);
    for (size_t i = 0; i < errors->n_items; i++) {
        json_begin_object(w);
        json_member_string(w, "pointer", errors->items[i].where);
        json_member_string(w, "detail", errors->items[i].detail);
        json_end_object(w);
    }
    json_end_array(w);
}

void problem_document(struct json_writer *w, enum problem problem, const char *detail,
                      const struct error_list *errors)
{
    json_begin_object(w);
    problem_members(w, problem, detail, errors);
    json_end_object(w);
}

static void respond(struct api_request *request, enum problem problem, const char *detail,
                    const struct error_list *errors)
{
    struct json_writer w;
    api_begin_json(request, &w);
    problem_document(&w, problem, detail, errors);
    api_respond_json(request, problems[problem].status);
}

void problem_respond(struct api_request *request, enum problem problem, const char *detail)
{
    if (problems[problem].status == 503)
        api_add_header(request, "Retry-After", "5");
    if (problem == PROBLEM_UNAUTHORIZED)
        api_add_header(request, "WWW-Authenticate", "Bearer realm=\"postern\"");
    respond(request, problem, detail, NULL);
}

enum problem problem_of(enum error_code code)
{
    switch ((int)code) { /* the few that reach a client; all else is ours to mend */
    case ERR_MALFORMED:
        return PROBLEM_MALFORMED;
    case ERR_INVALID:
        return PROBLEM_INVALID_MESSAGE;
    case ERR_TOO_LARGE:
        return PROBLEM_TOO_LARGE;
    case ERR_NOT_FOUND:
        return PROBLEM_NOT_FOUND;
    case ERR_FORBIDDEN:
        return PROBLEM_FORBIDDEN;
    case ERR_DRAINING:
        return PROBLEM_DRAINING;
    default:
        return PROBLEM_UNAVAILABLE;
    }
}

void problem_respond_error(struct api_request *request, const struct error *err)
{
    problem_respond(request, problem_of(err->code), err->detail);
}

static void count_faults(const struct error_list *errors, char out[static 96])
{
    snprintf(out, 96, "%zu %s", errors->n_total,
             errors->n_total == 1 ? "fault was found" : "faults were found");
}

void problem_respond_errors(struct api_request *request, enum problem problem,
                            const struct error_list *errors)
{
    char detail[96];
    count_faults(errors, detail);
    respond(request, problem, detail, errors);
}

/* The others are about no part of the message. */
static bool is_of_message(const struct error_list *errors)
{
    return errors->items[0].code == ERR_INVALID || errors->items[0].code == ERR_FORBIDDEN;
}

void problem_refusal(struct json_writer *w, const struct error_list *errors)
{
    const struct error *first = &errors->items[0];
    char detail[96];
    count_faults(errors, detail);
    if (is_of_message(errors))
        problem_document(w, problem_of(first->code), detail, errors);
    else
        problem_document(w, problem_of(first->code), first->detail, NULL);
}

void problem_respond_refusal(struct api_request *request, const struct error_list *errors)
{
    if (is_of_message(errors))
        problem_respond_errors(request, problem_of(errors->items[0].code), errors);
    else
        problem_respond_error(request, &errors->items[0]);
}

void problem_describe(struct api_request *request)
{
    size_t i = 0;
    while (i < N_PROBLEMS && strcmp(problems[i].name, request->param) != 0)
        i++;
    if (i == N_PROBLEMS) {
        problem_respond(request, PROBLEM_NOT_FOUND, NULL);
        return;
    }
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    json_member_string(&w, "title", problems[i].title);
    json_member_integer(&w, "status", problems[i].status);
    json_member_string(&w, "description", problems[i].description);
    json_end_object(&w);
    api_respond_json(request, 200);
}
