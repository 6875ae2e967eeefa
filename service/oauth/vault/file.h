#ifndef POSTERN_OAUTH_VAULT_FILE_H
#define POSTERN_OAUTH_VAULT_FILE_H

/*
 * A file that is read whole and replaced whole, so that whoever opens it, and whenever the power
 * fails, it is the old or the new; and a lock between the processes that replace it.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"

void vault_file_close(int fd); /* a negative one is fine */
DEFINE_CLEANUP(int, vault_file_close)

/*
 * To be the only one who writes: a lock on a file of its own, because the locked file must not be
 * the one that is replaced. Whoever waits gives up after 10 s: a process that was stopped while it
 * held the lock must not hold up this one for ever; and as soon as `hurry` is set. Ends with
 * vault_file_close(). ERR_STORE_UNAVAILABLE.
 */
int vault_file_lock(const char *path, const atomic_bool *hurry, int *fd_out, struct error *err);

/* `*fd_out` is -1 if there is no such file. ERR_STORE_UNAVAILABLE. */
int vault_file_open(const char *path, int *fd_out, struct error *err);
/* From its start, up to `size`; may be fewer octets: then it has no more. */
int vault_file_peek(int fd, void *out, size_t size, size_t *n_out, struct error *err);
/* All of it, appended; ERR_STORE_BROKEN: more than the buffer's limit. */
int vault_file_read(int fd, struct buffer *out, struct error *err);

/* Durable when it returns 0: written to "PATH.new" (mode 0600), synced, renamed, the folder synced.
 * ERR_STORE_FULL, ERR_STORE_UNAVAILABLE. The caller holds the lock. */
int vault_file_replace(const char *path, const void *data, size_t len, struct error *err);

#endif
