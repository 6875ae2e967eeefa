#include "config/units.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A century: whatever is added to now stays far from the end of the numbers. */
static const uint64_t DURATION_MAX_MS = UINT64_C(36500) * 86400000;
enum { RATE_DIGITS_MAX = 9 };

struct unit {
    const char *word;
    uint64_t factor;
};

static int parse(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (end == text || text[0] < '0' || text[0] > '9' || errno != 0)
        return -1;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < n; i++)
        if (strcmp(end, units[i].word) == 0 && number <= INT64_MAX / units[i].factor) {
            *out = number * units[i].factor;
            return 0;
        }
    if (number == 0 && *end == '\0') {
        *out = 0;
        return 0;
    }
    return -1;
}

int units_duration_ms(const char *text, int64_t *ms_out)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t ms;
    if (parse(text, units, sizeof(units) / sizeof(units[0]), &ms) < 0)
        return -1;
    if (ms > DURATION_MAX_MS)
        return -1;
    *ms_out = (int64_t)ms;
    return 0;
}

int units_size(const char *text, uint64_t *bytes_out)
{
    static const struct unit units[] = {{"", 1},          {"B", 1},          {"KiB", 1 << 10},
                                        {"MiB", 1 << 20}, {"GiB", 1 << 30},  {"KB", 1000},
                                        {"MB", 1000000},  {"GB", 1000000000}};
    return parse(text, units, sizeof(units) / sizeof(units[0]), bytes_out);
}

int units_rate(const char *text, int64_t *n_out, int64_t *per_ms_out)
{
    static const struct unit units[] = {
        {"/s", 1000}, {"/m", 60000}, {"/h", 3600000}, {"/d", 86400000}};
    size_t n_digits = strspn(text, "0123456789");
    if (n_digits == 0 || n_digits > RATE_DIGITS_MAX)
        return -1;
    int64_t n = strtoll(text, NULL, 10);
    for (size_t i = 0; n > 0 && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(text + n_digits, units[i].word) == 0) {
            *n_out = n;
            *per_ms_out = (int64_t)units[i].factor;
            return 0;
        }
    return -1;
}
