#include <criterion/criterion.h>
#include <string.h>

#include "api/problem.h"
#include "fake_request.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    cr_assert_not_null(text, "%s", key);
    return text;
}

Test(problem, each_is_whole_and_described_at_its_type)
{
    for (enum problem p = PROBLEM_MALFORMED; p <= PROBLEM_NOT_DELIVERED_IN_TIME; p++) {
        struct fake_request fake;
        fake_request_init(&fake, NULL, "GET", "/", NULL);
        problem_respond(&fake.request, p, NULL);
        cr_assert_eq(fake.request.response.status, problem_status(p));
        cr_assert_str_eq(fake.request.response.content_type, "application/problem+json");
        cr_assert_eq(fake_response_header(&fake, "Retry-After") != NULL, problem_status(p) == 503);
        cr_assert_eq(fake_response_header(&fake, "WWW-Authenticate") != NULL,
                     problem_status(p) == 401);
        json_t *document = fake_response_json(&fake);
        cr_assert_eq(json_integer_value(json_object_get(document, "status")), problem_status(p));
        cr_assert_gt(strlen(text_of(document, "detail")), 0);

        struct fake_request description;
        fake_request_init(&description, NULL, "GET", text_of(document, "type"), NULL);
        cr_assert_eq(strncmp(text_of(document, "type"), "/problems/", 10), 0);
        description.request.param = text_of(document, "type") + 10;
        problem_describe(&description.request);
        cr_assert_eq(description.request.response.status, 200);
        json_t *described = fake_response_json(&description);
        cr_assert_str_eq(text_of(described, "title"), text_of(document, "title"));
        json_decref(described);
        fake_request_clear(&description);
        json_decref(document);
        fake_request_clear(&fake);
    }
}

Test(problem, an_unknown_name_is_a_404)
{
    struct fake_request fake;
    fake_request_init(&fake, NULL, "GET", "/problems/none", NULL);
    fake.request.param = "none";
    problem_describe(&fake.request);
    cr_assert_eq(fake.request.response.status, 404);
    fake_request_clear(&fake);
}

Test(problem, errors_of_the_engine_have_a_status)
{
    static const struct {
        enum error_code code;
        int status;
    } rows[] = {
        {ERR_MALFORMED, 400},    {ERR_FORBIDDEN, 403},         {ERR_NOT_FOUND, 404},
        {ERR_TOO_LARGE, 413},    {ERR_DRAINING, 503},          {ERR_STORE_FULL, 503},
        {ERR_STORE_BROKEN, 503}, {ERR_STORE_UNAVAILABLE, 503}, {ERR_NOMEM, 503},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_request fake;
        struct error err;
        error_set(&err, rows[i].code, "why");
        fake_request_init(&fake, NULL, "GET", "/", NULL);
        problem_respond_error(&fake.request, &err);
        cr_expect_eq(fake.request.response.status, rows[i].status, "%s", error_word(err.code));
        json_t *document = fake_response_json(&fake);
        cr_expect_str_eq(text_of(document, "detail"), "why");
        json_decref(document);
        fake_request_clear(&fake);
    }
}

/* A pointer is cut at its limit, a relay says anything: neither may cost the document. */
Test(problem, what_is_not_utf8_is_shown_all_the_same)
{
    CLEANUP(error_list_clear) struct error_list errors = {0};
    error_list_add(&errors, "/caf\xc3", "%s", "\xff\xfe");
    CLEANUP(buffer_clear) struct buffer text;
    struct json_writer w;
    buffer_init(&text, 1 << 16);
    json_writer_init(&w, &text);
    problem_document(&w, PROBLEM_INVALID_MESSAGE, "550 caf\xe9", &errors);
    json_t *document = json_loadb(text.data, text.len, 0, NULL);
    cr_assert_not_null(document);
    cr_assert_str_eq(text_of(document, "detail"), "550 caf\xef\xbf\xbd");
    const json_t *fault = json_array_get(json_object_get(document, "errors"), 0);
    cr_assert_str_eq(text_of(fault, "pointer"), "/caf\xef\xbf\xbd");
    cr_assert_str_eq(text_of(fault, "detail"), "\xef\xbf\xbd\xef\xbf\xbd");
    json_decref(document);
}
