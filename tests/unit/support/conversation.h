#ifndef POSTERN_TESTS_CONVERSATION_H
#define POSTERN_TESTS_CONVERSATION_H

/*
 * A scripted SMTP conversation, read from a text file. A line is an event:
 *
 *   # ...                    a remark
 *   OPTION name value...     how the client is set up: see test_dialogue.c
 *   S: text                  the server says a line
 *   S- text                  ... these octets, with no line end (\r \n \0 \xHH \\ are escapes)
 *   S: drop                  ... closes the connection
 *   S: delay 200ms           ... waits
 *   C: text                  the client must say this line
 *   C- text                  ... these octets, with no line end; more may follow later
 *   TLS                      the handshake
 *   TOKEN text               the token that is wanted
 *   CONTENT text             of the next messages (escapes)
 *   BEGIN sender rcpt...     the client begins a transaction; "<>" is the null sender
 *   QUIT                     the client says goodbye
 *   IS word, ISNT word       what the client must be now: ready, idle, room, over, or in want of
 *                            a token, another_token
 *   RESULT address verdict   what became of a recipient, in order:
 *                            "sent 250", "refused rcpt 550", "lost data", "in-doubt", "untouched",
 * "again" ERROR code step          the connection ended so, while the last octets of the server
 * were read TEXT text                stands in the detail of that error, or in the last RESULT's
 * reply
 *
 * Server lines that stand together come in one segment; client lines that stand together are all
 * that is sent before the next reply.
 */

#include <stdbool.h>
#include <stddef.h>

enum conversation_kind {
    CONVERSATION_OPTION,
    CONVERSATION_SERVER, /* `text`, `len`: the octets, line ends with them */
    CONVERSATION_DROP,
    CONVERSATION_DELAY,
    CONVERSATION_CLIENT,
    CONVERSATION_CLIENT_PART,
    CONVERSATION_TLS,
    CONVERSATION_TOKEN,
    CONVERSATION_CONTENT,
    CONVERSATION_BEGIN,
    CONVERSATION_QUIT,
    CONVERSATION_IS,
    CONVERSATION_ISNT,
    CONVERSATION_RESULT,
    CONVERSATION_ERROR,
    CONVERSATION_TEXT,
};

struct conversation_event {
    enum conversation_kind kind;
    char *text; /* owned; NUL-terminated, though it may hold NULs */
    size_t len;
    unsigned line; /* of the file */
};

struct conversation {
    char *path;
    struct conversation_event *events;
    size_t n_events;
};

/* NULL, and the fault on stderr, if it cannot be read. */
struct conversation *conversation_load(const char *path);
void conversation_free(struct conversation *conversation);

/* The .txt files of a folder, sorted by name; ended by NULL. */
char **conversation_paths(const char *folder);
void conversation_paths_free(char **paths);

#endif
