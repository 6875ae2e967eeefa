#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"

void json_writer_init(struct json_writer *w, struct buffer *out)
{
    *w = (struct json_writer){.out = out};
}

static void begin_value(struct json_writer *w)
{
    if (w->follows)
        buffer_append_char(w->out, ',');
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
    assert(w->depth > 0);
    w->depth--;
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

void json_key(struct json_writer *w, const char *key)
{
    assert(w->depth > 0);
    size_t len = strlen(key);
    begin_value(w);
    char *to = buffer_reserve(w->out, len + 3);
    if (to != NULL) {
        to[0] = '"';
        memcpy(to + 1, key, len);
        memcpy(to + 1 + len, "\":", 2);
        buffer_grown(w->out, len + 3);
    }
    w->follows = false;
}

/* --- strings ------------------------------------------------------------------------------ */

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escape(struct buffer *out, unsigned char c)
{
    static const char short_forms[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char letter = c == '"' || c == '\\' ? (char)c : c < 0x20 ? short_forms[c] : '\0';
    if (letter != '\0')
        buffer_append(out, (char[]){'\\', letter}, 2);
    else
        buffer_printf(out, "\\u%04x", c);
}

void json_put_stringn(struct json_writer *w, const char *s, size_t len)
{
    begin_value(w);
    buffer_append_char(w->out, '"');
    for (size_t i = 0; i < len;) {
        size_t run = i;
        while (run < len && is_plain((unsigned char)s[run]))
            run++;
        buffer_append(w->out, s + i, run - i);
        i = run;
        if (i == len)
            break;
        uint32_t c;
        size_t taken = utf8_code_point(s + i, len - i, &c);
        if (taken == 1)
            put_escape(w->out, (unsigned char)s[i]);
        else if (taken > 1)
            buffer_append(w->out, s + i, taken);
        else
            buffer_append_str(w->out, "\xef\xbf\xbd");
        i += taken > 0 ? taken : 1;
    }
    buffer_append_char(w->out, '"');
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
    assert(isfinite(value));
    begin_value(w);
    buffer_printf(w->out, "%.9g", value);
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
