#include "verify/verify.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/secret.h"
#include "relay/connect.h"
#include "relay/secret.h"
#include "verify/probe.h"

/*
 * First one probe as configured. When that fails, what may mend it is tried by further, shorter
 * probes, all at once, the better first in the list: the first of them that works is the hint. A
 * server that keeps silent where it should greet is asked already while we wait for it.
 */

enum {
    TICK_MS = 100,
    LOOK_MS = 10,
    LOOK_PATIENCE_MS = 3000, /* for a disk */
    SILENCE_MS = 3000,       /* many who are slow on purpose greet within that */
    TRIALS_MAX = 10,
    NAMES_MAX = 3,
};

static const struct probe_limits whole = {.connect = 5000, .step = 15000, .all = 25000};
static const struct probe_limits brief = {.connect = 3000, .step = 3000, .all = 4000};

struct trial {
    struct probe probe;
    struct diagnosis_change change;
    char name[256]; /* what change.server_name is */
};

struct verify {
    uv_loop_t *loop;
    struct config_relay relay; /* its strings are borrowed, but for the password */
    char password[CONFIG_SECRET_SIZE];
    struct verify_options options;
    void (*done)(void *arg, const struct verify_report *report);
    void *arg;
    uv_timer_t tick;
    uint64_t kick; /* of the reloader */
    int64_t kicked_ms;
    bool begun;
    bool planning; /* probes that end meanwhile are looked at afterwards */
    bool planned, settled, aborted;
    struct probe probe; /* as configured; its report is the one that is given */
    size_t n_trials;
    struct trial trials[TRIALS_MAX];
};

static void proceed(struct verify *v);

/* --- what probes show ---------------------------------------------------------------------- */

static bool failed_with(const struct probe *p, enum error_code code)
{
    return !p->running && p->report.error.code == code;
}

static bool certificate_refused(const struct probe *p)
{
    return failed_with(p, ERR_CERTIFICATE_NAME_MISMATCH) ||
           failed_with(p, ERR_CERTIFICATE_EXPIRED) ||
           failed_with(p, ERR_CERTIFICATE_NOT_YET_VALID) ||
           failed_with(p, ERR_CERTIFICATE_UNTRUSTED);
}

static bool failed_at(const struct probe *p, enum smtp_step step)
{
    return !p->running && strcmp(p->report.error.where, smtp_step_word(step)) == 0;
}

static bool speaks_tls(const struct probe *p)
{
    return probe_passed(p, "tls") || certificate_refused(p);
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)a)->sin_addr,
                      &((const struct sockaddr_in *)b)->sin_addr, sizeof(struct in_addr)) == 0;
    return a->ss_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static bool wants_login(const struct config_relay *relay)
{
    struct session_settings settings;
    connect_settings(relay, &settings);
    return sasl_wanted(&settings.smtp.credentials);
}

/* It mends everything: the relay would be of use with it. Where TLS is offered, doing without it
 * mends nothing. A name the certificate is for counts only if it leads to the very same machine;
 * else we would send mail to whoever has a certificate. */
static bool worked(const struct verify *v, const struct trial *trial)
{
    const struct verify_report *report = &trial->probe.report;
    if (!report->ok || (trial->change.tls != NULL && strcmp(trial->change.tls, "none") == 0 &&
                        report->has_extensions && report->extensions.starttls))
        return false;
    return trial->change.server_name == NULL || same_address(&trial->probe.peer, &v->probe.peer);
}

/* It mends this failure, and comes upon the next one. */
static bool got_further(const struct verify *v, const struct trial *trial)
{
    if (trial->change.mechanism != NULL)
        return failed_with(&trial->probe, ERR_AUTH_FAILED) &&
               failed_with(&v->probe, ERR_AUTH_MECHANISM_UNAVAILABLE);
    return trial->change.tls != NULL && certificate_refused(&trial->probe);
}

