#include "api/guard.h"

#include <string.h>
#include <strings.h>

static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", s[i]) != NULL)
            return false;
    return len > 0;
}

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

void guard_field(struct guard *guard, const char *name, size_t name_len, const char *value,
                 size_t value_len)
{
    value = value != NULL ? value : "";
    guard->octets += name_len + value_len + strlen(": \r\n");
    if (!is_token(name, name_len) || !is_field_value(value, value_len)) {
        guard->malformed = true;
    } else if (is(name, name_len, "Content-Length")) {
        guard->n_length++;
        if (value_len == 0 || strspn(value, "0123456789") != value_len)
            guard->malformed = true;
        guard->empty = strspn(value, "0") == value_len;
    } else if (is(name, name_len, "Transfer-Encoding")) {
        guard->n_encoding++;
        if (!is(value, value_len, "chunked"))
            guard->malformed = true;
    } else if (is(name, name_len, "Host")) {
        guard->n_host++;
        if (strcspn(value, " \t,/?#@\\") != value_len)
            guard->malformed = true;
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
    return NULL;
}

bool guard_has_body(const struct guard *guard)
{
    return guard->n_encoding > 0 || (guard->n_length > 0 && !guard->empty);
}

bool guard_is_json(const char *content_type)
{
    static const char wanted[] = "application/json";
    const size_t n = sizeof(wanted) - 1;
    if (content_type == NULL || strncasecmp(content_type, wanted, n) != 0)
        return false;
    const char *rest = content_type + n + strspn(content_type + n, " \t");
    if (*rest == '\0')
        return true;
    if (*rest != ';')
        return false;
    rest += 1 + strspn(rest + 1, " \t");
    return *rest == '\0' || strcasecmp(rest, "charset=utf-8") == 0 ||
           strcasecmp(rest, "charset=\"utf-8\"") == 0;
}
