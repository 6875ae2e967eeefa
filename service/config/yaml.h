#ifndef POSTERN_CONFIG_YAML_H
#define POSTERN_CONFIG_YAML_H

/*
 * YAML, and so JSON, into the jansson tree. Anchors and aliases are refused (they can make a small
 * file a huge tree), as are tags, duplicate keys, a second document and more than 32 levels. Plain
 * scalars follow the core schema: null, booleans, integers; all else is a string, also what would
 * not be written the same again (007).
 */

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

/* Where things stand: the line of each path, such as "relays[0].tls". */
struct yaml_lines;

int yaml_load(const char *text, size_t len, json_t **tree_out, struct yaml_lines **lines_out,
              struct error *err);
size_t yaml_line_of(const struct yaml_lines *lines, const char *path); /* 0: unknown */
/* Wipes its strings first, for some are secrets, whoever else counts on them. NULL is fine. */
void yaml_tree_free(json_t *tree);
void yaml_lines_free(struct yaml_lines *lines);

#endif