/* --- trials ------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const struct probe *find_here(const struct verify *v, const char *tls)
{
    for (size_t i = 0; i < v->n_trials; i++)
        if (v->trials[i].change.port == 0 && same_text(v->trials[i].change.tls, tls))
            return &v->trials[i].probe;
    return NULL;
}

static void on_probe_ended(void *arg, struct probe *probe)
{
    proceed(arg);
}

static void try_with(struct verify *v, const struct config_relay *relay,
                     const struct diagnosis_change *change)
{
    if (v->n_trials == TRIALS_MAX)
        return;
    bool login = change->mechanism != NULL && !v->options.no_login;
    struct trial *trial = &v->trials[v->n_trials++];
    trial->change = *change;
    trial->probe.tokens = v->options.tokens;
    trial->probe.files = v->options.files;
    probe_start(&trial->probe, v->loop, relay, login, &brief, on_probe_ended, v);
}

static void try_tls_here(struct verify *v, enum config_tls tls)
{
    struct config_relay relay = v->relay;
    const struct diagnosis_change change = {.tls = connect_tls_word(tls)};
    if (relay.tls == tls || find_here(v, change.tls) != NULL)
        return;
    relay.tls = tls;
    try_with(v, &relay, &change);
}

static void try_implicit_here(struct verify *v)
{
    try_tls_here(v, CONFIG_TLS_IMPLICIT);
}

static void try_starttls_here(struct verify *v)
{
    try_tls_here(v, CONFIG_TLS_STARTTLS);
}

/* Nobody is advised to send a password in the clear, nor to do without the TLS that is offered. */
static void try_none_here(struct verify *v)
{
    if (probe_passed(&v->probe, "starttls"))
        return;
    if (!wants_login(&v->relay) || v->relay.allow_plaintext_auth != 0)
        try_tls_here(v, CONFIG_TLS_NONE);
}

static void try_other_ports(struct verify *v)
{
    static const struct {
        uint16_t port;
        enum config_tls tls;
    } usual[] = {{465, CONFIG_TLS_IMPLICIT},
                 {587, CONFIG_TLS_STARTTLS},
                 {2525, CONFIG_TLS_STARTTLS},
                 {2465, CONFIG_TLS_IMPLICIT},
                 {2587, CONFIG_TLS_STARTTLS}};
    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        if (usual[i].port == v->relay.port)
            continue;
        struct config_relay relay = v->relay;
        relay.port = usual[i].port;
        relay.tls = usual[i].tls;
        try_with(v, &relay,
                 &(struct diagnosis_change){.port = usual[i].port,
                                            .tls = connect_tls_word(usual[i].tls)});
    }
}

static void try_name(struct verify *v, const char *name, size_t len)
{
    if (v->n_trials == TRIALS_MAX || len == 0 || name[0] == '*' || len >= sizeof(v->trials[0].name))
        return;
    char *own = v->trials[v->n_trials].name;
    memcpy(own, name, len);
    own[len] = '\0';
    struct config_relay relay = v->relay;
    relay.host = own;
    relay.tls_options.server_name = NULL;
    try_with(v, &relay, &(struct diagnosis_change){.server_name = own});
}

static void try_other_names(struct verify *v)
{
    const char *names = v->probe.report.has_certificate ? v->probe.report.certificate.names : "";
    if (v->relay.proxy.kind != CONFIG_PROXY_NONE) /* which alone sees addresses */
        return;
    for (int i = 0; i < NAMES_MAX && *names != '\0'; i++) {
        size_t len = strcspn(names, ",");
        try_name(v, names, len);
        names += len + strspn(names + len, ", ");
    }
}

static void try_older_tls(struct verify *v)
{
    struct config_relay relay = v->relay;
    if (!same_text(relay.tls_options.min_version, "1.3"))
        return;
    relay.tls_options.min_version = "1.2";
    try_with(v, &relay, &(struct diagnosis_change){.min_version = "1.2"});
}

/* The only trial that logs in, if any may: the probe before it did not come to that. */
static void try_other_mechanism(struct verify *v)
{
    struct config_relay relay = v->relay;
    if (strcmp(relay.auth.mechanism, "auto") == 0)
        return;
    relay.auth.mechanism = "auto";
    try_with(v, &relay, &(struct diagnosis_change){.mechanism = "auto"});
}

/* It hung up on the challenge it refused, or on what followed. With the certificate verified a
 * connection of the relay's would go on with PLAIN; it may as well begin with it. */
static void try_password(struct verify *v)
{
    const struct smtp_extensions *offered = &v->probe.report.extensions;
    struct config_relay relay = v->relay;
    bool plain = smtp_extensions_offer_auth(offered, "PLAIN");
    if (strcmp(relay.auth.mechanism, "auto") != 0 || relay.auth.oauth != NULL ||
        relay.auth.password == NULL || !relay.tls_options.verify ||
        !probe_passed(&v->probe, "tls") || strchr(offered->auth, ' ') == NULL ||
        (!plain && !smtp_extensions_offer_auth(offered, "LOGIN")))
        return;
    relay.auth.mechanism = plain ? "plain" : "login";
    try_with(v, &relay, &(struct diagnosis_change){.mechanism = relay.auth.mechanism});
}

