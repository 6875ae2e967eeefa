#include "config/units.h"

#include <criterion/criterion.h>
#include <inttypes.h>

static const int64_t UNTOUCHED = -7;

Test(units, durations)
{
    static const struct {
        const char *text;
        int64_t ms; /* UNTOUCHED: refused */
    } rows[] = {
        {"0", 0},
        {"0s", 0},
        {"1ms", 1},
        {"30s", 30000},
        {"30 s", 30000},
        {"5m", 300000},
        {"24h", 86400000},
        {"7d", 604800000},
        {"36500d", INT64_C(3153600000000)},
        {"36501d", -7},
        {"", -7},
        {"s", -7},
        {"30", -7}, /* of what? */
        {"-30s", -7},
        {"+30s", -7},
        {" 30s", -7},
        {"30s ", -7},
        {"30S", -7},
        {"30sec", -7},
        {"1h30m", -7},
        {"1.5h", -7},
        {"1e3s", -7},
        {"0x10s", -7},
        {"30y", -7},
        {"9223372036854775807ms", -7},
        {"18446744073709551615s", -7},
        {"18446744073709551616ms", -7},
        {"99999999999999999999999d", -7},
        {"213503982335d", -7}, /* which is 0.6 s, modulo 2^64 ms */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t ms = UNTOUCHED;
        int rc = units_duration_ms(rows[i].text, &ms);
        cr_expect_eq(rc, rows[i].ms == UNTOUCHED ? -1 : 0, "%s", rows[i].text);
        cr_expect_eq(ms, rows[i].ms, "%s: %" PRId64, rows[i].text, ms);
    }
}

Test(units, sizes)
{
    static const uint64_t none = 7;
    static const struct {
        const char *text;
        uint64_t bytes; /* 7: refused */
    } rows[] = {
        {"0", 0},
        {"1", 1},
        {"1B", 1},
        {"512KiB", 512 << 10},
        {"25MiB", 25 << 20},
        {"25 MiB", 25 << 20},
        {"2GiB", UINT64_C(2) << 30},
        {"5KB", 5000},
        {"5MB", 5000000},
        {"5GB", UINT64_C(5000000000)},
        {"9223372036854775807", INT64_MAX},
        {"9223372036854775808", 7},
        {"8589934591GiB", UINT64_C(8589934591) << 30},
        {"8589934592GiB", 7},
        {"18446744073709551617", 7},
        {"", 7},
        {"-1", 7},
        {"+1", 7},
        {"KiB", 7},
        {"1K", 7}, /* 1000 or 1024? */
        {"1kb", 7},
        {"1TiB", 7},
        {"1.5MiB", 7},
        {"1MiB ", 7},
        {"1MiBx", 7},
        {"0x10", 7},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t bytes = none;
        int rc = units_size(rows[i].text, &bytes);
        cr_expect_eq(rc, rows[i].bytes == none ? -1 : 0, "%s", rows[i].text);
        cr_expect_eq(bytes, rows[i].bytes, "%s: %" PRIu64, rows[i].text, bytes);
    }
}

Test(units, rates)
{
    static const struct {
        const char *text;
        int64_t n, per_ms; /* 0: refused */
    } rows[] = {
        {"1/s", 1, 1000},
        {"100/s", 100, 1000},
        {"30/m", 30, 60000},
        {"1000/h", 1000, 3600000},
        {"10000/d", 10000, 86400000},
        {"999999999/d", 999999999, 86400000},
        {"007/s", 7, 1000},
        {"1000000000/d", 0, 0},
        {"18446744073709551617/s", 0, 0},
        {"0/s", 0, 0}, /* nothing would ever go */
        {"", 0, 0},
        {"/", 0, 0},
        {"30", 0, 0}, /* in what time? */
        {"30/", 0, 0},
        {"/m", 0, 0},
        {"-30/m", 0, 0},
        {"+30/m", 0, 0},
        {" 30/m", 0, 0},
        {"30/m ", 0, 0},
        {"30 /m", 0, 0},
        {"30/ m", 0, 0},
        {"30/M", 0, 0},
        {"30/min", 0, 0},
        {"30/5m", 0, 0},
        {"1.5/s", 0, 0},
        {"30m", 0, 0},
        {"30/y", 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t n = 0, per_ms = 0;
        int rc = units_rate(rows[i].text, &n, &per_ms);
        cr_expect_eq(rc, rows[i].n != 0 ? 0 : -1, "%s", rows[i].text);
        cr_expect_eq(n, rows[i].n, "%s: %" PRId64, rows[i].text, n);
        cr_expect_eq(per_ms, rows[i].per_ms, "%s: %" PRId64, rows[i].text, per_ms);
    }
}
