#ifndef POSTERN_RELAY_TRANSCRIPT_H
#define POSTERN_RELAY_TRANSCRIPT_H

/*
 * What was said on the wire at a message's last attempt, for its user to read: lines of "C: ",
 * "S: " and "* ", as struct smtp_trace gives them (no content, no login). Kept in memory, the
 * oldest forgotten when `max_bytes` are full; those of attempts that did not succeed are kept
 * apart, each kind in one half, so that a stream of good ones does not wash them away. All
 * functions: any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/id.h"

struct transcripts;

struct transcripts *transcripts_new(size_t max_bytes); /* NULL without memory */
void transcripts_free(struct transcripts *transcripts);
DEFINE_CLEANUP(struct transcripts *, transcripts_free)

/* `id` is the message's; what was kept for it is replaced. `connection` is how the connection
 * began, shared by all messages on it, and counted (a reference is taken; NULL: nothing); `text` is
 * copied. One that is larger than its half, or for which there is no memory, is not kept. `relay`
 * is borrowed for the transcripts' life. */
void transcripts_keep(struct transcripts *transcripts, const char id[ID_SIZE], const char *relay,
                      bool good, struct bytes *connection, const char *text, size_t len);
/* The connection's beginning and then the message's own lines: malloc'd text, the caller's; NULL:
 * none is kept. `id` may be any text. `relay_out` is as it was given, `at_ms_out` wall clock. */
char *transcripts_find(struct transcripts *transcripts, const char *id, const char **relay_out,
                       int64_t *at_ms_out);

#endif
