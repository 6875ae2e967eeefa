#include "config/yaml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

/* The tree as JSON in one line, which the caller frees; NULL, and why in `err`. */
static char *load(const char *text, size_t len, struct error *err)
{
    json_t *tree = NULL;
    struct yaml_lines *lines = NULL;
    *err = (struct error){0};
    if (yaml_load(text, len, &tree, &lines, err) < 0) {
        cr_assert_null(tree);
        cr_assert_null(lines);
        return NULL;
    }
    char *json = json_dumps(tree, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(tree);
    yaml_lines_free(lines);
    return json;
}

Test(yaml, what_is_taken)
{
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"", "{}"},
        {"\n\n", "{}"},
        {"# nothing\n", "{}"},
        {"---\n", "{}"},
        {"--- {}\n...\n", "{}"},
        {"null", "{}"},
        {"\xef\xbb\xbf"
         "a: b",
         "{\"a\":\"b\"}"},
        {"a: b\r\nc: d\r\n", "{\"a\":\"b\",\"c\":\"d\"}"},
        {"{\"a\": [1, \"x\", true, null]}", "{\"a\":[1,\"x\",true,null]}"},
        {"a: [true, True, FALSE, ~, null, \"true\", 'null', \"5\"]",
         "{\"a\":[true,true,false,null,null,\"true\",\"null\",\"5\"]}"},
        {"a:\nb: ''", "{\"a\":null,\"b\":\"\"}"},
        {"a: [0, 7, -7, 9223372036854775807]", "{\"a\":[0,7,-7,9223372036854775807]}"},
        /* passwords may look like this */
        {"a: [007, -0, +7, 9223372036854775808, 1.2, 1e5, 0x1F, 1_000, 7-7, yes, on, off]",
         "{\"a\":[\"007\",\"-0\",\"+7\",\"9223372036854775808\",\"1.2\",\"1e5\",\"0x1F\",\"1_000\","
         "\"7-7\",\"yes\",\"on\",\"off\"]}"},
        {"a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}"},
        {"a: >\n  x\n  y\n", "{\"a\":\"x y\\n\"}"},
        {"a: \"\\u00f6\\t\"", "{\"a\":\"\xc3\xb6\\t\"}"},
        {"a: x:y#z", "{\"a\":\"x:y#z\"}"},
        {"a: {b: {c: [ {d: e} ]}}", "{\"a\":{\"b\":{\"c\":[{\"d\":\"e\"}]}}}"},
        {"a:\t b", "{\"a\":\"b\"}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err;
        char *json = load(rows[i].text, strlen(rows[i].text), &err);
        cr_expect(json != NULL && strcmp(json, rows[i].json) == 0, "%s: %s", rows[i].text,
                  json != NULL ? json : err.detail);
        free(json);
    }
}

Test(yaml, what_is_refused_and_on_which_line)
{
    static const struct {
        const char *text, *why; /* a part of the detail */
    } rows[] = {
        {"hello", "a mapping"},
        {"- a\n- b\n", "a mapping"},
        {"5", "a mapping"},
        {"a: 1\nb: 2\na: 3\n", "line 3: a stands here twice"},
        {"a:\n  x: 1\n  x: 1\n", "line 3: x stands here twice"},
        {"{\"a\": 1, \"a\": 1}", "line 1: a stands here twice"},
        {"a: 1\n---\nb: 2\n", "line 2: a second document"},
        {"---\n---\na: 2\n", "line 2: a second document"},
        {"a: &x 1\nb: 2\n", "line 1: anchors"},
        {"a: 1\nb: *x\n", "line 2: aliases"},
        {"a: &x [1]\nb: *x\n", "line 1: anchors"},
        {"a: 1\nb: &x {c: 1}\n", "line 2: anchors"},
        {"a: 1\nb: !include secrets.yaml\n", "line 2: tags"},
        {"a: !!binary aGk=\n", "line 1: tags"},
        {"a: !x [1]\n", "line 1: tags"},
        {"a: 1\n\tb: 2\n", "line 2: "},
        {"a:\n\tb: 2\n", "line 2: found character that cannot start any token (a tab: indent"},
        {"a: 1\n b: 2\n", "line 2: "},
        {"a: [1, 2\nb: 3\n", "line 2: "},
        {"a: 'x\n", "line 2: "},
        {"a: b: c\n", "line 1: "},
        {"a: 1\n? [x]\n: 2\n", "line 2: a key is a plain word"},
        {"\"a\\0b\": 1\n", "line 1: a key is a plain word"},
        {"a: 1\nb: \xff\n", "line 2: "},
        {"a: 1\nb: \xed\xa0\x80\n", "line 2: "}, /* a surrogate */
        {"a: 1\nb: \xc0\xaf\n", "line 2: "},     /* an overlong / */
        {"a: 1\nb: x\x01y\n", "line 2: control characters"},
        {"a: \"\\ud800\"\n", "line 1: "},
        {"a: 1\n}\n", "line 2: "},
        {"%YAML 9.9\n---\na: 1\n", "line 1: "},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err;
        char *json = load(rows[i].text, strlen(rows[i].text), &err);
        cr_expect_null(json, "%s: %s", rows[i].text, json);
        cr_expect(json != NULL || (err.code == ERR_CONFIG && strstr(err.detail, rows[i].why)),
                  "%s: %s", rows[i].text, err.detail);
        free(json);
    }
}

