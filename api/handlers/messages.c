#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/auth.h"
#include "api/decode.h"
#include "api/handlers.h"
#include "api/prefer.h"
#include "api/problem.h"
#include "api/render.h"
#include "api/render_relay.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json_canonical.h"
#include "base/nearest.h"

enum {
    WAIT_MAX_S = 300,
    WAIT_MEMORY_S = 30,
    KEY_MAX = 255,
    CONTENT_MAX = 64 << 20,
    TAGS_TEXT_MAX = 64 << 10,
    BODY_KEPT = 64 << 10, /* beyond it, its memory is given back as soon as it is composed */
};

/* What lives from the request until its answer; in the request's arena. */
struct posting {
    struct api_request *request;
    const char *key; /* Idempotency-Key; NULL: none */
    int64_t wait_ms; /* 0: the client does not wait */
    bool preferred;  /* it said how long */
    const char *location;
};

/* --- headers of the request --------------------------------------------------------------- */

/* -1 after a 400. */
static int read_key(struct posting *p)
{
    p->key = p->request->header(p->request, "Idempotency-Key");
    if (p->key == NULL)
        return 0;
    size_t n = strlen(p->key);
    bool good = n > 0 && n <= KEY_MAX;
    for (size_t i = 0; i < n; i++)
        good = good && p->key[i] >= ' ' && p->key[i] < 0x7f;
    if (good)
        return 0;
    problem_respond(p->request, PROBLEM_MALFORMED,
                    "Idempotency-Key has 1 to 255 printable ASCII characters.");
    return -1;
}

/* RFC 7240: a preference that cannot be read is ignored. */
static void read_preference(struct posting *p)
{
    long seconds;
    if (prefer_wait(p->request->header_list(p->request, "Prefer"), &seconds) && seconds > 0) {
        p->preferred = true;
        p->wait_ms = (seconds < WAIT_MAX_S ? seconds : WAIT_MAX_S) * 1000;
    }
    if (p->wait_ms == 0 && strncmp(p->request->context->config->queue.store, "memory:", 7) == 0)
        p->wait_ms = WAIT_MEMORY_S * 1000;
}

/* --- the submission ----------------------------------------------------------------------- */

/* As JSON. NULL without memory. */
static const char *write_tags(struct arena *arena, const struct message *message)
{
    if (message->n_tags == 0)
        return "[]";
    CLEANUP(buffer_clear) struct buffer text;
    struct json_writer w;
    buffer_init(&text, TAGS_TEXT_MAX);
    json_writer_init(&w, &text);
    json_begin_array(&w);
    for (size_t i = 0; i < message->n_tags; i++)
        json_put_string(&w, message->tags[i]);
    json_end_array(&w);
    return text.failed ? NULL : arena_strndup(arena, text.data, text.len);
}

static void hash(void *arg, const char *text, size_t len)
{
    EVP_DigestUpdate(arg, text, len);
}

