#include "api/server.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/auth.h"
#include "api/problem.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/metric.h"

/*
 * libmicrohttpd, and what it leaves to us. A request is suspended before its handler runs and
 * resumed when it has answered, so no thread ever waits.
 *
 * 0.9.75 accepts both lengths, differing lengths, "Transfer-Encoding :", two Hosts, and answers the
 * request smuggled behind them: the guard looks at the header before anything else and closes.
 */

enum { URL_MAX = 8192, HEADER_MEMORY = 20 * 1024, THREADS_MAX = 4 };

struct api {
    struct api_context context;
    struct MHD_Daemon **daemons;
    size_t n_daemons;
    struct watchdog *watchdog;
    atomic_ullong body_bytes; /* of all requests under way */
};

struct exchange {               /* one request with what the library wants to know of it */
    struct api_request request; /* first: a request is an exchange */
    struct api *api;
    struct MHD_Connection *connection;
    struct watched *watched;
    uint64_t reserved; /* of api->body_bytes */
    int64_t begun_us;
    const char *route; /* as in the table; for metrics */
    bool answered, refused;
};

static struct exchange *exchange_of(const struct api_request *request)
{
    return (struct exchange *)request;
}

/* --- the guard ---------------------------------------------------------------------------- */

struct header_counts {
    unsigned n_length, n_encoding, n_host;
    bool bad;
};

static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", s[i]) != NULL)
            return false;
    return len > 0;
}

static enum MHD_Result count_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                    size_t name_len, const char *value, size_t value_len)
{
    struct header_counts *counts = arg;
    if (!is_token(name, name_len))
        counts->bad = true;
    for (size_t i = 0; i < value_len; i++)
        if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
            counts->bad = true;
    if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        counts->n_length++;
        counts->bad = counts->bad || value_len == 0 || strspn(value, "0123456789") != value_len;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        counts->n_encoding++;
        counts->bad = counts->bad || strcasecmp(value, "chunked") != 0;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
        counts->n_host++;
    }
    return MHD_YES;
}

/* NULL, or what is wrong with the header as a whole (RFC 9112, 3.2, 5.1, 6.1, 6.3). */
static const char *framing_fault(struct MHD_Connection *connection, const char *version)
{
    struct header_counts c = {0};
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, count_header, &c);
    bool http_1_1 = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    if (c.bad)
        return "A header field is not well-formed.";
    if (c.n_length > 1 || c.n_encoding > 1 || (c.n_length > 0 && c.n_encoding > 0))
        return "The length of the body is stated more than once.";
    if (c.n_encoding > 0 && !http_1_1)
        return "Transfer-Encoding is not for HTTP/1.0.";
    if (c.n_host > 1 || (c.n_host == 0 && http_1_1))
        return "Host must be given exactly once.";
    return NULL;
}

/* application/json, in UTF-8 if it says. */
static bool is_json(const char *type)
{
    if (type == NULL || strncasecmp(type, "application/json", 16) != 0)
        return false;
    const char *rest = type + 16 + strspn(type + 16, " ");
    if (*rest == '\0')
        return true;
    rest += *rest == ';' ? 1 + strspn(rest + 1, " ") : 0;
    return strcasecmp(rest, "charset=utf-8") == 0 || strcasecmp(rest, "charset=\"utf-8\"") == 0;
}

/* --- answering ---------------------------------------------------------------------------- */

