#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admit/admit.h"
#include "admit/fingerprint.h"
#include "api/decode.h"
#include "api/handlers.h"
#include "api/prefer.h"
#include "api/problem.h"
#include "api/render.h"
#include "api/render_relay.h"
#include "base/id.h"

enum {
    BODY_KEPT = 64 << 10, /* beyond it, its memory is given back as soon as it is composed */
};

/* What lives from the request until its answer; in the request's arena. */
struct posting {
    struct api_request *request;
    const char *key; /* Idempotency-Key; NULL: none */
    uint8_t fingerprint[STORE_FINGERPRINT_SIZE];
    int64_t wait_ms; /* as the client prefers it; 0: it did not say */
    const char *location;
};

/* --- headers of the request --------------------------------------------------------------- */

/* -1 after a 400. */
static int read_key(struct posting *p)
{
    p->key = p->request->header(p->request, "Idempotency-Key");
    if (p->key == NULL || admit_key_valid(p->key))
        return 0;
    problem_respond(p->request, PROBLEM_MALFORMED,
                    "Idempotency-Key has 1 to 255 printable ASCII characters.");
    return -1;
}

/* RFC 7240: a preference that cannot be read is ignored. */
static void read_preference(struct posting *p)
{
    long seconds;
    if (!prefer_wait(p->request->header_list(p->request, "Prefer"), &seconds) || seconds <= 0)
        return;
    p->wait_ms = seconds < ADMIT_WAIT_MAX_MS / 1000 ? seconds * 1000 : ADMIT_WAIT_MAX_MS;
}

/* --- the answer --------------------------------------------------------------------------- */

/* What a client that waited is told; remembered for its key. */
static void respond_outcome(struct posting *p, const struct admit_result *result, int status)
{
    admit_remember(result, status, &p->request->response.body);
    api_respond_json(p->request, status);
}

static void answer_with_record(struct posting *p, const struct admit_result *result, int status)
{
    struct json_writer w;
    api_begin_json(p->request, &w);
    json_begin_object(&w);
    render_record(&w, result->answer->record);
    json_end_object(&w);
    respond_outcome(p, result, status);
}

static void answer_done(struct posting *p, const struct admit_result *result)
{
    const struct mail *record = result->answer->record;
    if (record == NULL) {
        problem_respond_error(p->request, result->answer->err);
        return;
    }
    for (size_t i = 0; i < record->n_recipients; i++)
        if (record->recipients[i].status == RECIPIENT_SENT) {
            answer_with_record(p, result, 200);
            return;
        }
    struct json_writer w;
    api_begin_json(p->request, &w);
    render_refused_by_relay(&w, record);
    respond_outcome(p, result, problem_status(PROBLEM_REJECTED_BY_RELAY));
}

/* The first answer again, its Location with it. */
static void answer_replay(struct posting *p, const struct queue_answer *answer)
{
    static const struct json_limits limits = {.depth = 32, .values = SIZE_MAX};
    struct arena *arena = p->request->arena;
    enum json_fault fault;
    size_t offset;
    char *text = arena_strdup(arena, answer->body);
    const struct json_value *first =
        text != NULL ? json_read(arena, text, strlen(text), &limits, &fault, &offset) : NULL;
    const struct json_value *id = json_member(first, "id");
    const char *location =
        json_is(id, JSON_KIND_STRING) ? arena_printf(arena, "/v1/messages/%s", id->text) : NULL;
    if (location != NULL)
        api_add_header(p->request, "Location", location);
    api_add_header(p->request, "Idempotency-Replayed", "true");
    api_respond_text(p->request, answer->status,
                     answer->status >= 400 ? "application/problem+json" : "application/json",
                     answer->body, strlen(answer->body));
}

static void on_result(void *arg, const struct admit_result *result)
{
    struct posting *p = arg;
    const struct queue_answer *answer = result->answer;
    if (answer->kind == QUEUE_STORED || answer->kind == QUEUE_DONE)
        api_add_header(p->request, "Location", p->location);
    switch (answer->kind) {
    case QUEUE_STORED:
        if (answer->record != NULL)
            answer_with_record(p, result, 202);
        else
            api_respond_json(p->request, 202); /* its text was made before the commit */
        break;
    case QUEUE_DONE:
        answer_done(p, result);
        break;
    case QUEUE_WITHDRAWN:
        problem_respond(p->request, PROBLEM_NOT_DELIVERED_IN_TIME, NULL);
        break;
    case QUEUE_REPLAY:
        answer_replay(p, answer);
        break;
    case QUEUE_MISMATCH:
        problem_respond(p->request, PROBLEM_IDEMPOTENCY_MISMATCH, NULL);
        break;
    case QUEUE_IN_PROGRESS:
        problem_respond(p->request, PROBLEM_IN_PROGRESS, NULL);
        break;
    case QUEUE_REFUSED:
        problem_respond_refusal(p->request, result->errors);
        break;
    }
}

