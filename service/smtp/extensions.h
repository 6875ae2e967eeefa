#ifndef POSTERN_SMTP_EXTENSIONS_H
#define POSTERN_SMTP_EXTENSIONS_H

/* What a server offers in its EHLO reply (RFC 5321, 4.1.1.1). Unknown keywords are ignored. */

#include <stdatomic.h>
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

/* Those one can do without; bits of a set. */
enum smtp_extension {
    SMTP_EXTENSION_CHUNKING = 1,
    SMTP_EXTENSION_PIPELINING = 2,
    SMTP_EXTENSION_SMTPUTF8 = 4,
    SMTP_EXTENSION_8BITMIME = 8,
    SMTP_EXTENSION_DSN = 16,
    SMTP_EXTENSION_SIZE = 32,
};

/* As if they had not been offered. */
void smtp_extensions_leave_out(struct smtp_extensions *extensions, unsigned without);

/*
 * What a relay offers and then does not do: gateways, virus scanners and firewalls hand on the EHLO
 * reply of the server behind them, and do not know its commands. Shared by the relay's connections
 * on all threads, until the process ends. All zero to begin with, but for `relay`.
 */
struct smtp_distrust {
    const char *relay; /* its name, for the log */
    atomic_uint off;   /* of no use: not used any more */
    atomic_uint works; /* was seen to work: a silence or an end says nothing of it */
    atomic_uint once;  /* not to be used by the next connection */
    atomic_uint lost;  /* a connection has ended on it once */
};

/* The relay says, or its silence does, that it has none of `extensions`; `why` is for the log,
 * which is told the first time. NULL: nothing is kept. */
void smtp_distrust_note(struct smtp_distrust *distrust, unsigned extensions, const char *why);
/* A connection ended where they were first used. That may be chance: the next does without them,
 * and if it happens again, all do. */
void smtp_distrust_note_end(struct smtp_distrust *distrust, unsigned extensions);
void smtp_distrust_note_success(struct smtp_distrust *distrust, unsigned extensions);
bool smtp_distrust_knows(struct smtp_distrust *distrust, unsigned extensions); /* they work */
unsigned smtp_distrust_begin(struct smtp_distrust *distrust); /* what a new connection leaves out */
unsigned smtp_distrust_now(struct smtp_distrust *distrust);   /* ... and one that is there */

/* A mechanism that was offered, and then refused (504), is not tried again. */
void smtp_extensions_drop_auth(struct smtp_extensions *extensions, const char *mechanism);

/* For a person to read: "PIPELINING, SIZE 35882577, STARTTLS". Without AUTH, whose mechanisms stand
 * in `auth`. */
void smtp_extensions_describe(const struct smtp_extensions *extensions, char *out, size_t size);

#endif
