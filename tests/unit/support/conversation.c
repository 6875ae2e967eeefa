#include "tests/unit/support/conversation.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum form {
    FORM_RAW,  /* the rest of the line as it stands */
    FORM_LINE, /* escapes, and CRLF at the end */
    FORM_PART, /* escapes */
};

static const struct keyword {
    const char *word;
    enum form form;
    enum conversation_kind kind;
} KEYWORDS[] = {
    {"OPTION", FORM_RAW, CONVERSATION_OPTION},   {"S: drop", FORM_RAW, CONVERSATION_DROP},
    {"S: delay", FORM_RAW, CONVERSATION_DELAY},  {"S:", FORM_LINE, CONVERSATION_SERVER},
    {"S-", FORM_PART, CONVERSATION_SERVER},      {"C:", FORM_LINE, CONVERSATION_CLIENT},
    {"C-", FORM_PART, CONVERSATION_CLIENT_PART}, {"TLS", FORM_RAW, CONVERSATION_TLS},
    {"TOKEN", FORM_PART, CONVERSATION_TOKEN},    {"CONTENT", FORM_PART, CONVERSATION_CONTENT},
    {"BEGIN", FORM_RAW, CONVERSATION_BEGIN},     {"QUIT", FORM_RAW, CONVERSATION_QUIT},
    {"ISNT", FORM_RAW, CONVERSATION_ISNT},       {"IS", FORM_RAW, CONVERSATION_IS},
    {"RESULT", FORM_RAW, CONVERSATION_RESULT},   {"ERROR", FORM_RAW, CONVERSATION_ERROR},
    {"TEXT", FORM_RAW, CONVERSATION_TEXT},
};

static const struct keyword *find_keyword(const char *line)
{
    for (size_t i = 0; i < sizeof(KEYWORDS) / sizeof(KEYWORDS[0]); i++) {
        size_t len = strlen(KEYWORDS[i].word);
        if (strncmp(line, KEYWORDS[i].word, len) == 0 && (line[len] == ' ' || line[len] == '\0'))
            return &KEYWORDS[i];
    }
    return NULL;
}

static int hex_value(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* One character of `*s`, which is moved behind it. */
static char unescape(const char **s)
{
    char c = *(*s)++;
    if (c != '\\')
        return c;
    c = *(*s)++;
    if (c == 'x') {
        int value = 16 * hex_value((*s)[0]) + hex_value((*s)[1]);
        *s += 2;
        return (char)value;
    }
    return c == 'r' ? '\r' : c == 'n' ? '\n' : c == '0' ? '\0' : c;
}

static bool fill_event(struct conversation_event *event, const struct keyword *keyword,
                       const char *rest, unsigned line)
{
    event->kind = keyword->kind;
    event->line = line;
    event->text = calloc(1, strlen(rest) + 3);
    if (event->text == NULL)
        return false;
    while (*rest != '\0')
        event->text[event->len++] = keyword->form == FORM_RAW ? *rest++ : unescape(&rest);
    if (keyword->form == FORM_LINE) {
        event->text[event->len++] = '\r';
        event->text[event->len++] = '\n';
    }
    return true;
}

static bool add_line(struct conversation *conversation, const char *line, unsigned number)
{
    if (line[0] == '\0' || line[0] == '#')
        return true;
    const struct keyword *keyword = find_keyword(line);
    if (keyword == NULL) {
        fprintf(stderr, "%s:%u: no such event: %s\n", conversation->path, number, line);
        return false;
    }
    const char *rest = line + strlen(keyword->word);
    struct conversation_event *events =
        reallocarray(conversation->events, conversation->n_events + 1, sizeof(*events));
    if (events == NULL)
        return false;
    conversation->events = events;
    struct conversation_event *event = &events[conversation->n_events++];
    *event = (struct conversation_event){0};
    return fill_event(event, keyword, *rest == ' ' ? rest + 1 : rest, number);
}

struct conversation *conversation_load(const char *path)
{
    struct conversation *conversation = calloc(1, sizeof(*conversation));
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    bool good = conversation != NULL && file != NULL;
    if (!good)
        perror(path);
    if (good)
        good = (conversation->path = strdup(path)) != NULL;
    for (unsigned number = 1; good && (len = getline(&line, &size, file)) >= 0; number++) {
        if (len > 0 && line[len - 1] == '\n')
            line[len - 1] = '\0';
        good = add_line(conversation, line, number);
    }
    free(line);
    if (file != NULL)
        fclose(file);
    if (good)
        return conversation;
    conversation_free(conversation);
    return NULL;
}

void conversation_free(struct conversation *conversation)
{
    if (conversation == NULL)
        return;
    for (size_t i = 0; i < conversation->n_events; i++)
        free(conversation->events[i].text);
    free(conversation->events);
    free(conversation->path);
    free(conversation);
}

char **conversation_paths(const char *folder)
{
    char pattern[512];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.txt", folder);
    if (glob(pattern, 0, NULL, &found) != 0)
        return calloc(1, sizeof(char *));
    char **paths = calloc(found.gl_pathc + 1, sizeof(*paths));
    for (size_t i = 0; paths != NULL && i < found.gl_pathc; i++)
        paths[i] = strdup(found.gl_pathv[i]);
    globfree(&found);
    return paths;
}

void conversation_paths_free(char **paths)
{
    for (size_t i = 0; paths != NULL && paths[i] != NULL; i++)
        free(paths[i]);
    free(paths);
}
