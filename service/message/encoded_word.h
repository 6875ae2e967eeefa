#ifndef POSTERN_MESSAGE_ENCODED_WORD_H
#define POSTERN_MESSAGE_ENCODED_WORD_H

/* Encoded words (RFC 2047) that a client wrote into a name, read as the text they stand for. */

#include <stddef.h>

#include "base/arena.h"

/*
 * `text` with its encoded words decoded; blanks between two of them are dropped (RFC 2047, 6.2).
 * Known charsets are UTF-8, US-ASCII, ISO-8859-1 and Windows-1252; a word in another one, or one
 * that is no good, stays as it is. The result may hold any character: whoever puts it into a header
 * looks at it again. Valid UTF-8 if `text` is. The arena's; NULL without memory.
 */
char *encoded_word_decode(struct arena *arena, const char *text, size_t len);

#endif
