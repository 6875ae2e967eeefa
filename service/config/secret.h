#ifndef POSTERN_CONFIG_SECRET_H
#define POSTERN_CONFIG_SECRET_H

/* A secret from a file of its own, as Kubernetes and Docker mount them. */

#include <stddef.h>

#include "base/error.h"

enum { CONFIG_SECRET_SIZE = 4096 + 1 }; /* with the NUL */

/*
 * One line; its end does not belong to it, nor what editors of Windows put before it. For the
 * start, and for whoever reads it again while the gateway runs: a file that is being written may be
 * empty for a moment, so what was read last stays good until this succeeds. -1 with ERR_CONFIG and
 * `secret_out` untouched; no part of a content is told. The caller wipes it.
 */
int config_read_secret_file(const char *path, char secret_out[CONFIG_SECRET_SIZE],
                            struct error *err);

/*
 * What `text` of `len` octets says: no line end behind it, no byte order mark before it. `name` is
 * the file's, the variable's or the setting's. 0, with the secret's place within `text`; or -1 with
 * ERR_CONFIG, if it is empty, in UTF-16, or more than a line.
 */
int config_secret_line(const char *name, const char *text, size_t len, const char **secret_out,
                       size_t *len_out, struct error *err);

#endif
