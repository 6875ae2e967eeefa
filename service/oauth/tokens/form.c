#include "oauth/tokens/form.h"

#include <assert.h>
#include <string.h>

static const char unchanged[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._*";

void form_add(struct form *form, const char *name, const char *value)
{
    if (value == NULL)
        return;
    assert(form->n_fields < FORM_FIELDS_MAX);
    form->fields[form->n_fields].name = name;
    form->fields[form->n_fields++].value = value;
}

static size_t encoded_len(const char *value)
{
    size_t len = 0;
    for (; *value != '\0'; value++)
        len += *value == ' ' || strchr(unchanged, *value) != NULL ? 1 : 3;
    return len;
}

/* Returns where it ended. */
static char *encode(const char *value, char *to)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == ' ') {
            *to++ = '+';
        } else if (strchr(unchanged, c) != NULL) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
    }
    return to;
}

/* Measured first: a text that grows would leave copies of secrets behind. */
char *form_encode(const struct form *form, struct arena *arena)
{
    size_t size = 1;
    for (size_t i = 0; i < form->n_fields; i++)
        size += encoded_len(form->fields[i].name) + encoded_len(form->fields[i].value) + 2;
    char *text = arena_alloc(arena, size), *to = text;
    for (size_t i = 0; to != NULL && i < form->n_fields; i++) {
        if (i > 0)
            *to++ = '&';
        to = encode(form->fields[i].name, to);
        *to++ = '=';
        to = encode(form->fields[i].value, to);
    }
    return text;
}

char *form_encode_value(const char *value, struct arena *arena)
{
    char *text = arena_alloc(arena, encoded_len(value) + 1);
    if (text != NULL)
        encode(value, text);
    return text;
}
