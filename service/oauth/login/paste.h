#ifndef POSTERN_OAUTH_LOGIN_PASTE_H
#define POSTERN_OAUTH_LOGIN_PASTE_H

/* Lines that a person pastes: from a terminal, a pipe or a file, without holding up the loop. */

#include <uv.h>

#include "base/error.h"

struct paste;

/* A line, without its end; NULL: there will be no more. Called from the loop. `line` is wiped
 * behind it. */
typedef void paste_fn(void *arg, const char *line);

/* `fd` is borrowed. ERR_IO, ERR_NOMEM. */
int paste_open(uv_loop_t *loop, int fd, paste_fn *on_line, void *arg, struct paste **paste_out,
               struct error *err);
/* Its handle closes on the loop and then frees it; `fd` is as it was. NULL is fine. */
void paste_close(struct paste *paste);

#endif
