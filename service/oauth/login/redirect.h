#ifndef POSTERN_OAUTH_LOGIN_REDIRECT_H
#define POSTERN_OAUTH_LOGIN_REDIRECT_H

/*
 * Where the person's browser is sent back to (RFC 8252, 7.3): an HTTP server on 127.0.0.1, at a
 * port the system gives, that answers "GET /?..." with one small page and all else with 404. Any
 * program on this machine may talk to it, so it keeps little of what it is told and nothing for
 * long: the oldest of a few visitors makes room for the next.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

struct redirect;

/* Whether `query` is what was waited for. The text goes onto the page, so it is plain words. Called
 * from the loop; it may not close the redirect. */
typedef bool redirect_fn(void *arg, const char *query, const char **text_out);

/* ERR_IO, ERR_NOMEM. */
int redirect_open(uv_loop_t *loop, redirect_fn *on_query, void *arg, struct redirect **redirect_out,
                  struct error *err);
const char *redirect_uri(const struct redirect *redirect); /* "http://127.0.0.1:PORT/" */
/* Its handles close on the loop, the last of them frees it. NULL is fine. */
void redirect_close(struct redirect *redirect);

#endif
