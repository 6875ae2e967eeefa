#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A peer's words may stand in a detail; they must not steer a terminal or break a log line. */
static void make_harmless(char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
}

static void format_detail(struct error *err, const char *format, va_list args)
{
    vsnprintf(err->detail, sizeof(err->detail), format, args);
    make_harmless(err->detail);
}

int error_set(struct error *err, enum error_code code, const char *format, ...)
{
    if (err == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    err->code = code;
    err->where[0] = '\0';
    format_detail(err, format, args);
    va_end(args);
    return -1;
}

int error_at(struct error *err, const char *format, ...)
{
    if (err == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(err->where, sizeof(err->where), format, args);
    make_harmless(err->where);
    va_end(args);
    return -1;
}

const char *error_word(enum error_code code)
{
    switch (code) {
#define X(name, word)                                                                              \
    case name:                                                                                     \
        return word;
        ERROR_CODES(X)
#undef X
    }
    return "unknown";
}

int error_list_add(struct error_list *list, const char *where, const char *format, ...)
{
    list->n_total++;
    if (list->n_items == ERROR_LIST_MAX)
        return -1;
    if (list->items == NULL)
        list->items = calloc(ERROR_LIST_MAX, sizeof(*list->items));
    if (list->items == NULL) /* n_total still says that the document is not fit */
        return -1;

    struct error *item = &list->items[list->n_items++];
    va_list args;
    va_start(args, format);
    item->code = ERR_INVALID;
    snprintf(item->where, sizeof(item->where), "%s", where);
    make_harmless(item->where);
    format_detail(item, format, args);
    va_end(args);
    return -1;
}

void error_list_clear(struct error_list *list)
{
    free(list->items);
    memset(list, 0, sizeof(*list));
}
