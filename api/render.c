#include "api/render.h"

#include <inttypes.h>
#include <stdio.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "message/text.h"

json_t *render_text(const char *s)
{
    json_t *text = json_string(s);
    if (text != NULL)
        return text;
    size_t len = strlen(s), n = 0;
    char *mended = malloc(3 * len + 1);
    for (size_t i = 0, taken; mended != NULL && i < len; i += taken) {
        uint32_t c;
        taken = text_code_point(s + i, len - i, &c);
        memcpy(mended + n, taken > 0 ? s + i : "\xef\xbf\xbd", taken > 0 ? taken : 3);
        n += taken > 0 ? taken : 3;
        taken += taken == 0;
    }
    text = mended != NULL ? json_stringn(mended, n) : NULL;
    free(mended);
    return text;
}

json_t *render_time(int64_t ms)
{
    char text[CLOCK_RFC3339_SIZE];
    if (ms == 0)
        return json_null();
    clock_format_rfc3339(ms, text);
    return json_string(text);
}

static json_t *render_reply(const struct reply_record *reply)
{
    if (reply->code == 0 && reply->text[0] == '\0')
        return json_null();
    return json_pack("{s:o, s:s?, s:o}", "code",
                     reply->code != 0 ? json_integer(reply->code) : json_null(), "enhanced",
                     reply->enhanced[0] != '\0' ? reply->enhanced : NULL, "text",
                     render_text(reply->text));
}

static json_t *render_recipient(const struct recipient_record *r)
{
    return json_pack("{s:s, s:s, s:I, s:s?, s:o, s:o, s:o}", "address", r->address, "status",
                     recipient_status_word(r->status), "attempts", (json_int_t)r->attempts, "relay",
                     r->relay, "reply", render_reply(&r->reply), "next_attempt_at",
                     render_time(recipient_status_is_final(r->status) ? 0 : r->next_attempt_ms),
                     "at", render_time(r->at_ms));
}

static json_t *render_event(const struct message_record *record, const struct event_record *e)
{
    char id[32];
    snprintf(id, sizeof(id), "evt_%" PRId64, e->id);
    return json_pack("{s:s, s:s, s:o, s:s?, s:o}", "id", id, "type", event_type_word(e->type), "at",
                     render_time(e->at_ms), "recipient",
                     e->recipient < record->n_recipients ? record->recipients[e->recipient].address
                                                         : NULL,
                     "reply", render_reply(&e->reply));
}

static json_t *render_json_text(const char *text, json_t *otherwise)
{
    json_t *value = json_loads(text, 0, NULL);
    if (value == NULL)
        return otherwise;
    json_decref(otherwise);
    return value;
}

static const char *last_relay(const struct message_record *record)
{
    for (size_t i = 0; i < record->n_recipients; i++)
        if (record->recipients[i].relay != NULL)
            return record->recipients[i].relay;
    return NULL;
}

json_t *render_record(const struct message_record *record)
{
    char id[4 + ID_SIZE];
    snprintf(id, sizeof(id), "msg_%s", record->id);
    json_t *recipients = json_array(), *events = json_array();
    for (size_t i = 0; i < record->n_recipients; i++)
        json_array_append_new(recipients, render_recipient(&record->recipients[i]));
    for (size_t i = 0; i < record->n_events; i++)
        json_array_append_new(events, render_event(record, &record->events[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s?, s:I, s:s?, s:o, s:o, s:o, s:o}", "id", id,
                     "status", message_record_status(record), "message_id", record->message_id,
                     "created_at", render_time(record->created_ms), "from", record->from, "subject",
                     record->subject, "size", (json_int_t)record->size, "relay", last_relay(record),
                     "tags", render_json_text(record->tags, json_array()), "metadata",
                     render_json_text(record->metadata, json_object()), "recipients", recipients,
                     "events", events);
}

json_t *render_submission(const struct submission *s)
{
    char id[4 + ID_SIZE];
    snprintf(id, sizeof(id), "msg_%s", s->id);
    json_t *recipients = json_array();
    for (size_t i = 0; i < s->n_recipients; i++) {
        const struct recipient_record queued = {
            .address = s->recipients[i], .status = RECIPIENT_QUEUED, .at_ms = s->created_ms};
        json_array_append_new(recipients, render_recipient(&queued));
    }
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:s?, s:I, s:n, s:o, s:o, s:o, s:[]}", "id", id, "status",
        "queued", "message_id", s->message_id, "created_at", render_time(s->created_ms), "from",
        s->from, "subject", s->subject, "size", (json_int_t)s->content->len, "relay", "tags",
        render_json_text(s->tags, json_array()), "metadata",
        render_json_text(s->metadata, json_object()), "recipients", recipients, "events");
}
