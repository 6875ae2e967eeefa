#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "api/render.h"

/* What `write` writes, read back. */
static json_t *read_back(void (*write)(struct json_writer *w, const void *what), const void *what)
{
    CLEANUP(buffer_clear) struct buffer text;
    struct json_writer w;
    buffer_init(&text, 1 << 20);
    json_writer_init(&w, &text);
    write(&w, what);
    json_t *json = json_loadb(text.data, text.len, 0, NULL);
    cr_assert_not_null(json, "%.*s", (int)text.len, text.data);
    return json;
}

static void write_record(struct json_writer *w, const void *record)
{
    json_begin_object(w);
    render_record(w, record);
    json_end_object(w);
}

static struct mail_recipient recipients[] = {
    {.address = "bob@example.net",
     .status = RECIPIENT_SENT,
     .attempts = 1,
     .relay = "primary",
     .reply = {.code = 250, .enhanced = "2.0.0", .text = "Ok: queued"},
     .next_attempt_ms = 5, /* of no meaning any more */
     .at_ms = 1795435200123},
    {.address = "carol@example.net",
     .status = RECIPIENT_DEFERRED,
     .attempts = 2,
     .relay = "primary",
     .reply = {.code = 451, .text = "caf\xe9 later"},
     .next_attempt_ms = 1795435260000,
     .at_ms = 1795435200123},
    {.address = "dave@example.net", .status = RECIPIENT_QUEUED, .at_ms = 1795435200000},
};

static struct mail_event events[] = {
    {.id = 7,
     .type = EVENT_MESSAGE_SENT,
     .at_ms = 1795435200123,
     .recipient = 0,
     .reply = {.code = 250, .text = "Ok"}},
    {.id = 8, .type = EVENT_MESSAGE_QUEUED, .at_ms = 1795435200000, .recipient = 99},
};

Test(render, a_record_is_the_contracts_json)
{
    struct mail record = {.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                          .message_id = "<a@b>",
                          .from = "a@b",
                          .subject = "Gr\xc3\xbc\xc3\x9f"
                                     "e",
                          .api_key = "billing",
                          .tags = "[\"t\"]",
                          .metadata = "{\"user\":\"7\"}",
                          .size = 1234,
                          .created_ms = 1795435200000,
                          .recipients = recipients,
                          .n_recipients = 3,
                          .events = events,
                          .n_events = 2};
    json_t *wanted = json_loads(
        "{\"id\": \"msg_01ARZ3NDEKTSV4RRFFQ69G5FAV\", \"message_id\": \"<a@b>\", \"from\": \"a@b\","
        "\"created_at\": \"2026-11-23T12:00:00.000Z\", \"subject\": \"Gr\xc3\xbc\xc3\x9f"
        "e\","
        "\"size\": 1234, \"relay\": \"primary\", \"tags\": [\"t\"], \"metadata\": {\"user\": "
        "\"7\"},"
        "\"recipients\": ["
        " {\"address\": \"bob@example.net\", \"status\": \"sent\", \"attempts\": 1,"
        "  \"relay\": \"primary\","
        "  \"reply\": {\"code\": 250, \"enhanced\": \"2.0.0\", \"text\": \"Ok: queued\"},"
        "  \"next_attempt_at\": null, \"at\": \"2026-11-23T12:00:00.123Z\"},"
        " {\"address\": \"carol@example.net\", \"status\": \"deferred\", \"attempts\": 2,"
        "  \"relay\": \"primary\","
        "  \"reply\": {\"code\": 451, \"enhanced\": null, \"text\": \"caf\xef\xbf\xbd later\"},"
        "  \"next_attempt_at\": \"2026-11-23T12:01:00.000Z\","
        "  \"at\": \"2026-11-23T12:00:00.123Z\"},"
        " {\"address\": \"dave@example.net\", \"status\": \"queued\", \"attempts\": 0,"
        "  \"relay\": null, \"reply\": null, \"next_attempt_at\": null,"
        "  \"at\": \"2026-11-23T12:00:00.000Z\"}],"
        "\"events\": ["
        " {\"id\": \"evt_7\", \"type\": \"message.sent\", \"at\": \"2026-11-23T12:00:00.123Z\","
        "  \"recipient\": \"bob@example.net\","
        "  \"reply\": {\"code\": 250, \"enhanced\": null, \"text\": \"Ok\"}},"
        " {\"id\": \"evt_8\", \"type\": \"message.queued\", \"at\": \"2026-11-23T12:00:00.000Z\","
        "  \"recipient\": null, \"reply\": null}]}",
        0, NULL);
    cr_assert_not_null(wanted);
    json_object_set_new(wanted, "status", json_string(mail_status(&record)));
    json_t *got = read_back(write_record, &record);
    cr_assert(json_equal(got, wanted), "%s", json_dumps(got, JSON_INDENT(2)));
    json_decref(wanted);
    json_decref(got);
}
