#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/handlers.h"
#include "base/log.h"
#include "fake_request.h"

/*
 * POST and GET /v1/messages, with a real queue and without a socket. The relay is `deliver`: it
 * gives every recipient the verdict that its local part asks for.
 */

#define MESSAGE(to) "{\"from\": \"a@example.com\", \"to\": \"" to "\", \"subject\": \"s\"}"

/* What a delivery was told, for a test to look at. */
static struct seen {
    char from[64], api_key[16], tags[32], relay[16], notify[32], ret[8], envid[32];
    enum mail_priority priority;
    bool require_tls;
    int64_t lifetime_ms;
} seen;

static void note(char *to, size_t size, const char *option)
{
    snprintf(to, size, "%s", option != NULL ? option : "");
}

static void look_at(const struct mail *d)
{
    const struct mail_options *o = &d->options;
    seen = (struct seen){.priority = o->priority,
                         .require_tls = o->require_tls,
                         .lifetime_ms = d->expires_ms - d->created_ms};
    snprintf(seen.from, sizeof(seen.from), "%s", d->from);
    snprintf(seen.api_key, sizeof(seen.api_key), "%s", d->api_key);
    snprintf(seen.tags, sizeof(seen.tags), "%s", d->tags);
    note(seen.relay, sizeof(seen.relay), o->relay);
    note(seen.notify, sizeof(seen.notify), o->dsn.notify);
    note(seen.ret, sizeof(seen.ret), o->dsn.ret);
    note(seen.envid, sizeof(seen.envid), o->dsn.envid);
}

struct gateway {
    char dir[32];
    char store[64];
    struct config config;
    struct queue *queue;
    struct api_context context;
};

static void deliver(void *arg, struct mail *list)
{
    struct gateway *g = arg;
    for (struct mail *d = list, *next; d != NULL; d = next) {
        next = d->next;
        look_at(d);
        bool held = false;
        for (size_t i = 0; i < d->n_recipients; i++) {
            struct mail_recipient *r = &d->recipients[i];
            bool bounce = strncmp(r->address, "bounce@", 7) == 0;
            held = held || strncmp(r->address, "never@", 6) == 0;
            r->verdict = bounce ? DELIVERY_FAILED : DELIVERY_SENT;
            r->reply = (struct reply_record){.code = bounce ? 550 : 250, .enhanced = "2.0.0"};
            strcpy(r->reply.text, bounce ? "no caf\xe9 here" : "Ok");
        }
        d->relay = "fake";
        if (held) /* for as long as anybody waits */
            for (size_t i = 0; i < d->n_recipients; i++)
                d->recipients[i].verdict = DELIVERY_DEFERRED;
        else if (queue_depart(g->queue, d) != QUEUE_DEPARTS)
            for (size_t i = 0; i < d->n_recipients; i++)
                d->recipients[i].verdict = DELIVERY_UNTRIED;
        queue_settle(g->queue, d);
    }
}

static void start(struct gateway *g, const char *scheme)
{
    static const int64_t retry_ms[] = {60000};
    struct error err;
    *g = (struct gateway){.dir = "/tmp/postern-api-XXXXXX"};
    cr_assert_not_null(mkdtemp(g->dir));
    if (strcmp(scheme, "memory:") == 0)
        strcpy(g->store, scheme);
    else
        snprintf(g->store, sizeof(g->store), "sqlite:%s/queue.db", g->dir);
    g->config.queue.store = g->store;
    g->config.queue.max_age_ms = 3600000;
    g->context = (struct api_context){.config = &g->config};
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    const struct queue_settings settings = {.store = g->store,
                                            .retry_ms = retry_ms,
                                            .n_retry = 1,
                                            .max_age_ms = 3600000,
                                            .retain_record_ms = 3600000,
                                            .in_memory_bytes = 1 << 20,
                                            .ready = deliver,
                                            .arg = g};
    cr_assert_eq(queue_open(&settings, &g->queue, &err), 0, "%s", err.detail);
    g->context.queue = g->queue;
    cr_assert_eq(queue_start(g->queue, &err), 0);
}

static void stop(struct gateway *g)
{
    char command[64];
    queue_drain(g->queue);
    queue_free(g->queue);
    snprintf(command, sizeof(command), "rm -r %s", g->dir);
    cr_assert_eq(system(command), 0);
}

