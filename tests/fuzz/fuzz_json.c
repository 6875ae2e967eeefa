/* What json_read() says of any octets is what jansson says: the same verdict, the same values, and
 * the same text made of them. */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json_canonical.h"
#include "base/json_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH = 100 };

static void require(bool good)
{
    if (!good)
        abort();
}

/* --- the same values ---------------------------------------------------------------------- */

static void compare(const struct json_value *ours, const json_t *theirs);

static void compare_number(const struct json_value *ours, const json_t *theirs)
{
    if (json_is_integer(theirs))
        require(strtoll(ours->text, NULL, 10) == json_integer_value(theirs));
    else
        require(json_is_real(theirs) && strtod(ours->text, NULL) == json_real_value(theirs));
}

static void compare_members(const struct json_value *ours, const json_t *theirs)
{
    void *at = json_object_iter((json_t *)theirs);
    require(json_is_object(theirs) && json_object_size(theirs) == ours->n);
    for (const struct json_value *m = ours->first; m != NULL; m = m->next) {
        require(strcmp(m->key, json_object_iter_key(at)) == 0); /* in this order, too */
        compare(m, json_object_iter_value(at));
        at = json_object_iter_next((json_t *)theirs, at);
    }
}

static void compare_elements(const struct json_value *ours, const json_t *theirs)
{
    size_t i = 0;
    require(json_is_array(theirs) && json_array_size(theirs) == ours->n);
    for (const struct json_value *e = ours->first; e != NULL; e = e->next)
        compare(e, json_array_get(theirs, i++));
}

static void compare(const struct json_value *ours, const json_t *theirs)
{
    require(theirs != NULL);
    switch (ours->kind) {
    case JSON_KIND_NULL:
        require(json_is_null(theirs));
        break;
    case JSON_KIND_FALSE:
        require(json_is_false(theirs));
        break;
    case JSON_KIND_TRUE:
        require(json_is_true(theirs));
        break;
    case JSON_KIND_NUMBER:
        compare_number(ours, theirs);
        break;
    case JSON_KIND_STRING:
        require(json_is_string(theirs) && json_string_length(theirs) == ours->len &&
                memcmp(json_string_value(theirs), ours->text, ours->len + 1) == 0);
        break;
    case JSON_KIND_ARRAY:
        compare_elements(ours, theirs);
        break;
    case JSON_KIND_OBJECT:
        compare_members(ours, theirs);
        break;
    }
}

/* --- the same text ------------------------------------------------------------------------ */

static void append(void *arg, const char *text, size_t len)
{
    buffer_append(arg, text, len);
}

static void compare_canonical(struct arena *arena, const struct json_value *ours,
                              const json_t *theirs)
{
    CLEANUP(buffer_clear) struct buffer text;
    char *wanted = json_dumps(theirs, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    buffer_init(&text, 64 << 20);
    require(wanted != NULL && json_canonical(arena, ours, append, &text) && !text.failed);
    require(text.len == strlen(wanted) && memcmp(text.data, wanted, text.len) == 0);
    free(wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_limits limits = {.depth = DEPTH, .values = SIZE_MAX};
    enum json_fault fault;
    size_t offset;
    json_error_t why = {0};
    CLEANUP(arena_free) struct arena *arena = arena_new();
    char *text = malloc(size); /* of just this size: an octet read beyond it is seen */
    require(arena != NULL && (text != NULL || size == 0));
    if (size > 0)
        memcpy(text, data, size);
    const struct json_value *ours = json_read(arena, text, size, &limits, &fault, &offset);
    json_t *theirs = json_loadb((const char *)data, size,
                                JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    require(offset <= size && (ours == NULL) == (fault != JSON_FAULT_NONE));
    /* jansson loses a NUL that stands behind a number. */
    bool has_nul = size > 0 && memchr(data, '\0', size) != NULL;
    if (ours != NULL) {
        compare(ours, theirs);
        compare_canonical(arena, ours, theirs);
    } else if (fault != JSON_FAULT_TOO_DEEP && !has_nul) {
        require(theirs == NULL);
    }
    json_decref(theirs);
    free(text);
    return 0;
}
