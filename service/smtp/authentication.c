#include "smtp/authentication.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const struct smtp_command AUTH, AUTH_LINE, AUTH_CANCEL;

/* NULL: the password may not be shown to this server, or it takes none. That it may says the user,
 * by leaving the mechanism to us, and the certificate. */
static const char *password_mechanism(const struct smtp_dialogue *d)
{
    const struct smtp_options *options = d->options;
    if (!d->tls || !options->tls_verified || !sasl_automatic(&options->credentials) ||
        options->credentials.bearer || options->credentials.password == NULL)
        return NULL;
    return smtp_extensions_offer_auth(&d->extensions, "PLAIN")   ? "plain"
           : smtp_extensions_offer_auth(&d->extensions, "LOGIN") ? "login"
                                                                 : NULL;
}

/* A challenge was not met: the password is wrong, or the server has it in a form that it cannot
 * check this way (a directory behind it, or another preparation of its characters). */
static bool may_fall_back(const struct smtp_dialogue *d)
{
    return !d->fell_back && sasl_challenges(d->login.sasl) && password_mechanism(d) != NULL &&
           atomic_load(&d->memory->kind) != LOGIN_CHALLENGE_NEXT;
}

static int fall_back(struct smtp_dialogue *d, struct error *err)
{
    d->fell_back = true;
    return smtp_authenticate(d, err);
}

/* See struct login_memory. */
static void remember_refusal(struct smtp_dialogue *d)
{
    bool challenge = sasl_challenges(d->login.sasl);
    unsigned kind = atomic_load(&d->memory->kind);
    if (password_mechanism(d) == NULL)
        return;
    if (challenge && kind != LOGIN_PASSWORD_WORKS)
        kind = LOGIN_PASSWORD_NEXT;
    else if (!challenge && kind != LOGIN_NONE)
        kind = kind == LOGIN_PASSWORD_WORKS ? LOGIN_PASSWORD_NEXT : LOGIN_CHALLENGE_NEXT;
    atomic_store(&d->memory->kind, kind);
}

static void remember_success(struct smtp_dialogue *d)
{
    if (sasl_challenges(d->login.sasl))
        atomic_store(&d->memory->kind, LOGIN_NONE);
    else if (atomic_load(&d->memory->kind) != LOGIN_NONE)
        atomic_store(&d->memory->kind, LOGIN_PASSWORD_WORKS);
    if (d->login.alone)
        atomic_store(&d->memory->alone, true);
}

/* The mechanism is of no use here: the next one, and if there is none what `why` says. */
static int try_next_mechanism(struct smtp_dialogue *d, const struct error *why, struct error *err)
{
    struct error next, first = *why;
    smtp_login_strike(&d->login, &d->extensions);
    if (d->fell_back && password_mechanism(d) == NULL) /* a challenge was refused already */
        return error_set(err, first.code, "%s", first.detail);
    if (smtp_authenticate(d, &next) == 0)
        return 0;
    if (next.code != ERR_AUTH_MECHANISM_UNAVAILABLE)
        first = next;
    return error_set(err, first.code, "%s", first.detail);
}

static void put_auth_cancel(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_put(d, "*\r\n"); /* RFC 4954, 4 */
}

static int on_auth_cancel(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    struct error why = d->login.err;
    if (!dialogue_is_refused(d))
        return dialogue_no_answer(d, owed, err);
    return sasl_is_unusable(d->login.sasl) ? try_next_mechanism(d, &why, err) : fall_back(d, err);
}

static const struct smtp_command AUTH_CANCEL = {SMTP_STEP_AUTH, true, false, put_auth_cancel,
                                                on_auth_cancel};

/* It came to nothing: for a fault of this mechanism with these credentials, or because a message of
 * its own said what else a 535 says. Is there another? */
static int give_up_mechanism(struct smtp_dialogue *d, struct error *err)
{
    struct error why = d->login.err;
    bool unusable = sasl_is_unusable(d->login.sasl) && sasl_automatic(&d->options->credentials);
    bool refused = why.code == ERR_AUTH_FAILED && !unusable && may_fall_back(d);
    if (refused)
        remember_refusal(d);
    if (d->login.answering && (unusable || refused)) {
        dialogue_ask(d, &AUTH_CANCEL);
        return 0;
    }
    return unusable ? try_next_mechanism(d, &why, err) : error_set(err, why.code, "%s", why.detail);
}

/* What it came to. */
int smtp_auth_go_on(struct smtp_dialogue *d, struct error *err)
{
    if (d->login.err.code != ERR_NONE)
        return give_up_mechanism(d, err);
    dialogue_ask(d, d->login.bare ? &AUTH : &AUTH_LINE);
    return 0;
}

/* What may take its time is taken away to be run: smtp_dialogue_take_login(). */
static int go_on_with_login(struct smtp_dialogue *d, struct error *err)
{
    if (smtp_login_waits(&d->login))
        return 0;
    smtp_login_run(&d->login);
    return smtp_auth_go_on(d, err);
}