/* A server may offer logins under TLS only, or on its other ports only. */
static void try_for_logins(struct verify *v)
{
    if (v->probe.report.extensions.auth[0] != '\0') {
        try_other_mechanism(v);
        return;
    }
    try_starttls_here(v);
    try_other_ports(v);
}

/* --- which of them ------------------------------------------------------------------------- */

enum { ANYWHERE = -1 };

static const struct plan {
    enum error_code code;
    int step; /* enum smtp_step, or ANYWHERE */
    void (*tries[3])(struct verify *v);
} plans[] = {
    {ERR_CONNECT_REFUSED, ANYWHERE, {try_other_ports}},
    {ERR_CONNECT_TIMEOUT, ANYWHERE, {try_other_ports}},
    {ERR_CONNECT_FAILED, ANYWHERE, {try_other_ports}},
    {ERR_PROXY_FAILED, SMTP_STEP_PROXY, {try_other_ports}},
    {ERR_GREETING_TIMEOUT, ANYWHERE, {try_implicit_here, try_other_ports}},
    {ERR_CONNECTION_LOST, SMTP_STEP_GREETING, {try_implicit_here, try_other_ports}},
    {ERR_PROTOCOL, SMTP_STEP_GREETING, {try_implicit_here, try_other_ports}},
    {ERR_TLS_ON_PLAIN_PORT, ANYWHERE, {try_starttls_here, try_other_ports, try_none_here}},
    {ERR_TLS_FAILED, SMTP_STEP_TLS, {try_starttls_here, try_other_ports, try_none_here}},
    {ERR_TLS_TIMEOUT, SMTP_STEP_TLS, {try_starttls_here, try_other_ports, try_none_here}},
    {ERR_CONNECTION_LOST, SMTP_STEP_TLS, {try_starttls_here, try_other_ports, try_none_here}},
    {ERR_STARTTLS_NOT_OFFERED, ANYWHERE, {try_other_ports, try_none_here}},
    {ERR_STARTTLS_REFUSED, ANYWHERE, {try_other_ports}},
    {ERR_INJECTED_RESPONSE, ANYWHERE, {try_other_ports}},
    {ERR_CERTIFICATE_NAME_MISMATCH, ANYWHERE, {try_other_names}},
    {ERR_TLS_VERSION, ANYWHERE, {try_older_tls}},
    {ERR_AUTH_MECHANISM_UNAVAILABLE, ANYWHERE, {try_for_logins}},
    {ERR_AUTH_NEEDS_TLS, ANYWHERE, {try_starttls_here, try_other_ports}},
    {ERR_CONNECTION_LOST, SMTP_STEP_AUTH, {try_password}},
    {ERR_RELAY_CLOSING, SMTP_STEP_AUTH, {try_password}},
};

static void plan_trials(struct verify *v)
{
    const struct probe *p = &v->probe;
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        if (!failed_with(p, plans[i].code) ||
            (plans[i].step != ANYWHERE && !failed_at(p, (enum smtp_step)plans[i].step)))
            continue;
        for (size_t k = 0; k < 3 && plans[i].tries[k] != NULL; k++)
            plans[i].tries[k](v);
        return;
    }
}

/* --- the verdict --------------------------------------------------------------------------- */

static void rename_error(struct verify_report *report, enum error_code code, const char *detail)
{
    struct verify_step *last = &report->steps[report->n_steps - 1];
    error_set(&report->error, code, "%s", detail);
    error_at(&report->error, "%s", last->name);
    snprintf(last->detail, sizeof(last->detail), "%s", detail);
}

/* What the probe alone could not know. */
static void be_precise(struct verify *v)
{
    struct probe *p = &v->probe;
    const struct probe *implicit = find_here(v, "implicit"), *starttls = find_here(v, "starttls");
    bool tls_failed = failed_with(p, ERR_TLS_FAILED) || failed_with(p, ERR_TLS_TIMEOUT) ||
                      (failed_with(p, ERR_CONNECTION_LOST) && failed_at(p, SMTP_STEP_TLS));
    bool said_nothing = failed_with(p, ERR_GREETING_TIMEOUT) || failed_with(p, ERR_TIMEOUT) ||
                        failed_with(p, ERR_CONNECTION_LOST);
    if (failed_at(p, SMTP_STEP_GREETING) && said_nothing && implicit != NULL &&
        speaks_tls(implicit))
        rename_error(&p->report, ERR_TLS_REQUIRED_FROM_START,
                     "the server says nothing in plain text: it waits for TLS, as we wait for it");
    else if (tls_failed && starttls != NULL && probe_passed(starttls, "greeting"))
        rename_error(&p->report, ERR_TLS_ON_PLAIN_PORT,
                     "the server takes no TLS at once: it greets in plain text");
    else if (failed_with(p, ERR_AUTH_MECHANISM_UNAVAILABLE) && starttls != NULL &&
             starttls->report.extensions.auth[0] != '\0')
        rename_error(&p->report, ERR_AUTH_NEEDS_TLS, "the server offers logins under TLS only");
}