/* --- POST /v1/messages -------------------------------------------------------------------- */

static void give_back_body(struct api_request *request)
{
    if (request->body.size > BODY_KEPT)
        buffer_clear(&request->body);
}

/* The 202, made before the commit. */
static bool on_kept(void *arg, const struct mail *mail, struct admit_receipt *receipt)
{
    struct posting *p = arg;
    struct api_request *request = p->request;
    struct json_writer w;
    api_begin_json(request, &w);
    json_begin_object(&w);
    render_record(&w, mail);
    json_end_object(&w);
    give_back_body(request); /* nobody reads in it any more */
    p->location = arena_printf(request->arena, "/v1/messages/msg_%s", mail->id);
    if (p->wait_ms > 0)
        api_add_header(request, "Preference-Applied", "wait");
    const struct buffer *text = &request->response.body;
    *receipt = (struct admit_receipt){.status = 202, .text = text->data, .len = text->len};
    return !text->failed && p->location != NULL;
}

/* What the body says. -1: it is no message, by what is in `errors` or `err`. */
static int read_message(struct posting *p, struct message *message, struct error_list *errors,
                        struct error *err)
{
    struct arena *arena = p->request->arena;
    const struct json_value *body;
    if (decode_json(arena, &p->request->body, &body, err) < 0 ||
        decode_message(arena, body, message, errors, err) < 0)
        return -1;
    if (p->key != NULL && !fingerprint_json(arena, body, p->fingerprint))
        return error_set(err, ERR_NOMEM, "fingerprint");
    return 0;
}

void messages_post(struct api_request *request)
{
    struct error err = {0};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    struct message message;
    struct posting *p = arena_alloc(request->arena, sizeof(*p));
    if (p == NULL) {
        problem_respond(request, PROBLEM_UNAVAILABLE, "out of memory");
        return;
    }
    p->request = request;
    if (read_key(p) < 0)
        return;
    read_preference(p);
    if (read_message(p, &message, &errors, &err) < 0) {
        give_back_body(request);
        if (err.code == ERR_NONE)
            problem_respond_errors(request, PROBLEM_INVALID_MESSAGE, &errors);
        else
            problem_respond_error(request, &err);
        return;
    }
    const struct api_context *context = request->context;
    const struct admit_door door = {
        .config = context->config, .queue = context->queue, .sandbox = context->sandbox != NULL};
    const struct admit_mail mail = {
        .message = &message, .idempotency_key = p->key, .fingerprint = p->fingerprint, .arg = p};
    admit(&door, &(struct admission){.api_key = request->api_key,
                                     .mails = &mail,
                                     .n_mails = 1,
                                     .wait_ms = p->wait_ms,
                                     .arena = request->arena,
                                     .kept = on_kept,
                                     .result = on_result});
}

/* --- GET /v1/messages/{id} ---------------------------------------------------------------- */

/* `?transcript=1`: what was said at the last attempt, if that is still known. */
static void render_transcript(struct json_writer *w, const struct api_request *request,
                              const char *id)
{
    const char *relay;
    int64_t at_ms;
    char *text = transcripts_find(relays_transcripts(request->context->relays), id, &relay, &at_ms);
    json_key(w, "transcript");
    if (text == NULL) {
        json_put_null(w);
        return;
    }
    json_begin_object(w);
    json_member_string(w, "relay", relay);
    json_member_time(w, "at", at_ms);
    json_key(w, "lines");
    render_lines(w, text);
    json_end_object(w);
    free(text);
}

static void on_found(void *arg, const struct mail *record, const struct error *err)
{
    struct api_request *request = arg;
    if (record == NULL) {
        problem_respond_error(request, err);
        return;
    }
    struct json_writer w;
    const char *wanted = request->query(request, "transcript");
    api_begin_json(request, &w);
    json_begin_object(&w);
    render_record(&w, record);
    if (wanted != NULL && strcmp(wanted, "1") == 0)
        render_transcript(&w, request, record->id);
    json_end_object(&w);
    api_respond_json(request, 200);
}

void messages_get(struct api_request *request)
{
    const char *id = request->param;
    if (strncmp(id, "msg_", 4) != 0 || !id_valid(id + 4)) {
        problem_respond(request, PROBLEM_NOT_FOUND, "No message of that id.");
        return;
    }
    queue_find(request->context->queue, id + 4, on_found, request);
}