/* Where the token is yet to come, only whether it would be of use is seen; it then begins anew. */
int smtp_authenticate(struct smtp_dialogue *d, struct error *err)
{
    unsigned kind = atomic_load(&d->memory->kind);
    const char *password = password_mechanism(d);
    bool is_next = d->fell_back || kind == LOGIN_PASSWORD_NEXT || kind == LOGIN_PASSWORD_WORKS;
    d->credentials.mechanism =
        is_next && password != NULL ? password : d->options->credentials.mechanism;
    d->login.alone |= atomic_load(&d->memory->alone);
    if (smtp_login_start(&d->login, &d->credentials, &d->options->binding, &d->extensions,
                         d->tls || d->options->allow_plaintext_auth, err) < 0)
        return -1;
    d->wants_token = d->credentials.bearer && d->credentials.token == NULL;
    return d->wants_token ? 0 : go_on_with_login(d, err);
}

/* Offered, but not to be had after all. */
static int on_unknown_mechanism(struct smtp_dialogue *d, struct error *err)
{
    struct error why;
    dialogue_refused(d, ERR_AUTH_MECHANISM_UNAVAILABLE, &why);
    return try_next_mechanism(d, &why, err);
}

static enum error_code auth_error(const struct smtp_dialogue *d)
{
    int code = d->said.code;
    if (code == 454 || smtp_reply_throttles(&d->said))
        return ERR_THROTTLED;
    if (code / 100 == 4)
        return ERR_RELAY_REFUSED;
    if ((code == 530 || code == 538) && !d->tls)
        return ERR_AUTH_NEEDS_TLS;
    return ERR_AUTH_FAILED;
}

void smtp_auth_drop_token(struct smtp_dialogue *d)
{
    if (d->token != NULL)
        explicit_bzero(d->token, strlen(d->token));
    free(TAKE(d->token));
    d->credentials.token = d->options->credentials.token;
}

/* It may have been revoked, or have come to its end on the way here, whatever was said of its life.
 * Not if the server is in trouble itself, or did not understand us; and if the second was refused
 * too it is the account. */
static bool token_may_be_at_fault(const struct smtp_dialogue *d)
{
    return d->token != NULL && !d->token_refused && auth_error(d) == ERR_AUTH_FAILED &&
           d->said.code / 10 != 50;
}

/* On the same connection: AUTH may be tried again after a refusal (RFC 4954, 4). */
static int want_another_token(struct smtp_dialogue *d, struct error *err)
{
    smtp_auth_drop_token(d);
    d->token_refused = true;
    return smtp_authenticate(d, err);
}

static void put_auth(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_put(d, "AUTH %s\r\n", sasl_mechanism(d->login.sasl));
}

static void put_auth_line(struct smtp_dialogue *d, struct smtp_owed *owed)
{
    dialogue_send(d, d->login.line.data, d->login.line.len);
}

/* 503 is about the command, and 534 wants a stronger mechanism. Once: who has a wrong password
 * is not to be locked out for it. */
static int on_refused_login(struct smtp_dialogue *d, struct error *err)
{
    enum error_code code = auth_error(d);
    bool is_of_login = code == ERR_AUTH_FAILED && d->said.code != 503 && d->said.code != 534;
    bool falls_back = is_of_login && may_fall_back(d);
    if (is_of_login)
        remember_refusal(d);
    return falls_back ? fall_back(d, err) : dialogue_refused(d, code, err);
}

static int on_auth(struct smtp_dialogue *d, const struct smtp_owed *owed, struct error *err)
{
    if (d->said.code == 334) {
        if (smtp_login_challenge(&d->login, smtp_reply_text(&d->reply), err) < 0)
            return -1;
        return go_on_with_login(d, err);
    }
    if (d->said.code == 504)
        return on_unknown_mechanism(d, err);
    if ((d->said.code == 500 || d->said.code == 501) && smtp_login_go_alone(&d->login))
        return smtp_authenticate(d, err);
    if (dialogue_is_refused(d) && token_may_be_at_fault(d))
        return want_another_token(d, err);
    if (dialogue_is_refused(d))
        return on_refused_login(d, err);
    if (dialogue_reply_class(d) != 2)
        return dialogue_no_answer(d, owed, err);
    if (sasl_accept(d->login.sasl, err) < 0)
        return -1;
    log_debug("logged in", LOG_STR("host", d->credentials.host),
              LOG_STR("mechanism", sasl_mechanism(d->login.sasl)));
    remember_success(d);
    smtp_login_clear(&d->login);
    d->ready = true;
    return 0;
}

static const struct smtp_command AUTH = {SMTP_STEP_AUTH, true, false, put_auth, on_auth};
static const struct smtp_command AUTH_LINE = {SMTP_STEP_AUTH, true, false, put_auth_line, on_auth};

void smtp_auth_was_sent(struct smtp_dialogue *d, const struct smtp_command *command)
{
    if (command == &AUTH_LINE)
        smtp_login_wipe_line(&d->login);
}

bool smtp_auth_pauses(const struct smtp_dialogue *d)
{
    return d->login_away || d->wants_token || smtp_login_waits(&d->login);
}
