#include "smtp/connect_path.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "smtp/connector.h"
#include "smtp/proxy.h"
#include "smtp/session.h"

enum { LAST_LOOK_MS = 1 };

struct way {
    uv_loop_t *loop;
    const struct session_settings *settings; /* borrowed */
    struct way_owner owner;
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

static bool through_proxy(const struct way *way)
{
    return way->settings->proxy.host != NULL;
}

/* --- the end ------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct way *way = handle->data;
    if (--way->n_handles == 0)
        free(way);
}

void way_cancel(struct way *way)
{
    if (way->connector != NULL)
        connector_cancel(way->connector);
    if (way->polling)
        uv_close((uv_handle_t *)&way->poll, on_handle_closed); /* stops polling at once */
    uv_close((uv_handle_t *)&way->timer, on_handle_closed);
    transport_free(way->transport);
    proxy_free(way->proxy);
}

static void fail(struct way *way, const struct error *why)
{
    const struct way_owner owner = way->owner;
    enum smtp_step step = way->step;
    struct error told = *why;
    if (through_proxy(way) && why->code != ERR_NOMEM && why->code != ERR_PROXY_FAILED)
        error_set(&told, ERR_PROXY_FAILED, "the proxy: %s", why->detail);
    way_cancel(way);
    owner.failed(owner.arg, step, &told);
}

static void arrive(struct way *way)
{
    const struct way_owner owner = way->owner;
    struct transport *transport = TAKE(way->transport);
    size_t n_left = through_proxy(way) ? 0 : way->n_left;
    way_cancel(way);
    owner.open(owner.arg, transport, n_left);
}

/* --- through the proxy -------------------------------------------------------------------- */

/* Of the proxy: whether it serves is known when the way through it is open. */
static void note_proxy(const struct way *way, bool good)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    struct addresses *addresses = way->settings->addresses;
    if (addresses == NULL ||
        getpeername(transport_fd(way->transport), (struct sockaddr *)&peer, &len) != 0)
        return;
    if (good)
        addresses_worked(addresses, (struct sockaddr *)&peer);
    else
        addresses_failed(addresses, (struct sockaddr *)&peer, clock_mono_ms());
}

static int write_some(struct way *way, struct error *err)
{
    size_t len;
    const char *pending = proxy_pending(way->proxy, &len);
    ssize_t n = len > 0 ? transport_write(way->transport, pending, len, err) : 0;
    if (n > 0)
        proxy_sent(way->proxy, (size_t)n);
    return n < 0 ? -1 : 0;
}

/* 1: the way is open; 0: not yet. No octet is read that may be the server's. */
static int read_some(struct way *way, struct error *err)
{
    char in[512];
    for (;;) {
        size_t wants = proxy_wants(way->proxy);
        ssize_t n =
            transport_read(way->transport, in, wants < sizeof(in) ? wants : sizeof(in), err);
        if (n <= 0)
            return (int)n;
        int rc = proxy_feed(way->proxy, in, (size_t)n, err);
        if (rc != 0)
            return rc;
    }
}

/* What the proxy says may want an answer. */
static int talk(struct way *way, struct error *err)
{
    if (write_some(way, err) < 0)
        return -1;
    int rc = read_some(way, err);
    return rc != 0 ? rc : write_some(way, err);
}

static void go_on(struct way *way);

static void on_socket(uv_poll_t *poll, int status, int events)
{
    go_on(poll->data); /* an error shows itself in the next read */
}

static void wait_for_proxy(struct way *way)
{
    int wants = transport_wants(way->transport);
    uv_poll_start(&way->poll, UV_READABLE | (wants & TRANSPORT_WRITE ? UV_WRITABLE : 0), on_socket);
}

