#include "smtp/session.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "smtp/addresses.h"
#include "smtp/connect_path.h"
#include "smtp/connector.h"
#include "smtp/dialogue.h"
#include "smtp/login.h"
#include "smtp/offload.h"

enum {
    AUTO_WAIT_MS = 1000, /* tls: auto: how long a plain server gets to greet first */
    OUT_SIZE = 16 * 1024,
    FAREWELL_MS = 500, /* how long the answer to QUIT is waited for behind a refusal */
    LAST_LOOK_MS = 1,
    READS_A_TURN = 16, /* then the loop's other sessions get theirs */
};

/* GETTING_THERE -> [AUTO_WAIT ->] [HANDSHAKE ->] TALK [-> HANDSHAKE -> TALK] [-> LEAVING] -> CLOSED
 *
 * LEAVING: refused, and QUIT is said. From any but the last two back to GETTING_THERE, by the
 * host's next address, while EHLO has not been answered under the TLS that is wanted.
 *
 * Each but TALK has one deadline, whatever trickles in meanwhile; the connect path has its own. */
enum phase { GETTING_THERE, AUTO_WAIT, HANDSHAKE, TALK, LEAVING, CLOSED };

/* A poll handle outlives its descriptor by one turn of the loop, so it has a life of its own. */
struct watch {
    uv_poll_t poll;
    struct session *session; /* NULL: gone */
    int events;
};

struct session {
    uv_loop_t *loop;
    const struct session_settings *settings;
    struct session_owner owner;
    enum phase phase;
    struct smtp_options options; /* settings->smtp, with the TLS mode decided */
    struct connect_path *path;   /* NULL: at its end */
    struct smtp_dialogue *dialogue;
    struct offload *login;  /* a step of it, under way; NULL: none */
    bool token_asked;       /* the owner is to call session_token() */
    struct error token_err; /* why that came to nothing */
    struct transport *transport;
    struct watch *watch;
    uv_timer_t timer;
    int64_t timer_due_ms; /* INT64_MAX: not running */
    int64_t phase_deadline_ms;
    int64_t step_began_us;    /* the one that has not succeeded yet */
    enum smtp_step talk_step; /* of the dialogue, when it was last looked at */
    bool logged_in;
    bool got_in; /* EHLO was answered, under TLS if it is wanted: the address serves */
    struct sockaddr_storage peer;
    char literal[64]; /* our address, for EHLO */
    size_t n_left;    /* addresses of the host that were not tried */
    struct sockaddr_storage spent[CONNECTOR_ADDRESSES_MAX];
    size_t n_spent;
    enum smtp_step spent_step; /* how the last of them ended */
    struct error spent_why;
    enum smtp_step left_step; /* in LEAVING: what is told at the end */
    struct error left_why;
    int64_t looked_ms; /* the deadline at which the socket was looked at once more */
    bool greeted;      /* an octet has come */
    bool cut_short;    /* the last turn ended by its limit: more can be moved at once */
    bool quitting;     /* QUIT goes out as soon as nothing is under way */
    bool busy;         /* inside advance(): calls of the owner only note what they want */
    bool aborting;
    size_t out_len, out_done;
    char out[OUT_SIZE]; /* pulled from the dialogue, not yet taken by the transport */
};

static void advance(struct session *s);

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

static void note_got_in(struct session *s)
{
    if (s->got_in)
        return;
    s->got_in = true;
    if (s->settings->addresses != NULL && s->settings->proxy.host == NULL)
        addresses_worked(s->settings->addresses, (struct sockaddr *)&s->peer);
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
    if (s->logged_in || s->talk_step == SMTP_STEP_AUTH)
        note_got_in(s);
}

/* --- time --------------------------------------------------------------------------------- */

static int64_t deadline(const struct session *s)
{
    return s->phase == TALK ? smtp_dialogue_deadline(s->dialogue, NULL) : s->phase_deadline_ms;
}

