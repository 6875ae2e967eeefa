#ifndef POSTERN_OAUTH_VAULT_VAULT_H
#define POSTERN_OAUTH_VAULT_VAULT_H

/*
 * Where refresh tokens are kept: one file of records, each encrypted by itself (AES-256-GCM; the
 * record's name is authenticated with it), written whole to a new file, synced and renamed, so that
 * a SIGKILL or power loss at any instant leaves the old or the new. A lock beside it lets `postern
 * login` and a running gateway share it; what the other wrote is seen at the next read.
 *
 * The key comes from POSTERN_SECRET_KEY or POSTERN_SECRET_KEY_FILE (32 octets, in base64 or hex);
 * if neither is given, one is made and kept beside the file with mode 0600.
 */

#include "base/background.h"
#include "base/cleanup.h"
#include "base/error.h"

struct vault;

struct vault_settings {
    const char *path;     /* "/var/lib/postern/queue.db.grants"; NULL: in memory only */
    const char *key;      /* as given; NULL: key_file, else a file of our own beside `path` */
    const char *key_file; /* NULL: none */
};

/* ERR_CONFIG: the key is malformed, or not the one the file was written with (then nothing is
 * changed); the folder is missing. ERR_STORE_UNAVAILABLE, ERR_NOMEM. */
int vault_open(const struct vault_settings *settings, struct vault **vault_out, struct error *err);
void vault_close(struct vault *vault); /* ends it first; wipes; NULL is fine */
DEFINE_CLEANUP(struct vault *, vault_close)

/* malloc'd, the caller's to wipe and free; ERR_NOT_FOUND. Any thread that may wait for a disk.
 * Looks at the file if it has changed; does not wait for whoever writes it. */
int vault_get(struct vault *vault, const char *name, char **secret_out, struct error *err);
/* Durable when it returns 0. Any thread that may wait for a disk, and up to 10 s for another
 * process that writes. `secret` NULL: what there is of that name goes. */
int vault_put(struct vault *vault, const char *name, const char *secret, struct error *err);

/* `err` ERR_NONE: it is durable. */
typedef void vault_stored_fn(void *arg, const struct error *err);
/*
 * The same by a thread of the vault's own, one behind the other, for those who may not wait:
 * `stored` is called once, on that thread, or by vault_end(). What is given is copied. -1, and
 * `stored` is not called: too many wait already (ERR_THROTTLED), ERR_DRAINING, ERR_NOMEM.
 */
int vault_put_later(struct vault *vault, const char *name, const char *secret,
                    vault_stored_fn *stored, void *arg, struct error *err);
/* Other work that has to do with the vault, on that thread. -1 as above, the job untouched. */
int vault_run(struct vault *vault, struct background_job *job, struct error *err);
/* From now on nobody waits for another process's lock. Whoever still waits for a put is told
 * ERR_DRAINING, before this returns. The one that is under way goes on, and holds what it needs;
 * nobody hears of it. */
void vault_end(struct vault *vault);

#endif