static void post(struct gateway *g, const char *body, const struct api_header *headers,
                 struct fake_request *fake)
{
    fake_request_init(fake, &g->context, "POST", "/v1/messages", body);
    fake->headers = headers;
    messages_post(&fake->request);
    fake_request_wait(fake);
}

static void get(struct gateway *g, const char *id, struct fake_request *fake)
{
    fake_request_init(fake, &g->context, "GET", "/v1/messages/x", NULL);
    fake->request.param = id;
    messages_get(&fake->request);
    fake_request_wait(fake);
}

static char *field_of(const struct fake_request *fake, const char *key)
{
    json_t *json = fake_response_json(fake);
    const char *text = json_string_value(json_object_get(json, key));
    char *copy = strdup(text != NULL ? text : "");
    json_decref(json);
    return copy;
}

static void assert_field(const struct fake_request *fake, const char *key, const char *value)
{
    char *got = field_of(fake, key);
    cr_assert_str_eq(got, value);
    free(got);
}

Test(messages, a_post_is_a_202_with_its_record_and_location)
{
    struct gateway g;
    struct fake_request posted, found;
    start(&g, "sqlite");
    post(&g, MESSAGE("never@x.org"), NULL, &posted);
    cr_assert_eq(posted.request.response.status, 202);
    cr_assert_str_eq(posted.request.response.content_type, "application/json");
    assert_field(&posted, "status", "queued");
    char *id = field_of(&posted, "id");
    const char *location = fake_response_header(&posted, "Location");
    cr_assert_eq(strncmp(location, "/v1/messages/", 13), 0);
    cr_assert_str_eq(location + 13, id);
    cr_assert_null(fake_response_header(&posted, "Preference-Applied"));

    get(&g, id, &found);
    cr_assert_eq(found.request.response.status, 200);
    assert_field(&found, "id", id);
    assert_field(&found, "subject", "s");
    fake_request_clear(&found);
    free(id);
    fake_request_clear(&posted);
    stop(&g);
}

Test(messages, ids_that_are_none_are_a_404)
{
    static const char *const ids[] = {"",
                                      "msg_",
                                      "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                      "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                      "msg_01ARZ3NDEKTSV4RRFFQ69G5FA",
                                      "msg_01arz3ndektsv4rrffq69g5fav",
                                      "msg_01ARZ3NDEKTSV4RRFFQ69G5F/.",
                                      "msg_'; DROP TABLE message; --"};
    struct gateway g;
    start(&g, "sqlite");
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct fake_request fake;
        get(&g, ids[i], &fake);
        cr_expect_eq(fake.request.response.status, 404, "%s", ids[i]);
        fake_request_clear(&fake);
    }
    stop(&g);
}

Test(messages, who_waits_is_told_the_outcome)
{
    static const struct {
        const char *prefer, *body;
        int status;
        const char *key, *value, *applied;
    } rows[] = {
        {"wait=10", MESSAGE("bob@x.org"), 200, "status", "sent", "wait"},
        {"respond-async, wait=10", MESSAGE("bob@x.org"), 200, "status", "sent", "wait"},
        {"wait=10", MESSAGE("bounce@x.org"), 502, "type", "/problems/rejected-by-relay", "wait"},
        {"wait=1", MESSAGE("never@x.org"), 202, "status", "deferred", "wait"},
        {"wait=0", MESSAGE("never@x.org"), 202, "status", "queued", NULL},
        {"wait=x", MESSAGE("never@x.org"), 202, "status", "queued", NULL},
        {"await=10", MESSAGE("never@x.org"), 202, "status", "queued", NULL},
        {"return=minimal", MESSAGE("never@x.org"), 202, "status", "queued", NULL},
    };
    struct gateway g;
    start(&g, "sqlite");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct api_header headers[] = {{"Prefer", rows[i].prefer}, {NULL, NULL}};
        struct fake_request fake;
        post(&g, rows[i].body, headers, &fake);
        cr_expect_eq(fake.request.response.status, rows[i].status, "%s: %.*s", rows[i].prefer,
                     (int)fake.request.response.body.len, fake.request.response.body.data);
        assert_field(&fake, rows[i].key, rows[i].value);
        const char *applied = fake_response_header(&fake, "Preference-Applied");
        cr_expect_eq(applied != NULL, rows[i].applied != NULL, "%s", rows[i].prefer);
        fake_request_clear(&fake);
    }
    stop(&g);
}