static const char *get_header(const struct api_request *request, const char *name)
{
    return MHD_lookup_connection_value(exchange_of(request)->connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result send_response(struct exchange *x)
{
    struct api_response *r = &x->request.response;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        r->body_len, r->body != NULL ? r->body : "",
        r->body != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        free(r->body);
        return MHD_NO;
    }
    r->body = NULL;
    if (r->content_type != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type);
    MHD_add_response_header(response, "X-Request-Id", x->request.id);
    for (size_t i = 0; i < r->n_headers; i++)
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    if (x->refused) /* what follows on this connection is not to be read */
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return result;
}

static void complete_now(struct api_request *request)
{
    exchange_of(request)->answered = true;
}

static void complete_suspended(struct api_request *request)
{
    struct exchange *x = exchange_of(request);
    x->answered = true;
    MHD_resume_connection(x->connection);
}

static enum MHD_Result refuse(struct exchange *x, enum problem problem, const char *detail)
{
    x->refused = true;
    x->request.complete = complete_now;
    problem_respond(&x->request, problem, detail);
    return send_response(x);
}

/* --- taking a request in ------------------------------------------------------------------ */

static void set_deadline(struct exchange *x, int64_t in_ms)
{
    if (x->watched != NULL)
        atomic_store_explicit(&x->watched->deadline_ms,
                              in_ms == INT64_MAX ? INT64_MAX : clock_mono_ms() + in_ms,
                              memory_order_relaxed);
}

static void set_request_id(struct exchange *x)
{
    const char *given = get_header(&x->request, "X-Request-Id");
    size_t n = given != NULL ? strlen(given) : 0;
    if (n > 0 && n < sizeof(x->request.id) &&
        strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n)
        memcpy(x->request.id, given, n + 1);
    else
        id_new(clock_wall_ms(), x->request.id);
}

static struct exchange *new_exchange(struct api *api, struct MHD_Connection *connection,
                                     const char *url, const char *method)
{
    struct arena *arena = arena_new();
    struct exchange *x = arena != NULL ? arena_alloc(arena, sizeof(*x)) : NULL;
    if (x == NULL) {
        arena_free(arena);
        return NULL;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->api = api;
    x->connection = connection;
    x->watched = info != NULL ? info->socket_context : NULL;
    x->begun_us = clock_mono_us();
    x->route = "none";
    x->request.context = &api->context;
    x->request.arena = arena;
    x->request.method = method;
    x->request.path = url;
    x->request.header = get_header;
    x->request.complete = complete_now;
    buffer_init(&x->request.body, api->context.config->http.max_body + 1);
    set_request_id(x);
    return x;
}

/* Bodies of all requests share a budget. */
static bool reserve(struct exchange *x, uint64_t more)
{
    uint64_t now = atomic_fetch_add(&x->api->body_bytes, more) + more;
    if (now > x->api->context.config->http.memory) {
        atomic_fetch_sub(&x->api->body_bytes, more);
        return false;
    }
    x->reserved += more;
    return true;
}

/* Look at the header; what is refused here is refused before its body is read. */
static enum MHD_Result begin_request(struct exchange *x, const char *version)
{
    const struct config *config = x->api->context.config;
    const char *fault = framing_fault(x->connection, version);
    const char *length = get_header(&x->request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    bool posted = strcmp(x->request.method, MHD_HTTP_METHOD_POST) == 0;
    set_deadline(x, config->http.body_ms);
    if (fault != NULL)
        return refuse(x, PROBLEM_MALFORMED, fault);
    if (strlen(x->request.path) > URL_MAX)
        return refuse(x, PROBLEM_URI_TOO_LONG, NULL);
    if (get_header(&x->request, MHD_HTTP_HEADER_CONTENT_ENCODING) != NULL)
        return refuse(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not taken.");
    if (posted && !is_json(get_header(&x->request, MHD_HTTP_HEADER_CONTENT_TYPE)))
        return refuse(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                      "Content-Type: application/json (UTF-8) is wanted.");
    uint64_t announced = length != NULL ? strtoull(length, NULL, 10) : 0;
    if (announced > config->http.max_body)
        return refuse(x, PROBLEM_TOO_LARGE, "The body is over http.max_body.");
    if (!reserve(x, announced))
        return refuse(x, PROBLEM_UNAVAILABLE, "Too many bodies are held in memory.");
    return MHD_YES;
}

static enum MHD_Result take_body(struct exchange *x, const char *data, size_t *size)
{
    size_t len = *size;
    *size = 0;
    if (x->refused)
        return MHD_YES; /* the answer waits behind it */
    if (x->request.body.len + len > x->reserved && !reserve(x, len)) {
        x->refused = true;
        problem_respond(&x->request, PROBLEM_UNAVAILABLE, "Too many bodies are held in memory.");
    } else if (x->request.body.len + len > x->api->context.config->http.max_body ||
               buffer_append(&x->request.body, data, len) < 0) {
        x->refused = true;
        problem_respond(&x->request, PROBLEM_TOO_LARGE, "The body is over http.max_body.");
    }
    return MHD_YES;
}

static enum MHD_Result handle(struct exchange *x)
{
    set_deadline(x, INT64_MAX); /* it is our turn now */
    const struct route *route = routes_find(&x->request);
    if (route != NULL)
        x->route = route->path;
    if (route == NULL || !auth_admit(&x->request, route->scope))
        return send_response(x);
    x->request.complete = complete_suspended;
    MHD_suspend_connection(x->connection);
    route->handler(&x->request);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct exchange *x = *state;
    if (x == NULL) {
        x = new_exchange(arg, connection, url, method);
        *state = x;
        return x != NULL ? begin_request(x, version) : MHD_NO;
    }
    if (x->answered)
        return send_response(x);
    if (*size > 0)
        return take_body(x, data, size);
    return handle(x);
}

/* --- the end of a request ----------------------------------------------------------------- */

static void count_request(const struct exchange *x)
{
    char status[8];
    double seconds = (double)(clock_mono_us() - x->begun_us) / 1e6;
    snprintf(status, sizeof(status), "%d", x->request.response.status);
    metric_add(metric_counter("postern_http_requests_total", "HTTP requests by route and status.",
                              (const char *[]){"route", x->route, "status", status, NULL}),
               1);
    metric_observe(metric_histogram("postern_http_request_seconds",
                                    "From a request's header to its answer, waits included.",
                                    (const char *[]){"route", x->route, NULL}, METRIC_SECONDS),
                   seconds);
    log_debug("request", LOG_STR("request", x->request.id), LOG_STR("method", x->request.method),
              LOG_STR("route", x->route), LOG_INT("status", x->request.response.status),
              LOG_INT("us", (int64_t)(seconds * 1e6)));
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *state;
    if (x == NULL)
        return;
    const struct config *config = x->api->context.config;
    count_request(x);
    set_deadline(x, config->http.idle_ms + config->http.header_ms);
    atomic_fetch_sub(&x->api->body_bytes, x->reserved);
    free(x->request.response.body);
    buffer_clear(&x->request.body);
    arena_free(x->request.arena); /* which `x` itself is from */
    *state = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **socket_state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct api *api = arg;
    struct watched *watched = *socket_state;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (watched != NULL)
            watchdog_remove(api->watchdog, watched);
        free(watched);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    watched = info != NULL ? calloc(1, sizeof(*watched)) : NULL;
    if (watched == NULL)
        return; /* it lives without a deadline, but for inactivity */
    watched->fd = info->connect_fd;
    atomic_store(&watched->deadline_ms, clock_mono_ms() + api->context.config->http.header_ms);
    watchdog_add(api->watchdog, watched);
    *socket_state = watched;
}

/* The path as it came: nothing is decoded, so nothing can be decoded into another route. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *s)
{
    return strlen(s);
}

static void ignore_library_log(void *arg, const char *format, va_list args)
{
}

/* --- start and end ------------------------------------------------------------------------ */

static unsigned thread_count(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (unsigned)cores;
}

static int start_daemon(struct api *api, const char *address, struct error *err)
{
    const struct config *config = api->context.config;
    int fd = server_listen(address, err);
    if (fd < 0)
        return -1;
    unsigned threads = thread_count();
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, api, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)config->http.max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(config->http.idle_ms / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEADER_MEMORY + 16 * 1024, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, api, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_EXTERNAL_LOGGER, ignore_library_log, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (daemon == NULL) {
        close(fd);
        return error_set(err, ERR_CONFIG, "listen: %s: the HTTP server did not start", address);
    }
    api->daemons[api->n_daemons++] = daemon;
    return 0;
}

int api_start(const struct api_context *context, struct api **api_out, struct error *err)
{
    const struct config_strings *listen = &context->config->listen;
    struct api *api = calloc(1, sizeof(*api));
    if (api == NULL || (api->daemons = calloc(listen->n_items, sizeof(*api->daemons))) == NULL) {
        free(api);
        return error_set(err, ERR_NOMEM, "HTTP server");
    }
    api->context = *context;
    int rc = watchdog_start(&api->watchdog, err);
    for (size_t i = 0; rc == 0 && i < listen->n_items; i++)
        rc = start_daemon(api, listen->items[i], err);
    if (rc < 0) {
        api_stop(api);
        return -1;
    }
    *api_out = api;
    return 0;
}

void api_stop(struct api *api)
{
    if (api == NULL)
        return;
    for (size_t i = 0; i < api->n_daemons; i++)
        MHD_stop_daemon(api->daemons[i]);
    watchdog_stop(api->watchdog);
    const struct config_strings *listen = &api->context.config->listen;
    for (size_t i = 0; i < listen->n_items; i++)
        if (strncmp(listen->items[i], "unix:", 5) == 0)
            unlink(listen->items[i] + 5);
    free(api->daemons);
    free(api);
}
