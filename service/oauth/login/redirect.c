#include "oauth/login/redirect.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VISITORS_MAX = 8, REQUEST_MAX = 16 * 1024, PAGE_SIZE = 1024 };

struct visitor {
    uv_tcp_t tcp; /* first: the handle's address is ours */
    struct redirect *redirect;
    size_t len;
    char request[REQUEST_MAX + 1];
};

struct redirect {
    uv_tcp_t listener;                      /* first, likewise */
    struct visitor *visitors[VISITORS_MAX]; /* the oldest first */
    size_t n_visitors;
    size_t n_open; /* handles not closed yet */
    char uri[40];
    redirect_fn *on_query;
    void *arg;
};

/* --- its end ------------------------------------------------------------------------------ */

static void release(struct redirect *r)
{
    if (--r->n_open == 0)
        free(r);
}

static void on_listener_closed(uv_handle_t *handle)
{
    release((struct redirect *)handle);
}

static void on_visitor_closed(uv_handle_t *handle)
{
    struct visitor *v = (struct visitor *)handle;
    struct redirect *r = v->redirect;
    explicit_bzero(v, sizeof(*v)); /* the code was in it */
    free(v);
    release(r);
}

static void dismiss(struct visitor *v)
{
    struct redirect *r = v->redirect;
    size_t i = 0;
    while (r->visitors[i] != v)
        i++;
    memmove(&r->visitors[i], &r->visitors[i + 1], (--r->n_visitors - i) * sizeof(r->visitors[0]));
    uv_close((uv_handle_t *)&v->tcp, on_visitor_closed);
}

void redirect_close(struct redirect *r)
{
    if (r == NULL)
        return;
    while (r->n_visitors > 0)
        dismiss(r->visitors[0]);
    uv_close((uv_handle_t *)&r->listener, on_listener_closed);
}

/* --- requests ----------------------------------------------------------------------------- */

/* It is the first that is written to that socket, so the socket takes it at once. */
static void answer(struct visitor *v, const char *status, const char *text)
{
    char page[PAGE_SIZE];
    int n = snprintf(page, sizeof(page),
                     "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\n"
                     "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
                     "Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n"
                     "<!doctype html><title>postern</title><p>%s</p>\n",
                     status, text);
    const uv_buf_t buf = uv_buf_init(page, (unsigned)n);
    uv_try_write((uv_stream_t *)&v->tcp, &buf, 1);
}

/* "GET /?QUERY HTTP/1.1": the query, cut off there; NULL: it is another request. */
static char *find_query(char *request)
{
    static const char begin[] = "GET /?";
    if (strncmp(request, begin, strlen(begin)) != 0)
        return NULL;
    char *query = request + strlen(begin), *end = query + strcspn(query, " \r\n");
    if (strncmp(end, " HTTP/1.", 8) != 0)
        return NULL;
    *end = '\0';
    return query;
}

static void serve(struct visitor *v)
{
    const char *text = "Nothing is here.", *query = find_query(v->request);
    if (query == NULL)
        answer(v, "404 Not Found", text);
    else if (v->redirect->on_query(v->redirect->arg, query, &text))
        answer(v, "200 OK", text);
    else
        answer(v, "400 Bad Request", text);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct visitor *v = (struct visitor *)handle;
    *buf = uv_buf_init(v->request + v->len, (unsigned)(REQUEST_MAX - v->len));
}

/* The whole head is waited for: what has not been read when the socket closes would take the page
 * away from the browser again. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct visitor *v = (struct visitor *)stream;
    if (n == 0)
        return;
    if (n > 0) {
        v->len += (size_t)n;
        v->request[v->len] = '\0';
        if (strstr(v->request, "\r\n\r\n") == NULL && v->len < REQUEST_MAX)
            return;
        serve(v);
    }
    dismiss(v);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct redirect *r = (struct redirect *)listener;
    struct visitor *v = status == 0 ? calloc(1, sizeof(*v)) : NULL;
    if (v == NULL)
        return;
    if (r->n_visitors == VISITORS_MAX)
        dismiss(r->visitors[0]);
    v->redirect = r;
    uv_tcp_init(listener->loop, &v->tcp);
    r->n_open++;
    r->visitors[r->n_visitors++] = v;
    if (uv_accept(listener, (uv_stream_t *)&v->tcp) < 0 ||
        uv_read_start((uv_stream_t *)&v->tcp, give_room, on_read) < 0)
        dismiss(v);
}

/* --- its beginning ------------------------------------------------------------------------ */

static int listen_on_loopback(struct redirect *r)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int len = sizeof(address), rc;
    if ((rc = uv_tcp_bind(&r->listener, (struct sockaddr *)&address, 0)) < 0 ||
        (rc = uv_listen((uv_stream_t *)&r->listener, VISITORS_MAX, on_connection)) < 0 ||
        (rc = uv_tcp_getsockname(&r->listener, (struct sockaddr *)&address, &len)) < 0)
        return rc;
    snprintf(r->uri, sizeof(r->uri), "http://127.0.0.1:%u/", ntohs(address.sin_port));
    return 0;
}

int redirect_open(uv_loop_t *loop, redirect_fn *on_query, void *arg, struct redirect **redirect_out,
                  struct error *err)
{
    struct redirect *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return error_set(err, ERR_NOMEM, "listener");
    r->on_query = on_query;
    r->arg = arg;
    r->n_open = 1;
    uv_tcp_init(loop, &r->listener);
    int rc = listen_on_loopback(r);
    if (rc < 0) {
        redirect_close(r);
        return error_set(err, ERR_IO, "127.0.0.1: %s", uv_strerror(rc));
    }
    *redirect_out = r;
    return 0;
}

const char *redirect_uri(const struct redirect *r)
{
    return r->uri;
}
