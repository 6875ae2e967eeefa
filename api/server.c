#include "api/server.h"

#include <assert.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "api/access.h"
#include "api/auth.h"
#include "api/budget.h"
#include "api/field.h"
#include "api/guard.h"
#include "api/last_read.h"
#include "api/parting.h"
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
     * this is the limit that a client meets, but for one of hundreds of fields. The library maps
     * and unmaps what is larger, which is half of what a short connection costs. */
    CONNECTION_MEMORY = 32 * 1024,
    THREADS_MAX = 4,
    FLUSH_MS = 500, /* for an answer to reach its client when the process ends, while none does; */
    FLUSH_MAX_MS = 8000, /* for all of them: on a machine that has little time for us */
    BODY_FIRST = 4096,   /* that a body takes, unless it is smaller */
};

#define BODY_TOO_LARGE "The body is over http.max_body."
#define TOO_MANY_BODIES "Too many bodies are held in memory."

struct api {
    struct api_context context;
    struct MHD_Daemon **daemons;
    char (*addresses)[SERVER_ADDRESS_SIZE]; /* of each of them */
    size_t n_daemons;
    struct watchdog *watchdog;
    struct linger *linger;
    struct budget *budget; /* of the bodies of all requests under way */
    atomic_bool stopping;  /* set before `n_suspended` is looked at, which is counted before this
                              is: so none is suspended when the library ends, which aborts then */
    atomic_size_t n_suspended;
    atomic_size_t n_owed;   /* answers that are being made or sent, */
    atomic_size_t n_unmade; /* and those of them that the library does not have yet */
};

struct exchange {               /* one request with what the library wants to know of it */
    struct api_request request; /* first: a request is an exchange */
    struct api *api;
    struct MHD_Connection *connection;
    struct watched *watched;
    unsigned owner;     /* whose share of api->budget it takes from */
    uint64_t reserved;  /* of api->budget */
    uint64_t announced; /* Content-Length; 0: none */
    int64_t begun_us;
    const struct route *route; /* NULL: none (yet) */
    atomic_bool answered;      /* hands `request` over from the thread that answered */
    bool refused;              /* what follows on this connection is not to be read */
    bool owed;                 /* counted in api->n_owed, */
    bool unmade;               /* and in api->n_unmade */
};

static struct exchange *exchange_of(const struct api_request *request)
{
    return (struct exchange *)request;
}

/* --- answering ---------------------------------------------------------------------------- */

/* The library leaves blanks at the end of a value (RFC 9110, 5.5). NULL without memory too. */
static const char *trim(const struct api_request *request, const char *value)
{
    size_t n = value != NULL ? strlen(value) : 0;
    size_t trimmed = field_trimmed(value, n);
    return trimmed == n ? value : arena_strndup(request->arena, value, trimmed);
}

static const char *get_header(const struct api_request *request, const char *name)
{
    return trim(request, MHD_lookup_connection_value(exchange_of(request)->connection,
                                                     MHD_HEADER_KIND, name));
}

struct listing {
    struct api_request *request;
    const char *name, *all;
};

static enum MHD_Result add_line(void *arg, enum MHD_ValueKind kind, const char *name,
                                size_t name_len, const char *value, size_t value_len)
{
    struct listing *l = arg;
    if (strcasecmp(name, l->name) != 0 || value == NULL)
        return MHD_YES;
    value = trim(l->request, value);
    l->all = l->all == NULL ? value : arena_printf(l->request->arena, "%s, %s", l->all, value);
    return MHD_YES;
}

static const char *get_header_list(const struct api_request *request, const char *name)
{
    struct exchange *x = exchange_of(request);
    struct listing l = {.request = &x->request, .name = name};
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, add_line, &l);
    return l.all;
}

static const char *get_query(const struct api_request *request, const char *name)
{
    struct MHD_Connection *connection = exchange_of(request)->connection;
    const char *value = NULL;
    enum MHD_Result found = MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name,
                                                          strlen(name), &value, NULL);
    return found == MHD_YES && value == NULL ? "" : value;
}

/* From when the request is in until it is completed. */
static void note_owed(struct exchange *x)
{
    if (x->owed)
        return;
    x->owed = x->unmade = true;
    atomic_fetch_add(&x->api->n_unmade, 1);
    atomic_fetch_add(&x->api->n_owed, 1);
}

