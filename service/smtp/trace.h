#ifndef POSTERN_SMTP_TRACE_H
#define POSTERN_SMTP_TRACE_H

/*
 * What the listener of struct smtp_trace is told, made fit to be shown: one line at a time, valid
 * UTF-8, no control characters, of bounded length, and nothing of what a login says. All of it does
 * nothing while nobody listens.
 */

#include <stddef.h>

#include "smtp/reply.h"
#include "smtp/settings.h"

/* `len` octets, perhaps with a CRLF at their end. */
void smtp_trace_line(const struct smtp_trace *trace, void *owner, char who, const char *text,
                     size_t len);
void smtp_trace_say(const struct smtp_trace *trace, void *owner, char who, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A line of AUTH, of which only the command and the mechanism are told. */
void smtp_trace_login(const struct smtp_trace *trace, const char *text, size_t len);
/* Line by line; `instead` (NULL: nothing) is told in place of all the text. */
void smtp_trace_reply(const struct smtp_trace *trace, void *owner, const struct smtp_reply *reply,
                      const char *instead);

#endif
