#ifndef POSTERN_BASE_JSON_WRITE_H
#define POSTERN_BASE_JSON_WRITE_H

/*
 * JSON (RFC 8259) written forward: straight into a buffer, compact, no tree. Commas are set by the
 * writer, so a value is written the same wherever it stands:
 *
 *     json_begin_object(&w);
 *     json_key(&w, "status");
 *     json_put_string(&w, "queued");
 *     json_end_object(&w);
 *
 * or shorter, for a member: json_member_string(&w, "status", "queued").
 *
 * A writer never fails by itself. What the buffer could not take is remembered in
 * `out->failed`, to be looked at once, at the end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct json_writer {
    struct buffer *out; /* borrowed */
    bool indented;      /* for a person: each value on a line of its own; set behind init */
    bool follows;       /* a value stands before: a comma is due */
    bool behind_key;    /* its value is due */
    unsigned int depth; /* of open objects and arrays */
};

void json_writer_init(struct json_writer *w, struct buffer *out);

void json_begin_object(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);

/* Octets that are not UTF-8 become U+FFFD: a relay may say anything. NULL is null. */
void json_put_string(struct json_writer *w, const char *s);
void json_put_stringn(struct json_writer *w, const char *s, size_t len);
void json_put_integer(struct json_writer *w, int64_t value);
void json_put_number(struct json_writer *w, double value); /* finite; nine digits, 2.0 for 2 */
void json_put_bool(struct json_writer *w, bool value);
void json_put_null(struct json_writer *w);
void json_put_time(struct json_writer *w, int64_t wall_ms); /* RFC 3339; 0 is null */
/* A value that is JSON already. */
void json_put_json(struct json_writer *w, const char *text);

void json_member_string(struct json_writer *w, const char *key, const char *s);
void json_member_integer(struct json_writer *w, const char *key, int64_t value);
void json_member_number(struct json_writer *w, const char *key, double value);
void json_member_bool(struct json_writer *w, const char *key, bool value);
void json_member_null(struct json_writer *w, const char *key);
void json_member_time(struct json_writer *w, const char *key, int64_t wall_ms);
void json_member_json(struct json_writer *w, const char *key, const char *text);

#endif