Test(yaml, a_file_with_nul_octets_is_refused)
{
    struct error err;
    cr_expect_null(load("a: b\0c\n", 7, &err));
    cr_expect(strstr(err.detail, "control characters") != NULL, "%s", err.detail);
    cr_expect_null(load("\0\0\0\0", 4, &err));
}

/* Nine levels of nine aliases each would be 387 million nodes. */
Test(yaml, a_bomb_of_aliases_does_not_go_off)
{
    CLEANUP(buffer_clear) struct buffer text;
    struct error err;
    buffer_init(&text, 1 << 16);
    buffer_append_str(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++) {
        buffer_printf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            buffer_printf(&text, "%s*a%d", k > 0 ? "," : "", i - 1);
        buffer_append_str(&text, "]\n");
    }
    cr_expect_null(load(text.data, text.len, &err));
    cr_expect(strstr(err.detail, "line 1: anchors") != NULL, "%s", err.detail);
}

Test(yaml, depth_has_an_end)
{
    static const char *const openers[] = {"[", "{a: ", "- "};
    for (size_t i = 0; i < sizeof(openers) / sizeof(openers[0]); i++) {
        CLEANUP(buffer_clear) struct buffer text;
        struct error err;
        buffer_init(&text, 1 << 20);
        buffer_append_str(&text, "a:\n ");
        for (int k = 0; k < 100000; k++)
            buffer_append_str(&text, openers[i]);
        cr_expect_null(load(text.data, text.len, &err));
        cr_expect(strstr(err.detail, "line 2: ") != NULL, "%s", err.detail);
    }
    struct error err;
    char deep[256] = "a: ";
    for (int k = 0; k < 31; k++)
        snprintf(deep + strlen(deep), sizeof(deep) - strlen(deep), "[");
    for (int k = 0; k < 31; k++)
        snprintf(deep + strlen(deep), sizeof(deep) - strlen(deep), "]");
    char *json = load(deep, strlen(deep), &err);
    cr_expect_not_null(json, "%s", err.detail);
    free(json);
}

Test(yaml, so_has_breadth)
{
    CLEANUP(buffer_clear) struct buffer text;
    struct error err;
    buffer_init(&text, 1 << 20);
    buffer_append_str(&text, "a: [0");
    for (int k = 0; k < 200000; k++)
        buffer_append_str(&text, ",0");
    buffer_append_str(&text, "]");
    cr_expect_null(load(text.data, text.len, &err));
    cr_expect(strstr(err.detail, "too much") != NULL, "%s", err.detail);
}

Test(yaml, lines_of_paths)
{
    static const char text[] = "# a comment\n"
                               "listen: x\n"
                               "http:\n"
                               "  timeouts: {header: 1s,\n"
                               "             body: 2s}\n"
                               "relays:\n"
                               "  - name: a\n"
                               "    auth:\n"
                               "      username: u\n"
                               "  - name: b\n";
    static const struct {
        const char *path;
        size_t line;
    } rows[] = {
        {"listen", 2},
        {"http", 3},
        {"http.timeouts", 4},
        {"http.timeouts.header", 4},
        {"http.timeouts.body", 5},
        {"relays", 6},
        {"relays[0]", 7},
        {"relays[0].auth.username", 9},
        {"relays[1].name", 10},
        {"relays[2]", 0},
        {"", 0},
    };
    struct error err;
    json_t *tree;
    struct yaml_lines *lines;
    cr_assert_eq(yaml_load(text, sizeof(text) - 1, &tree, &lines, &err), 0, "%s", err.detail);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(yaml_line_of(lines, rows[i].path), rows[i].line, "%s", rows[i].path);
    json_decref(tree);
    yaml_lines_free(lines);
    cr_expect_eq(yaml_line_of(NULL, "listen"), 0);
}
