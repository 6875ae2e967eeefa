#include "smtp/session.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    AUTO_WAIT_MS = 1000, /* tls: auto: how long a plain server gets to greet first */
    QUIT_WAIT_MS = 2000, /* nobody waits longer for a farewell */
    OUT_SIZE = 16 * 1024,
    READS_A_TURN = 16, /* then the loop's other sessions get theirs */
};

/* RESOLVE -> CONNECT -> [AUTO_WAIT] -> [HANDSHAKE] -> TALK (-> HANDSHAKE -> TALK) -> CLOSED */
enum phase { RESOLVE, CONNECT, AUTO_WAIT, HANDSHAKE, TALK, CLOSED };

/* A poll handle outlives its descriptor by one turn of the loop, so each connection attempt has one
 * of its own, which frees itself. */
struct watch {
    uv_poll_t poll;
    struct session *session; /* NULL: the attempt is over */
    int events;
};

struct session {
    uv_loop_t *loop;
    const struct session_settings *settings;
    struct session_owner owner;
    enum phase phase;
    struct smtp_options options; /* settings->smtp, with the TLS mode decided */
    struct smtp_dialogue *dialogue;
    struct transport *transport;
    struct watch *watch;
    uv_getaddrinfo_t resolve;
    struct addrinfo *addresses, *address; /* all, and the one being tried */
    uv_timer_t timer;
    int64_t timer_due_ms; /* INT64_MAX: not running */
    int64_t phase_deadline_ms;
    bool resolving, timer_closed;
    int64_t step_began_us;    /* the one that has not succeeded yet */
    enum smtp_step talk_step; /* of the dialogue, when it was last looked at */
    bool logged_in;
    bool greeted;   /* an octet has come */
    bool cut_short; /* the last turn ended by its limit: more can be moved at once */
    bool quitting;  /* QUIT goes out as soon as nothing is under way */
    bool busy;      /* inside advance(): calls of the owner only note what they want */
    bool aborting;
    struct error last_error; /* of the addresses tried so far */
    size_t out_len, out_done;
    char out[OUT_SIZE]; /* pulled from the dialogue, not yet taken by the transport */
};

static void advance(struct session *s);
static void try_address(struct session *s);

/* --- what the owner is told ---------------------------------------------------------------- */

static void succeeded(struct session *s, enum smtp_step step)
{
    int64_t now_us = clock_mono_us();
    if (s->owner.step != NULL)
        s->owner.step(s->owner.arg, s, step, now_us - s->step_began_us);
    s->step_began_us = now_us;
}

__attribute__((format(printf, 2, 3))) static void remark(struct session *s, const char *format, ...)
{
    char text[512];
    if (s->owner.said == NULL)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    s->owner.said(s->owner.arg, NULL, '*', text);
}

/* Until the login is done each reply ends its group, so no step passes unseen between two looks. */
static void notice_steps(struct session *s)
{
    if (s->logged_in)
        return;
    enum smtp_step before = s->talk_step;
    s->talk_step = smtp_dialogue_step(s->dialogue);
    s->logged_in = smtp_dialogue_ready(s->dialogue);
    if (s->talk_step != before || s->logged_in)
        succeeded(s, before);
}

/* --- time --------------------------------------------------------------------------------- */

static int64_t deadline(const struct session *s)
{
    return s->phase == TALK ? smtp_dialogue_deadline(s->dialogue, NULL) : s->phase_deadline_ms;
}

static void on_timer(uv_timer_t *timer);

