#include "verify/probe.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "relay/connect.h"

enum { FAREWELL_MS = 1000 }; /* it could send: that is known before QUIT is answered */

/* --- what it notes ------------------------------------------------------------------------ */

static void note_step(struct walk *w, enum smtp_step step, bool ok, int64_t took_us,
                      const char *detail)
{
    struct verify_report *report = &w->report;
    w->step_begun_us = clock_mono_us();
    if (report->n_steps == VERIFY_STEPS_MAX)
        return;
    struct verify_step *noted = &report->steps[report->n_steps++];
    noted->name = smtp_step_word(step);
    noted->ok = ok;
    noted->took_us = took_us;
    snprintf(noted->detail, sizeof(noted->detail), "%s", detail);
}

/* "192.0.2.1 port 587" */
static void note_peer(struct walk *w, struct session *session, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "", port[8] = "";
    socklen_t len = sizeof(w->peer);
    if (getpeername(transport_fd(session_transport(session)), (struct sockaddr *)&w->peer, &len) ==
            0 &&
        getnameinfo((struct sockaddr *)&w->peer, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(out, size, "%s port %s", host, port);
}

static void note_tls(struct walk *w, struct session *session, char *out, size_t size)
{
    struct verify_report *report = &w->report;
    const struct transport *transport = session_transport(session);
    const char *version = transport_tls_version(transport);
    report->has_certificate = transport_certificate(transport, &report->certificate);
    snprintf(report->tls_version, sizeof(report->tls_version), "%s", version);
    snprintf(out, size, "%s%s%s", version,
             report->has_certificate ? ", certificate for " : ", no certificate",
             report->has_certificate ? report->certificate.names : "");
}

static void note_extensions(struct walk *w, struct session *session)
{
    w->report.has_extensions = true;
    w->report.extensions = *session_extensions(session);
}

/* The dialogue answers a 504 by another mechanism, so the last line of AUTH counts. */
static void on_said(void *arg, void *owner, char who, const char *text)
{
    struct walk *w = arg;
    if (who == 'S')
        snprintf(w->said, sizeof(w->said), "%s", text);
    if (who == 'C' && strncmp(text, "AUTH ", 5) == 0)
        snprintf(w->report.mechanism, sizeof(w->report.mechanism), "%.*s",
                 (int)strcspn(text + 5, " "), text + 5);
}

static void on_step(void *arg, struct session *session, enum smtp_step step, int64_t took_us)
{
    struct walk *w = arg;
    char detail[sizeof(w->said)] = "";
    switch (step) {
    case SMTP_STEP_DNS:
        snprintf(detail, sizeof(detail), "%s",
                 w->settings.proxy.host != NULL ? w->settings.proxy.host : w->settings.host);
        break;
    case SMTP_STEP_TCP:
        note_peer(w, session, detail, sizeof(detail));
        break;
    case SMTP_STEP_PROXY:
        snprintf(detail, sizeof(detail), "to %s port %u", w->settings.host, w->settings.port);
        break;
    case SMTP_STEP_TLS:
        note_tls(w, session, detail, sizeof(detail));
        break;
    case SMTP_STEP_EHLO:
        note_extensions(w, session);
        smtp_extensions_describe(&w->report.extensions, detail, sizeof(detail));
        break;
    case SMTP_STEP_AUTH:
        snprintf(detail, sizeof(detail), "%s", w->report.mechanism);
        break;
    case SMTP_STEP_GREETING:
    case SMTP_STEP_STARTTLS:
    case SMTP_STEP_MAIL:
    case SMTP_STEP_RCPT:
    case SMTP_STEP_DATA:
    case SMTP_STEP_CONTENT:
    case SMTP_STEP_RSET:
    case SMTP_STEP_QUIT:
        snprintf(detail, sizeof(detail), "%s", w->said);
        break;
    }
    note_step(w, step, true, took_us, detail);
}

/* --- its end ------------------------------------------------------------------------------ */

/* What it offers is not what we want: that was an answer to EHLO all the same. */
static bool lacks_something(const struct error *why)
{
    return why->code == ERR_STARTTLS_NOT_OFFERED || why->code == ERR_AUTH_NEEDS_TLS ||
           why->code == ERR_AUTH_MECHANISM_UNAVAILABLE;
}

void walk_note_failure(struct walk *w, enum smtp_step step, const struct error *why)
{
    struct verify_report *report = &w->report;
    report->ok = false;
    report->error = w->given_up.code != ERR_NONE ? w->given_up : *why;
    error_at(&report->error, "%s", smtp_step_word(step));
    note_step(w, step, false, clock_mono_us() - w->step_begun_us, report->error.detail);
}

static void end(struct walk *w)
{
    w->session = NULL;
    w->running = false;
    w->ended(w->arg, w);
}

static void on_closed(void *arg, struct session *session, enum smtp_step step,
                      const struct error *why)
{
    struct walk *w = arg;
    bearer_end(&w->bearer);
    struct verify_report *report = &w->report;
    const struct transport *transport = session_transport(session);
    if (transport != NULL && !report->has_certificate) /* refused, it is shown all the more */
        report->has_certificate = transport_certificate(transport, &report->certificate);
    if (step == SMTP_STEP_EHLO && lacks_something(why))
        note_extensions(w, session);
    if (!report->ok && report->error.code == ERR_NONE)
        walk_note_failure(w, step, why);
    end(w);
}

/* Has it a login for us? The dialogue would choose so, too; what comes of it is not asked here. */
static bool offers_login(const struct walk *w, struct session *session, struct error *why_not)
{
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    struct sasl_binding binding;
    struct session_settings configured;
    const struct transport *transport = session_transport(session);
    connect_settings(&w->relay, &configured);
    if (!sasl_wanted(&configured.smtp.credentials))
        return true;
    bool clear_allowed =
        transport_tls_version(transport) != NULL || configured.smtp.allow_plaintext_auth;
    transport_bindings(transport, binding.tls_exporter, binding.tls_unique);
    return sasl_start(&configured.smtp.credentials, &binding, session_extensions(session)->auth,
                      clear_allowed, &sasl, why_not) == 0 ||
           !lacks_something(why_not);
}

static void on_ready(void *arg, struct session *session)
{
    struct walk *w = arg;
    struct error why;
    w->report.ok = w->login || offers_login(w, session, &why);
    if (!w->report.ok) {
        w->report.n_steps--; /* EHLO: the session had no fault to find with it */
        walk_note_failure(w, SMTP_STEP_EHLO, &why);
    }
    w->deadline_ms = clock_mono_ms() + FAREWELL_MS;
    session_quit(session);
}

static void on_token_wanted(void *arg, struct session *session, bool refused)
{
    struct walk *w = arg;
    bearer_want(&w->bearer, session, refused);
}

/* Never: it carries nothing. */
static void on_result(void *arg, struct session *session, const struct smtp_result *result)
{
}

/* --- its life ----------------------------------------------------------------------------- */

static void shorten(int64_t *timeout_ms, int64_t limit_ms)
{
    if (*timeout_ms > limit_ms)
        *timeout_ms = limit_ms;
}

static void prepare(struct walk *w, const struct walk_limits *limits)
{
    struct session_settings *settings = &w->settings;
    connect_settings(&w->relay, settings);
    settings->tls_context = w->tls;
    if (!w->login)
        settings->smtp.credentials = (struct sasl_credentials){.mechanism = "none"};
    shorten(&settings->connect_timeout_ms, limits->connect);
    shorten(&settings->tls_timeout_ms, limits->step);
    shorten(&settings->smtp.timeouts.greeting, limits->step);
    shorten(&settings->smtp.timeouts.command, limits->step);
    w->deadline_ms = clock_mono_ms() + limits->all;
}

static int begin(struct walk *w, uv_loop_t *loop, const struct walk_limits *limits,
                 struct error *err)
{
    const struct session_owner owner = {.ready = on_ready,
                                        .result = on_result,
                                        .closed = on_closed,
                                        .step = on_step,
                                        .said = on_said,
                                        .token_wanted = on_token_wanted,
                                        .arg = w};
    struct transport_tls *like = w->files != NULL ? w->files->tls : NULL;
    if (w->files != NULL && like == NULL && w->relay.tls != CONFIG_TLS_NONE)
        return error_set(err, ERR_CONFIG, "the files of tls_options cannot be read");
    if (connect_tls_new(&w->relay, NULL, like, &w->tls, err) < 0)
        return -1;
    prepare(w, limits);
    w->bearer = (struct bearer){.loop = loop,
                                .cache = w->tokens,
                                .entry = (size_t)w->relay.auth.oauth_index,
                                .need_ms = limits->step};
    w->session = session_open(loop, &w->settings, &owner);
    return w->session != NULL ? 0 : error_set(err, ERR_NOMEM, "connection");
}

void walk_start(struct walk *w, uv_loop_t *loop, const struct config_relay *relay, bool login,
                const struct walk_limits *limits, void (*ended)(void *arg, struct walk *walk),
                void *arg)
{
    struct error why;
    w->relay = *relay;
    w->login = login;
    w->ended = ended;
    w->arg = arg;
    w->running = true;
    w->step_begun_us = clock_mono_us();
    if (begin(w, loop, limits, &why) == 0)
        return;
    walk_note_failure(w, why.code == ERR_CONFIG ? SMTP_STEP_TLS : SMTP_STEP_DNS, &why);
    end(w);
}

void walk_give_up(struct walk *w, const struct error *why)
{
    if (!w->running)
        return;
    w->given_up = *why;
    session_abort(w->session);
}

void walk_clear(struct walk *w)
{
    transport_tls_free(TAKE(w->tls));
}

int64_t walk_silence_ms(const struct walk *w, int64_t now_ms)
{
    const struct verify_report *report = &w->report;
    bool plain = w->relay.tls == CONFIG_TLS_STARTTLS || w->relay.tls == CONFIG_TLS_NONE;
    enum smtp_step before = w->settings.proxy.host != NULL ? SMTP_STEP_PROXY : SMTP_STEP_TCP;
    if (!w->running || !plain || report->n_steps == 0 ||
        strcmp(report->steps[report->n_steps - 1].name, smtp_step_word(before)) != 0)
        return 0;
    return now_ms - w->step_begun_us / 1000;
}

bool walk_passed(const struct walk *w, const char *step)
{
    for (size_t i = 0; i < w->report.n_steps; i++)
        if (w->report.steps[i].ok && strcmp(w->report.steps[i].name, step) == 0)
            return true;
    return false;
}
