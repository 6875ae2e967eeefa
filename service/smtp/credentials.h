#ifndef POSTERN_SMTP_CREDENTIALS_H
#define POSTERN_SMTP_CREDENTIALS_H

/* As whom a connection logs in, and what logins before it have taught. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sasl_credentials {
    const char *mechanism; /* "auto" or a name: "plain", "scram-sha-256"; that one also means its
                              -PLUS where both sides have it */
    const char *user;      /* NULL: none (EXTERNAL, GSSAPI), else no login at all */
    const char *password;  /* NULL: none (EXTERNAL, GSSAPI, tokens) */
    const char *domain;    /* of NTLM; NULL: none but what the user may name: "DOMAIN\\user" */
    const char *host;      /* the server's name: digest-uri, GSSAPI's service; NULL: not known */
    uint16_t port;         /* its port, which OAUTHBEARER names; 0: not known */
    bool bearer;           /* by token alone, which may come after the start */
    const char *token;     /* of XOAUTH2 and OAUTHBEARER; NULL: none, or none yet */
};

/* What a -PLUS mechanism binds the login to (RFC 5929, RFC 9266), in base64; "": none to be had. */
struct sasl_binding {
    char tls_exporter[64], tls_unique[64];
};

/*
 * What the logins of one relay have taught, for the next ones: its connections share it, whatever
 * their threads. Zero: nothing yet.
 *
 *   challenge refused     NONE -> PASSWORD_NEXT     CHALLENGE_NEXT -> PASSWORD_NEXT
 *   ... taken             -> NONE
 *   PLAIN, LOGIN refused  PASSWORD_WORKS -> PASSWORD_NEXT -> CHALLENGE_NEXT
 *   ... taken             PASSWORD_NEXT -> PASSWORD_WORKS
 *
 * So a wrong password is tried twice on the first connection and once on each that follows.
 */
struct login_memory {
    atomic_uint kind;  /* enum login_kind */
    atomic_bool alone; /* AUTH goes without an initial response */
};

enum login_kind { LOGIN_NONE, LOGIN_PASSWORD_NEXT, LOGIN_PASSWORD_WORKS, LOGIN_CHALLENGE_NEXT };

#endif
