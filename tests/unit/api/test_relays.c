#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/handlers.h"
#include "base/log.h"
#include "engine.h"
#include "fake_request.h"

/*
 * /v1/relays with a whole engine behind it and no socket before it. Of its two relays one is the
 * receiver inside, and all is well with it; of the other nothing but the port is there.
 */

static int64_t retry_ms[] = {60000};

static struct config_relay away = {
    .name = "away",
    .host = "127.0.0.1",
    .tls = CONFIG_TLS_NONE,
    .auth = {.mechanism = "none"},
    .connections = {.max = 2},
    .window = 1,
    .hostname = "gw.example.com",
    .timeouts = {10000, 15000, 30000, 60000, 120000, 600000},
};

static struct config config = {
    .relays = &away,
    .n_relays = 1,
    .sandbox = CONFIG_SANDBOX_ON,
    .queue = {.store = "memory:",
              .retry_ms = retry_ms,
              .n_retry = 1,
              .max_age_ms = 3600000,
              .retain_record_ms = 3600000,
              .in_memory = 1 << 20},
};

static struct engine engine;
static struct api_context context;
static int taken; /* a port that is bound, so that nobody else listens there */

static void start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct error err;
    taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(taken, (const struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(getsockname(taken, (struct sockaddr *)&address, &len), 0);
    away.port = ntohs(address.sin_port);
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    cr_assert_eq(engine_start(&config, &engine, &err), 0, "%s", err.detail);
    context = (struct api_context){.config = &config,
                                   .queue = engine.queue,
                                   .sandbox = engine.sandbox,
                                   .relays = engine.relays};
}

static void stop(void)
{
    engine_stop(&engine);
    close(taken);
}

TestSuite(relays, .init = start, .fini = stop, .timeout = 600);

typedef void handler_fn(struct api_request *request);

/* The JSON it answers with; the caller's. */
static json_t *ask(handler_fn *handler, const char *name, const struct api_header *query,
                   int wanted_status)
{
    struct fake_request fake;
    fake_request_init(&fake, &context, "GET", "/v1/relays", NULL);
    fake.request.param = name;
    fake.query = query;
    handler(&fake.request);
    fake_request_wait(&fake);
    cr_assert_eq(fake.request.response.status, wanted_status);
    json_t *json = fake_response_json(&fake);
    fake_request_clear(&fake);
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text != NULL ? text : "";
}

static void assert_state(handler_fn *handler, const char *name, const char *state)
{
    json_t *json = ask(handler, name, NULL, 200);
    cr_assert_str_eq(text_of(json, "name"), name);
    cr_assert_str_eq(text_of(json, "state"), state);
    json_decref(json);
}

Test(relays, are_listed_as_configured)
{
    json_t *json = ask(relays_list, "", NULL, 200);
    const json_t *list = json_object_get(json, "data");
    cr_assert_eq(json_array_size(list), 2);
    cr_expect_str_eq(text_of(json_array_get(list, 0), "name"), "away");
    cr_expect_str_eq(text_of(json_array_get(list, 1), "name"), "sandbox");
    json_decref(json);
}

Test(relays, one_that_is_not_there_is_a_404)
{
    static handler_fn *const handlers[] = {relays_get, relays_verify, relays_pause, relays_resume};
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        json_t *json = ask(handlers[i], "Away", NULL, 404);
        cr_expect_str_eq(text_of(json, "type"), "/problems/not-found");
        json_decref(json);
    }
}

Test(relays, are_paused_and_resumed)
{
    assert_state(relays_get, "away", "idle");
    assert_state(relays_pause, "away", "paused");
    assert_state(relays_pause, "away", "paused");
    assert_state(relays_get, "away", "paused");
    assert_state(relays_get, "sandbox", "idle");
    assert_state(relays_resume, "away", "idle");
    assert_state(relays_get, "away", "idle");
}

Test(relays, a_verify_of_a_good_one)
{
    json_t *json = ask(relays_verify, "sandbox", NULL, 200);
    cr_expect(json_is_true(json_object_get(json, "ok")));
    cr_expect(json_is_null(json_object_get(json, "error")));
    cr_expect_eq(json_array_size(json_object_get(json, "steps")), 4); /* dns, tcp, greeting, ehlo */
    json_decref(json);
}

/* What it is called and what to do; that something is wrong is no failure of the request. */
Test(relays, a_verify_of_one_that_is_away)
{
    json_t *json = ask(relays_verify, "away", NULL, 200);
    const json_t *error = json_object_get(json, "error");
    cr_expect(json_is_false(json_object_get(json, "ok")));
    cr_expect_str_eq(text_of(error, "step"), "tcp");
    cr_expect_str_eq(text_of(error, "code"), "connect_refused");
    cr_expect_neq(text_of(error, "hint")[0], '\0');
    json_decref(json);
}

/* --- with mail for it --------------------------------------------------------------------- */

static void post_one(struct fake_request *fake)
{
    static const struct api_header headers[] = {{"Prefer", "wait=60"}, {NULL, NULL}};
    fake_request_init(fake, &context, "POST", "/v1/messages",
                      "{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"relay\": \"away\"}");
    fake->headers = headers;
    messages_post(&fake->request);
}

static bool has_error(void)
{
    struct relay_status status;
    relay_status(relays_find(engine.relays, "away"), &status);
    return status.last_error.code != ERR_NONE;
}

Test(relays, what_was_said_last_is_shown_on_demand)
{
    static const struct api_header one[] = {{"transcript", "1"}, {NULL, NULL}},
                                   other[] = {{"transcript", ""}, {NULL, NULL}};
    struct fake_request fake;
    post_one(&fake);
    while (!has_error())
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    json_t *json = ask(relays_get, "away", one, 200);
    const json_t *lines = json_object_get(json, "transcript");
    cr_assert_gt(json_array_size(lines), 0);
    cr_expect_not_null(strstr(json_string_value(json_array_get(lines, 0)), "127.0.0.1"));
    cr_expect_str_eq(text_of(json_object_get(json, "last_error"), "code"), "connect_refused");
    json_decref(json);

    json = ask(relays_get, "away", other, 200);
    cr_expect_null(json_object_get(json, "transcript"));
    json_decref(json);
    json = ask(relays_get, "sandbox", one, 200);
    cr_expect_null(json_object_get(json, "transcript"), "nothing has failed there");
    json_decref(json);

    engine_drain(&engine); /* ends the wait */
    fake_request_wait(&fake);
    cr_expect_eq(fake.request.response.status, 504);
    fake_request_clear(&fake);
}
