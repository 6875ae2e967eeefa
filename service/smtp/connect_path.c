#include "smtp/connect_path.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "smtp/connector.h"
#include "smtp/proxy.h"

enum { LAST_LOOK_MS = 1 };

struct connect_path {
    uv_loop_t *loop;
    const struct session_settings *settings; /* borrowed */
    struct connect_path_owner owner;
    enum smtp_step step;         /* DNS -> TCP [-> PROXY] */
    struct connector *connector; /* NULL: connected */
    struct transport *transport; /* to the proxy */
    struct proxy *proxy;
    uv_timer_t timer; /* for the proxy; the connector has its own */
    uv_poll_t poll;
    bool polling, looked_last;
    struct sockaddr_storage spent[CONNECTOR_ADDRESSES_MAX];
    size_t n_spent, n_left;
    unsigned n_handles;
};

static bool through_proxy(const struct connect_path *path)
{
    return path->settings->proxy.host != NULL;
}

/* --- the end ------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct connect_path *path = handle->data;
    if (--path->n_handles == 0)
        free(path);
}

void connect_path_cancel(struct connect_path *path)
{
    if (path->connector != NULL)
        connector_cancel(path->connector);
    if (path->polling)
        uv_close((uv_handle_t *)&path->poll, on_handle_closed); /* stops polling at once */
    uv_close((uv_handle_t *)&path->timer, on_handle_closed);
    transport_free(path->transport);
    proxy_free(path->proxy);
}

static void fail(struct connect_path *path, const struct error *why)
{
    const struct connect_path_owner owner = path->owner;
    enum smtp_step step = path->step;
    struct error told = *why;
    if (through_proxy(path) && why->code != ERR_NOMEM && why->code != ERR_PROXY_FAILED)
        error_set(&told, ERR_PROXY_FAILED, "the proxy: %s", why->detail);
    connect_path_cancel(path);
    owner.failed(owner.arg, step, &told);
}

static void arrive(struct connect_path *path)
{
    const struct connect_path_owner owner = path->owner;
    struct transport *transport = TAKE(path->transport);
    size_t n_left = through_proxy(path) ? 0 : path->n_left;
    connect_path_cancel(path);
    owner.open(owner.arg, transport, n_left);
}

/* --- through the proxy -------------------------------------------------------------------- */

/* Of the proxy: whether it serves is known when it has let us through. */
static void note_proxy(const struct connect_path *path, bool good)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    struct addresses *addresses = path->settings->addresses;
    if (addresses == NULL ||
        getpeername(transport_fd(path->transport), (struct sockaddr *)&peer, &len) != 0)
        return;
    if (good)
        addresses_worked(addresses, (struct sockaddr *)&peer);
    else
        addresses_failed(addresses, (struct sockaddr *)&peer, clock_mono_ms());
}

static int write_some(struct connect_path *path, struct error *err)
{
    size_t len;
    const char *pending = proxy_pending(path->proxy, &len);
    ssize_t n = len > 0 ? transport_write(path->transport, pending, len, err) : 0;
    if (n > 0)
        proxy_sent(path->proxy, (size_t)n);
    return n < 0 ? -1 : 0;
}

/* 1: through; 0: not yet. No octet is read that may be the server's. */
static int read_some(struct connect_path *path, struct error *err)
{
    char in[512];
    for (;;) {
        size_t wants = proxy_wants(path->proxy);
        ssize_t n =
            transport_read(path->transport, in, wants < sizeof(in) ? wants : sizeof(in), err);
        if (n <= 0)
            return (int)n;
        int rc = proxy_feed(path->proxy, in, (size_t)n, err);
        if (rc != 0)
            return rc;
    }
}

/* What the proxy says may want an answer. */
static int talk(struct connect_path *path, struct error *err)
{
    if (write_some(path, err) < 0)
        return -1;
    int rc = read_some(path, err);
    return rc != 0 ? rc : write_some(path, err);
}

static void go_on(struct connect_path *path);

static void on_socket(uv_poll_t *poll, int status, int events)
{
    go_on(poll->data); /* an error shows itself in the next read */
}

static void wait_for_proxy(struct connect_path *path)
{
    int wants = transport_wants(path->transport);
    uv_poll_start(&path->poll, UV_READABLE | (wants & TRANSPORT_WRITE ? UV_WRITABLE : 0),
                  on_socket);
}

