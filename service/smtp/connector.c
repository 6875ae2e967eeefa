#include "smtp/connector.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "smtp/resolver.h"

enum {
    ATTEMPTS_MAX = CONNECTOR_ADDRESSES_MAX,
    LAST_LOOK_MS = 1,
    ATTEMPT_DELAY_MS = 250, /* RFC 8305, 8 */
};

/* An address being tried. libuv frees a handle a turn of the loop later than it is closed, so each
 * has a life of its own. */
struct attempt {
    uv_poll_t poll;
    struct connector *connector;
    struct transport *transport;
    struct sockaddr_storage address;
};

/* How telling a failure is. */
enum rank { RANK_NOTHING, RANK_LOCAL, RANK_FAILED, RANK_TIMEOUT, RANK_REFUSED };

struct connector {
    uv_loop_t *loop;
    struct connector_settings settings;
    struct connector_owner owner;
    struct resolution *resolution; /* NULL: not looking up any more */
    uv_timer_t timer;              /* the next attempt, or the end */
    struct sockaddr_storage source;
    bool has_source;
    struct sockaddr_storage addresses[ATTEMPTS_MAX]; /* in the order they are tried */
    size_t n_addresses, n_begun;
    struct attempt *attempts[ATTEMPTS_MAX]; /* as `addresses`; NULL: not under way */
    size_t n_under_way, n_failed;
    bool looked_last; /* the deadline has passed, and the loop has looked once more since */
    enum rank rank;   /* of `why` */
    struct error why;
};

static const struct sockaddr *plain(const struct sockaddr_storage *address)
{
    return (const struct sockaddr *)address;
}

static void address_text(const struct sockaddr_storage *address, char *to, size_t size)
{
    if (uv_ip_name(plain(address), to, size) != 0)
        snprintf(to, size, "?");
}

/* --- the end ------------------------------------------------------------------------------ */