/* The same for the same request, whatever the order of its keys. */
static bool take_fingerprint(struct arena *arena, const struct json_value *body, uint8_t out[32])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                json_canonical(arena, body, hash, context) &&
                EVP_DigestFinal_ex(context, out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

static enum delivery_priority priority_of(const struct message *message)
{
    switch (message->priority) {
    case MESSAGE_HIGH:
        return PRIORITY_HIGH;
    case MESSAGE_NORMAL:
        return PRIORITY_NORMAL;
    case MESSAGE_LOW:
        return PRIORITY_LOW;
    }
    return PRIORITY_NORMAL;
}

/* What it asks of the relay, and of which. */
static bool fill_wishes(struct submission *s, const struct config_api_key *key,
                        const struct message *message)
{
    const char *relay = message->relay;
    if (relay == NULL && key != NULL)
        relay = key->relay;
    s->relay = relay != NULL ? arena_strdup(s->arena, relay) : NULL;
    s->priority = priority_of(message);
    s->require_tls = message->require_tls;
    s->dsn_notify = message->dsn.notify; /* both are static */
    s->dsn_ret = message->dsn.ret;
    s->dsn_envid = message->dsn.envid != NULL ? arena_strdup(s->arena, message->dsn.envid) : NULL;
    return (s->relay != NULL) == (relay != NULL) &&
           (s->dsn_envid != NULL) == (message->dsn.envid != NULL);
}

static int64_t lifetime_ms(const struct message *message, int64_t max_age_ms)
{
    return message->ttl_ms > 0 && message->ttl_ms < max_age_ms ? message->ttl_ms : max_age_ms;
}

static bool fill_submission(struct submission *s, const struct posting *p,
                            const struct json_value *body, const struct message *message,
                            const struct envelope *envelope)
{
    struct arena *arena = s->arena;
    const char **recipients = arena_alloc_array(arena, envelope->n_to, sizeof(*recipients));
    if (recipients == NULL)
        return false;
    bool good = true;
    for (size_t i = 0; i < envelope->n_to; i++) {
        recipients[i] = arena_strdup(arena, envelope->to[i]);
        good = good && recipients[i] != NULL;
    }
    const struct config_api_key *key = p->request->api_key;
    s->recipients = recipients;
    s->n_recipients = envelope->n_to;
    s->envelope_from = arena_strdup(arena, envelope->from);
    s->from = arena_strdup(arena, message->from.email);
    s->subject = arena_strdup(arena, message->subject != NULL ? message->subject : "");
    s->api_key = key != NULL ? key->name : ""; /* the configuration's, for good */
    s->tags = write_tags(arena, message);
    s->metadata = message->metadata != NULL ? arena_strdup(arena, message->metadata) : "{}";
    s->expires_ms =
        s->created_ms + lifetime_ms(message, p->request->context->config->queue.max_age_ms);
    good = good && fill_wishes(s, key, message);
    if (p->key != NULL) {
        s->idempotency_key = arena_strdup(arena, p->key);
        good = good && s->idempotency_key != NULL &&
               take_fingerprint(p->request->arena, body, s->fingerprint);
    }
    return good && s->envelope_from != NULL && s->from != NULL && s->subject != NULL &&
           s->tags != NULL && s->metadata != NULL;
}

/* The 202, made before the commit; kept with the message if it has a key. */
static bool fill_answer(struct submission *s, struct posting *p)
{
    struct api_request *request = p->request;
    struct json_writer w;
    api_begin_json(request, &w);
    render_submission(&w, s);
    const struct buffer *text = &request->response.body;
    s->answer_status = p->wait_ms > 0 ? 0 : 202;
    if (p->key != NULL && !text->failed)
        s->answer_body = arena_strndup(s->arena, text->data, text->len);
    p->location = arena_printf(request->arena, "/v1/messages/msg_%s", s->id);
    return !text->failed && p->location != NULL && (p->key == NULL || s->answer_body != NULL);
}

static struct submission *new_submission(void)
{
    struct arena *arena = arena_new();
    struct submission *s = arena != NULL ? arena_alloc(arena, sizeof(*s)) : NULL;
    if (s == NULL) {
        arena_free(arena);
        return NULL;
    }
    s->arena = arena;
    s->created_ms = clock_wall_ms();
    id_new(s->created_ms, s->id);
    return s;
}

/* --- the answer --------------------------------------------------------------------------- */

/* What a client that waited is told; remembered for its key. */
static void respond_outcome(struct posting *p, int status)
{
    struct api_request *request = p->request;
    struct buffer *body = &request->response.body;
    if (p->key != NULL && buffer_append_char(body, '\0') == 0 && !body->failed) {
        body->len--; /* the NUL is the queue's, not the client's */
        queue_remember(request->context->queue,
                       request->api_key != NULL ? request->api_key->name : "", p->key, status,
                       body->data);
    }
    api_respond_json(request, status);
}

static void answer_with_record(struct posting *p, int status, const struct message_record *record)
{
    struct json_writer w;
    api_begin_json(p->request, &w);
    json_begin_object(&w);
    render_record(&w, record);
    json_end_object(&w);
    respond_outcome(p, status);
}

/* Refused by all: the problem, with what each was told. */
static void answer_refused(struct posting *p, const struct message_record *record)
{
    const struct reply_record *reply = &record->recipients[0].reply;
    char detail[320];
    if (reply->code > 0)
        snprintf(detail, sizeof(detail), "%d %s%s%s", reply->code, reply->enhanced,
                 reply->enhanced[0] != '\0' ? " " : "", reply->text);
    else
        snprintf(detail, sizeof(detail), "%s", reply->text);
    struct json_writer w;
    api_begin_json(p->request, &w);
    json_begin_object(&w);
    problem_members(&w, PROBLEM_REJECTED_BY_RELAY, detail[0] != '\0' ? detail : NULL, NULL);
    render_outcome(&w, record);
    json_end_object(&w);
    respond_outcome(p, problem_status(PROBLEM_REJECTED_BY_RELAY));
}

static void answer_done(struct posting *p, const struct message_record *record)
{
    for (size_t i = 0; i < record->n_recipients; i++)
        if (record->recipients[i].status == RECIPIENT_SENT) {
            answer_with_record(p, 200, record);
            return;
        }
    answer_refused(p, record);
}

static void answer_stored(struct posting *p, const struct queue_answer *answer)
{
    api_add_header(p->request, "Location", p->location);
    if (answer->record != NULL)
        answer_with_record(p, 202, answer->record);
    else
        api_respond_json(p->request, 202); /* its text was made before the commit */
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

static void on_answer(void *arg, const struct queue_answer *answer)
{
    struct posting *p = arg;
    switch (answer->kind) {
    case QUEUE_STORED:
        answer_stored(p, answer);
        break;
    case QUEUE_DONE:
        api_add_header(p->request, "Location", p->location);
        if (answer->record != NULL)
            answer_done(p, answer->record);
        else
            problem_respond_error(p->request, answer->err);
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
        problem_respond_error(p->request, answer->err);
        break;
    }
}

/* --- POST /v1/messages -------------------------------------------------------------------- */

static int compose(struct api_request *request, const struct message *message, struct submission *s,
                   struct error_list *errors, struct error *err)
{
    struct composed composed;
    const struct compose_options options = {
        .now_ms = s->created_ms, .id = s->id, .size_limit = CONTENT_MAX};
    if (message_compose(request->arena, message, &options, &composed, errors, err) < 0)
        return -1;
    s->content = composed.content;
    s->smtputf8 = composed.smtputf8;
    s->message_id = arena_strdup(s->arena, composed.message_id);
    return s->message_id != NULL ? 0 : error_set(err, ERR_NOMEM, "submission");
}

/* A relay that is named must be there. */
static void check_relay(const struct api_context *context, const struct message *message,
                        struct error_list *errors)
{
    const struct config *config = context->config;
    struct nearest nearest;
    if (message->relay == NULL ||
        (context->sandbox != NULL && strcmp(message->relay, SANDBOX_RELAY) == 0))
        return;
    nearest_init(&nearest, message->relay);
    for (size_t i = 0; i < config->n_relays; i++) {
        if (strcmp(config->relays[i].name, message->relay) == 0)
            return;
        nearest_offer(&nearest, config->relays[i].name);
    }
    if (nearest.word != NULL)
        error_list_add(errors, "/relay", "no relay of that name is configured; did you mean %s?",
                       nearest.word);
    else
        error_list_add(errors, "/relay", "no relay of that name is configured");
}

static void submit(struct posting *p, const struct json_value *body, struct submission *s,
                   struct error_list *errors, struct error *err)
{
    struct api_request *request = p->request;
    struct message message;
    struct envelope envelope;
    if (decode_message(request->arena, body, &message, errors, err) < 0 ||
        message_envelope(request->arena, &message, &envelope, errors, err) < 0)
        return;
    if (!auth_allows(request->api_key, &message, &envelope, errors)) {
        error_set(err, ERR_FORBIDDEN, "the API key does not allow it");
        return;
    }
    check_relay(request->context, &message, errors);
    if (compose(request, &message, s, errors, err) < 0)
        return;
    if (!fill_submission(s, p, body, &message, &envelope) || !fill_answer(s, p))
        error_set(err, ERR_NOMEM, "submission");
}

void messages_post(struct api_request *request)
{
    struct error err = {0};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    struct posting *p = arena_alloc(request->arena, sizeof(*p));
    CLEANUP(submission_free) struct submission *s = p != NULL ? new_submission() : NULL;
    if (s == NULL) {
        problem_respond(request, PROBLEM_UNAVAILABLE, "out of memory");
        return;
    }
    p->request = request;
    if (read_key(p) < 0)
        return;
    read_preference(p);

    const struct json_value *body;
    if (decode_json(request->arena, &request->body, &body, &err) == 0)
        submit(p, body, s, &errors, &err);
    if (request->body.size > BODY_KEPT)
        buffer_clear(&request->body); /* nobody reads in it any more */
    if (err.code == ERR_FORBIDDEN) {
        problem_respond_errors(request, PROBLEM_FORBIDDEN, &errors);
        return;
    }
    if (err.code == ERR_NONE && errors.n_total > 0) {
        problem_respond_errors(request, PROBLEM_INVALID_MESSAGE, &errors);
        return;
    }
    if (err.code != ERR_NONE) {
        problem_respond_error(request, &err);
        return;
    }
    if (p->preferred)
        api_add_header(request, "Preference-Applied", "wait");
    queue_submit(request->context->queue, TAKE(s), p->wait_ms, on_answer, p);
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

static void on_found(void *arg, const struct message_record *record, const struct error *err)
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