static void note_made(struct exchange *x)
{
    if (x->unmade)
        atomic_fetch_sub(&x->api->n_unmade, 1);
    x->unmade = false;
}

static enum MHD_Result send_response(struct exchange *x)
{
    note_owed(x);
    struct api_response *r = &x->request.response;
    bool has_body = r->body.data != NULL;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(r->body.len, has_body ? r->body.data : "",
                                        has_body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        buffer_clear(&r->body);
        return MHD_NO;
    }
    buffer_init(&r->body, 0); /* the library's now */
    if (r->content_type != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type);
    MHD_add_response_header(response, "X-Request-Id", x->request.id);
    for (size_t i = 0; i < r->n_headers; i++)
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    if (x->refused)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (x->watched != NULL) {
        x->watched->replying = true;
        x->watched->linger = x->refused;
    }
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    note_made(x);
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

/* The client's, if it is a sane one. */
static void set_request_id(char id[REQUEST_ID_SIZE], const char *given)
{
    size_t n = given != NULL ? strlen(given) : 0;
    if (n > 0 && n < REQUEST_ID_SIZE &&
        strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n)
        memcpy(id, given, n + 1);
    else
        id_new(clock_wall_ms(), id);
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

static struct watched *watched_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* The library goes on with this one; if it has a complaint, that is the one. */
static void touch(struct MHD_Connection *connection)
{
    const struct watched *watched = watched_of(connection);
    last_read_is(watched != NULL ? watched->fd : -1);
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
    x->api = api;
    x->connection = connection;
    x->watched = watched_of(connection);
    x->begun_us = clock_mono_us();
    x->request.context = &api->context;
    x->request.arena = arena;
    x->request.method = method;
    x->request.path = path_of(url);
    x->request.header = get_header;
    x->request.header_list = get_header_list;
    x->request.query = get_query;
    x->request.complete = complete_now;
    buffer_init(&x->request.body, api->context.config->http.max_body + 1);
    set_request_id(x->request.id, get_header_list(&x->request, "X-Request-Id")); /* two are none */
    return x;
}

/* Whose body it is: the key's, or where there are none, the address's (of IPv6 the network's). */
static unsigned owner_of(const struct exchange *x)
{
    const struct config *config = x->api->context.config;
    if (x->request.api_key != NULL)
        return (unsigned)(x->request.api_key - config->api_keys) % BUDGET_OWNERS;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
    const uint8_t *octets = NULL;
    size_t n = 0;
    unsigned hash = 2166136261;
    if (address != NULL && address->sa_family == AF_INET) {
        octets = (const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr;
        n = 4;
    } else if (address != NULL && address->sa_family == AF_INET6) {
        octets = (const uint8_t *)&((const struct sockaddr_in6 *)address)->sin6_addr;
        n = 8;
    }
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ octets[i]) * 16777619;
    return (hash ^ hash >> 16) % BUDGET_OWNERS;
}

/* Room for a body of `len`, as it comes and not as it was announced: to announce costs nothing. It
 * doubles, so that little is copied, where there is that much to be had. */
static bool make_room(struct exchange *x, size_t len)
{
    struct buffer *body = &x->request.body;
    const uint64_t most =
        x->announced >= len ? x->announced : x->api->context.config->http.max_body;
    uint64_t room = x->reserved > 0 ? x->reserved : BODY_FIRST;
    assert(len <= most);
    if (len <= x->reserved)
        return true;
    while (room < len)
        room *= 2;
    room = room < most ? room : most;
    if (!budget_take(x->api->budget, x->owner, x->reserved, room - x->reserved)) {
        room = len;
        if (!budget_take(x->api->budget, x->owner, x->reserved, room - x->reserved))
            return false;
    }
    x->reserved = room;
    return room <= body->size || buffer_reserve(body, room - body->len) != NULL;
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

/* Whether the body is to be read. */
static enum MHD_Result admit_body(struct exchange *x)
{
    const struct config *config = x->api->context.config;
    const char *length = get_header(&x->request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *codings = get_header_list(&x->request, MHD_HTTP_HEADER_CONTENT_ENCODING);
    if (codings != NULL && !field_list_only(codings, "identity")) {
        api_add_header(&x->request, MHD_HTTP_HEADER_ACCEPT_ENCODING, "identity");
        return refuse(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                      "The body is to be sent without a content coding.");
    }
    if (x->route->takes_json &&
        !guard_is_json(get_header(&x->request, MHD_HTTP_HEADER_CONTENT_TYPE)))
        return refuse(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                      "Content-Type: application/json (UTF-8) is wanted.");
    x->announced = length != NULL ? strtoull(length, NULL, 10) : 0;
    x->owner = owner_of(x);
    if (x->announced > config->http.max_body)
        return refuse(x, PROBLEM_TOO_LARGE, BODY_TOO_LARGE);
    if (!budget_has(x->api->budget, x->announced))
        return refuse(x, PROBLEM_UNAVAILABLE, TOO_MANY_BODIES);
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

/* The library takes no answer in the middle of a body. */
static enum MHD_Result refuse_midway(struct exchange *x, enum problem problem, const char *detail)
{
    const char *reason = MHD_get_reason_phrase_for((unsigned)problem_status(problem));
    if (x->watched != NULL) {
        parting_send(x->watched->fd, reason, x->request.id, problem, detail);
        x->watched->linger = true;
    }
    x->request.response.status = problem_status(problem);
    x->answered = true;
    return MHD_NO; /* close it */
}

static enum MHD_Result take_body(struct exchange *x, const char *data, size_t *size)
{
    size_t len = *size;
    *size = 0;
    if (x->request.body.len + len > x->api->context.config->http.max_body)
        return refuse_midway(x, PROBLEM_TOO_LARGE, BODY_TOO_LARGE);
    if (!make_room(x, x->request.body.len + len) || buffer_append(&x->request.body, data, len) < 0)
        return refuse_midway(x, PROBLEM_UNAVAILABLE, TOO_MANY_BODIES);
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
    note_owed(x);
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
    touch(connection);
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
    touch(connection);
    if (x == NULL)
        return;
    struct api *api = x->api;
    const struct config *config = api->context.config;
    /* Also of one whose client was gone before it could be sent. */
    bool answered = atomic_load_explicit(&x->answered, memory_order_acquire);
    access_note(&x->request, x->route, answered ? x->request.response.status : 0,
                clock_mono_us() - x->begun_us);
    set_deadline(x, config->http.idle_ms + config->http.header_ms);
    if (x->watched != NULL)
        x->watched->replying = false;
    note_made(x); /* the client was gone before */
    if (x->owed)
        atomic_fetch_sub(&api->n_owed, 1);
    budget_give(api->budget, x->owner, x->reserved);
    buffer_clear(&x->request.response.body);
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
        if (watched == NULL)
            return;
        watchdog_remove(api->watchdog, watched);
        if (watched->linger)
            linger_take(api->linger, watched->fd, 2 * api->context.config->http.max_body,
                        api->context.config->http.body_ms);
        free(watched);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    watched = info != NULL ? calloc(1, sizeof(*watched)) : NULL;
    if (watched == NULL)
        return; /* it lives without a deadline, but for inactivity */
    watched->fd = info->connect_fd;
    watched->connection = connection;
    atomic_store(&watched->deadline_ms, clock_mono_ms() + api->context.config->http.header_ms);
    watchdog_add(api->watchdog, watched);
    *socket_state = watched;
}

/* The path as it came: nothing is decoded, so nothing can be decoded into another route. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *s)
{
    return strlen(s);
}

/*
 * What the library cannot read, and whose length it cannot believe, it answers itself: in HTML, and
 * in part twice over. It says so first, in its log; so the answer is given here, and our side shut
 * down before the library sends its own. If the words of a later library are others, its answer
 * stands.
 */
static void on_library_log(void *arg, const char *format, va_list args)
{
    static const char words[] = "Error processing request (HTTP response code is %u";
    struct api *api = arg;
    char id[REQUEST_ID_SIZE];
    if (strncmp(format, words, sizeof(words) - 1) != 0)
        return;
    unsigned status = va_arg(args, unsigned);
    struct watched *watched = watchdog_find(api->watchdog, last_read());
    if (watched == NULL || watched->connection == NULL || watched->replying)
        return;
    set_request_id(
        id, MHD_lookup_connection_value(watched->connection, MHD_HEADER_KIND, "X-Request-Id"));
    enum problem problem = parting_problem(status);
    parting_send(watched->fd, MHD_get_reason_phrase_for((unsigned)problem_status(problem)), id,
                 problem, NULL);
    watched->linger = true;
    access_note_unread(problem_status(problem));
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
        keep_escapes, NULL, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, api, MHD_OPTION_END);
    if (daemon == NULL) {
        close(fd);
        return error_set(err, ERR_CONFIG, "listen: %s: the HTTP server did not start", address);
    }
    server_address(fd, address, api->addresses[api->n_daemons]);
    api->daemons[api->n_daemons++] = daemon;
    return 0;
}

const char *api_address(const struct api *api, size_t n)
{
    return api->addresses[n];
}

int api_start(const struct api_context *context, struct api **api_out, struct error *err)
{
    const struct config_strings *listen = &context->config->listen;
    struct api *api = calloc(1, sizeof(*api));
    if (api != NULL) {
        api->daemons = calloc(listen->n_items, sizeof(*api->daemons));
        api->addresses = calloc(listen->n_items, sizeof(*api->addresses));
    }
    if (api == NULL || api->daemons == NULL || api->addresses == NULL) {
        if (api != NULL) {
            free(api->daemons);
            free(api->addresses);
        }
        free(api);
        return error_set(err, ERR_NOMEM, "HTTP server");
    }
    api->context = *context;
    int rc = watchdog_start(&api->watchdog, err);
    if (rc == 0)
        rc = linger_start(api->watchdog, &api->linger, err);
    api->budget = budget_new(context->config->http.memory);
    if (rc == 0 && api->budget == NULL)
        rc = error_set(err, ERR_NOMEM, "HTTP server");
    for (size_t i = 0; rc == 0 && i < listen->n_items; i++)
        rc = start_daemon(api, listen->items[i], err);
    if (rc < 0) {
        api_stop(api);
        return -1;
    }
    *api_out = api;
    return 0;
}

/* The library aborts the process if it ends while a request is suspended, and so each is waited
 * for: whoever works on it gives it up soon (see api_stop()). Its answer is, too, but not one
 * that its client does not take: a client's time runs from when the library has the answer, for
 * until then it is our threads that are slow. */
static void finish_requests(struct api *api)
{
    const struct timespec a_moment = {.tv_nsec = 2000000};
    atomic_store(&api->stopping, true);
    while (atomic_load(&api->n_suspended) > 0)
        nanosleep(&a_moment, NULL);
    int64_t begun_ms = clock_mono_ms(), taken_ms = begun_ms;
    size_t before = SIZE_MAX;
    for (size_t n; (n = atomic_load(&api->n_owed)) > 0; nanosleep(&a_moment, NULL)) {
        int64_t now_ms = clock_mono_ms();
        if (n < before || atomic_load(&api->n_unmade) > 0)
            taken_ms = now_ms;
        before = n;
        if (now_ms - taken_ms > FLUSH_MS || now_ms - begun_ms > FLUSH_MAX_MS)
            break;
    }
}

/* The library dereferences NULL if it finds a fault in a request while it ends: so there are no
 * connections left when it does. */
static void end_connections(struct api *api)
{
    const struct timespec a_moment = {.tv_nsec = 2000000};
    for (size_t i = 0; i < api->n_daemons; i++) {
        int fd = MHD_quiesce_daemon(api->daemons[i]);
        if (fd >= 0)
            close(fd);
    }
    int64_t deadline_ms = clock_mono_ms() + FLUSH_MS;
    while (watchdog_shut_all(api->watchdog) > 0 && clock_mono_ms() < deadline_ms)
        nanosleep(&a_moment, NULL);
}

void api_stop(struct api *api)
{
    if (api == NULL)
        return;
    finish_requests(api);
    if (api->n_daemons > 0)
        end_connections(api);
    for (size_t i = 0; i < api->n_daemons; i++) {
        const char *address = api->context.config->listen.items[i];
        MHD_stop_daemon(api->daemons[i]);
        if (strncmp(address, "unix:", 5) == 0)
            unlink(address + 5);
    }
    linger_stop(api->linger);
    watchdog_stop(api->watchdog);
    budget_free(api->budget);
    free(api->daemons);
    free(api->addresses);
    free(api);
}
