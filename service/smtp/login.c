#include "smtp/login.h"

#include <stdlib.h>
#include <string.h>

enum {
    COMMAND_LINE_MAX = 512, /* RFC 5321, 4.5.3.1.4 */
    AUTH_LINE_MAX = 12288,  /* RFC 4954, 4 */
};

int smtp_login_start(struct smtp_login *login, const struct sasl_credentials *credentials,
                     const struct sasl_binding *binding, const struct smtp_extensions *extensions,
                     bool clear_allowed, struct error *err)
{
    smtp_login_clear(login);
    if (sasl_start(credentials, login->unbound ? NULL : binding, extensions->auth, clear_allowed,
                   &login->sasl, err) < 0)
        return -1;
    buffer_init(&login->line, AUTH_LINE_MAX);
    /* All at once: growing would leave copies of the secret behind. */
    if (buffer_reserve(&login->line, AUTH_LINE_MAX) == NULL)
        return error_set(err, ERR_NOMEM, "a line of AUTH");
    login->bare = true;
    login->initial = login->answering = false;
    login->due = sasl_client_first(login->sasl) ? SMTP_LOGIN_FIRST : SMTP_LOGIN_NONE;
    return 0;
}

/* Bound, it would have been the mechanism struck; not bound, the flag 'y' would say that none was
 * offered (RFC 5802, 6). So from here on it is as if there were nothing to bind to. */
void smtp_login_strike(struct smtp_login *login, struct smtp_extensions *extensions)
{
    login->unbound |= sasl_is_bound(login->sasl);
    smtp_extensions_drop_auth(extensions, sasl_mechanism(login->sasl));
}

bool smtp_login_go_alone(struct smtp_login *login)
{
    bool was_initial = login->initial;
    login->alone |= was_initial;
    return was_initial;
}

int smtp_login_challenge(struct smtp_login *login, const char *text, struct error *err)
{
    login->bare = login->initial = false;
    login->answering = true;
    if (login->line.len > 0) /* held back until now */
        return 0;
    login->challenge = strdup(text);
    if (login->challenge == NULL)
        return error_set(err, ERR_NOMEM, "a challenge of %zu octets", strlen(text));
    login->due = SMTP_LOGIN_NEXT;
    return 0;
}

bool smtp_login_waits(const struct smtp_login *login)
{
    return login->due != SMTP_LOGIN_NONE && sasl_waits(login->sasl);
}

static int end_line(struct smtp_login *login)
{
    if (buffer_append_str(&login->line, "\r\n") < 0)
        return error_set(&login->err, ERR_AUTH_FAILED,
                         "the credentials do not fit into a line of %d", AUTH_LINE_MAX);
    return 0;
}

static void prepare_initial_response(struct smtp_login *login)
{
    buffer_printf(&login->line, "AUTH %s ", sasl_mechanism(login->sasl));
    size_t command_len = login->line.len;
    if (sasl_step(login->sasl, NULL, &login->line, &login->err) < 0)
        return;
    if (login->line.len == command_len)
        buffer_append_str(&login->line, "="); /* an empty one: RFC 4954, 4 */
    if (end_line(login) < 0)
        return;
    login->bare =
        login->line.len > COMMAND_LINE_MAX || sasl_goes_alone(login->sasl) || login->alone;
    login->initial = !login->bare;
    if (login->bare)
        buffer_consume(&login->line, command_len);
}

static void prepare_response(struct smtp_login *login)
{
    if (sasl_step(login->sasl, login->challenge, &login->line, &login->err) == 0)
        end_line(login);
    free(TAKE(login->challenge));
}

void smtp_login_run(struct smtp_login *login)
{
    int due = login->due;
    login->due = SMTP_LOGIN_NONE;
    if (due == SMTP_LOGIN_FIRST)
        prepare_initial_response(login);
    else if (due == SMTP_LOGIN_NEXT)
        prepare_response(login);
}

void smtp_login_wipe_line(struct smtp_login *login)
{
    if (login->line.data != NULL)
        explicit_bzero(login->line.data, login->line.size);
    buffer_reset(&login->line);
}

void smtp_login_clear(struct smtp_login *login)
{
    sasl_free(TAKE(login->sasl));
    smtp_login_wipe_line(login);
    buffer_clear(&login->line);
    free(TAKE(login->challenge));
    login->due = SMTP_LOGIN_NONE;
    login->err = (struct error){0};
}
