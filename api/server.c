#include "api/server.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/access.h"
#include "api/auth.h"
#include "api/guard.h"
#include "api/problem.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/id.h"

/*
 * libmicrohttpd, and what it leaves to us. What can be refused by a request's header (framing,
 * route, key, type, size) is refused before its body is read. A request is suspended before its
 * handler runs and resumed when it has answered, so no thread ever waits.
 */

enum {
    TARGET_MAX = 8 * 1024,
    HEADER_MAX = 16 * 1024,
    /* A connection's, for its header and the library's records of it: so that HEADER_MAX and not
     * this is the limit that a client meets. */
    CONNECTION_MEMORY = 2 * (TARGET_MAX + HEADER_MAX),
    THREADS_MAX = 4,
    FLUSH_MS = 1000, /* for answers to reach their clients when the process ends */
};

struct api {
    struct api_context context;
    struct MHD_Daemon **daemons;
    size_t n_daemons;
    struct watchdog *watchdog;
    atomic_ullong body_bytes; /* of all requests under way */
    atomic_bool stopping;     /* set before `n_suspended` is looked at, which is counted before this
                                 is: so none is suspended when the library ends, which aborts then */
    atomic_size_t n_suspended;
    atomic_size_t n_exchanges;
};

struct exchange {               /* one request with what the library wants to know of it */
    struct api_request request; /* first: a request is an exchange */
    struct api *api;
    struct MHD_Connection *connection;
    struct watched *watched;
    uint64_t reserved; /* of api->body_bytes */
    int64_t begun_us;
    const struct route *route; /* NULL: none (yet) */
    atomic_bool answered;      /* hands `request` over from the thread that answered */
    bool refused;              /* what follows on this connection is not to be read */
};

static struct exchange *exchange_of(const struct api_request *request)
{
    return (struct exchange *)request;
}

/* --- answering ---------------------------------------------------------------------------- */

static const char *get_header(const struct api_request *request, const char *name)
{
    return MHD_lookup_connection_value(exchange_of(request)->connection, MHD_HEADER_KIND, name);
}

static const char *get_query(const struct api_request *request, const char *name)
{
    struct MHD_Connection *connection = exchange_of(request)->connection;
    const char *value = NULL;
    enum MHD_Result found = MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name,
                                                          strlen(name), &value, NULL);
    return found == MHD_YES && value == NULL ? "" : value;
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
    if (x->refused)
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
    struct api *api = x->api;
    struct MHD_Connection *connection = x->connection;
    atomic_store_explicit(&x->answered, true, memory_order_release); /* the last look at `x` */
    MHD_resume_connection(connection);
    atomic_fetch_sub(&api->n_suspended, 1);
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

