#ifndef POSTERN_SMTP_TRANSPORT_TLS_H
#define POSTERN_SMTP_TRANSPORT_TLS_H

/*
 * Whom a relay's TLS connections trust, who they are themselves, and the session they resume. One
 * context is made for exactly one (host, port, name, CA, client certificate, pins, verification);
 * a ticket lives and dies in it, so none ever crosses from one of these to another.
 *
 * The files are read again when they change: new connections get what they hold then, those that
 * are up go on with what they began with. What cannot be loaded is logged, once, and the last that
 * could be loaded stays.
 *
 * Shared by the sessions of all workers.
 */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct transport_tls_settings { /* its strings are borrowed for the context's life */
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
};

struct transport_tls;

/* ERR_CONFIG names the file that cannot be loaded; ERR_NOMEM. */
int transport_tls_new(const struct transport_tls_settings *settings, struct transport_tls **tls_out,
                      struct error *err);
/* After the last transport that began TLS with it. */
void transport_tls_free(struct transport_tls *tls);
DEFINE_CLEANUP(struct transport_tls *, transport_tls_free)

/* Look at the files, at most once a second, and load them anew if they changed (by their time,
 * size or inode). transport_start_tls() does it. */
void transport_tls_refresh(struct transport_tls *tls, int64_t now_ms);

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