Test(messages, a_rejection_shows_the_reply_whatever_it_is_made_of)
{
    static const struct api_header headers[] = {{"Prefer", "wait=10"}, {NULL, NULL}};
    struct gateway g;
    struct fake_request fake;
    start(&g, "sqlite");
    post(&g, MESSAGE("bounce@x.org"), headers, &fake);
    cr_assert_str_eq(fake.request.response.content_type, "application/problem+json");
    assert_field(&fake, "detail", "550 2.0.0 no caf\xef\xbf\xbd here");
    json_t *json = fake_response_json(&fake);
    cr_assert_eq(json_array_size(json_object_get(json, "recipients")), 1);
    json_decref(json);
    fake_request_clear(&fake);
    stop(&g);
}

Test(messages, in_memory_only_an_acceptance_is_a_success)
{
    static const struct api_header headers[] = {{"Prefer", "wait=1"}, {NULL, NULL}};
    struct gateway g;
    struct fake_request sent, late;
    start(&g, "memory:");
    post(&g, MESSAGE("bob@x.org"), NULL, &sent); /* it waits without being asked to */
    cr_assert_eq(sent.request.response.status, 200);
    cr_assert_null(fake_response_header(&sent, "Preference-Applied"));
    post(&g, MESSAGE("never@x.org"), headers, &late);
    cr_assert_eq(late.request.response.status, 504);
    fake_request_clear(&sent);
    fake_request_clear(&late);
    stop(&g);
}

/* --- idempotency -------------------------------------------------------------------------- */

Test(messages, a_key_gives_the_first_answer_again)
{
    static const struct api_header headers[] = {{"Idempotency-Key", "order 1"}, {NULL, NULL}};
    struct gateway g;
    struct fake_request first, again, other;
    start(&g, "sqlite");
    post(&g, "{\"from\": \"a@b.org\", \"to\": \"never@x.org\"}", headers, &first);
    post(&g, "{ \"to\":\"never@x.org\",\"from\":\"a@b.org\" }", headers, &again);
    post(&g, "{\"from\": \"a@b.org\", \"to\": \"never@y.org\"}", headers, &other);
    cr_assert_eq(first.request.response.status, 202);
    cr_assert_null(fake_response_header(&first, "Idempotency-Replayed"));
    cr_assert_eq(again.request.response.status, 202);
    cr_assert_eq(again.request.response.body.len, first.request.response.body.len);
    cr_assert_eq(memcmp(again.request.response.body.data, first.request.response.body.data,
                        first.request.response.body.len),
                 0);
    cr_assert_str_eq(fake_response_header(&again, "Idempotency-Replayed"), "true");
    cr_assert_str_eq(fake_response_header(&again, "Location"),
                     fake_response_header(&first, "Location"));
    cr_assert_eq(other.request.response.status, 422);
    assert_field(&other, "type", "/problems/idempotency-mismatch");
    fake_request_clear(&first);
    fake_request_clear(&again);
    fake_request_clear(&other);
    stop(&g);
}

Test(messages, keys_of_two_clients_are_apart)
{
    static const struct config_api_key a = {.name = "a"}, b = {.name = "b"};
    static const struct api_header headers[] = {{"Idempotency-Key", "k"}, {NULL, NULL}};
    const struct config_api_key *const keys[] = {&a, &b, NULL};
    struct gateway g;
    start(&g, "sqlite");
    for (size_t i = 0; i < 3; i++) {
        struct fake_request fake;
        fake_request_init(&fake, &g.context, "POST", "/v1/messages", MESSAGE("never@x.org"));
        fake.headers = headers;
        fake.request.api_key = keys[i];
        messages_post(&fake.request);
        fake_request_wait(&fake);
        cr_expect_eq(fake.request.response.status, 202);
        cr_expect_null(fake_response_header(&fake, "Idempotency-Replayed"));
        fake_request_clear(&fake);
    }
    stop(&g);
}