/* The best known; NULL: none, or a better one may still turn out. */
static const struct trial *best_trial(const struct verify *v, bool *worked_out)
{
    *worked_out = false;
    for (size_t i = 0; i < v->n_trials; i++) {
        if (v->trials[i].probe.running)
            return NULL;
        *worked_out = worked(v, &v->trials[i]);
        if (*worked_out)
            return &v->trials[i];
    }
    for (size_t i = 0; i < v->n_trials; i++)
        if (got_further(v, &v->trials[i]))
            return &v->trials[i];
    return NULL;
}

/* "set tls: starttls" is of no use where there is none, or where it fails. */
static const struct error *what_to_mend(const struct verify *v)
{
    const struct probe *starttls = find_here(v, "starttls");
    if (failed_with(&v->probe, ERR_TLS_ON_PLAIN_PORT) && starttls != NULL && !starttls->report.ok &&
        (failed_with(starttls, ERR_STARTTLS_NOT_OFFERED) ||
         failed_with(starttls, ERR_STARTTLS_REFUSED) || probe_passed(starttls, "starttls")))
        return &starttls->report.error;
    return &v->probe.report.error;
}

static void write_hint(struct verify *v)
{
    struct verify_report *report = &v->probe.report;
    struct diagnosis_context context;
    const struct trial *best = best_trial(v, &report->hint_proved);
    connect_diagnosis(&v->relay, &context);
    context.offered = report->has_extensions ? report->extensions.auth : NULL;
    context.tried = v->n_trials > 0;
    context.used = report->mechanism[0] != '\0' ? report->mechanism : NULL;
    context.starttls = probe_passed(&v->probe, "starttls");
    const struct probe *starttls = find_here(v, "starttls");
    if (starttls != NULL)
        context.starttls |= probe_passed(starttls, "starttls");
    if (best == NULL) {
        diagnosis_hint(what_to_mend(v), &context, report->hint, sizeof(report->hint));
        return;
    }
    diagnosis_hint_change(&best->change, &context, report->hint, sizeof(report->hint));
    size_t len = strlen(report->hint);
    if (!report->hint_proved)
        snprintf(report->hint + len, sizeof(report->hint) - len, "; behind that waits: %s",
                 best->probe.report.error.detail);
}

static void settle(struct verify *v)
{
    v->settled = true;
    if (v->probe.report.error.code != ERR_NONE && !v->aborted) {
        be_precise(v);
        write_hint(v);
    }
    const struct error why = {.code = ERR_CONNECTION_LOST, .detail = "not needed any more"};
    for (size_t i = 0; i < v->n_trials; i++)
        probe_give_up(&v->trials[i].probe, &why);
}

/* --- its life ------------------------------------------------------------------------------ */

static size_t n_running(const struct verify *v)
{
    size_t n = v->probe.running;
    for (size_t i = 0; i < v->n_trials; i++)
        n += v->trials[i].probe.running;
    return n;
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct verify *v = handle->data;
    v->done(v->arg, &v->probe.report);
    probe_clear(&v->probe);
    for (size_t i = 0; i < v->n_trials; i++)
        probe_clear(&v->trials[i].probe);
    explicit_bzero(v->password, sizeof(v->password));
    free(v);
}

/* Called whenever something has ended. Ending something in here calls it again. */
static void proceed(struct verify *v)
{
    const struct probe *implicit = find_here(v, "implicit");
    bool proved;
    if (v->planning)
        return;
    if (v->probe.running && implicit != NULL && speaks_tls(implicit)) {
        const struct error why = {.code = ERR_GREETING_TIMEOUT, .detail = "no greeting"};
        v->planned = true; /* the cause is found */
        probe_give_up(&v->probe, &why);
        return;
    }
    if (!v->probe.running && !v->planned) {
        v->planned = v->planning = true;
        if (v->probe.report.ok && v->options.known.code != ERR_NONE)
            probe_note_failure(&v->probe, SMTP_STEP_AUTH, &v->options.known);
        plan_trials(v);
        v->planning = false;
    }
    if (!v->probe.running && !v->settled && (n_running(v) == 0 || best_trial(v, &proved) != NULL))
        settle(v);
    if (v->settled && n_running(v) == 0 && !uv_is_closing((uv_handle_t *)&v->tick))
        uv_close((uv_handle_t *)&v->tick, on_tick_closed);
}

