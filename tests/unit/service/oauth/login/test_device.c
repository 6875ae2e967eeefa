#include "oauth/login/device.h"

#include <criterion/criterion.h>
#include <string.h>

#define CODES "\"device_code\":\"D\",\"user_code\":\"AB-CD\",\"verification_uri\":\"https://x/y\""

Test(device, codes)
{
    static const struct {
        const char *body;
        int64_t life_ms, interval_ms;
    } rows[] = {
        {"{" CODES ",\"expires_in\":600,\"interval\":7}", 600000, 7000},
        {"{" CODES "}", 900000, 5000},
        {"{" CODES ",\"expires_in\":-1,\"interval\":0}", 1000, 1000},
        {"{" CODES ",\"expires_in\":9223372036854775807,\"interval\":9223372036854775807}", 3600000,
         60000},
        {"{" CODES ",\"expires_in\":\"soon\",\"interval\":1.5}", 900000, 5000},
        {"{\"device_code\":\"D\",\"user_code\":\"AB-CD\",\"verification_url\":\"https://x/y\"}",
         900000, 5000},                            /* Google's spelling */
        {"\xef\xbb\xbf{" CODES "}", 900000, 5000}, /* a byte order mark (RFC 8259, 8.1) */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct device d;
        struct error err = {0};
        cr_assert_eq(device_parse(200, rows[i].body, strlen(rows[i].body), 1000, &d, &err), 0,
                     "%s: %s", rows[i].body, err.detail);
        cr_expect_str_eq(d.code, "D");
        cr_expect_str_eq(d.user_code, "AB-CD");
        cr_expect_str_eq(d.verification_uri, "https://x/y");
        cr_expect_eq(d.expires_ms, 1000 + rows[i].life_ms, "%s", rows[i].body);
        cr_expect_eq(device_wait_ms(&d), rows[i].interval_ms, "%s", rows[i].body);
    }
}

Test(device, codes_of_no_use)
{
    static const struct {
        int status;
        const char *body;
        enum error_code code;
    } rows[] = {
        {200, "", ERR_TOKEN_UNAVAILABLE},
        {200, "<html>", ERR_TOKEN_UNAVAILABLE},
        {200, "[]", ERR_TOKEN_UNAVAILABLE},
        {200, "{\"device_code\":\"D\",\"user_code\":\"U\"}", ERR_TOKEN_UNAVAILABLE},
        {200, "{" CODES ",\"user_code\":\"twice\"}", ERR_TOKEN_UNAVAILABLE},
        {200, "{\"device_code\":\"D\",\"user_code\":\"\\u001b[2J\",\"verification_uri\":\"u\"}",
         ERR_TOKEN_UNAVAILABLE}, /* for the terminal of a person */
        {200, "{\"device_code\":\"D\",\"user_code\":\"\",\"verification_uri\":\"u\"}",
         ERR_TOKEN_UNAVAILABLE},
        {200, "{\"device_code\":1,\"user_code\":\"U\",\"verification_uri\":\"u\"}",
         ERR_TOKEN_UNAVAILABLE},
        {302, "{" CODES "}", ERR_TOKEN_UNAVAILABLE},
        {503, "", ERR_TOKEN_UNAVAILABLE},
        {400, "{\"error\":\"invalid_scope\"}", ERR_TOKEN_REFUSED},
        {200, "{\"error\":\"invalid_client\"}", ERR_TOKEN_REFUSED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct device d = {.user_code = "untouched"};
        struct error err = {0};
        cr_expect_eq(device_parse(rows[i].status, rows[i].body, strlen(rows[i].body), 0, &d, &err),
                     -1, "%s", rows[i].body);
        cr_expect_eq(err.code, rows[i].code, "%s: %s", rows[i].body, err.detail);
        cr_expect_str_eq(d.user_code, "untouched");
    }
}

static enum device_verdict judge(struct device *d, int status, const char *body, struct error *err)
{
    return device_judge(d, status, body, strlen(body), err);
}

Test(device, polls)
{
    static const struct {
        int status;
        const char *body;
        enum device_verdict verdict;
        int64_t wait_ms;
    } rows[] = {
        {200, "whatever", DEVICE_GRANTED, 5000},
        {400, "{\"error\":\"authorization_pending\"}", DEVICE_PENDING, 5000},
        {400, "{\"error\":\"slow_down\"}", DEVICE_PENDING, 10000},
        {401, "{\"error\":\"authorization_pending\"}", DEVICE_PENDING, 5000},
        {400, "{\"error\":\"access_denied\"}", DEVICE_FAILED, 5000},
        {400, "{\"error\":\"authorization_declined\"}", DEVICE_FAILED, 5000},
        {400, "{\"error\":\"expired_token\"}", DEVICE_FAILED, 5000},
        {400, "{\"error\":\"bad_verification_code\"}", DEVICE_FAILED, 5000},
        {503, "", DEVICE_PENDING, 10000},
        {503, "{\"error\":\"access_denied\"}", DEVICE_PENDING, 10000},
        {429, "{\"error\":\"x\"}", DEVICE_PENDING, 10000},
        {302, "", DEVICE_PENDING, 10000},
        {400, "<html>", DEVICE_PENDING, 10000},
        {400, "\xef\xbb\xbf{\"error\":\"access_denied\"}", DEVICE_FAILED, 5000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct device d = {.interval_ms = 5000};
        struct error err = {0};
        cr_expect_eq(judge(&d, rows[i].status, rows[i].body, &err), rows[i].verdict, "%s",
                     rows[i].body);
        cr_expect_eq(device_wait_ms(&d), rows[i].wait_ms, "%d %s", rows[i].status, rows[i].body);
        cr_expect_eq(err.code, rows[i].verdict == DEVICE_FAILED ? ERR_TOKEN_REFUSED : ERR_NONE);
    }
}

/* RFC 8628, 3.5: each outage in a row doubles the wait, within reason; an answer ends that. */
Test(device, outages_in_a_row)
{
    static const int64_t waits_ms[] = {10000, 20000, 40000, 60000, 60000};
    struct device d = {.interval_ms = 5000};
    struct error err;
    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
        device_set_back(&d);
        cr_expect_eq(device_wait_ms(&d), waits_ms[i], "%zu", i);
    }
    judge(&d, 400, "{\"error\":\"slow_down\"}", &err);
    cr_expect_eq(device_wait_ms(&d), 10000, "slow_down stays for all polls after it");
    judge(&d, 400, "{\"error\":\"authorization_pending\"}", &err);
    cr_expect_eq(device_wait_ms(&d), 10000);
}
