#include "api/render.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/problem.h"
#include "mail/fields.h"

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

static void render_recipient(struct json_writer *w, const struct mail_recipient *r)
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

static void render_recipients(struct json_writer *w, const struct mail *record)
{
    json_key(w, "recipients");
    json_begin_array(w);
    for (size_t i = 0; i < record->n_recipients; i++)
        render_recipient(w, &record->recipients[i]);
    json_end_array(w);
}

static void render_event(struct json_writer *w, const struct mail *record,
                         const struct mail_event *e)
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

static const char *last_relay(const struct mail *record)
{
    for (size_t i = 0; i < record->n_recipients; i++)
        if (record->recipients[i].relay != NULL)
            return record->recipients[i].relay;
    return NULL;
}

static void render_field(struct json_writer *w, const struct mail *mail,
                         const struct mail_field *field)
{
    switch (field->type) {
    case MAIL_ID:
        render_id(w, mail_field_text(mail, field));
        break;
    case MAIL_TEXT:
    case MAIL_OPTION:
        json_member_string(w, field->name, mail_field_text(mail, field));
        break;
    case MAIL_JSON:
        json_member_json(w, field->name, mail_field_text(mail, field));
        break;
    case MAIL_TIME:
        json_member_time(w, field->name, mail_field_number(mail, field));
        break;
    case MAIL_INTEGER:
    case MAIL_CHOICE:
    case MAIL_FLAG:
        json_member_integer(w, field->name, mail_field_number(mail, field));
        break;
    }
}

void render_record(struct json_writer *w, const struct mail *mail)
{
    for (size_t i = 0; i < MAIL_N_FIELDS; i++)
        if (MAIL_FIELDS[i].name != NULL)
            render_field(w, mail, &MAIL_FIELDS[i]);
    json_member_string(w, "status", mail_status(mail));
    json_member_string(w, "relay", last_relay(mail));
    render_recipients(w, mail);
    json_key(w, "events");
    json_begin_array(w);
    for (size_t i = 0; i < mail->n_events; i++)
        render_event(w, mail, &mail->events[i]);
    json_end_array(w);
}

void render_outcome(struct json_writer *w, const struct mail *record)
{
    render_id(w, record->id);
    render_recipients(w, record);
}

void render_refused_by_relay(struct json_writer *w, const struct mail *mail)
{
    const struct reply_record *reply = &mail->recipients[0].reply;
    char detail[320];
    if (reply->code > 0)
        snprintf(detail, sizeof(detail), "%d %s%s%s", reply->code, reply->enhanced,
                 reply->enhanced[0] != '\0' ? " " : "", reply->text);
    else
        snprintf(detail, sizeof(detail), "%s", reply->text);
    json_begin_object(w);
    problem_members(w, PROBLEM_REJECTED_BY_RELAY, detail[0] != '\0' ? detail : NULL, NULL);
    render_outcome(w, mail);
    json_end_object(w);
}
