#ifndef POSTERN_SANDBOX_MIME_H
#define POSTERN_SANDBOX_MIME_H

/*
 * What arrived, taken apart for a person to look at: a tolerant reader, never an error. Written
 * here because Debian's library for it (gmime) brings all of glib into an image of a few megabytes.
 */

#include <jansson.h>
#include <stddef.h>

/* {"headers": [[name, value]...], "subject", "text", "html", "attachments": [{filename,
 * content_type, content_id, disposition, size, sha256}]}, decoded; NULL without memory. */
json_t *mime_parse(const char *message, size_t len);

#endif
