#ifndef POSTERN_SMTP_TRANSPORT_H
#define POSTERN_SMTP_TRANSPORT_H

/*
 * A non-blocking TCP connection with or without TLS on top: the only place with sockets and
 * SSL_read. It knows no SMTP and no event loop; it says what to wait for.
 */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/error.h"

struct transport_tls_settings {
    const char *ca_file;     /* NULL: the system's */
    const char *certificate; /* client certificate and key, PEM; NULL: none */
    const char *key;
    const char *server_name; /* what the certificate is verified against: DNS name or IP */
    bool verify;
    int min_version;         /* TLS1_2_VERSION, ... */
    const char *const *pins; /* "sha256/BASE64" of a SubjectPublicKeyInfo of the chain, one of which
                                must be met; ended by NULL; NULL: none */
};

/* One context a relay: holds trust, client certificate, and the session to resume. */
struct transport_tls;
int transport_tls_new(const struct transport_tls_settings *settings, struct transport_tls **tls_out,
                      struct error *err);
void transport_tls_free(struct transport_tls *tls);

struct transport;

enum transport_wait { TRANSPORT_READ = 1, TRANSPORT_WRITE = 2 };

/* Begin to connect. ERR_CONNECT_REFUSED, ERR_CONNECT_FAILED. */
int transport_connect(const struct sockaddr *address, socklen_t address_len,
                      struct transport **transport_out, struct error *err);
void transport_free(struct transport *transport); /* closes, without a handshake of farewell */
int transport_fd(const struct transport *transport);

/* After the socket turned writable: did it connect? */
int transport_connected(struct transport *transport, struct error *err);

/* Start TLS on it; then transport_handshake() until it returns 1. */
int transport_start_tls(struct transport *transport, struct transport_tls *tls, struct error *err);
/* 1 done, 0 not yet (see transport_wait), -1 with one of the certificate and TLS codes. */
int transport_handshake(struct transport *transport, struct error *err);

/* Octets moved; 0: would block; -1: ERR_CONNECTION_LOST (also on end of file). */
ssize_t transport_read(struct transport *transport, char *buf, size_t size, struct error *err);
ssize_t transport_write(struct transport *transport, const char *data, size_t len,
                        struct error *err);

/* What the last call that would block waits for (TLS may want the other direction). */
int transport_wants(const struct transport *transport);
bool transport_pending(const struct transport *transport); /* decrypted octets wait to be read */
void transport_shutdown_tls(struct transport *transport);  /* close_notify, best effort */
const char *transport_tls_version(const struct transport *transport); /* NULL: no TLS */

/* The certificate the server showed, for a person to read. */
struct transport_certificate {
    char names[256];                   /* of subjectAltName, joined by ", " */
    char issuer[256];                  /* one line */
    char pin[64];                      /* "sha256/BASE64" */
    int64_t not_before_s, not_after_s; /* since 1970 */
};
bool transport_certificate(const struct transport *transport,
                           struct transport_certificate *certificate_out); /* false: none */
bool transport_resumed(const struct transport *transport); /* an earlier TLS session went on */

#endif
