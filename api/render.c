#include "api/render.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/problem.h"

static void render_id(struct json_writer *w, const char *id)
{
    char text[sizeof("msg_") + ID_SIZE];
    snprintf(text, sizeof(text), "msg_%s", id);
    json_member_string(w, "id", text);
}

/* --- recipients and events ---------------------------------------------------------------- */

static void render_reply(struct json_writer *w, const struct reply_record *reply)
{
    json_key(w, "reply");
    if (reply->code == 0 && reply->text[0] == '\0') {
        json_put_null(w);
        return;
    }
    json_begin_object(w);
    json_key(w, "code");
    if (reply->code != 0)
        json_put_integer(w, reply->code);
    else
        json_put_null(w);
    json_member_string(w, "enhanced", reply->enhanced[0] != '\0' ? reply->enhanced : NULL);
    json_member_string(w, "text", reply->text);
    json_end_object(w);
}

static void render_recipient(struct json_writer *w, const struct recipient_record *r)
{
    json_begin_object(w);
    json_member_string(w, "address", r->address);
    json_member_string(w, "status", recipient_status_word(r->status));
    json_member_integer(w, "attempts", r->attempts);
    json_member_string(w, "relay", r->relay);
    render_reply(w, &r->reply);
    json_member_time(w, "next_attempt_at",
                     recipient_status_is_final(r->status) ? 0 : r->next_attempt_ms);
    json_member_time(w, "at", r->at_ms);
    json_end_object(w);
}

static void render_recipients(struct json_writer *w, const struct message_record *record)
{
    json_key(w, "recipients");
    json_begin_array(w);
    for (size_t i = 0; i < record->n_recipients; i++)
        render_recipient(w, &record->recipients[i]);
    json_end_array(w);
}

static void render_event(struct json_writer *w, const struct message_record *record,
                         const struct event_record *e)
{
    char id[32];
    snprintf(id, sizeof(id), "evt_%" PRId64, e->id);
    json_begin_object(w);
    json_member_string(w, "id", id);
    json_member_string(w, "type", event_type_word(e->type));
    json_member_time(w, "at", e->at_ms);
    json_member_string(
        w, "recipient",
        e->recipient < record->n_recipients ? record->recipients[e->recipient].address : NULL);
    render_reply(w, &e->reply);
    json_end_object(w);
}

/* --- messages ----------------------------------------------------------------------------- */

static const char *last_relay(const struct message_record *record)
{
    for (size_t i = 0; i < record->n_recipients; i++)
        if (record->recipients[i].relay != NULL)
            return record->recipients[i].relay;
    return NULL;
}

void render_record(struct json_writer *w, const struct message_record *record)
{
    render_id(w, record->id);
    json_member_string(w, "status", message_record_status(record));
    json_member_string(w, "message_id", record->message_id);
    json_member_time(w, "created_at", record->created_ms);
    json_member_string(w, "from", record->from);
    json_member_string(w, "subject", record->subject);
    json_member_integer(w, "size", (int64_t)record->size);
    json_member_string(w, "relay", last_relay(record));
    json_member_json(w, "tags", record->tags);
    json_member_json(w, "metadata", record->metadata);
    render_recipients(w, record);
    json_key(w, "events");
    json_begin_array(w);
    for (size_t i = 0; i < record->n_events; i++)
        render_event(w, record, &record->events[i]);
    json_end_array(w);
}

void render_outcome(struct json_writer *w, const struct message_record *record)
{
    render_id(w, record->id);
    render_recipients(w, record);
}

void render_refused_by_relay(struct json_writer *w, const struct message_record *record)
{
    const struct reply_record *reply = &record->recipients[0].reply;
    char detail[320];
    if (reply->code > 0)
        snprintf(detail, sizeof(detail), "%d %s%s%s", reply->code, reply->enhanced,
                 reply->enhanced[0] != '\0' ? " " : "", reply->text);
    else
        snprintf(detail, sizeof(detail), "%s", reply->text);
    json_begin_object(w);
    problem_members(w, PROBLEM_REJECTED_BY_RELAY, detail[0] != '\0' ? detail : NULL, NULL);
    render_outcome(w, record);
    json_end_object(w);
}

void render_submission(struct json_writer *w, const struct submission *s)
{
    json_begin_object(w);
    render_id(w, s->id);
    json_member_string(w, "status", "queued");
    json_member_string(w, "message_id", s->message_id);
    json_member_time(w, "created_at", s->created_ms);
    json_member_string(w, "from", s->from);
    json_member_string(w, "subject", s->subject);
    json_member_integer(w, "size", (int64_t)s->content->len);
    json_member_null(w, "relay");
    json_member_json(w, "tags", s->tags);
    json_member_json(w, "metadata", s->metadata);
    json_key(w, "recipients");
    json_begin_array(w);
    for (size_t i = 0; i < s->n_recipients; i++)
        render_recipient(w, &(struct recipient_record){.address = s->recipients[i],
                                                       .status = RECIPIENT_QUEUED,
                                                       .at_ms = s->created_ms});
    json_end_array(w);
    json_key(w, "events");
    json_begin_array(w);
    json_end_array(w);
    json_end_object(w);
}
