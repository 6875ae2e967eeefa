#include "base/json_write.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/utf8.h"

void json_writer_init(struct json_writer *w, struct buffer *out)
{
    *w = (struct json_writer){.out = out};
}

static void begin_line(struct json_writer *w)
{
    if (w->indented)
        buffer_printf(w->out, "\n%*s", (int)(2 * w->depth), "");
}

static void begin_value(struct json_writer *w)
{
    if (!w->behind_key && w->follows)
        buffer_append_char(w->out, ',');
    if (!w->behind_key && w->depth > 0)
        begin_line(w);
    w->behind_key = false;
    w->follows = true;
}

/* --- objects and arrays ------------------------------------------------------------------- */

static void begin(struct json_writer *w, char bracket)
{
    begin_value(w);
    buffer_append_char(w->out, bracket);
    w->follows = false;
    w->depth++;
}

static void end(struct json_writer *w, char bracket)
{
    assert(w->depth > 0 && !w->behind_key);
    w->depth--;
    if (w->follows)
        begin_line(w);
    buffer_append_char(w->out, bracket);
    w->follows = true;
}

void json_begin_object(struct json_writer *w)
{
    begin(w, '{');
}

void json_end_object(struct json_writer *w)
{
    end(w, '}');
}

void json_begin_array(struct json_writer *w)
{
    begin(w, '[');
}

void json_end_array(struct json_writer *w)
{
    end(w, ']');
}

/* --- strings ------------------------------------------------------------------------------ */

static void put_quoted(struct buffer *out, const char *s, size_t len)
{
    buffer_append_char(out, '"');
    for (size_t i = 0; i < len;) {
        size_t run = json_plain_run(s + i, len - i);
        buffer_append(out, s + i, run);
        i += run;
        if (i == len)
            break;
        char escape[JSON_ESCAPE_MAX];
        uint32_t c;
        size_t taken = utf8_code_point(s + i, len - i, &c);
        if (taken == 1)
            buffer_append(out, escape, json_escape((unsigned char)s[i], escape));
        else if (taken > 1)
            buffer_append(out, s + i, taken);
        else
            buffer_append_str(out, "\xef\xbf\xbd");
        i += taken > 0 ? taken : 1;
    }
    buffer_append_char(out, '"');
}

void json_key(struct json_writer *w, const char *key)
{
    assert(w->depth > 0 && !w->behind_key);
    begin_value(w);
    put_quoted(w->out, key, strlen(key));
    buffer_append_str(w->out, w->indented ? ": " : ":");
    w->behind_key = true;
}

void json_put_stringn(struct json_writer *w, const char *s, size_t len)
{
    begin_value(w);
    put_quoted(w->out, s, len);
}

void json_put_string(struct json_writer *w, const char *s)
{
    if (s != NULL)
        json_put_stringn(w, s, strlen(s));
    else
        json_put_null(w);
}

/* --- other values ------------------------------------------------------------------------- */

void json_put_json(struct json_writer *w, const char *text)
{
    begin_value(w);
    buffer_append_str(w->out, text);
}

void json_put_null(struct json_writer *w)
{
    json_put_json(w, "null");
}

void json_put_bool(struct json_writer *w, bool value)
{
    json_put_json(w, value ? "true" : "false");
}

void json_put_integer(struct json_writer *w, int64_t value)
{
    begin_value(w);
    buffer_printf(w->out, "%" PRId64, value);
}

void json_put_number(struct json_writer *w, double value)
{
    char text[JSON_NUMBER_SIZE];
    json_format_real(value, 9, text);
    json_put_json(w, text);
}

void json_put_time(struct json_writer *w, int64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];
    if (wall_ms == 0) {
        json_put_null(w);
        return;
    }
    clock_format_rfc3339(wall_ms, text);
    json_put_string(w, text);
}

/* --- members ------------------------------------------------------------------------------ */

void json_member_string(struct json_writer *w, const char *key, const char *s)
{
    json_key(w, key);
    json_put_string(w, s);
}

void json_member_integer(struct json_writer *w, const char *key, int64_t value)
{
    json_key(w, key);
    json_put_integer(w, value);
}

void json_member_number(struct json_writer *w, const char *key, double value)
{
    json_key(w, key);
    json_put_number(w, value);
}

void json_member_bool(struct json_writer *w, const char *key, bool value)
{
    json_key(w, key);
    json_put_bool(w, value);
}

void json_member_null(struct json_writer *w, const char *key)
{
    json_key(w, key);
    json_put_null(w);
}

void json_member_time(struct json_writer *w, const char *key, int64_t wall_ms)
{
    json_key(w, key);
    json_put_time(w, wall_ms);
}

void json_member_json(struct json_writer *w, const char *key, const char *text)
{
    json_key(w, key);
    json_put_json(w, text);
}