/* A timer that fires early only looks again: so it is moved forward rarely, not at every reply. */
static void arm_timer(struct session *s)
{
    int64_t due = deadline(s);
    if (s->phase == CLOSED || due >= s->timer_due_ms)
        return;
    int64_t wait = due - clock_mono_ms();
    s->timer_due_ms = due;
    uv_timer_start(&s->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

/* --- the end ------------------------------------------------------------------------------ */

static void free_if_done(struct session *s)
{
    if (!s->timer_closed || s->resolving)
        return;
    uv_freeaddrinfo(s->addresses);
    smtp_dialogue_free(s->dialogue);
    free(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct session *s = handle->data;
    s->timer_closed = true;
    free_if_done(s);
}

static void free_watch(uv_handle_t *handle)
{
    free(handle->data);
}

static void stop_watching(struct session *s)
{
    if (s->watch == NULL)
        return;
    s->watch->session = NULL;
    uv_close((uv_handle_t *)&s->watch->poll, free_watch); /* stops polling at once */
    s->watch = NULL;
}

static void drop_connection(struct session *s)
{
    stop_watching(s);
    transport_free(s->transport);
    s->transport = NULL;
}

static void hand_over_results(struct session *s)
{
    struct smtp_result result;
    while (s->dialogue != NULL && smtp_dialogue_next_result(s->dialogue, &result))
        s->owner.result(s->owner.arg, s, &result);
}

static enum smtp_step current_step(const struct session *s)
{
    switch (s->phase) {
    case RESOLVE:
        return SMTP_STEP_DNS;
    case CONNECT:
        return SMTP_STEP_TCP;
    case AUTO_WAIT:
        return SMTP_STEP_GREETING;
    case HANDSHAKE:
        return SMTP_STEP_TLS;
    case TALK:
    case CLOSED:
        return smtp_dialogue_step(s->dialogue);
    }
    return SMTP_STEP_TCP;
}

static void close_session(struct session *s, const struct error *why)
{
    assert(s->phase != CLOSED);
    enum smtp_step step = current_step(s);
    if (s->transport != NULL)
        transport_shutdown_tls(s->transport);
    stop_watching(s);
    s->phase = CLOSED;
    if (s->resolving)
        uv_cancel((uv_req_t *)&s->resolve);
    if (s->dialogue != NULL)
        smtp_dialogue_lost(s->dialogue);
    hand_over_results(s);
    if (why->code != ERR_NONE)
        remark(s, "lost: %s", why->detail);
    s->owner.closed(s->owner.arg, s, step, why);
    drop_connection(s);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

/* --- talking ------------------------------------------------------------------------------ */

/* Both return -1 on trouble, else how much there was. */
static int read_some(struct session *s, struct error *err)
{
    char in[16 * 1024];
    ssize_t n = transport_read(s->transport, in, sizeof(in), err);
    if (n <= 0)
        return (int)n;
    s->greeted = true;
    if (smtp_dialogue_feed(s->dialogue, in, (size_t)n, clock_mono_ms(), err) < 0)
        return -1;
    notice_steps(s);
    return (int)n;
}

static int write_some(struct session *s, struct error *err)
{
    if (s->out_done == s->out_len) {
        s->out_len = smtp_dialogue_pull(s->dialogue, s->out, sizeof(s->out));
        s->out_done = 0;
    }
    if (s->out_done == s->out_len)
        return 0;
    ssize_t n = transport_write(s->transport, s->out + s->out_done, s->out_len - s->out_done, err);
    if (n > 0) {
        s->out_done += (size_t)n;
        smtp_dialogue_written(s->dialogue, (size_t)n, clock_mono_ms());
    }
    if (s->out_done == s->out_len && !smtp_dialogue_ready(s->dialogue))
        explicit_bzero(s->out, s->out_len); /* a login may have been in it */
    return (int)n;
}

static void offer_room(struct session *s)
{
    if (!s->quitting && smtp_dialogue_room(s->dialogue))
        s->owner.ready(s->owner.arg, s);
    if (s->quitting && smtp_dialogue_idle(s->dialogue)) /* perhaps since just now */
        smtp_dialogue_quit(s->dialogue, clock_mono_ms());
}

/* Move octets until nothing moves. 1: a handshake comes next; -1: the end. */
static int talk(struct session *s, bool offer, struct error *err)
{
    for (int turn = 0; turn < READS_A_TURN; turn++) {
        int n_read = read_some(s, err);
        struct smtp_result result;
        bool settled = false;
        while (smtp_dialogue_next_result(s->dialogue, &result)) {
            s->owner.result(s->owner.arg, s, &result);
            settled = true;
        }
        if (n_read < 0)
            return -1;
        if (smtp_dialogue_over(s->dialogue))
            return -1; /* orderly: `err` stays ERR_NONE */
        if (smtp_dialogue_wants_tls(s->dialogue))
            return 1;
        if (offer || settled || n_read > 0)
            offer_room(s);
        offer = false;
        int n_written = write_some(s, err);
        if (n_written < 0)
            return -1;
        s->cut_short = n_read > 0 || n_written > 0 || transport_pending(s->transport);
        if (!s->cut_short)
            break;
    }
    return 0;
}

static int begin_handshake(struct session *s, struct error *err)
{
    s->phase = HANDSHAKE;
    s->phase_deadline_ms = clock_mono_ms() + s->settings->tls_timeout_ms;
    return transport_start_tls(s->transport, s->settings->tls_context, err);
}

static int begin_talk(struct session *s, struct error *err)
{
    s->phase = TALK;
    if (s->dialogue != NULL) {
        smtp_dialogue_tls_done(s->dialogue, clock_mono_ms());
        s->talk_step = smtp_dialogue_step(s->dialogue);
        return 0;
    }
    s->dialogue = smtp_dialogue_new(&s->options, clock_mono_ms());
    s->talk_step = SMTP_STEP_GREETING;
    return s->dialogue != NULL ? 0 : error_set(err, ERR_NOMEM, "SMTP dialogue");
}

static int end_handshake(struct session *s, struct error *err)
{
    struct transport_certificate certificate;
    succeeded(s, SMTP_STEP_TLS);
    if (s->owner.said != NULL && transport_certificate(s->transport, &certificate))
        remark(s, "%s, certificate for %s", transport_tls_version(s->transport), certificate.names);
    return begin_talk(s, err);
}

static int begin_after_connect(struct session *s, struct error *err)
{
    switch (s->settings->tls) {
    case SESSION_TLS_IMPLICIT:
        s->options.tls = true;
        return begin_handshake(s, err);
    case SESSION_TLS_AUTO:
        s->phase = AUTO_WAIT;
        s->phase_deadline_ms = clock_mono_ms() + AUTO_WAIT_MS;
        return 0;
    case SESSION_TLS_STARTTLS:
        s->options.starttls = true;
        return begin_talk(s, err);
    case SESSION_TLS_NONE:
        return begin_talk(s, err);
    }
    return 0;
}

static void watch_socket(struct session *s);

/* One step of the current phase. 1: the phase changed, look again; 0: wait; -1: the end. */
static int step(struct session *s, bool offer, struct error *err)
{
    int rc = 0;
    switch (s->phase) {
    case AUTO_WAIT: /* the socket turned readable: it greets in plain text */
        s->options.starttls = true;
        return begin_talk(s, err) < 0 ? -1 : 1;
    case HANDSHAKE:
        rc = transport_handshake(s->transport, err);
        return rc > 0 ? (end_handshake(s, err) < 0 ? -1 : 1) : rc;
    case TALK:
        rc = talk(s, offer, err);
        return rc > 0 ? (begin_handshake(s, err) < 0 ? -1 : 1) : rc;
    case RESOLVE:
    case CONNECT:
    case CLOSED:
        break;
    }
    return 0;
}

static void advance_with(struct session *s, bool offer)
{
    struct error err = {0};
    int rc;
    s->busy = true;
    do
        rc = step(s, offer, &err);
    while (rc > 0);
    s->busy = false;
    if (s->aborting && rc == 0)
        rc = error_set(&err, ERR_CONNECTION_LOST, "given up by us");
    if (rc < 0) {
        close_session(s, &err);
        return;
    }
    watch_socket(s);
    arm_timer(s);
}

static void advance(struct session *s)
{
    advance_with(s, false);
}

static void on_socket_connected(struct session *s)
{
    struct error err;
    if (transport_connected(s->transport, &err) < 0) {
        s->last_error = err;
        s->address = s->address->ai_next;
        try_address(s);
        return;
    }
    succeeded(s, SMTP_STEP_TCP);
    if (begin_after_connect(s, &err) < 0) {
        close_session(s, &err);
        return;
    }
    if (s->phase == AUTO_WAIT) {
        watch_socket(s);
        arm_timer(s);
    } else {
        advance(s);
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct session *s = watch->session;
    if (s == NULL)
        return;
    if (s->phase == CONNECT)
        on_socket_connected(s);
    else
        advance(s); /* an error shows itself in the next read */
}

static int wanted_events(const struct session *s)
{
    int wants = transport_wants(s->transport);
    int events = wants & TRANSPORT_WRITE ? UV_WRITABLE : 0;
    /* Reading never waits for writing: both ends can block on full buffers (RFC 2920, 3.1). */
    if (s->phase == TALK)
        return UV_READABLE | (s->cut_short ? UV_WRITABLE : s->out_done < s->out_len ? events : 0);
    return events | (wants & TRANSPORT_READ ? UV_READABLE : 0);
}

static void watch_socket(struct session *s)
{
    int events = wanted_events(s);
    if (s->watch->events == events)
        return;
    s->watch->events = events;
    uv_poll_start(&s->watch->poll, events, on_socket);
}

/* --- getting there ------------------------------------------------------------------------ */

static int new_watch(struct session *s, struct error *err)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return error_set(err, ERR_NOMEM, "connection");
    int rc = uv_poll_init(s->loop, &watch->poll, transport_fd(s->transport));
    if (rc < 0) {
        free(watch);
        return error_set(err, ERR_CONNECT_FAILED, "%s", uv_strerror(rc));
    }
    watch->poll.data = watch;
    watch->session = s;
    s->watch = watch;
    return 0;
}

static void remark_address(struct session *s, const struct sockaddr *address)
{
    char host[INET6_ADDRSTRLEN];
    if (uv_ip_name(address, host, sizeof(host)) == 0)
        remark(s, "connecting to %s port %u", host, s->settings->port);
}

/* The addresses in the resolver's order, each with the whole connect timeout. */
static void try_address(struct session *s)
{
    drop_connection(s);
    for (; s->address != NULL; s->address = s->address->ai_next) {
        const struct addrinfo *address = s->address;
        if (transport_connect(address->ai_addr, address->ai_addrlen, &s->transport,
                              &s->last_error) == 0 &&
            new_watch(s, &s->last_error) == 0) {
            s->phase = CONNECT;
            remark_address(s, address->ai_addr);
            s->phase_deadline_ms = clock_mono_ms() + s->settings->connect_timeout_ms;
            watch_socket(s);
            arm_timer(s);
            return;
        }
        drop_connection(s);
    }
    close_session(s, &s->last_error);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct session *s = request->data;
    s->resolving = false;
    s->addresses = addresses;
    if (s->phase == CLOSED) {
        free_if_done(s);
        return;
    }
    s->address = addresses;
    if (status == 0)
        succeeded(s, SMTP_STEP_DNS);
    error_set(&s->last_error, ERR_DNS_FAILED, "%s: %s", s->settings->host,
              status < 0 ? uv_strerror(status) : "no address");
    try_address(s);
}

static void on_overdue(struct session *s)
{
    struct error err = {0};
    enum smtp_step overdue = SMTP_STEP_TCP;
    switch (s->phase) {
    case RESOLVE:
        error_set(&err, ERR_DNS_FAILED, "%s: no answer from the resolver", s->settings->host);
        break;
    case CONNECT:
        error_set(&s->last_error, ERR_CONNECT_TIMEOUT, "no answer to the connection attempt");
        s->address = s->address->ai_next;
        try_address(s);
        return;
    case AUTO_WAIT: /* silence: it waits for us to speak TLS */
        s->options.tls = true;
        if (begin_handshake(s, &err) < 0)
            break;
        advance(s);
        return;
    case HANDSHAKE:
        error_set(&err, ERR_TLS_TIMEOUT, "the TLS handshake did not end in time");
        break;
    case TALK:
        smtp_dialogue_deadline(s->dialogue, &overdue);
        if (overdue == SMTP_STEP_GREETING && !s->greeted && !s->options.tls)
            error_set(&err, ERR_GREETING_TIMEOUT,
                      "the server says nothing; perhaps it waits for TLS from the first octet");
        else if (overdue == SMTP_STEP_GREETING)
            error_set(&err, ERR_GREETING_TIMEOUT, "no greeting in time");
        else
            error_set(&err, ERR_TIMEOUT, "no reply in time to %s", smtp_step_word(overdue));
        break;
    case CLOSED:
        return;
    }
    close_session(s, &err);
}

static void on_timer(uv_timer_t *timer)
{
    struct session *s = timer->data;
    s->timer_due_ms = INT64_MAX;
    if (clock_mono_ms() >= deadline(s))
        on_overdue(s);
    else
        arm_timer(s);
}

struct session *session_open(uv_loop_t *loop, const struct session_settings *settings,
                             const struct session_owner *owner)
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->loop = loop;
    s->settings = settings;
    s->owner = *owner;
    s->options = settings->smtp;
    if (owner->said != NULL)
        s->options.trace = (struct smtp_trace){.line = owner->said, .arg = owner->arg};
    s->step_began_us = clock_mono_us();
    s->timer_due_ms = INT64_MAX;
    s->phase = RESOLVE;
    s->phase_deadline_ms = clock_mono_ms() + settings->connect_timeout_ms;
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    s->resolve.data = s;

    char port[8];
    snprintf(port, sizeof(port), "%u", settings->port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    s->resolving =
        uv_getaddrinfo(loop, &s->resolve, on_resolved, settings->host, port, &hints) == 0;
    if (!s->resolving) /* no memory for the request: the timer tells it, as it would a dead resolver
                        */
        s->phase_deadline_ms = clock_mono_ms();
    arm_timer(s);
    return s;
}

/* --- for the owner ------------------------------------------------------------------------ */

int session_carry(struct session *s, const struct smtp_envelope *envelope, struct error *err)
{
    int rc = smtp_dialogue_begin(s->dialogue, envelope, clock_mono_ms(), err);
    if (rc == 0 && !s->busy) {
        /* Woken by a new message rather than by the socket: if the server has left meanwhile, the
         * read in here finds that before anything is sent. */
        advance(s);
    }
    return rc;
}

void session_quit(struct session *s)
{
    s->quitting = true;
    if (!s->busy && s->phase == TALK)
        advance_with(s, true);
    else if (!s->busy && s->phase != CLOSED)
        session_abort(s);
}

void session_abort(struct session *s)
{
    if (s->busy || s->phase == CLOSED) {
        s->aborting = true;
        return;
    }
    struct error why;
    error_set(&why, ERR_CONNECTION_LOST, "given up by us");
    close_session(s, &why);
}

bool session_has_room(const struct session *s)
{
    return s->phase == TALK && !s->quitting && smtp_dialogue_room(s->dialogue);
}

const struct transport *session_transport(const struct session *s)
{
    return s->transport;
}

const struct smtp_extensions *session_extensions(const struct session *s)
{
    return s->dialogue != NULL ? smtp_dialogue_extensions(s->dialogue) : NULL;
}