Test(messages, a_refused_request_leaves_its_key_free)
{
    static const struct api_header headers[] = {{"Idempotency-Key", "k"}, {NULL, NULL}};
    struct gateway g;
    struct fake_request refused, taken;
    start(&g, "sqlite");
    post(&g, "{\"to\": 5}", headers, &refused);
    post(&g, MESSAGE("never@x.org"), headers, &taken);
    cr_assert_eq(refused.request.response.status, 422);
    cr_assert_eq(taken.request.response.status, 202);
    fake_request_clear(&refused);
    fake_request_clear(&taken);
    stop(&g);
}

Test(messages, keys_that_are_none_are_a_400)
{
    char long_key[257];
    memset(long_key, 'k', 256);
    long_key[256] = '\0';
    const char *const keys[] = {"", long_key, "\xc3\xb6", "a\tb", "a\x7f", long_key + 1};
    struct gateway g;
    start(&g, "sqlite");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const struct api_header headers[] = {{"Idempotency-Key", keys[i]}, {NULL, NULL}};
        struct fake_request fake;
        post(&g, MESSAGE("never@x.org"), headers, &fake);
        cr_expect_eq(fake.request.response.status, i == 5 ? 202 : 400, "row %zu", i);
        fake_request_clear(&fake);
    }
    stop(&g);
}

/* --- what is asked of the relay ----------------------------------------------------------- */

static void post_waiting(struct gateway *g, const char *body, const struct config_api_key *key,
                         struct fake_request *fake)
{
    static const struct api_header headers[] = {{"Prefer", "wait=10"}, {NULL, NULL}};
    fake_request_init(fake, &g->context, "POST", "/v1/messages", body);
    fake->headers = headers;
    fake->request.api_key = key;
    messages_post(&fake->request);
    fake_request_wait(fake);
}

Test(messages, what_is_asked_of_the_relay_comes_to_it)
{
    static struct config_relay relays[] = {{.name = "primary"}, {.name = "backup"}};
    static const struct config_api_key shop = {.name = "shop"},
                                       bound = {.name = "bound", .relay = "primary"};
    struct gateway g;
    struct fake_request fake;
    start(&g, "sqlite");
    g.config.relays = relays;
    g.config.n_relays = 2;
    post_waiting(&g,
                 "{\"from\": \"A <a@example.com>\", \"to\": \"bob@x.org\", \"tags\": [\"t\"],"
                 "\"envelope\": {\"from\": \"bounce@example.com\"}, \"relay\": \"backup\","
                 "\"priority\": \"high\", \"require_tls\": true, \"ttl\": \"10m\","
                 "\"dsn\": {\"notify\": [\"failure\"], \"ret\": \"full\", \"envid\": \"e 1\"}}",
                 &shop, &fake);
    cr_assert_eq(fake.request.response.status, 200);
    cr_assert_str_eq(seen.from, "a@example.com");
    cr_assert_str_eq(seen.api_key, "shop");
    cr_assert_str_eq(seen.tags, "[\"t\"]");
    cr_assert_str_eq(seen.relay, "backup");
    cr_assert_eq(seen.priority, PRIORITY_HIGH);
    cr_assert(seen.require_tls);
    cr_assert_str_eq(seen.notify, "FAILURE");
    cr_assert_str_eq(seen.ret, "FULL");
    cr_assert_str_eq(seen.envid, "e 1");
    cr_assert_eq(seen.lifetime_ms, 600000);
    fake_request_clear(&fake);

    post_waiting(&g,
                 "{\"from\": \"a@example.com\", \"to\": \"bob@x.org\", \"priority\": \"low\","
                 "\"ttl\": \"9d\"}",
                 &bound, &fake);
    cr_assert_str_eq(seen.relay, "primary", "the key's");
    cr_assert_eq(seen.priority, PRIORITY_LOW);
    cr_assert_eq(seen.lifetime_ms, 3600000, "never longer than the queue's");
    fake_request_clear(&fake);

    post_waiting(&g, MESSAGE("bob@x.org"), NULL, &fake);
    cr_assert_str_eq(seen.relay, "");
    cr_assert_eq(seen.priority, PRIORITY_NORMAL);
    cr_assert_not(seen.require_tls);
    cr_assert_str_eq(seen.notify, "");
    cr_assert_eq(seen.lifetime_ms, 3600000);
    fake_request_clear(&fake);
    stop(&g);
}

