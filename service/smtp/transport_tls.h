#ifndef POSTERN_SMTP_TRANSPORT_TLS_H
#define POSTERN_SMTP_TRANSPORT_TLS_H

/*
 * Whom a relay's TLS connections trust, who they are themselves, and the session they resume. One
 * context is made for exactly one (host, port, name, CA, client certificate, pins, verification);
 * a ticket lives and dies in it, so none ever crosses from one of these to another.
 *
 * The files are read again when they change, by the reloader: new connections get what they hold
 * then, those that are up go on with what they began with. What cannot be loaded is logged, once,
 * and the last that could be loaded stays. No connection ever touches a file.
 *
 * Shared by the sessions of all workers.
 */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/reload.h"

struct transport_tls;

struct transport_tls_settings { /* copied */
    const char *ca_file;        /* NULL: the system's */
    const char *certificate;    /* client certificate and key, PEM; NULL: none */
    const char *key;
    const char *server_name; /* what the certificate is verified against: DNS name or IP */
    bool verify;
    int min_version; /* TLS1_2_VERSION, ... */
    /* "sha256/BASE64" of SubjectPublicKeyInfos, ended by NULL; one must be met, by any certificate
     * of the verified chain. Without `verify` nothing vouches for the rest of a chain, so the
     * server's own must meet it. NULL: none. */
    const char *const *pins;
    struct reloader *reloader; /* who looks whether the files have changed; NULL: nobody */
    /* Whose CA and certificate are taken, as they are now, in place of the files, which are not
     * read, nor looked at later. For those who may not wait for a disk. NULL: none. */
    struct transport_tls *like;
};

/* ERR_CONFIG names the file that cannot be loaded; ERR_NOMEM. */
int transport_tls_new(const struct transport_tls_settings *settings, struct transport_tls **tls_out,
                      struct error *err);
void transport_tls_free(struct transport_tls *tls); /* NULL is fine */
DEFINE_CLEANUP(struct transport_tls *, transport_tls_free)

/* Look at the files now, where no reloader does; waits for the disk. */
void transport_tls_look(struct transport_tls *tls);

/* What the server has shown. Zero: nothing. */
struct transport_shown {
    X509 *certificate; /* its own, good or not; NULL: none, or a session was resumed */
    X509 *refused;     /* the one of its chain that could not be trusted; NULL: none */
    int n_sent;        /* how many certificates it sent */
};

/*
 * For transport.c: a connection to be, with the name it expects and the session it may resume.
 * `shown` is filled by the handshake, with references that transport_shown_clear() gives up; it
 * must live as long as the connection. NULL: no memory.
 */
SSL *transport_tls_open(struct transport_tls *tls, struct transport_shown *shown);
void transport_shown_clear(struct transport_shown *shown);

#endif
