#include "base/json_read.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/utf8.h"

struct reading {
    struct arena *arena;
    char *text; /* the first octet */
    char *at;   /* the next one */
    char *end;
    const struct json_limits *limits;
    size_t depth, n_values;
    enum json_fault fault;
    const char *fault_at;
};

static bool fail_at(struct reading *r, enum json_fault fault, const char *at)
{
    r->fault = fault;
    r->fault_at = at;
    return false;
}

/* What stands there cannot stand there; at the end of all, it is what is missing. */
static bool unexpected(struct reading *r)
{
    return fail_at(r, r->at < r->end ? JSON_FAULT_SYNTAX : JSON_FAULT_CUT_OFF, r->at);
}

static void skip_blanks(struct reading *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static bool next_is(const struct reading *r, char c)
{
    return r->at < r->end && *r->at == c;
}

/* --- strings ------------------------------------------------------------------------------ */

static bool read_hex4(struct reading *r, uint32_t *value_out)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        if (r->at == r->end)
            return unexpected(r);
        char c = *r->at;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return unexpected(r);
        value = value << 4 | digit;
    }
    *value_out = value;
    return true;
}

/* Never longer than the escape that it came as. */
static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* Behind "\u". */
static bool read_code_point(struct reading *r, char **to)
{
    const char *begin = r->at - 2;
    uint32_t c, low;
    if (!read_hex4(r, &c))
        return false;
    if (c >= 0xdc00 && c < 0xe000)
        return fail_at(r, JSON_FAULT_SURROGATE, begin);
    if (c >= 0xd800 && c < 0xdc00) {
        if (r->end - r->at < 2 || memcmp(r->at, "\\u", 2) != 0)
            return fail_at(r, JSON_FAULT_SURROGATE, begin);
        r->at += 2;
        if (!read_hex4(r, &low))
            return false;
        if (low < 0xdc00 || low >= 0xe000)
            return fail_at(r, JSON_FAULT_SURROGATE, begin);
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *to = put_utf8(*to, c);
    return true;
}

/* Behind the backslash. */
static bool read_escape(struct reading *r, char **to)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return unexpected(r);
    char c = *r->at;
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    if (letter != NULL) {
        *(*to)++ = meanings[letter - letters];
        r->at++;
        return true;
    }
    if (c != 'u')
        return unexpected(r);
    r->at++;
    return read_code_point(r, to);
}

/* One octet that is not plain, and not the closing quote. */
static bool read_special(struct reading *r, char **to)
{
    uint32_t c;
    if (*r->at == '\\') {
        r->at++;
        return read_escape(r, to);
    }
    if ((unsigned char)*r->at < 0x20)
        return unexpected(r);
    size_t n = utf8_code_point(r->at, (size_t)(r->end - r->at), &c);
    if (n == 0)
        return fail_at(r, JSON_FAULT_UTF8, r->at);
    memmove(*to, r->at, n);
    *to += n;
    r->at += n;
    return true;
}

/* From the opening quote; the NUL takes the closing one's place, or an earlier one. */
static bool read_string(struct reading *r, const char **text_out, size_t *len_out)
{
    assert(next_is(r, '"'));
    char *text = ++r->at, *to = text;
    for (;;) {
        size_t run = json_plain_run(r->at, (size_t)(r->end - r->at));
        if (to != r->at)
            memmove(to, r->at, run);
        to += run;
        r->at += run;
        if (r->at == r->end)
            return unexpected(r);
        if (*r->at == '"')
            break;
        if (!read_special(r, &to))
            return false;
    }
    r->at++;
    *to = '\0';
    *text_out = text;
    *len_out = (size_t)(to - text);
    return true;
}

/* --- numbers and words -------------------------------------------------------------------- */

static bool skip_digits(struct reading *r)
{
    if (r->at == r->end || *r->at < '0' || *r->at > '9')
        return unexpected(r);
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return true;
}

/* An integer is what has neither fraction nor exponent. */
static bool is_too_large(const char *number)
{
    if (strpbrk(number, ".eE") != NULL)
        return isinf(strtod(number, NULL));
    errno = 0;
    (void)strtoll(number, NULL, 10);
    return errno == ERANGE;
}

static bool read_number(struct reading *r, struct json_value *value)
{
    const char *begin = r->at;
    value->kind = JSON_KIND_NUMBER;
    if (next_is(r, '-'))
        r->at++;
    if (next_is(r, '0'))
        r->at++;
    else if (!skip_digits(r))
        return false;
    if (next_is(r, '.')) {
        r->at++;
        if (!skip_digits(r))
            return false;
    }
    if (next_is(r, 'e') || next_is(r, 'E')) {
        r->at++;
        if (next_is(r, '+') || next_is(r, '-'))
            r->at++;
        if (!skip_digits(r))
            return false;
    }
    value->len = (size_t)(r->at - begin);
    value->text = arena_strndup(r->arena, begin, value->len); /* what follows may be needed yet */
    if (value->text == NULL)
        return fail_at(r, JSON_FAULT_NOMEM, begin);
    return !is_too_large(value->text) || fail_at(r, JSON_FAULT_NUMBER, begin);
}

static bool read_word(struct reading *r, const char *word, enum json_kind kind,
                      struct json_value *value)
{
    value->kind = kind;
    for (; *word != '\0'; word++, r->at++)
        if (!next_is(r, *word))
            return unexpected(r);
    return true;
}

/* --- arrays and objects ------------------------------------------------------------------- */

static bool read_value(struct reading *r, struct json_value *value);