static void go_on(struct connect_path *path)
{
    struct error err;
    int rc = talk(path, &err);
    if (rc < 0) {
        fail(path, &err);
    } else if (rc > 0) {
        note_proxy(path, true);
        path->owner.step(path->owner.arg, SMTP_STEP_PROXY);
        arrive(path);
    } else {
        wait_for_proxy(path);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct connect_path *path = timer->data;
    struct error err;
    if (!path->looked_last) { /* what came while this process was frozen is looked at first */
        path->looked_last = true;
        uv_timer_start(timer, on_timer, LAST_LOOK_MS, 0);
        return;
    }
    note_proxy(path, false);
    error_set(&err, ERR_PROXY_FAILED, "the proxy has not let us through in time");
    fail(timer->data, &err);
}

static int meet_proxy(struct connect_path *path, struct error *err)
{
    const struct session_settings *settings = path->settings;
    path->step = SMTP_STEP_PROXY;
    if (proxy_new(&settings->proxy, settings->host, settings->port, &path->proxy, err) < 0)
        return -1;
    int rc = uv_poll_init(path->loop, &path->poll, transport_fd(path->transport));
    if (rc < 0)
        return error_set(err, ERR_CONNECT_FAILED, "%s", uv_strerror(rc));
    path->poll.data = path;
    path->polling = true;
    path->n_handles++;
    uv_update_time(path->loop); /* else its clock lags, and the deadline comes early */
    uv_timer_start(&path->timer, on_timer, (uint64_t)settings->connect_timeout_ms, 0);
    return 0;
}

/* --- to the first host -------------------------------------------------------------------- */

static void on_resolved(void *arg)
{
    struct connect_path *path = arg;
    path->step = SMTP_STEP_TCP;
    path->owner.step(path->owner.arg, SMTP_STEP_DNS);
}

static void on_trying(void *arg, const char *address)
{
    const struct connect_path *path = arg;
    const struct session_settings *settings = path->settings;
    char what[80];
    if (through_proxy(path))
        snprintf(what, sizeof(what), "the proxy %s port %u", address, settings->proxy.port);
    else
        snprintf(what, sizeof(what), "%s port %u", address, settings->port);
    path->owner.trying(path->owner.arg, what);
}

static void on_connected(void *arg, struct transport *transport, size_t n_left)
{
    struct connect_path *path = arg;
    struct error err;
    path->connector = NULL;
    path->transport = transport;
    path->n_left = n_left;
    path->owner.step(path->owner.arg, SMTP_STEP_TCP);
    if (!through_proxy(path))
        arrive(path);
    else if (meet_proxy(path, &err) < 0)
        fail(path, &err);
    else
        go_on(path);
}

static void on_failed(void *arg, enum smtp_step step, const struct error *why)
{
    struct connect_path *path = arg;
    path->connector = NULL;
    fail(path, why);
}

static struct connector *start_connector(struct connect_path *path)
{
    const struct session_settings *settings = path->settings;
    const struct connector_settings to = {
        .host = through_proxy(path) ? settings->proxy.host : settings->host,
        .port = through_proxy(path) ? settings->proxy.port : settings->port,
        .source_address = settings->source_address,
        .addresses = settings->addresses,
        .spent = path->spent,
        .n_spent = path->n_spent,
        .deadline_ms = clock_mono_ms() + settings->connect_timeout_ms};
    const struct connector_owner owner = {.resolved = on_resolved,
                                          .trying = on_trying,
                                          .connected = on_connected,
                                          .failed = on_failed,
                                          .arg = path};
    return connector_start(path->loop, &to, &owner);
}

struct connect_path *connect_path_start(uv_loop_t *loop, const struct session_settings *settings,
                                        const struct sockaddr_storage *spent, size_t n_spent,
                                        const struct connect_path_owner *owner)
{
    struct connect_path *path = calloc(1, sizeof(*path));
    if (path == NULL)
        return NULL;
    path->loop = loop;
    path->settings = settings;
    for (size_t i = 0; i < n_spent; i++)
        path->spent[path->n_spent++] = spent[i];
    path->owner = *owner;
    path->step = SMTP_STEP_DNS;
    uv_timer_init(loop, &path->timer);
    path->timer.data = path;
    path->n_handles = 1;
    path->connector = start_connector(path);
    if (path->connector != NULL)
        return path;
    connect_path_cancel(path);
    return NULL;
}

enum smtp_step connect_path_step(const struct connect_path *path)
{
    return path->step;
}

const struct transport *connect_path_transport(const struct connect_path *path)
{
    return path->transport;
}
