#include "smtp/step.h"

#include <assert.h>
#include <stddef.h>

const char *smtp_step_word(enum smtp_step step)
{
    static const char *const words[] = {
        [SMTP_STEP_DNS] = "dns",           [SMTP_STEP_TCP] = "tcp",
        [SMTP_STEP_PROXY] = "proxy",       [SMTP_STEP_TLS] = "tls",
        [SMTP_STEP_GREETING] = "greeting", [SMTP_STEP_EHLO] = "ehlo",
        [SMTP_STEP_STARTTLS] = "starttls", [SMTP_STEP_AUTH] = "auth",
        [SMTP_STEP_MAIL] = "mail",         [SMTP_STEP_RCPT] = "rcpt",
        [SMTP_STEP_DATA] = "data",         [SMTP_STEP_CONTENT] = "content",
        [SMTP_STEP_RSET] = "rset",         [SMTP_STEP_QUIT] = "quit",
    };
    assert((size_t)step < sizeof(words) / sizeof(words[0]));
    return words[step];
}