static void watch(struct probe *p, int64_t now_ms)
{
    struct error why;
    if (!p->running || now_ms < p->deadline_ms)
        return;
    error_set(&why, ERR_TIMEOUT, "not done in time");
    probe_give_up(p, &why);
}

/* Its file may have changed since the start. One that cannot be read now is being replaced: the old
 * password stays good, as it does for the relay's connections. */
static void renew_password(struct verify *v)
{
    const struct relay_files *files = v->options.files;
    const char *path = v->relay.auth.password_file;
    if (files != NULL && files->password != NULL) {
        struct secret *secret = reload_take(files->password);
        snprintf(v->password, sizeof(v->password), "%s", secret_text(secret));
        secret_unref(secret);
        v->relay.auth.password = v->password;
    } else if (files == NULL && path != NULL &&
               config_read_secret_file(path, v->password, NULL) == 0) {
        v->relay.auth.password = v->password;
    }
}

static void on_tick(uv_timer_t *tick);

static void begin(struct verify *v)
{
    v->begun = true;
    renew_password(v);
    uv_timer_start(&v->tick, on_tick, TICK_MS, TICK_MS);
    v->probe.tokens = v->options.tokens;
    v->probe.files = v->options.files;
    probe_start(&v->probe, v->loop, &v->relay, !v->options.no_login, &whole, on_probe_ended, v);
}

static bool has_looked(const struct verify *v, int64_t now_ms)
{
    return reloader_has_looked(v->options.files->reloader, v->kick) ||
           now_ms - v->kicked_ms >= LOOK_PATIENCE_MS;
}

static void on_tick(uv_timer_t *tick)
{
    struct verify *v = tick->data;
    int64_t now_ms = clock_mono_ms();
    if (!v->begun) {
        if (has_looked(v, now_ms))
            begin(v);
        return;
    }
    if (probe_silence_ms(&v->probe, now_ms) >= SILENCE_MS)
        try_implicit_here(v);
    watch(&v->probe, now_ms);
    for (size_t i = 0; i < v->n_trials; i++)
        watch(&v->trials[i].probe, now_ms);
}

struct verify *verify_start(uv_loop_t *loop, const struct config_relay *relay,
                            const struct verify_options *options,
                            void (*done)(void *arg, const struct verify_report *report), void *arg)
{
    struct verify *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return NULL;
    v->loop = loop;
    v->relay = *relay;
    v->options = *options;
    v->done = done;
    v->arg = arg;
    uv_timer_init(loop, &v->tick);
    v->tick.data = v;
    if (options->files == NULL || options->files->reloader == NULL) {
        begin(v);
        return v;
    }
    v->kick = reloader_kick(options->files->reloader);
    v->kicked_ms = clock_mono_ms();
    uv_timer_start(&v->tick, on_tick, LOOK_MS, LOOK_MS);
    return v;
}

void verify_abort(struct verify *v)
{
    const struct error why = {.code = ERR_DRAINING, .detail = "the gateway is shutting down"};
    bool waited = !v->begun;
    if (waited) {
        v->begun = true;
        probe_note_failure(&v->probe, SMTP_STEP_DNS, &why);
    }
    v->aborted = v->probe.running || waited;
    v->planned = true; /* nothing more is tried */
    probe_give_up(&v->probe, &why);
    if (!v->settled)
        settle(v);
    proceed(v);
}

/* --- on a loop of its own ------------------------------------------------------------------ */

struct lone { /* a verification on a loop of its own */
    struct verify_report *report;
    struct oauth_cache *tokens;
};

static void on_done(void *arg, const struct verify_report *report)
{
    struct lone *lone = arg;
    *lone->report = *report;
    if (lone->tokens != NULL)
        oauth_cache_detach(lone->tokens);
}

int verify_run(const struct config_relay *relay, const struct verify_options *options,
               struct verify_report *report_out, struct error *err)
{
    uv_loop_t loop;
    if (uv_loop_init(&loop) < 0)
        return error_set(err, ERR_NOMEM, "event loop");
    struct lone lone = {report_out, options->tokens};
    int rc = options->tokens != NULL ? oauth_cache_attach(options->tokens, &loop, err) : 0;
    bool started = rc == 0 && verify_start(&loop, relay, options, on_done, &lone) != NULL;
    if (!started && options->tokens != NULL)
        oauth_cache_detach(options->tokens);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (rc < 0)
        return -1;
    return started ? 0 : error_set(err, ERR_NOMEM, "verification");
}
