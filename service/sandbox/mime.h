#ifndef POSTERN_SANDBOX_MIME_H
#define POSTERN_SANDBOX_MIME_H

/*
 * What arrived, taken apart for a person or a test to look at: a tolerant reader, never an error.
 * Written here because Debian's library for it (gmime) brings all of glib into an image of a few
 * megabytes, and because a reader that shares nothing with our composer can be its witness.
 */

#include <jansson.h>
#include <stddef.h>

/*
 * {"headers": [[name, value]...], "subject", "text", "html", "attachments": [{"filename" (or null),
 * "content_type", "disposition", "content_id", "size", "sha256"}]}: all decoded, text as UTF-8.
 * What the message does not have is not there, but `headers` and `attachments` always are. `text`
 * and `html` are the first inline parts of that type, every other leaf is an attachment.
 * "truncated": true says that there were more fields or parts, or deeper ones, than are looked at.
 * NULL without memory; the caller owns it. Any thread.
 */
json_t *mime_parse(const char *message, size_t len);

#endif