static void free_handle_data(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_attempt(struct connector *c, size_t i)
{
    struct attempt *attempt = TAKE(c->attempts[i]);
    if (attempt == NULL)
        return;
    c->n_under_way--;
    uv_close((uv_handle_t *)&attempt->poll, free_handle_data); /* stops polling at once */
    transport_free(attempt->transport);
}

void connector_cancel(struct connector *c)
{
    if (c->resolution != NULL)
        resolver_forget(c->resolution);
    for (size_t i = 0; i < ATTEMPTS_MAX; i++)
        close_attempt(c, i);
    uv_close((uv_handle_t *)&c->timer, free_handle_data);
}

static void fail(struct connector *c, enum smtp_step step, const struct error *why)
{
    const struct connector_owner owner = c->owner;
    const struct error copy = *why; /* it may be the connector's */
    connector_cancel(c);
    owner.failed(owner.arg, step, &copy);
}

/* What was tried before the winner and has not answered yet is behind it from now on: else every
 * connection would wait for it again. */
static void remember(const struct connector *c, size_t winner)
{
    struct addresses *addresses = c->settings.addresses;
    if (addresses == NULL)
        return;
    for (size_t i = 0; i < winner; i++)
        if (c->attempts[i] != NULL)
            addresses_failed(addresses, plain(&c->addresses[i]), clock_mono_ms());
}

static void win(struct connector *c, size_t i)
{
    const struct connector_owner owner = c->owner;
    struct transport *transport = TAKE(c->attempts[i]->transport);
    remember(c, i);
    size_t n_left = c->n_addresses - 1 - c->n_failed;
    connector_cancel(c);
    owner.connected(owner.arg, transport, n_left);
}

/* --- what failed -------------------------------------------------------------------------- */

static enum rank rank_of(const struct error *why, bool here)
{
    if (why->code == ERR_CONNECT_REFUSED)
        return RANK_REFUSED;
    if (why->code == ERR_CONNECT_TIMEOUT)
        return RANK_TIMEOUT;
    return here ? RANK_LOCAL : RANK_FAILED;
}

/* `here`: it failed before anything was sent, so that it says little of the other end. */
static void note_failure(struct connector *c, size_t i, const struct error *why, bool here)
{
    char address[INET6_ADDRSTRLEN];
    c->n_failed++;
    if (c->settings.addresses != NULL && !here)
        addresses_failed(c->settings.addresses, plain(&c->addresses[i]), clock_mono_ms());
    enum rank rank = rank_of(why, here);
    if (rank <= c->rank)
        return;
    address_text(&c->addresses[i], address, sizeof(address));
    c->rank = rank;
    error_set(&c->why, why->code, "%s port %u: %s", address, c->settings.port, why->detail);
}

/* --- the race ----------------------------------------------------------------------------- */

static void go_on(struct connector *c);

static size_t index_of(const struct attempt *attempt)
{
    size_t i = 0;
    while (attempt->connector->attempts[i] != attempt)
        i++;
    return i;
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
    struct attempt *attempt = poll->data;
    struct connector *c = attempt->connector;
    size_t i = index_of(attempt);
    struct error why;
    if (transport_connected(attempt->transport, &why) == 0) {
        win(c, i);
        return;
    }
    note_failure(c, i, &why, false);
    close_attempt(c, i);
    go_on(c);
}

static int watch(struct connector *c, struct attempt *attempt, struct error *err)
{
    int rc = uv_poll_init(c->loop, &attempt->poll, transport_fd(attempt->transport));
    if (rc < 0)
        return error_set(err, ERR_CONNECT_FAILED, "%s", uv_strerror(rc));
    attempt->poll.data = attempt;
    attempt->connector = c;
    uv_poll_start(&attempt->poll, UV_WRITABLE, on_writable);
    return 0;
}

static int begin_attempt(struct connector *c, size_t i, struct error *err)
{
    const struct sockaddr *source = c->has_source ? plain(&c->source) : NULL;
    struct attempt *attempt = calloc(1, sizeof(*attempt));
    if (attempt == NULL)
        return error_set(err, ERR_NOMEM, "connection");
    if (transport_connect(plain(&c->addresses[i]), source, &attempt->transport, err) == 0 &&
        watch(c, attempt, err) == 0) {
        c->attempts[i] = attempt;
        c->n_under_way++;
        return 0;
    }
    transport_free(attempt->transport);
    free(attempt);
    return -1;
}

static void begin_next(struct connector *c)
{
    char address[INET6_ADDRSTRLEN];
    struct error why;
    size_t i = c->n_begun++;
    address_text(&c->addresses[i], address, sizeof(address));
    c->owner.trying(c->owner.arg, address);
    if (begin_attempt(c, i, &why) < 0)
        note_failure(c, i, &why, why.code != ERR_CONNECT_REFUSED);
}

static void on_timer(uv_timer_t *timer);

static void arm_timer(struct connector *c)
{
    int64_t wait = c->settings.deadline_ms - clock_mono_ms();
    if (c->n_begun > 0 && c->n_begun < c->n_addresses && wait > ATTEMPT_DELAY_MS)
        wait = ATTEMPT_DELAY_MS;
    uv_timer_start(&c->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

/* The next attempt; more of them only while they fail at once. */
static void go_on(struct connector *c)
{
    size_t before = c->n_under_way;
    while (c->n_begun < c->n_addresses && c->n_under_way == before)
        begin_next(c);
    if (c->n_under_way == 0)
        fail(c, SMTP_STEP_TCP, &c->why);
    else
        arm_timer(c);
}

static void time_out(struct connector *c)
{
    struct error why;
    if (c->resolution != NULL) {
        error_set(&why, ERR_DNS_FAILED, "%s: no answer from the resolver", c->settings.host);
        fail(c, SMTP_STEP_DNS, &why);
        return;
    }
    error_set(&why, ERR_CONNECT_TIMEOUT, "no answer");
    for (size_t i = 0; i < ATTEMPTS_MAX; i++)
        if (c->attempts[i] != NULL)
            note_failure(c, i, &why, false);
    fail(c, SMTP_STEP_TCP, &c->why);
}

static void on_timer(uv_timer_t *timer)
{
    struct connector *c = timer->data;
    if (clock_mono_ms() >= c->settings.deadline_ms && c->looked_last) {
        time_out(c);
    } else if (clock_mono_ms() >= c->settings.deadline_ms) {
        /* Timers run before the sockets are looked at: after a freeze of this process there may be
         * what came in time. */
        c->looked_last = true;
        uv_timer_start(timer, on_timer, LAST_LOOK_MS, 0);
    } else if (c->resolution != NULL) /* the loop's clock lags a little */
        arm_timer(c);
    else
        go_on(c);
}

/* --- the addresses ------------------------------------------------------------------------ */

static bool suits_source(const struct connector *c, const struct addrinfo *address)
{
    return (address->ai_family == AF_INET || address->ai_family == AF_INET6) &&
           address->ai_addrlen <= sizeof(c->addresses[0]) &&
           (!c->has_source || address->ai_family == c->source.ss_family);
}

static bool is_spent(const struct connector *c, const struct addrinfo *address)
{
    for (size_t i = 0; i < c->settings.n_spent; i++)
        if (addresses_equal(plain(&c->settings.spent[i]), address->ai_addr))
            return true;
    return false;
}

static void take_addresses(struct connector *c, const struct addrinfo *list)
{
    const struct addrinfo *sorted[2 * ATTEMPTS_MAX];
    size_t n = addresses_sort(c->settings.addresses, list, clock_mono_ms(), sorted,
                              sizeof(sorted) / sizeof(sorted[0]));
    for (size_t i = 0; i < n && c->n_addresses < ATTEMPTS_MAX; i++)
        if (suits_source(c, sorted[i]) && !is_spent(c, sorted[i]))
            memcpy(&c->addresses[c->n_addresses++], sorted[i]->ai_addr, sorted[i]->ai_addrlen);
}

static void on_resolved(void *arg, const struct addrinfo *list, const struct error *why)
{
    struct connector *c = arg;
    c->resolution = NULL;
    if (list == NULL) {
        fail(c, SMTP_STEP_DNS, why);
        return;
    }
    take_addresses(c, list);
    c->owner.resolved(c->owner.arg);
    if (c->n_addresses == 0 && c->has_source)
        error_set(&c->why, ERR_CONNECT_FAILED, "%s has no address that source_address %s can reach",
                  c->settings.host, c->settings.source_address);
    else if (c->n_addresses == 0 && c->settings.n_spent > 0)
        error_set(&c->why, ERR_CONNECT_FAILED, "%s has no other address", c->settings.host);
    else if (c->n_addresses == 0)
        error_set(&c->why, ERR_CONNECT_FAILED, "%s has no IP address", c->settings.host);
    go_on(c);
}

/* The configuration takes addresses only; what is none all the same is told as a failure. */
static bool parse_source(struct connector *c)
{
    const char *text = c->settings.source_address;
    if (text == NULL)
        return true;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&c->source;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&c->source;
    c->has_source = true;
    if (uv_ip4_addr(text, 0, v4) == 0)
        return true;
    memset(&c->source, 0, sizeof(c->source));
    return uv_ip6_addr(text, 0, v6) == 0;
}

struct connector *connector_start(uv_loop_t *loop, const struct connector_settings *settings,
                                  const struct connector_owner *owner)
{
    struct connector *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->loop = loop;
    c->settings = *settings;
    c->owner = *owner;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    if (!parse_source(c))
        c->source.ss_family = AF_UNSPEC; /* no address suits it */
    c->resolution = resolver_ask(loop, settings->host, settings->port, on_resolved, c);
    if (c->resolution == NULL) {
        connector_cancel(c);
        return NULL;
    }
    arm_timer(c);
    return c;
}
