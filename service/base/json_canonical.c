#include "base/json_canonical.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"

struct canon {
    struct arena *arena;
    json_sink *sink;
    void *arg;
};

static void put(const struct canon *c, const char *text)
{
    c->sink(c->arg, text, strlen(text));
}

/* How much of a string stands as it is: what is not ASCII, too. */
static size_t literal_run(const char *s, size_t len)
{
    size_t n = json_plain_run(s, len);
    while (n < len && (unsigned char)s[n] >= 0x80) {
        n++;
        n += json_plain_run(s + n, len - n);
    }
    return n;
}

static void put_string(const struct canon *c, const char *s, size_t len)
{
    put(c, "\"");
    while (len > 0) {
        char escape[JSON_ESCAPE_MAX];
        size_t run = literal_run(s, len);
        c->sink(c->arg, s, run);
        if (run == len)
            break;
        c->sink(c->arg, escape, json_escape((unsigned char)s[run], escape));
        s += run + 1;
        len -= run + 1;
    }
    put(c, "\"");
}

/* -0 is 0, 1.50 is 1.5, 1e2 is 100.0. */
static void put_number(const struct canon *c, const char *number)
{
    char text[JSON_NUMBER_SIZE];
    if (strpbrk(number, ".eE") != NULL)
        json_format_real(strtod(number, NULL), 17, text);
    else
        snprintf(text, sizeof(text), "%" PRId64, (int64_t)strtoll(number, NULL, 10));
    put(c, text);
}

static bool put_value(const struct canon *c, const struct json_value *value);

static bool put_array(const struct canon *c, const struct json_value *array)
{
    put(c, "[");
    for (const struct json_value *e = array->first; e != NULL; e = e->next) {
        if (!put_value(c, e))
            return false;
        if (e->next != NULL)
            put(c, ",");
    }
    put(c, "]");
    return true;
}

static bool put_object(const struct canon *c, const struct json_value *object)
{
    const struct json_value **members = json_members_sorted(c->arena, object);
    if (members == NULL)
        return false;
    put(c, "{");
    for (size_t i = 0; i < object->n; i++) {
        if (i > 0)
            put(c, ",");
        put_string(c, members[i]->key, strlen(members[i]->key));
        put(c, ":");
        if (!put_value(c, members[i]))
            return false;
    }
    put(c, "}");
    return true;
}

static bool put_value(const struct canon *c, const struct json_value *value)
{
    switch (value->kind) {
    case JSON_KIND_NULL:
        put(c, "null");
        return true;
    case JSON_KIND_FALSE:
        put(c, "false");
        return true;
    case JSON_KIND_TRUE:
        put(c, "true");
        return true;
    case JSON_KIND_NUMBER:
        put_number(c, value->text);
        return true;
    case JSON_KIND_STRING:
        put_string(c, value->text, value->len);
        return true;
    case JSON_KIND_ARRAY:
        return put_array(c, value);
    case JSON_KIND_OBJECT:
        return put_object(c, value);
    }
    return true;
}

bool json_canonical(struct arena *arena, const struct json_value *value, json_sink *sink, void *arg)
{
    const struct canon c = {.arena = arena, .sink = sink, .arg = arg};
    return put_value(&c, value);
}