static void go_on(struct way *way)
{
    struct error err;
    int rc = talk(way, &err);
    if (rc < 0) {
        fail(way, &err);
    } else if (rc > 0) {
        note_proxy(way, true);
        way->owner.step(way->owner.arg, SMTP_STEP_PROXY);
        arrive(way);
    } else {
        wait_for_proxy(way);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct way *way = timer->data;
    struct error err;
    if (!way->looked_last) { /* what came while this process was frozen is looked at first */
        way->looked_last = true;
        uv_timer_start(timer, on_timer, LAST_LOOK_MS, 0);
        return;
    }
    note_proxy(way, false);
    error_set(&err, ERR_PROXY_FAILED, "the proxy has not opened the way in time");
    fail(timer->data, &err);
}

static int meet_proxy(struct way *way, struct error *err)
{
    const struct session_settings *settings = way->settings;
    way->step = SMTP_STEP_PROXY;
    if (proxy_new(&settings->proxy, settings->host, settings->port, &way->proxy, err) < 0)
        return -1;
    int rc = uv_poll_init(way->loop, &way->poll, transport_fd(way->transport));
    if (rc < 0)
        return error_set(err, ERR_CONNECT_FAILED, "%s", uv_strerror(rc));
    way->poll.data = way;
    way->polling = true;
    way->n_handles++;
    uv_update_time(way->loop); /* else its clock lags, and the deadline comes early */
    uv_timer_start(&way->timer, on_timer, (uint64_t)settings->connect_timeout_ms, 0);
    return 0;
}

/* --- to the first host -------------------------------------------------------------------- */

static void on_resolved(void *arg)
{
    struct way *way = arg;
    way->step = SMTP_STEP_TCP;
    way->owner.step(way->owner.arg, SMTP_STEP_DNS);
}

static void on_trying(void *arg, const char *address)
{
    const struct way *way = arg;
    const struct session_settings *settings = way->settings;
    char what[80];
    if (through_proxy(way))
        snprintf(what, sizeof(what), "the proxy %s port %u", address, settings->proxy.port);
    else
        snprintf(what, sizeof(what), "%s port %u", address, settings->port);
    way->owner.trying(way->owner.arg, what);
}

static void on_connected(void *arg, struct transport *transport, size_t n_left)
{
    struct way *way = arg;
    struct error err;
    way->connector = NULL;
    way->transport = transport;
    way->n_left = n_left;
    way->owner.step(way->owner.arg, SMTP_STEP_TCP);
    if (!through_proxy(way))
        arrive(way);
    else if (meet_proxy(way, &err) < 0)
        fail(way, &err);
    else
        go_on(way);
}

static void on_failed(void *arg, enum smtp_step step, const struct error *why)
{
    struct way *way = arg;
    way->connector = NULL;
    fail(way, why);
}

static struct connector *start_connector(struct way *way)
{
    const struct session_settings *settings = way->settings;
    const struct connector_settings to = {
        .host = through_proxy(way) ? settings->proxy.host : settings->host,
        .port = through_proxy(way) ? settings->proxy.port : settings->port,
        .source_address = settings->source_address,
        .addresses = settings->addresses,
        .spent = way->spent,
        .n_spent = way->n_spent,
        .deadline_ms = clock_mono_ms() + settings->connect_timeout_ms};
    const struct connector_owner owner = {.resolved = on_resolved,
                                          .trying = on_trying,
                                          .connected = on_connected,
                                          .failed = on_failed,
                                          .arg = way};
    return connector_start(way->loop, &to, &owner);
}

struct way *way_start(uv_loop_t *loop, const struct session_settings *settings,
                      const struct sockaddr_storage *spent, size_t n_spent,
                      const struct way_owner *owner)
{
    struct way *way = calloc(1, sizeof(*way));
    if (way == NULL)
        return NULL;
    way->loop = loop;
    way->settings = settings;
    for (size_t i = 0; i < n_spent; i++)
        way->spent[way->n_spent++] = spent[i];
    way->owner = *owner;
    way->step = SMTP_STEP_DNS;
    uv_timer_init(loop, &way->timer);
    way->timer.data = way;
    way->n_handles = 1;
    way->connector = start_connector(way);
    if (way->connector != NULL)
        return way;
    way_cancel(way);
    return NULL;
}

enum smtp_step way_step(const struct way *way)
{
    return way->step;
}

const struct transport *way_transport(const struct way *way)
{
    return way->transport;
}
