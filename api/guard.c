#include "api/guard.h"

#include <string.h>
#include <strings.h>

#include "api/field.h"

/* What a second line of would contradict or be ignored: whose request it is, which one it is, what
 * it holds. The order is that of the bits in `seen`. */
static const struct {
    const char *name, *fault;
} singletons[] = {
    {"Authorization", "Authorization must be given once at most."},
    {"Idempotency-Key", "Idempotency-Key must be given once at most."},
    {"Content-Type", "Content-Type must be given once at most."},
};

static bool is_field_value(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return true;
}

static bool is(const char *name, size_t len, const char *wanted)
{
    return len == strlen(wanted) && strncasecmp(name, wanted, len) == 0;
}

static void count(struct guard *guard, const char *name, size_t name_len)
{
    for (unsigned i = 0; i < sizeof(singletons) / sizeof(singletons[0]); i++) {
        if (!is(name, name_len, singletons[i].name))
            continue;
        if ((guard->seen & 1u << i) != 0)
            guard->twice = singletons[i].fault;
        guard->seen |= 1u << i;
    }
}

void guard_field(struct guard *guard, const char *name, size_t name_len, const char *value,
                 size_t value_len)
{
    value = value != NULL ? value : "";
    guard->octets += name_len + value_len + strlen(": \r\n");
    if (name_len == 0 || field_token_length(name) != name_len ||
        !is_field_value(value, value_len)) {
        guard->malformed = true;
    } else if (is(name, name_len, "Content-Length")) {
        guard->n_length++;
        if (value_len == 0 || strspn(value, "0123456789") != value_len)
            guard->malformed = true; /* the library does not get this far with such a one */
        guard->empty = strspn(value, "0") == value_len;
    } else if (is(name, name_len, "Transfer-Encoding")) {
        guard->n_encoding++;
        if (!is(value, value_len, "chunked")) /* as the library compares it: no blank behind it */
            guard->malformed = true;
    } else if (is(name, name_len, "Host")) {
        guard->n_host++;
        if (strcspn(value, " \t,/?#@\\") != field_trimmed(value, value_len))
            guard->malformed = true;
    } else {
        count(guard, name, name_len);
    }
}

const char *guard_fault(const struct guard *guard, const char *version)
{
    bool http_1_1 = strcmp(version, "HTTP/1.1") == 0;
    if (!http_1_1 && strcmp(version, "HTTP/1.0") != 0)
        return "Only HTTP/1.1 and HTTP/1.0 are spoken.";
    if (guard->malformed)
        return "A header field is not well-formed.";
    if (guard->n_length + guard->n_encoding > 1)
        return "The length of the body is stated more than once.";
    if (guard->n_encoding > 0 && !http_1_1)
        return "Transfer-Encoding is not for HTTP/1.0.";
    if (guard->n_host > 1 || (guard->n_host == 0 && http_1_1))
        return "Host must be given exactly once.";
    return guard->twice;
}

bool guard_has_body(const struct guard *guard)
{
    return guard->n_encoding > 0 || (guard->n_length > 0 && !guard->empty);
}

/* A parameter we do not know changes nothing (RFC 9110, 5.6.6; RFC 8259, 11). */
bool guard_is_json(const char *content_type)
{
    static const char wanted[] = "application/json";
    const size_t n = sizeof(wanted) - 1;
    if (content_type == NULL || strncasecmp(content_type, wanted, n) != 0)
        return false;
    const char *s = field_skip_blanks(content_type + n);
    while (*s == ';') {
        char value[16];
        s = field_skip_blanks(s + 1);
        size_t len = field_token_length(s);
        const char *name = s;
        if (len == 0)
            continue; /* nothing between two semicolons, or behind the last */
        s = field_skip_blanks(s + len);
        if (*s != '=')
            return false;
        s = field_skip_blanks(s + 1);
        if (!field_take_word(&s, value, sizeof(value)))
            return false;
        s = field_skip_blanks(s);
        if (is(name, len, "charset") && strcasecmp(value, "utf-8") != 0 &&
            strcasecmp(value, "utf8") != 0)
            return false;
    }
    return *s == '\0';
}