static struct json_value *new_value(struct reading *r)
{
    struct json_value *value = NULL;
    if (r->n_values > r->limits->values)
        fail_at(r, JSON_FAULT_TOO_MANY, r->at);
    else if ((value = arena_alloc(r->arena, sizeof(*value))) == NULL)
        fail_at(r, JSON_FAULT_NOMEM, r->at);
    else
        value->text = "";
    return value;
}

static bool read_key(struct reading *r, struct json_value *member)
{
    size_t len = 0;
    const char *begin = r->at;
    if (!next_is(r, '"'))
        return unexpected(r);
    if (!read_string(r, &member->key, &len))
        return false;
    if (memchr(member->key, '\0', len) != NULL)
        return fail_at(r, JSON_FAULT_NUL_IN_KEY, begin);
    skip_blanks(r);
    if (!next_is(r, ':'))
        return unexpected(r);
    r->at++;
    skip_blanks(r);
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    const struct json_value *const *left = a, *const *right = b;
    return strcmp((*left)->key, (*right)->key);
}

const struct json_value **json_members_sorted(struct arena *arena, const struct json_value *object)
{
    const struct json_value **members = arena_alloc_array(arena, object->n + 1, sizeof(*members));
    size_t n = 0;
    if (members == NULL)
        return NULL;
    for (const struct json_value *m = object->first; m != NULL; m = m->next)
        members[n++] = m;
    qsort(members, n, sizeof(*members), compare_keys);
    return members;
}

/* The second of two members with one key; NULL: there are none. */
static const struct json_value *find_twice_among_few(const struct json_value *object)
{
    for (const struct json_value *a = object->first; a != NULL; a = a->next)
        for (const struct json_value *b = a->next; b != NULL; b = b->next)
            if (strcmp(a->key, b->key) == 0)
                return b;
    return NULL;
}

/* So that an object of ten thousand keys costs no fifty million comparisons. */
static const struct json_value *find_twice(const struct json_value **sorted, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
            return sorted[i - 1]->key > sorted[i]->key ? sorted[i - 1] : sorted[i];
    return NULL;
}

static bool check_keys(struct reading *r, const struct json_value *object)
{
    enum { FEW = 12 };
    const struct json_value *twice = NULL;
    if (object->n <= FEW) {
        twice = find_twice_among_few(object);
    } else {
        const struct json_value **sorted = json_members_sorted(r->arena, object);
        if (sorted == NULL)
            return fail_at(r, JSON_FAULT_NOMEM, r->at);
        twice = find_twice(sorted, object->n);
    }
    return twice == NULL || fail_at(r, JSON_FAULT_DUPLICATE_KEY, twice->key - 1); /* its quote */
}

/* From the opening bracket. */
static bool read_list(struct reading *r, struct json_value *list, char close)
{
    struct json_value **end = &list->first;
    bool is_object = close == '}';
    list->kind = is_object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
    if (r->depth == r->limits->depth)
        return fail_at(r, JSON_FAULT_TOO_DEEP, r->at);
    r->depth++;
    r->at++;
    skip_blanks(r);
    for (bool more = !next_is(r, close); more;) {
        r->n_values += is_object ? 2 : 1;
        struct json_value *item = new_value(r);
        if (item == NULL || (is_object && !read_key(r, item)) || !read_value(r, item))
            return false;
        *end = item;
        end = &item->next;
        list->n++;
        skip_blanks(r);
        more = next_is(r, ',');
        r->at += more;
        skip_blanks(r);
    }
    if (!next_is(r, close))
        return unexpected(r);
    r->at++;
    r->depth--;
    return !is_object || check_keys(r, list);
}

static bool read_value(struct reading *r, struct json_value *value)
{
    if (r->at == r->end)
        return unexpected(r);
    switch (*r->at) {
    case '{':
        return read_list(r, value, '}');
    case '[':
        return read_list(r, value, ']');
    case '"':
        value->kind = JSON_KIND_STRING;
        return read_string(r, &value->text, &value->len);
    case 't':
        return read_word(r, "true", JSON_KIND_TRUE, value);
    case 'f':
        return read_word(r, "false", JSON_KIND_FALSE, value);
    case 'n':
        return read_word(r, "null", JSON_KIND_NULL, value);
    default:
        return *r->at == '-' || (*r->at >= '0' && *r->at <= '9') ? read_number(r, value)
                                                                 : unexpected(r);
    }
}

const struct json_value *json_read(struct arena *arena, char *text, size_t len,
                                   const struct json_limits *limits, enum json_fault *fault_out,
                                   size_t *offset_out)
{
    struct reading r = {
        .arena = arena, .text = text, .at = text, .end = text + len, .limits = limits};
    skip_blanks(&r);
    struct json_value *value = new_value(&r);
    bool good = value != NULL && read_value(&r, value);
    if (good) {
        skip_blanks(&r);
        good = r.at == r.end || fail_at(&r, JSON_FAULT_TRAILING, r.at);
    }
    *fault_out = r.fault;
    *offset_out = good ? 0 : (size_t)(r.fault_at - r.text);
    return good ? value : NULL;
}

/* --- looking ------------------------------------------------------------------------------ */

const struct json_value *json_member(const struct json_value *object, const char *key)
{
    const struct json_value *member = json_is(object, JSON_KIND_OBJECT) ? object->first : NULL;
    while (member != NULL && strcmp(member->key, key) != 0)
        member = member->next;
    return member;
}

bool json_is(const struct json_value *value, enum json_kind kind)
{
    return value != NULL && value->kind == kind;
}
