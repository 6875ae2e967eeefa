#include "verify/probe.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "relay/connect.h"

enum { FAREWELL_MS = 1000 }; /* it could send: that is known before QUIT is answered */

/* --- what it notes ------------------------------------------------------------------------ */

static void note_step(struct probe *p, enum smtp_step step, bool ok, int64_t took_us,
                      const char *detail)
{
    struct verify_report *report = &p->report;
    p->step_begun_us = clock_mono_us();
    if (report->n_steps == VERIFY_STEPS_MAX)
        return;
    struct verify_step *noted = &report->steps[report->n_steps++];
    noted->name = smtp_step_word(step);
    noted->ok = ok;
    noted->took_us = took_us;
    snprintf(noted->detail, sizeof(noted->detail), "%s", detail);
}

/* "192.0.2.1 port 587" */
static void note_peer(struct probe *p, struct session *session, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "", port[8] = "";
    socklen_t len = sizeof(p->peer);
    if (getpeername(transport_fd(session_transport(session)), (struct sockaddr *)&p->peer, &len) ==
            0 &&
        getnameinfo((struct sockaddr *)&p->peer, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(out, size, "%s port %s", host, port);
}

static void note_tls(struct probe *p, struct session *session, char *out, size_t size)
{
    struct verify_report *report = &p->report;
    const struct transport *transport = session_transport(session);
    const char *version = transport_tls_version(transport);
    report->has_certificate = transport_certificate(transport, &report->certificate);
    snprintf(report->tls_version, sizeof(report->tls_version), "%s", version);
    snprintf(out, size, "%s%s%s", version,
             report->has_certificate ? ", certificate for " : ", no certificate",
             report->has_certificate ? report->certificate.names : "");
}

static void note_extensions(struct probe *p, struct session *session)
{
    p->report.has_extensions = true;
    p->report.extensions = *session_extensions(session);
}

/* The dialogue answers a 504 by another mechanism, so the last line of AUTH counts. */
static void on_said(void *arg, void *owner, char who, const char *text)
{
    struct probe *p = arg;
    if (who == 'S')
        snprintf(p->said, sizeof(p->said), "%s", text);
    if (who == 'C' && strncmp(text, "AUTH ", 5) == 0)
        snprintf(p->report.mechanism, sizeof(p->report.mechanism), "%.*s",
                 (int)strcspn(text + 5, " "), text + 5);
}

static void on_step(void *arg, struct session *session, enum smtp_step step, int64_t took_us)
{
    struct probe *p = arg;
    char detail[sizeof(p->said)] = "";
    switch (step) {
    case SMTP_STEP_DNS:
        snprintf(detail, sizeof(detail), "%s",
                 p->settings.proxy.host != NULL ? p->settings.proxy.host : p->settings.host);
        break;
    case SMTP_STEP_TCP:
        note_peer(p, session, detail, sizeof(detail));
        break;
    case SMTP_STEP_PROXY:
        snprintf(detail, sizeof(detail), "to %s port %u", p->settings.host, p->settings.port);
        break;
    case SMTP_STEP_TLS:
        note_tls(p, session, detail, sizeof(detail));
        break;
    case SMTP_STEP_EHLO:
        note_extensions(p, session);
        smtp_extensions_describe(&p->report.extensions, detail, sizeof(detail));
        break;
    case SMTP_STEP_AUTH:
        snprintf(detail, sizeof(detail), "%s", p->report.mechanism);
        break;
    case SMTP_STEP_GREETING:
    case SMTP_STEP_STARTTLS:
    case SMTP_STEP_MAIL:
    case SMTP_STEP_RCPT:
    case SMTP_STEP_DATA:
    case SMTP_STEP_CONTENT:
    case SMTP_STEP_RSET:
    case SMTP_STEP_QUIT:
        snprintf(detail, sizeof(detail), "%s", p->said);
        break;
    }
    note_step(p, step, true, took_us, detail);
}

/* --- its end ------------------------------------------------------------------------------ */

/* What it offers is not what we want: that was an answer to EHLO all the same. */
static bool lacks_something(const struct error *why)
{
    return why->code == ERR_STARTTLS_NOT_OFFERED || why->code == ERR_AUTH_NEEDS_TLS ||
           why->code == ERR_AUTH_MECHANISM_UNAVAILABLE;
}

void probe_note_failure(struct probe *p, enum smtp_step step, const struct error *why)
{
    struct verify_report *report = &p->report;
    report->ok = false;
    report->error = p->given_up.code != ERR_NONE ? p->given_up : *why;
    error_at(&report->error, "%s", smtp_step_word(step));
    note_step(p, step, false, clock_mono_us() - p->step_begun_us, report->error.detail);
}

static void end(struct probe *p)
{
    p->session = NULL;
    p->running = false;
    p->ended(p->arg, p);
}

static void on_closed(void *arg, struct session *session, enum smtp_step step,
                      const struct error *why)
{
    struct probe *p = arg;
    bearer_end(&p->bearer);
    struct verify_report *report = &p->report;
    const struct transport *transport = session_transport(session);
    if (transport != NULL && !report->has_certificate) /* refused, it is shown all the more */
        report->has_certificate = transport_certificate(transport, &report->certificate);
    if (step == SMTP_STEP_EHLO && lacks_something(why))
        note_extensions(p, session);
    if (!report->ok && report->error.code == ERR_NONE)
        probe_note_failure(p, step, why);
    end(p);
}

/* Has it a login for us? The dialogue would choose so, too; what comes of it is not asked here. */
static bool offers_login(const struct probe *p, struct session *session, struct error *why_not)
{
    CLEANUP(sasl_free) struct sasl *sasl = NULL;
    struct sasl_binding binding;
    struct session_settings configured;
    const struct transport *transport = session_transport(session);
    connect_settings(&p->relay, &configured);
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
    struct probe *p = arg;
    struct error why;
    p->report.ok = p->login || offers_login(p, session, &why);
    if (!p->report.ok) {
        p->report.n_steps--; /* EHLO: the session had no fault to find with it */
        probe_note_failure(p, SMTP_STEP_EHLO, &why);
    }
    p->deadline_ms = clock_mono_ms() + FAREWELL_MS;
    session_quit(session);
}

static void on_token_wanted(void *arg, struct session *session, bool refused)
{
    struct probe *p = arg;
    bearer_want(&p->bearer, session, refused);
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

static void prepare(struct probe *p, const struct probe_limits *limits)
{
    struct session_settings *settings = &p->settings;
    connect_settings(&p->relay, settings);
    settings->tls_context = p->tls;
    if (!p->login)
        settings->smtp.credentials = (struct sasl_credentials){.mechanism = "none"};
    shorten(&settings->connect_timeout_ms, limits->connect);
    shorten(&settings->tls_timeout_ms, limits->step);
    shorten(&settings->smtp.timeouts.greeting, limits->step);
    shorten(&settings->smtp.timeouts.command, limits->step);
    p->deadline_ms = clock_mono_ms() + limits->all;
}

static int begin(struct probe *p, uv_loop_t *loop, const struct probe_limits *limits,
                 struct error *err)
{
    const struct session_owner owner = {.ready = on_ready,
                                        .result = on_result,
                                        .closed = on_closed,
                                        .step = on_step,
                                        .said = on_said,
                                        .token_wanted = on_token_wanted,
                                        .arg = p};
    struct transport_tls *like = p->files != NULL ? p->files->tls : NULL;
    if (p->files != NULL && like == NULL && p->relay.tls != CONFIG_TLS_NONE)
        return error_set(err, ERR_CONFIG, "the files of tls_options cannot be read");
    if (connect_tls_new(&p->relay, NULL, like, &p->tls, err) < 0)
        return -1;
    prepare(p, limits);
    p->bearer = (struct bearer){.loop = loop,
                                .cache = p->tokens,
                                .entry = (size_t)p->relay.auth.oauth_index,
                                .need_ms = limits->step};
    p->session = session_open(loop, &p->settings, &owner);
    return p->session != NULL ? 0 : error_set(err, ERR_NOMEM, "connection");
}

void probe_start(struct probe *p, uv_loop_t *loop, const struct config_relay *relay, bool login,
                 const struct probe_limits *limits, void (*ended)(void *arg, struct probe *probe),
                 void *arg)
{
    struct error why;
    p->relay = *relay;
    p->login = login;
    p->ended = ended;
    p->arg = arg;
    p->running = true;
    p->step_begun_us = clock_mono_us();
    if (begin(p, loop, limits, &why) == 0)
        return;
    probe_note_failure(p, why.code == ERR_CONFIG ? SMTP_STEP_TLS : SMTP_STEP_DNS, &why);
    end(p);
}

void probe_give_up(struct probe *p, const struct error *why)
{
    if (!p->running)
        return;
    p->given_up = *why;
    session_abort(p->session);
}

void probe_clear(struct probe *p)
{
    transport_tls_free(TAKE(p->tls));
}

int64_t probe_silence_ms(const struct probe *p, int64_t now_ms)
{
    const struct verify_report *report = &p->report;
    bool plain = p->relay.tls == CONFIG_TLS_STARTTLS || p->relay.tls == CONFIG_TLS_NONE;
    enum smtp_step before = p->settings.proxy.host != NULL ? SMTP_STEP_PROXY : SMTP_STEP_TCP;
    if (!p->running || !plain || report->n_steps == 0 ||
        strcmp(report->steps[report->n_steps - 1].name, smtp_step_word(before)) != 0)
        return 0;
    return now_ms - p->step_begun_us / 1000;
}

bool probe_passed(const struct probe *p, const char *step)
{
    for (size_t i = 0; i < p->report.n_steps; i++)
        if (p->report.steps[i].ok && strcmp(p->report.steps[i].name, step) == 0)
            return true;
    return false;
}