/* The absolute form is a proxy's, and to be taken (RFC 9112, 3.2.2). */
static const char *path_of(const char *target)
{
    const char *authority = strncmp(target, "http://", 7) == 0    ? target + 7
                            : strncmp(target, "https://", 8) == 0 ? target + 8
                                                                  : NULL;
    if (authority == NULL)
        return target;
    const char *path = authority + strcspn(authority, "/");
    return *path != '\0' ? path : "/";
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
    x->request.context = &api->context;
    x->request.arena = arena;
    x->request.method = method;
    x->request.path = path_of(url);
    x->request.header = get_header;
    x->request.query = get_query;
    x->request.complete = complete_now;
    buffer_init(&x->request.body, api->context.config->http.max_body + 1);
    set_request_id(x);
    atomic_fetch_add(&api->n_exchanges, 1);
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

static enum MHD_Result show_to_guard(void *arg, enum MHD_ValueKind kind, const char *name,
                                     size_t name_len, const char *value, size_t value_len)
{
    guard_field(arg, name, name_len, value, value_len);
    return MHD_YES;
}

static enum MHD_Result add_length(void *arg, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    *(size_t *)arg += name_len + value_len + strlen("&=");
    return MHD_YES;
}

static size_t target_length(const struct exchange *x)
{
    size_t n = strlen(x->request.path);
    MHD_get_connection_values_n(x->connection, MHD_GET_ARGUMENT_KIND, add_length, &n);
    return n;
}

/* Room for the body, before it is read. */
static enum MHD_Result admit_body(struct exchange *x)
{
    const struct config *config = x->api->context.config;
    const char *length = get_header(&x->request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (get_header(&x->request, MHD_HTTP_HEADER_CONTENT_ENCODING) != NULL)
        return refuse(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not taken.");
    if (x->route->takes_json &&
        !guard_is_json(get_header(&x->request, MHD_HTTP_HEADER_CONTENT_TYPE)))
        return refuse(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                      "Content-Type: application/json (UTF-8) is wanted.");
    uint64_t announced = length != NULL ? strtoull(length, NULL, 10) : 0;
    if (announced > config->http.max_body)
        return refuse(x, PROBLEM_TOO_LARGE, "The body is over http.max_body.");
    if (!reserve(x, announced) ||
        (announced > 0 && buffer_reserve(&x->request.body, announced) == NULL))
        return refuse(x, PROBLEM_UNAVAILABLE, "Too many bodies are held in memory.");
    return MHD_YES;
}

static enum MHD_Result begin_request(struct exchange *x, const char *version)
{
    struct guard guard = {0};
    set_deadline(x, x->api->context.config->http.body_ms);
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, show_to_guard, &guard);
    const char *fault = guard_fault(&guard, version);
    if (fault != NULL)
        return refuse(x, PROBLEM_MALFORMED, fault);
    if (target_length(x) > TARGET_MAX)
        return refuse(x, PROBLEM_URI_TOO_LONG, NULL);
    if (guard.octets > HEADER_MAX)
        return refuse(x, PROBLEM_HEADER_TOO_LARGE, NULL);
    if (atomic_load(&x->api->stopping))
        return refuse(x, PROBLEM_DRAINING, NULL);

    x->route = routes_find(&x->request);
    x->request.body.wiping = x->route != NULL && x->route->secret;
    if (x->route != NULL && auth_admit(&x->request, x->route->scope))
        return admit_body(x);
    if (!guard_has_body(&guard))
        return MHD_YES; /* answered in the next call: then the connection can stay open */
    x->refused = true;
    return send_response(x);
}

/* The answer to what is refused here waits for the end of the body: the library cannot give one in
 * the middle. */
static enum MHD_Result take_body(struct exchange *x, const char *data, size_t *size)
{
    size_t len = *size;
    *size = 0;
    if (x->refused)
        return MHD_YES;
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

static enum MHD_Result answer(struct exchange *x)
{
    set_deadline(x, x->api->context.config->http.body_ms);
    return send_response(x);
}

static enum MHD_Result handle(struct exchange *x)
{
    set_deadline(x, INT64_MAX); /* it is our turn now */
    atomic_fetch_add(&x->api->n_suspended, 1);
    if (atomic_load(&x->api->stopping)) {
        atomic_fetch_sub(&x->api->n_suspended, 1);
        return refuse(x, PROBLEM_DRAINING, NULL);
    }
    x->request.complete = complete_suspended;
    MHD_suspend_connection(x->connection);
    x->route->handler(&x->request);
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
    if (*size > 0)
        return take_body(x, data, size);
    return atomic_load_explicit(&x->answered, memory_order_acquire) ? answer(x) : handle(x);
}

/* --- the end of a request ----------------------------------------------------------------- */

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *state;
    if (x == NULL)
        return;
    struct api *api = x->api;
    const struct config *config = api->context.config;
    /* Also of one whose client was gone before it could be sent. */
    bool answered = atomic_load_explicit(&x->answered, memory_order_acquire);
    access_note(&x->request, x->route, answered ? x->request.response.status : 0,
                clock_mono_us() - x->begun_us);
    set_deadline(x, config->http.idle_ms + config->http.header_ms);
    atomic_fetch_sub(&api->body_bytes, x->reserved);
    free(x->request.response.body);
    buffer_clear(&x->request.body);
    arena_free(x->request.arena); /* which `x` itself is from */
    *state = NULL;
    atomic_fetch_sub(&api->n_exchanges, 1);
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
        (unsigned)((config->http.idle_ms + 999) / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, api, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_EXTERNAL_LOGGER, ignore_library_log, NULL, MHD_OPTION_END);
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

/* The library aborts the process if it ends while a request is suspended. */
static void finish_requests(struct api *api)
{
    const struct timespec a_moment = {.tv_nsec = 2000000};
    atomic_store(&api->stopping, true);
    while (atomic_load(&api->n_suspended) > 0)
        nanosleep(&a_moment, NULL);
    int64_t deadline_ms = clock_mono_ms() + FLUSH_MS;
    while (atomic_load(&api->n_exchanges) > 0 && clock_mono_ms() < deadline_ms)
        nanosleep(&a_moment, NULL);
}

void api_stop(struct api *api)
{
    if (api == NULL)
        return;
    finish_requests(api);
    for (size_t i = 0; i < api->n_daemons; i++) {
        const char *address = api->context.config->listen.items[i];
        MHD_stop_daemon(api->daemons[i]);
        if (strncmp(address, "unix:", 5) == 0)
            unlink(address + 5);
    }
    watchdog_stop(api->watchdog);
    free(api->daemons);
    free(api);
}
