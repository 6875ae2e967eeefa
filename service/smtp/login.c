#include "smtp/login.h"

#include <string.h>

enum {
    COMMAND_LINE_MAX = 512, /* RFC 5321, 4.5.3.1.4 */
    AUTH_LINE_MAX = 12288,  /* RFC 4954, 4 */
};

static int end_line(struct smtp_login *login, struct error *err)
{
    if (buffer_append_str(&login->line, "\r\n") < 0)
        return error_set(err, ERR_AUTH_FAILED, "the credentials do not fit into a line of %d",
                         AUTH_LINE_MAX);
    return 0;
}

static int prepare_initial_response(struct smtp_login *login, struct error *err)
{
    buffer_printf(&login->line, "AUTH %s ", sasl_mechanism(login->sasl));
    size_t command_len = login->line.len;
    if (sasl_step(login->sasl, NULL, &login->line, err) < 0)
        return -1;
    if (login->line.len == command_len)
        buffer_append_str(&login->line, "="); /* an empty one: RFC 4954, 4 */
    if (end_line(login, err) < 0)
        return -1;
    login->bare = login->line.len > COMMAND_LINE_MAX || sasl_goes_alone(login->sasl);
    if (login->bare)
        buffer_consume(&login->line, command_len);
    return 0;
}

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
    return sasl_client_first(login->sasl) ? prepare_initial_response(login, err) : 0;
}

/* Bound, it would have been the mechanism struck; not bound, the flag 'y' would say that none was
 * offered (RFC 5802, 6). So from here on it is as if there were nothing to bind to. */
void smtp_login_strike(struct smtp_login *login, struct smtp_extensions *extensions)
{
    login->unbound |= sasl_is_bound(login->sasl);
    smtp_extensions_drop_auth(extensions, sasl_mechanism(login->sasl));
}

int smtp_login_answer(struct smtp_login *login, const char *challenge, struct error *err)
{
    if (login->line.len > 0) /* held back until now */
        return 0;
    if (sasl_step(login->sasl, challenge, &login->line, err) < 0)
        return -1;
    return end_line(login, err);
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
}
