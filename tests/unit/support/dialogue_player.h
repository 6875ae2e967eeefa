#ifndef POSTERN_TESTS_DIALOGUE_PLAYER_H
#define POSTERN_TESTS_DIALOGUE_PLAYER_H

/*
 * Plays a conversation to a dialogue, without sockets. The options a file may set:
 *
 *   OPTION starttls | tls | plaintext      required STARTTLS; implicit TLS; a login in the clear
 *   OPTION login USER PASSWORD [MECHANISM]
 *   OPTION token USER TOKEN [MECHANISM]    a bearer token instead of a password
 *   OPTION bearer USER [MECHANISM]         ... that comes by TOKEN
 *   OPTION mechanism NAME                  of a login without a user (EXTERNAL)
 *   OPTION verified                        TLS means a certificate that was verified
 *   OPTION smtputf8 | require_tls          of the next messages
 *   OPTION notify X, ret X, envid X        of the next messages: their DSN; nothing: not said
 *   OPTION without WORD                    an extension not to be used, as in the settings
 *   OPTION window 16                       most transactions under way at once
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "tests/unit/support/conversation.h"

struct dialogue_pace {
    const char *name;
    size_t feed, pull;    /* octets at a time; 0: all there are */
    struct buffer *trace; /* gets "C: EHLO ...", "S2: 250 ..." (of the second message), "*: ..." */
};

/* False, and what was not as the file says on stderr. */
bool dialogue_play(const struct conversation *conversation, const struct dialogue_pace *pace);

#endif
