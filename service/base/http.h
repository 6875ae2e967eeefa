#ifndef POSTERN_BASE_HTTP_H
#define POSTERN_BASE_HTTP_H

/*
 * HTTP requests of our own (token endpoints, webhooks), by libcurl on a libuv loop: https only
 * (http to loopback), no redirects, bounded in size and time, certificates verified, no proxy
 * unless one is given, no cookies, no netrc. All functions on the loop's thread.
 */

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct http_client; /* one a loop */

struct http_settings {
    const char *ca_file; /* NULL: the system's */
    const char *proxy;   /* "http://host:port", "socks5://..."; NULL: none */
};

struct http_header {
    const char *name, *value;
};

struct http_request { /* borrowed until `done` */
    const char *url;
    const char *method; /* "GET", "POST" */
    const struct http_header *headers;
    size_t n_headers;
    const char *body; /* NULL: none */
    size_t body_len;
    int64_t timeout_ms;  /* for the whole of it */
    size_t response_max; /* octets of body; more is ERR_TOO_LARGE */
};

struct http_response { /* valid during the call */
    int status;
    const char *body; /* not NUL-terminated */
    size_t body_len;
    int64_t retry_after_ms; /* of Retry-After, both its forms; -1: none */
};

/* `response` NULL and in `err` ERR_TIMEOUT, ERR_TOO_LARGE, ERR_CONNECT_FAILED and its kin,
 * ERR_CERTIFICATE_UNTRUSTED, ERR_INVALID (a URL that is not allowed), ERR_NOMEM. */
typedef void http_done_fn(void *arg, const struct http_response *response, const struct error *err);

int http_client_new(uv_loop_t *loop, const struct http_settings *settings,
                    struct http_client **client_out, struct error *err);
/* What is under way ends with ERR_CONNECTION_LOST, before this returns; handles close on the loop.
 */
void http_client_free(struct http_client *client);

struct http_exchange;
/* `done` is called once, later, from the loop. NULL: no memory. */
struct http_exchange *http_start(struct http_client *client, const struct http_request *request,
                                 http_done_fn *done, void *arg);
void http_cancel(struct http_exchange *exchange); /* `done` is not called any more */

#endif
