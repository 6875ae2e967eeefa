#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "api/render_relay.h"

static struct buffer text;
static struct json_writer w;

static void begin(void)
{
    buffer_init(&text, 1 << 20);
    json_writer_init(&w, &text);
}

static void end(void)
{
    buffer_clear(&text);
}

TestSuite(render_relay, .init = begin, .fini = end);

static void assert_json(const char *as_text)
{
    json_t *got = json_loadb(text.data, text.len, 0, NULL), *wanted = json_loads(as_text, 0, NULL);
    cr_assert_not_null(wanted, "%s", as_text);
    cr_expect(json_equal(got, wanted), "%.*s", (int)text.len, text.data);
    json_decref(wanted);
    json_decref(got);
}

static void write_relay(const struct relay_status *status)
{
    json_begin_object(&w);
    render_relay(&w, status);
    json_end_object(&w);
}

Test(render_relay, one_that_has_not_been_tried)
{
    const struct relay_status status = {.name = "primary",
                                        .host = "smtp.example.com",
                                        .port = 587,
                                        .tls = CONFIG_TLS_STARTTLS,
                                        .state = "idle",
                                        .n_max = 4,
                                        .n_cap = 4};
    write_relay(&status);
    assert_json("{\"name\": \"primary\", \"service\": null, \"host\": \"smtp.example.com\","
                " \"port\": 587, \"tls\": \"starttls\", \"state\": \"idle\","
                " \"connections\": {\"open\": 0, \"opening\": 0, \"idle\": 0, \"bears\": 4,"
                "                   \"max\": 4},"
                " \"ready\": 0, \"rates\": [], \"retry_in_seconds\": null, \"last_error\": null,"
                " \"oauth\": null}");
}

/* Connections that are being opened are not open; a peer's octets become text. */
Test(render_relay, one_in_trouble)
{
    const struct relay_status status = {
        .name = "primary",
        .host = "smtp.gmail.com",
        .service = "gmail",
        .port = 465,
        .tls = CONFIG_TLS_IMPLICIT,
        .state = "down",
        .n_connections = 3,
        .n_opening = 1,
        .n_idle = 1,
        .n_max = 4,
        .n_cap = 2,
        .n_ready = 17,
        .rates = {{"messages", {500, 86400000}, 123}, {"recipients", {7, 500}, 0}},
        .n_rates = 2,
        .retry_in_ms = 1500,
        .last_error = {ERR_AUTH_FAILED, "auth", "535 caf\xe9"},
        .hint = "check auth.username and auth.password",
        .hint_proved = true,
        .last_error_ms = 1795435200123,
        .has_oauth = true,
        .oauth = {.name = "chain",
                  .state = "failed",
                  .last_error = {ERR_TOKEN_UNAVAILABLE, "", "503"},
                  .retry_in_ms = 2500}};
    write_relay(&status);
    assert_json("{\"name\": \"primary\", \"service\": \"gmail\", \"host\": \"smtp.gmail.com\","
                " \"port\": 465, \"tls\": \"implicit\", \"state\": \"down\","
                " \"connections\": {\"open\": 2, \"opening\": 1, \"idle\": 1, \"bears\": 2,"
                "                   \"max\": 4},"
                " \"ready\": 17,"
                " \"rates\": [{\"of\": \"messages\", \"limit\": 500, \"seconds\": 86400.0,"
                "              \"used\": 123},"
                "             {\"of\": \"recipients\", \"limit\": 7, \"seconds\": 0.5,"
                "              \"used\": 0}],"
                " \"retry_in_seconds\": 1.5,"
                " \"last_error\": {\"step\": \"auth\", \"code\": \"auth_failed\","
                "                  \"detail\": \"535 caf\xef\xbf\xbd\","
                "                  \"hint\": \"check auth.username and auth.password\","
                "                  \"proved\": true, \"at\": \"2026-11-23T12:00:00.123Z\"},"
                " \"oauth\": {\"name\": \"chain\", \"state\": \"failed\", \"seconds_left\": 0,"
                "             \"retry_in_seconds\": 2.5,"
                "             \"last_error\": {\"step\": \"\", \"code\": \"token_unavailable\","
                "                              \"detail\": \"503\", \"hint\": null,"
                "                              \"proved\": false}}}");
}

Test(render_relay, no_hint_is_null)
{
    const struct relay_status status = {.name = "x",
                                        .host = "x",
                                        .state = "down",
                                        .last_error = {ERR_RELAY_CLOSING, "greeting", "421 bye"}};
    write_relay(&status);
    json_t *json = json_loadb(text.data, text.len, 0, NULL);
    const json_t *error = json_object_get(json, "last_error");
    cr_expect(json_is_null(json_object_get(error, "hint")));
    cr_expect(json_is_false(json_object_get(error, "proved")));
    json_decref(json);
}

Test(render_relay, lines_of_a_transcript)
{
    static const struct {
        const char *text, *lines;
    } rows[] = {
        {"", "[]"},
        {"\n", "[\"\"]"},
        {"S: 220 hi\n", "[\"S: 220 hi\"]"},
        {"S: 220 hi\nC: EHLO x", "[\"S: 220 hi\", \"C: EHLO x\"]"},
        {"a\n\nb\n", "[\"a\", \"\", \"b\"]"},
        {"\xff\n\xc3\xb6\n", "[\"\xef\xbf\xbd\", \"\xc3\xb6\"]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_reset(&text);
        json_writer_init(&w, &text);
        render_lines(&w, rows[i].text);
        assert_json(rows[i].lines);
    }
}
