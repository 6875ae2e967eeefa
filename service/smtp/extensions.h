#ifndef POSTERN_SMTP_EXTENSIONS_H
#define POSTERN_SMTP_EXTENSIONS_H

/* What a server offers in its EHLO reply (RFC 5321, 4.1.1.1). Unknown keywords are ignored. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SMTP_AUTH_MAX = 512 };

struct smtp_extensions {
    bool pipelining;          /* RFC 2920 */
    bool chunking;            /* RFC 3030 */
    bool eightbitmime;        /* RFC 6152 */
    bool smtputf8;            /* RFC 6531 */
    bool dsn;                 /* RFC 3461 */
    bool starttls;            /* RFC 3207 */
    bool requiretls;          /* RFC 8689 */
    bool enhanced_codes;      /* RFC 2034 */
    bool has_size;            /* RFC 1870 */
    uint64_t size;            /* 0: no fixed limit */
    uint64_t mail_max;        /* RFC 9422: transactions a connection; 0: not said */
    uint64_t rcpt_max;        /* RFC 9422: recipients a transaction; 0: not said */
    char auth[SMTP_AUTH_MAX]; /* mechanisms, upper case, joined by one space; also from "AUTH=" */
};

/* `text` is the EHLO reply's lines joined by '\n' (smtp_reply_text); the first names the server. */
void smtp_extensions_parse(const char *text, struct smtp_extensions *out);
bool smtp_extensions_offer_auth(const struct smtp_extensions *extensions, const char *mechanism);

/* A mechanism that was offered, and then refused (504), is not tried again. */
void smtp_extensions_drop_auth(struct smtp_extensions *extensions, const char *mechanism);

/* For a person to read: "PIPELINING, SIZE 35882577, STARTTLS". Without AUTH, whose mechanisms stand
 * in `auth`. */
void smtp_extensions_describe(const struct smtp_extensions *extensions, char *out, size_t size);

#endif
