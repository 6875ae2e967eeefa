#ifndef POSTERN_RELAY_SECRET_H
#define POSTERN_RELAY_SECRET_H

/* A password, counted, so that whoever logs in with it keeps it while the next is already known. */

#include "base/error.h"
#include "base/reload.h"

struct secret;

struct secret *secret_ref(struct secret *secret);
void secret_unref(struct secret *secret); /* wipes with the last; NULL is fine */
const char *secret_text(const struct secret *secret);

/*
 * `now`, and what the file at `path` holds when it changes; what reload_take() gives is a struct
 * secret. `relay` is named in the log. `*reload_out` is NULL if it is no regular file: such a thing
 * can be read once only. ERR_NOMEM.
 */
int secret_watch(const char *relay, const char *path, const char *now, struct reloader *reloader,
                 struct reload **reload_out, struct error *err);

#endif