static void begin_phase(struct session *s, enum phase phase, int64_t timeout_ms)
{
    s->phase = phase;
    s->phase_deadline_ms = clock_mono_ms() + timeout_ms;
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

static void on_timer_closed(uv_handle_t *handle)
{
    struct session *s = handle->data;
    smtp_dialogue_free(s->dialogue);
    explicit_bzero(s->out, sizeof(s->out));
    free(s);
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

static void hand_over_results(struct session *s)
{
    struct smtp_result result;
    while (s->dialogue != NULL && smtp_dialogue_next_result(s->dialogue, &result))
        s->owner.result(s->owner.arg, s, &result);
}

static enum smtp_step current_step(const struct session *s)
{
    switch (s->phase) {
    case GETTING_THERE:
        return s->path != NULL        ? connect_path_step(s->path)
               : s->transport != NULL ? SMTP_STEP_TCP
                                      : SMTP_STEP_DNS;
    case AUTO_WAIT:
        return SMTP_STEP_GREETING;
    case HANDSHAKE:
        return SMTP_STEP_TLS;
    case LEAVING:
        return s->left_step;
    case TALK:
    case CLOSED:
        return smtp_dialogue_step(s->dialogue);
    }
    return SMTP_STEP_TCP;
}

/* Was it that the server does not answer, or that it left? */
static void suspect(struct session *s, const struct error *why)
{
    if (why->code == ERR_TIMEOUT || why->code == ERR_CONNECTION_LOST)
        smtp_dialogue_suspect(s->dialogue, why->code == ERR_TIMEOUT);
}

/* The transport is freed last: the owner may still look who was there. But the line is down before
 * the owner hears of it, who may then open another: the relay never sees one too many. */
static void close_session_at(struct session *s, enum smtp_step step, const struct error *why)
{
    assert(s->phase != CLOSED);
    if (s->path != NULL)
        connect_path_cancel(TAKE(s->path));
    if (s->login != NULL)
        offload_abandon(TAKE(s->login));
    if (s->transport != NULL)
        transport_hang_up(s->transport);
    stop_watching(s);
    s->phase = CLOSED;
    if (s->dialogue != NULL)
        smtp_dialogue_lost(s->dialogue);
    hand_over_results(s);
    if (why->code != ERR_NONE)
        remark(s, "lost: %s", why->detail);
    s->owner.closed(s->owner.arg, s, step, why);
    transport_free(TAKE(s->transport));
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

/* --- the next address --------------------------------------------------------------------- */

/* Is it the address's fault? What this end lacks, or has decided, is none's. */
static bool is_of_address(const struct session *s, const struct error *why)
{
    return s->transport != NULL && s->phase != LEAVING && !s->got_in && !s->aborting &&
           s->settings->proxy.host == NULL && why->code != ERR_NONE && why->code != ERR_NOMEM &&
           why->code != ERR_CONFIG && why->code != ERR_AUTH_MECHANISM_UNAVAILABLE &&
           why->code != ERR_AUTH_NEEDS_TLS && why->code != ERR_AUTH_FAILED;
}

/* QUIT goes out where it can: a refusal is no reason to hang up without a word (RFC 5321,
 * 4.1.1.10). */
static bool say_quit(struct session *s, const struct error *why)
{
    static const char quit[] = "QUIT\r\n";
    struct error err;
    if (s->phase != TALK || why->code == ERR_PROTOCOL || why->code == ERR_INJECTED_RESPONSE ||
        s->out_done < s->out_len || !smtp_dialogue_may_quit(s->dialogue))
        return false;
    if (transport_write(s->transport, quit, strlen(quit), &err) != (ssize_t)strlen(quit))
        return false;
    if (s->owner.said != NULL)
        s->owner.said(s->owner.arg, NULL, 'C', "QUIT");
    return true;
}

static void start_connecting(struct session *s);

/* From the beginning, but not by any address that was spent on this. */
static void try_next_address(struct session *s, enum smtp_step step, const struct error *why)
{
    char address[INET6_ADDRSTRLEN] = "?";
    uv_ip_name((struct sockaddr *)&s->peer, address, sizeof(address));
    log_warn("an address of the relay is left alone, the next is tried",
             LOG_STR("host", s->settings->host), LOG_STR("address", address),
             LOG_STR("step", smtp_step_word(step)), LOG_STR("code", error_word(why->code)),
             LOG_STR("detail", why->detail));
    remark(s, "of no use: %s", why->detail);
    s->spent[s->n_spent++] = s->peer;
    s->spent_step = step;
    s->spent_why = *why;
    transport_hang_up(s->transport);
    stop_watching(s);
    transport_free(TAKE(s->transport));
    smtp_dialogue_free(TAKE(s->dialogue));
    explicit_bzero(s->out, s->out_len);
    s->out_len = s->out_done = 0;
    s->greeted = s->cut_short = false;
    s->options.tls = s->options.starttls = false;
    s->options.hostname = s->settings->smtp.hostname;
    start_connecting(s);
}

static void watch_socket(struct session *s);

static void close_session(struct session *s, const struct error *why)
{
    enum smtp_step step = current_step(s);
    if (is_of_address(s, why)) {
        if (s->settings->addresses != NULL)
            addresses_failed(s->settings->addresses, (struct sockaddr *)&s->peer, clock_mono_ms());
        if (s->n_left > 0 && s->n_spent < CONNECTOR_ADDRESSES_MAX) {
            say_quit(s, why);
            try_next_address(s, step, why);
            return;
        }
    }
    if (!s->aborting && why->code != ERR_NONE && say_quit(s, why)) {
        begin_phase(s, LEAVING, FAREWELL_MS);
        s->left_step = step;
        s->left_why = *why;
        watch_socket(s);
        arm_timer(s);
        return;
    }
    if (s->phase == TALK && !s->aborting && s->dialogue != NULL)
        suspect(s, why);
    close_session_at(s, step, s->phase == LEAVING ? &s->left_why : why);
}

/* --- talking ------------------------------------------------------------------------------ */

static void work_on_login(void *task)
{
    smtp_login_run(task);
}

static void drop_login(void *task)
{
    smtp_login_clear(task);
    free(task);
}

static void take_login_back(void *owner, void *task)
{
    struct session *s = owner;
    struct error err = {0};
    s->login = NULL;
    int rc = smtp_dialogue_give_login(s->dialogue, task, clock_mono_ms(), &err);
    free(task);
    if (rc < 0)
        close_session(s, &err);
    else
        advance(s);
}

/* A step of the login that may take its time is made elsewhere. */
static int send_login_away(struct session *s, struct error *err)
{
    static const struct offload_kind kind = {work_on_login, take_login_back, drop_login};
    struct smtp_login taken;
    if (!smtp_dialogue_take_login(s->dialogue, &taken))
        return 0;
    struct smtp_login *login = malloc(sizeof(*login));
    if (login != NULL) {
        *login = taken;
        s->login = offload_start(s->loop, &kind, s, login);
    }
    if (s->login != NULL)
        return 0;
    smtp_login_clear(&taken);
    free(login);
    return error_set(err, ERR_NOMEM, "a thread for the login");
}

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
    if (send_login_away(s, err) < 0)
        return -1;
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

/* The owner may answer before it returns. */
static int ask_for_token(struct session *s, struct error *err)
{
    bool refused;
    if (s->token_asked || !smtp_dialogue_wants_token(s->dialogue, &refused))
        return 0;
    if (s->owner.token_wanted == NULL)
        return error_set(err, ERR_TOKEN_UNAVAILABLE, "there is nobody to ask for a token");
    s->token_asked = true;
    s->owner.token_wanted(s->owner.arg, s, refused);
    if (s->token_err.code == ERR_NONE)
        return 0;
    *err = s->token_err;
    return -1;
}

static void offer_room(struct session *s)
{
    if (!s->quitting && smtp_dialogue_room(s->dialogue))
        s->owner.ready(s->owner.arg, s);
    if (s->quitting && smtp_dialogue_idle(s->dialogue)) /* perhaps since just now */
        smtp_dialogue_quit(s->dialogue, clock_mono_ms());
}

/* Move octets until nothing moves. 1: a handshake comes next; -1: the end. Each call reads at least
 * once, and no more when a read has taken all there was: the loop tells when more has come. */
static int talk(struct session *s, bool offer, struct error *err)
{
    bool drained = false;
    for (int turn = 0; turn < READS_A_TURN; turn++) {
        int n_read = drained ? 0 : read_some(s, err);
        drained = transport_drained(s->transport);
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
        if (ask_for_token(s, err) < 0)
            return -1;
        if (offer || settled || n_read > 0)
            offer_room(s);
        offer = false;
        int n_written = write_some(s, err);
        if (n_written < 0)
            return -1;
        /* A result may have come without an octet: of what was not even sent. */
        s->cut_short = settled || n_read > 0 || n_written > 0 || transport_pending(s->transport);
        if (!s->cut_short)
            break;
    }
    return 0;
}

static int begin_handshake(struct session *s, struct error *err)
{
    begin_phase(s, HANDSHAKE, s->settings->tls_timeout_ms);
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

static void remark_tls(struct session *s)
{
    struct transport_certificate certificate;
    if (s->owner.said != NULL && transport_certificate(s->transport, &certificate))
        remark(s, "%s, certificate for %s%s", transport_tls_version(s->transport),
               certificate.names, transport_resumed(s->transport) ? ", resumed" : "");
}

static int end_handshake(struct session *s, struct error *err)
{
    transport_bindings(s->transport, s->options.binding.tls_exporter,
                       s->options.binding.tls_unique);
    succeeded(s, SMTP_STEP_TLS);
    remark_tls(s);
    return begin_talk(s, err);
}

static int begin_server(struct session *s, struct error *err)
{
    switch (s->settings->tls) {
    case SESSION_TLS_IMPLICIT:
        s->options.tls = true;
        return begin_handshake(s, err);
    case SESSION_TLS_AUTO:
        begin_phase(s, AUTO_WAIT, AUTO_WAIT_MS);
        return 0;
    case SESSION_TLS_STARTTLS:
        s->options.starttls = true;
        return begin_talk(s, err);
    case SESSION_TLS_NONE:
        return begin_talk(s, err);
    }
    return 0;
}

/* Plain text behind an agreed STARTTLS is no server of the wrong mode: it, or somebody in between,
 * goes on in the clear (RFC 3207, 4.2). */
static int shake_hands(struct session *s, struct error *err)
{
    int rc = transport_handshake(s->transport, err);
    if (rc < 0 && err->code == ERR_TLS_ON_PLAIN_PORT && s->options.starttls)
        return error_set(err, ERR_INJECTED_RESPONSE, "plain text in the TLS handshake");
    return rc;
}

/* Whatever it says, or that it goes, is the end. */
static int await_farewell(struct session *s, struct error *err)
{
    char in[512];
    ssize_t n = transport_read(s->transport, in, sizeof(in), err);
    if (n == 0)
        return 0;
    *err = s->left_why;
    return -1;
}

/* One step of the current phase. 1: the phase changed, look again; 0: wait; -1: the end. */
static int step(struct session *s, bool offer, struct error *err)
{
    int rc = 0;
    switch (s->phase) {
    case AUTO_WAIT: /* the socket turned readable: it greets in plain text */
        s->options.starttls = true;
        return begin_talk(s, err) < 0 ? -1 : 1;
    case HANDSHAKE:
        rc = shake_hands(s, err);
        return rc > 0 ? (end_handshake(s, err) < 0 ? -1 : 1) : rc;
    case TALK:
        rc = talk(s, offer, err);
        return rc > 0 ? (begin_handshake(s, err) < 0 ? -1 : 1) : rc;
    case LEAVING:
        return await_farewell(s, err);
    case GETTING_THERE:
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

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    if (status < 0) /* libuv has stopped watching, though octets may lie before the error */
        watch->events = 0;
    if (watch->session != NULL)
        advance(watch->session); /* an error shows itself in the next read */
}

/* Reading never waits for writing: both ends can block on full buffers (RFC 2920, 3.1). */
static int wanted_events(const struct session *s)
{
    int wants = transport_wants(s->transport);
    int events =
        wants & TRANSPORT_READ || s->phase == TALK || s->phase == LEAVING ? UV_READABLE : 0;
    bool more = s->phase == TALK && s->cut_short;
    return events | (wants & TRANSPORT_WRITE || more ? UV_WRITABLE : 0);
}

static void watch_socket(struct session *s)
{
    int events = wanted_events(s);
    if (s->watch->events == events)
        return;
    s->watch->events = events;
    uv_poll_start(&s->watch->poll, events, on_socket);
}

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

/* --- getting there ------------------------------------------------------------------------ */

static void on_path_step(void *arg, enum smtp_step step)
{
    succeeded(arg, step);
}

static void on_trying(void *arg, const char *what)
{
    remark(arg, "connecting to %s", what);
}

static void on_path_failed(void *arg, enum smtp_step step, const struct error *why)
{
    struct session *s = arg;
    s->path = NULL;
    if (s->n_spent > 0) /* one that lets us in, and no further, says more */
        close_session_at(s, s->spent_step, &s->spent_why);
    else
        close_session_at(s, step, why);
}

/* Our address on this connection, as RFC 5321, 4.1.3 writes it. */
static void note_addresses(struct session *s)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(s->peer);
    char text[INET6_ADDRSTRLEN] = "127.0.0.1";
    if (getpeername(transport_fd(s->transport), (struct sockaddr *)&s->peer, &len) != 0)
        s->peer = (struct sockaddr_storage){0};
    if (s->options.hostname != NULL)
        return;
    len = sizeof(own);
    bool known = getsockname(transport_fd(s->transport), (struct sockaddr *)&own, &len) == 0 &&
                 uv_ip_name((struct sockaddr *)&own, text, sizeof(text)) == 0;
    const char *v4 = strncasecmp(text, "::ffff:", 7) == 0 ? text + 7 : text;
    bool v6 = known && own.ss_family == AF_INET6 && v4 == text;
    snprintf(s->literal, sizeof(s->literal), v6 ? "[IPv6:%s]" : "[%s]", v4);
    s->options.hostname = s->literal;
}

static void on_path_open(void *arg, struct transport *transport, size_t n_left)
{
    struct session *s = arg;
    struct error err;
    s->path = NULL;
    s->transport = transport;
    s->n_left = n_left;
    note_addresses(s);
    if (new_watch(s, &err) < 0 || begin_server(s, &err) < 0) {
        close_session(s, &err);
    } else if (s->phase == AUTO_WAIT) {
        watch_socket(s);
        arm_timer(s);
    } else {
        advance(s);
    }
}

/* --- what is overdue ---------------------------------------------------------------------- */

static void tell_overdue_talk(const struct session *s, struct error *err)
{
    enum smtp_step overdue;
    smtp_dialogue_deadline(s->dialogue, &overdue);
    if (smtp_dialogue_wants_token(s->dialogue, NULL))
        error_set(err, ERR_TOKEN_UNAVAILABLE, "no token in time");
    else if (overdue == SMTP_STEP_GREETING && !s->greeted && !s->options.tls)
        error_set(err, ERR_GREETING_TIMEOUT,
                  "the server says nothing; perhaps it waits for TLS from the first octet");
    else if (overdue == SMTP_STEP_GREETING)
        error_set(err, ERR_GREETING_TIMEOUT, "no greeting in time");
    else
        error_set(err, ERR_TIMEOUT, "no reply in time to %s", smtp_step_word(overdue));
}

static void on_overdue(struct session *s)
{
    struct error err = {0};
    switch (s->phase) {
    case GETTING_THERE: /* it could not begin: told as late as everything else */
        error_set(&err, ERR_NOMEM, "no memory or thread for a connection");
        break;
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
        tell_overdue_talk(s, &err);
        break;
    case LEAVING:
        err = s->left_why;
        break;
    case CLOSED:
        return;
    }
    close_session(s, &err);
}

static void on_timer(uv_timer_t *timer)
{
    struct session *s = timer->data;
    int64_t due = deadline(s);
    s->timer_due_ms = INT64_MAX;
    if (clock_mono_ms() < due) {
        arm_timer(s);
    } else if (s->looked_ms == due) {
        on_overdue(s);
    } else {
        /* Timers run before the sockets are looked at. If this process was frozen, the answer may
         * have come in time and lie there: so once round the loop, and then it counts. */
        s->looked_ms = s->timer_due_ms = due;
        uv_timer_start(timer, on_timer, LAST_LOOK_MS, 0);
    }
}

static void start_connecting(struct session *s)
{
    const struct connect_path_owner on_path = {.step = on_path_step,
                                               .trying = on_trying,
                                               .open = on_path_open,
                                               .failed = on_path_failed,
                                               .arg = s};
    s->phase = GETTING_THERE;
    s->phase_deadline_ms = INT64_MAX;
    uv_timer_stop(&s->timer);
    s->timer_due_ms = INT64_MAX;
    s->path = connect_path_start(s->loop, s->settings, s->spent, s->n_spent, &on_path);
    if (s->path == NULL)
        s->phase_deadline_ms = clock_mono_ms();
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
    s->looked_ms = INT64_MIN;
    s->options.distrust = owner->distrust;
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    start_connecting(s);
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

void session_token(struct session *s, const char *token, const struct error *why)
{
    if (s->phase == CLOSED)
        return;
    assert(s->token_asked && (token != NULL || why->code != ERR_NONE));
    s->token_asked = false;
    if (token == NULL)
        s->token_err = *why;
    else
        smtp_dialogue_token(s->dialogue, token, clock_mono_ms(), &s->token_err);
    if (s->busy)
        return;
    if (s->token_err.code != ERR_NONE)
        close_session(s, &s->token_err);
    else
        advance(s);
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
    s->aborting = true;
    error_set(&why, ERR_CONNECTION_LOST, "given up by us");
    close_session(s, &why);
}

bool session_has_room(const struct session *s)
{
    return s->phase == TALK && !s->quitting && smtp_dialogue_room(s->dialogue);
}

const struct transport *session_transport(const struct session *s)
{
    return s->path != NULL ? connect_path_transport(s->path) : s->transport;
}

const struct smtp_extensions *session_extensions(const struct session *s)
{
    return s->dialogue != NULL ? smtp_dialogue_extensions(s->dialogue) : NULL;
}