Test(messages, a_relay_that_is_not_there_is_a_422)
{
    static struct config_relay relays[] = {{.name = "primary"}, {.name = "backup"}};
    static const struct {
        const char *relay;
        const char *detail;
    } rows[] = {{"primry", "no relay of that name is configured; did you mean primary?"},
                {"", "no relay of that name is configured"},
                {"Backup", "no relay of that name is configured; did you mean backup?"}};
    struct gateway g;
    start(&g, "sqlite");
    g.config.relays = relays;
    g.config.n_relays = 2;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[128];
        struct fake_request fake;
        snprintf(body, sizeof(body),
                 "{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"relay\": \"%s\"}", rows[i].relay);
        post(&g, body, NULL, &fake);
        cr_assert_eq(fake.request.response.status, 422);
        json_t *json = fake_response_json(&fake);
        const json_t *fault = json_array_get(json_object_get(json, "errors"), 0);
        cr_assert_str_eq(json_string_value(json_object_get(fault, "pointer")), "/relay");
        cr_assert_str_eq(json_string_value(json_object_get(fault, "detail")), rows[i].detail);
        json_decref(json);
        fake_request_clear(&fake);
    }
    stop(&g);
}

/* --- refusals ----------------------------------------------------------------------------- */

Test(messages, refusals_are_problems)
{
    static const struct {
        const char *body, *type;
        int status;
    } rows[] = {
        {"", "/problems/malformed", 400},
        {"{", "/problems/malformed", 400},
        {"[]", "/problems/malformed", 400},
        {"{}", "/problems/invalid-message", 422},
        {"{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"attachments\": [{\"content\": \"!\"}]}",
         "/problems/invalid-message", 422},
    };
    struct gateway g;
    start(&g, "sqlite");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_request fake;
        post(&g, rows[i].body, NULL, &fake);
        cr_expect_eq(fake.request.response.status, rows[i].status, "%s", rows[i].body);
        assert_field(&fake, "type", rows[i].type);
        fake_request_clear(&fake);
    }
    stop(&g);
}

Test(messages, a_key_may_not_send_as_others)
{
    static const char *items[] = {"*@example.com"};
    static const struct config_api_key key = {.name = "k", .from = {items, 1}};
    struct gateway g;
    struct fake_request fake;
    start(&g, "sqlite");
    fake_request_init(&fake, &g.context, "POST", "/v1/messages",
                      "{\"from\": \"a@example.com\", \"to\": \"c@d.org\","
                      "\"envelope\": {\"from\": \"x@evil.org\"}}");
    fake.request.api_key = &key;
    messages_post(&fake.request);
    fake_request_wait(&fake);
    cr_assert_eq(fake.request.response.status, 403);
    json_t *json = fake_response_json(&fake);
    const json_t *fault = json_array_get(json_object_get(json, "errors"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(fault, "pointer")), "/envelope/from");
    json_decref(json);
    fake_request_clear(&fake);
    stop(&g);
}

Test(messages, a_key_with_a_relay_may_not_send_through_another)
{
    static struct config_relay relays[] = {{.name = "primary"}, {.name = "backup"}};
    static const struct config_api_key key = {.name = "k", .relay = "primary"};
    struct gateway g;
    struct fake_request fake;
    start(&g, "sqlite");
    g.config.relays = relays;
    g.config.n_relays = 2;
    post_waiting(&g, "{\"from\": \"a@b.org\", \"to\": \"c@d.org\", \"relay\": \"backup\"}", &key,
                 &fake);
    cr_assert_eq(fake.request.response.status, 403);
    json_t *json = fake_response_json(&fake);
    const json_t *fault = json_array_get(json_object_get(json, "errors"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(fault, "pointer")), "/relay");
    cr_assert_str_eq(json_string_value(json_object_get(fault, "detail")),
                     "the API key's mail goes through primary alone");
    json_decref(json);
    fake_request_clear(&fake);
    stop(&g);
}

Test(messages, nothing_is_taken_while_draining)
{
    struct gateway g;
    struct fake_request fake;
    start(&g, "sqlite");
    queue_drain(g.queue);
    post(&g, MESSAGE("bob@x.org"), NULL, &fake);
    cr_assert_eq(fake.request.response.status, 503);
    assert_field(&fake, "type", "/problems/draining");
    cr_assert_not_null(fake_response_header(&fake, "Retry-After"));
    fake_request_clear(&fake);
    stop(&g);
}
