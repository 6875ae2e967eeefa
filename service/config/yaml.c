#include "config/yaml.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 32, NODES_MAX = 100000 };

struct yaml_lines {
    json_t *by_path; /* path -> line */
};

struct loader {
    yaml_parser_t parser;
    struct yaml_lines *lines;
    const char *text;
    size_t len;
    size_t n_nodes;
    struct error *err;
};

static json_t *load_node(struct loader *l, const yaml_event_t *event, const char *path,
                         size_t depth);

static json_t *fail(struct loader *l, const yaml_event_t *event, const char *what)
{
    error_set(l->err, ERR_CONFIG, "line %zu: %s", event->start_mark.line + 1, what);
    return NULL;
}

/* The reader, which sees to UTF-8, keeps an offset and no mark. */
static size_t problem_line(const struct loader *l)
{
    size_t line = 1;
    if (l->parser.error != YAML_READER_ERROR)
        return l->parser.problem_mark.line + 1;
    for (size_t i = 0; i < l->len && i < l->parser.problem_offset; i++)
        line += l->text[i] == '\n';
    return line;
}

static const char *problem_hint(const struct loader *l)
{
    size_t at = l->parser.problem_mark.index;
    bool tab = l->parser.error == YAML_SCANNER_ERROR && at < l->len && l->text[at] == '\t';
    return tab ? " (a tab: indent with spaces)" : "";
}

/* A scalar may be a secret. */
static void forget(yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        explicit_bzero(event->data.scalar.value, event->data.scalar.length);
    yaml_event_delete(event);
}

static bool next(struct loader *l, yaml_event_t *event)
{
    if (yaml_parser_parse(&l->parser, event))
        return true;
    error_set(l->err, ERR_CONFIG, "line %zu: %s%s", problem_line(l),
              l->parser.problem != NULL ? l->parser.problem : "not YAML", problem_hint(l));
    memset(event, 0, sizeof(*event));
    return false;
}

static bool is_one_of(const char *s, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

/* As it would be written again; not so 007, which may be a password. */
static json_t *load_integer(const char *text)
{
    char canonical[32];
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    snprintf(canonical, sizeof(canonical), "%lld", number);
    return errno == 0 && strcmp(canonical, text) == 0 ? json_integer(number) : NULL;
}

static json_t *load_scalar(const yaml_event_t *event)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    const char *text = (const char *)event->data.scalar.value;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (is_one_of(text, nulls))
            return json_null();
        if (is_one_of(text, trues))
            return json_true();
        if (is_one_of(text, falses))
            return json_false();
        json_t *number = load_integer(text);
        if (number != NULL)
            return number;
    }
    return json_stringn(text, event->data.scalar.length);
}

static json_t *load_sequence(struct loader *l, const char *path, size_t depth)
{
    json_t *list = json_array();
    yaml_event_t event;
    while (list != NULL && next(l, &event)) {
        char item_path[512];
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        snprintf(item_path, sizeof(item_path), "%s[%zu]", path, json_array_size(list));
        json_t *item = end ? NULL : load_node(l, &event, item_path, depth + 1);
        forget(&event);
        if (end)
            return list;
        if (item == NULL || json_array_append_new(list, item) < 0)
            break;
    }
    yaml_tree_free(list);
    return NULL;
}

static bool load_pair(struct loader *l, json_t *map, const yaml_event_t *key, const char *path,
                      size_t depth)
{
    char item_path[512];
    yaml_event_t event;
    if (key->type != YAML_SCALAR_EVENT)
        return fail(l, key, "a key is a plain word") != NULL;
    const char *name = (const char *)key->data.scalar.value;
    if (strlen(name) != key->data.scalar.length)
        return fail(l, key, "a key is a plain word") != NULL;
    if (json_object_get(map, name) != NULL) {
        error_set(l->err, ERR_CONFIG, "line %zu: %s stands here twice", key->start_mark.line + 1,
                  name);
        return false;
    }
    snprintf(item_path, sizeof(item_path), "%s%s%s", path, path[0] != '\0' ? "." : "", name);
    json_object_set_new(l->lines->by_path, item_path,
                        json_integer((json_int_t)key->start_mark.line + 1));
    if (!next(l, &event))
        return false;
    json_t *value = load_node(l, &event, item_path, depth + 1);
    forget(&event);
    return value != NULL && json_object_set_new(map, name, value) == 0;
}

static json_t *load_mapping(struct loader *l, const char *path, size_t depth)
{
    json_t *map = json_object();
    yaml_event_t event;
    while (map != NULL && next(l, &event)) {
        bool end = event.type == YAML_MAPPING_END_EVENT;
        bool good = end || load_pair(l, map, &event, path, depth);
        forget(&event);
        if (end)
            return map;
        if (!good)
            break;
    }
    yaml_tree_free(map);
    return NULL;
}

