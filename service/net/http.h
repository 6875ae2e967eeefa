#ifndef POSTERN_NET_HTTP_H
#define POSTERN_NET_HTTP_H

/*
 * HTTP requests of our own (token endpoints, webhooks), by libcurl on a libuv loop: https only
 * (http to loopback), no redirects, bounded in size and time, certificates verified, no proxy
 * unless one is given, no cookies, no netrc. All functions on the loop's thread. The process
 * ignores SIGPIPE.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/reload.h"

struct http_client; /* as many a loop as there are different settings */

/* Certificate authorities: the only ones trusted then, `ca_file` NULL: the system's. Nothing is
 * read before the first reload_look(), which is for a thread that may wait for a disk; a file that
 * cannot be read is told by each request. ERR_NOMEM. */
int http_trust_new(const char *ca_file, struct reload **trust_out, struct error *err);

struct http_settings {
    struct reload *trust; /* whom to trust, borrowed for the client's life; NULL: what ca_file has
                             now, which is read by http_client_new() */
    const char *ca_file;
    const char *proxy; /* "http://host:port", "socks5://..."; it resolves names; NULL: none */
};

struct http_header {
    const char *name, *value;
};

struct http_request { /* borrowed until `done` */
    const char *url;
    const char *method; /* "GET", "POST", "PUT" */
    const struct http_header *headers;
    size_t n_headers;
    const char *body; /* of a POST or PUT; NULL: empty */
    size_t body_len;
    int64_t timeout_ms;  /* for the whole of it */
    size_t response_max; /* octets of body; more is ERR_TOO_LARGE */
    /* Never sent twice. On a connection that was idle and turns out dead, a request goes out again
     * by itself, though the server may have taken the first: fatal to a refresh token that is
     * rotated. So this one has a connection of its own. */
    bool once;
};

struct http_response { /* valid during the call; its memory is wiped behind it */
    int status;        /* a 3xx is given as it came */
    const char *body;  /* not NUL-terminated */
    size_t body_len;
    int64_t retry_after_ms; /* of Retry-After, both its forms, at most a day; -1: none */
};

/*
 * `response` NULL and in `err`:
 *   ERR_INVALID            a URL that is not allowed, or a header that would be two
 *   ERR_TIMEOUT, ERR_TOO_LARGE, ERR_NOMEM
 *   ERR_DNS_FAILED, ERR_CONNECT_REFUSED, ERR_CONNECT_FAILED, ERR_PROXY_FAILED
 *   ERR_CERTIFICATE_*, ERR_TLS_FAILED, ERR_CONFIG (the CA file)
 *   ERR_CONNECTION_LOST    before the answer was whole
 *   ERR_PROTOCOL           what came is not HTTP
 * It may start other exchanges, cancel others, and free the client.
 */
typedef void http_done_fn(void *arg, const struct http_response *response, const struct error *err);

int http_client_new(uv_loop_t *loop, const struct http_settings *settings,
                    struct http_client **client_out, struct error *err);
/* What is under way ends with ERR_CONNECTION_LOST, before this returns; handles close on the loop.
 * `done` may not start anything then. NULL is fine. */
void http_client_free(struct http_client *client);

struct http_exchange;
/* `done` is called once, later, from the loop. NULL: no memory. */
struct http_exchange *http_start(struct http_client *client, const struct http_request *request,
                                 http_done_fn *done, void *arg);
/* `done` is not called any more. Not for one whose `done` has been called. */
void http_cancel(struct http_exchange *exchange);

#endif
