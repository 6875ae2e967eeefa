#include "oauth/login/paste.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 16 * 1024 };

struct paste {
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_idle_t idle; /* for a file, which is always ready and cannot be polled */
    } source;           /* first: the handle's address is ours */
    int fd, flags;      /* the descriptor's flags before it was polled */
    paste_fn *on_line;
    void *arg;
    size_t len;
    char text[LINE_MAX_LEN + 1];
};

static void stop(struct paste *p)
{
    if (p->source.handle.type == UV_POLL)
        uv_poll_stop(&p->source.poll);
    else
        uv_idle_stop(&p->source.idle);
}

static void tell_line(struct paste *p, size_t len)
{
    p->text[len] = '\0';
    p->on_line(p->arg, p->text);
}

/* A line without end is handed on in pieces: what comes of it is not our business. */
static void tell_lines(struct paste *p)
{
    char *end;
    p->text[p->len] = '\0';
    while ((end = memchr(p->text, '\n', p->len)) != NULL || p->len == LINE_MAX_LEN) {
        size_t line = end != NULL ? (size_t)(end - p->text) : p->len;
        size_t used = line + (end != NULL ? 1 : 0);
        tell_line(p, line);
        memmove(p->text, p->text + used, p->len - used);
        explicit_bzero(p->text + p->len - used, used);
        p->len -= used;
    }
}

static void take(struct paste *p)
{
    ssize_t n = read(p->fd, p->text + p->len, LINE_MAX_LEN - p->len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        p->len += (size_t)n;
        tell_lines(p);
        return;
    }
    stop(p);
    if (p->len > 0)
        tell_line(p, p->len);
    explicit_bzero(p->text, sizeof(p->text));
    p->len = 0;
    p->on_line(p->arg, NULL);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    take((struct paste *)poll);
}

static void on_idle(uv_idle_t *idle)
{
    take((struct paste *)idle);
}

static int start(struct paste *p, uv_loop_t *loop)
{
    if (uv_poll_init(loop, &p->source.poll, p->fd) == 0)
        return uv_poll_start(&p->source.poll, UV_READABLE, on_ready);
    uv_idle_init(loop, &p->source.idle);
    return uv_idle_start(&p->source.idle, on_idle);
}

int paste_open(uv_loop_t *loop, int fd, paste_fn *on_line, void *arg, struct paste **paste_out,
               struct error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return error_set(err, ERR_IO, "standard input: %s", strerror(errno));
    struct paste *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return error_set(err, ERR_NOMEM, "standard input");
    p->fd = fd;
    p->flags = flags;
    p->on_line = on_line;
    p->arg = arg;
    int rc = start(p, loop);
    if (rc < 0) {
        paste_close(p);
        return error_set(err, ERR_IO, "standard input: %s", uv_strerror(rc));
    }
    *paste_out = p;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct paste *p = (struct paste *)handle;
    explicit_bzero(p, sizeof(*p));
    free(p);
}

/* The terminal belongs to the shell as well, which does not expect it not to block. */
void paste_close(struct paste *p)
{
    if (p == NULL)
        return;
    stop(p);
    fcntl(p->fd, F_SETFL, p->flags);
    uv_close(&p->source.handle, on_closed);
}