/* The three kinds of node have the same two members in structs of their own. */
static const char *refusal(const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    return anchor != NULL ? "anchors are not taken here"
           : tag != NULL  ? "tags are not taken here: write quotes around a string"
                          : NULL;
}

static json_t *load_node(struct loader *l, const yaml_event_t *event, const char *path,
                         size_t depth)
{
    if (depth > DEPTH_MAX || ++l->n_nodes > NODES_MAX)
        return fail(l, event, "too much, or too deep");
    if (path[0] != '\0' && json_object_get(l->lines->by_path, path) == NULL)
        json_object_set_new(l->lines->by_path, path,
                            json_integer((json_int_t)event->start_mark.line + 1));
    const char *refused = refusal(event);
    if (refused != NULL)
        return fail(l, event, refused);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return load_scalar(event);
    case YAML_SEQUENCE_START_EVENT:
        return load_sequence(l, path, depth);
    case YAML_MAPPING_START_EVENT:
        return load_mapping(l, path, depth);
    case YAML_ALIAS_EVENT:
        return fail(l, event, "aliases are not taken here");
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        break;
    }
    return fail(l, event, "not a configuration");
}

/* What stands behind the one document: nothing. */
static bool load_end(struct loader *l)
{
    yaml_event_t event;
    while (next(l, &event)) {
        bool end = event.type == YAML_STREAM_END_EVENT;
        bool second = event.type == YAML_DOCUMENT_START_EVENT;
        if (second)
            fail(l, &event, "a second document begins here: one is wanted");
        forget(&event);
        if (end || second)
            return end;
    }
    return false;
}

/* An empty document is an empty mapping. */
static json_t *load_document(struct loader *l)
{
    json_t *tree = NULL;
    yaml_event_t event;
    while (next(l, &event)) {
        bool structure =
            event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT;
        bool end = event.type == YAML_STREAM_END_EVENT;
        if (!structure && !end)
            tree = load_node(l, &event, "", 0);
        forget(&event);
        if (end)
            return json_object();
        if (!structure)
            break;
    }
    if (tree != NULL && !load_end(l)) {
        yaml_tree_free(tree);
        return NULL;
    }
    if (json_is_null(tree)) {
        yaml_tree_free(tree);
        return json_object();
    }
    return tree;
}

/* The parser's copies of the text; what its scanner has grown and freed meanwhile is out of reach.
 */
static void forget_input(yaml_parser_t *parser)
{
    unsigned char *raw = parser->raw_buffer.start, *decoded = parser->buffer.start;
    if (raw != NULL)
        explicit_bzero(raw, (size_t)(parser->raw_buffer.end - raw));
    if (decoded != NULL)
        explicit_bzero(decoded, (size_t)(parser->buffer.end - decoded));
}

int yaml_load(const char *text, size_t len, json_t **tree_out, struct yaml_lines **lines_out,
              struct error *err)
{
    struct loader loader = {.text = text, .len = len, .err = err};
    loader.lines = calloc(1, sizeof(*loader.lines));
    if (loader.lines == NULL || (loader.lines->by_path = json_object()) == NULL ||
        !yaml_parser_initialize(&loader.parser)) {
        yaml_lines_free(loader.lines);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    error_set(err, ERR_NOMEM, "out of memory");
    yaml_parser_set_input_string(&loader.parser, (const unsigned char *)text, len);
    json_t *tree = load_document(&loader);
    forget_input(&loader.parser);
    yaml_parser_delete(&loader.parser);
    if (tree != NULL && !json_is_object(tree)) {
        yaml_tree_free(tree);
        tree = NULL;
        error_set(err, ERR_CONFIG, "the configuration is a mapping of settings");
    }
    if (tree == NULL) {
        yaml_lines_free(loader.lines);
        return -1;
    }
    *tree_out = tree;
    *lines_out = loader.lines;
    return 0;
}

size_t yaml_line_of(const struct yaml_lines *lines, const char *path)
{
    return lines != NULL ? (size_t)json_integer_value(json_object_get(lines->by_path, path)) : 0;
}

static void wipe_strings(json_t *node)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_string(node))
        explicit_bzero((char *)(uintptr_t)json_string_value(node), json_string_length(node));
    json_array_foreach(node, i, value) wipe_strings(value);
    json_object_foreach(node, key, value) wipe_strings(value);
}

void yaml_tree_free(json_t *tree)
{
    wipe_strings(tree);
    json_decref(tree);
}

void yaml_lines_free(struct yaml_lines *lines)
{
    if (lines != NULL)
        json_decref(lines->by_path);
    free(lines);
}
