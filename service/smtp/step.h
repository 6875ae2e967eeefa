#ifndef POSTERN_SMTP_STEP_H
#define POSTERN_SMTP_STEP_H

/* Where in a conversation something was decided; the words of logs, errors and tests. */
enum smtp_step {
    SMTP_STEP_DNS,
    SMTP_STEP_TCP,
    SMTP_STEP_PROXY,
    SMTP_STEP_TLS,
    SMTP_STEP_GREETING,
    SMTP_STEP_EHLO,
    SMTP_STEP_STARTTLS,
    SMTP_STEP_AUTH,
    SMTP_STEP_MAIL,
    SMTP_STEP_RCPT,
    SMTP_STEP_DATA,
    SMTP_STEP_CONTENT, /* from the content's first octet to the reply to the final dot */
    SMTP_STEP_RSET,
    SMTP_STEP_QUIT,
};

const char *smtp_step_word(enum smtp_step step); /* "tcp", "mail", "content", ... */

#endif
