#ifndef POSTERN_SMTP_TRANSPORT_H
#define POSTERN_SMTP_TRANSPORT_H

/*
 * A non-blocking TCP connection with or without TLS on top: the only place with sockets and
 * SSL_read. It knows no SMTP and no event loop; it says what to wait for.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/error.h"
#include "smtp/certificate.h"
#include "smtp/transport_tls.h"

struct transport;

enum transport_wait { TRANSPORT_READ = 1, TRANSPORT_WRITE = 2 };

/* Begin to connect, from `source` (of the same family; NULL: the system's choice). Never waits.
 * ERR_CONNECT_REFUSED, ERR_CONNECT_TIMEOUT, ERR_CONNECT_FAILED. */
int transport_connect(const struct sockaddr *address, const struct sockaddr *source,
                      struct transport **transport_out, struct error *err);
void transport_free(struct transport *transport); /* closes, without a handshake of farewell */
int transport_fd(const struct transport *transport);

/* After the socket turned writable: did it connect? */
int transport_connected(struct transport *transport, struct error *err);

/* Start TLS on it; then transport_handshake() until it returns 1. `tls` must outlive it. */
int transport_start_tls(struct transport *transport, struct transport_tls *tls, struct error *err);
/* 1 done, 0 not yet (see transport_wait), -1 with one of the certificate and TLS codes. */
int transport_handshake(struct transport *transport, struct error *err);

/* Octets moved; 0: would block; -1: ERR_CONNECTION_LOST (also on end of file). The end of TLS
 * without a close_notify is one too: somebody may have cut it (RFC 8446, 6.1). */
ssize_t transport_read(struct transport *transport, char *buf, size_t size, struct error *err);
ssize_t transport_write(struct transport *transport, const char *data, size_t len,
                        struct error *err);

/* What the last read and the last write (or handshake, or connect) wait for, if they would block:
 * TLS may want the other direction. Before any: to become connected. */
int transport_wants(const struct transport *transport);
bool transport_pending(const struct transport *transport); /* decrypted octets wait to be read */
/* The last read took all there was: a socket without TLS gave less than it was asked for. What
 * came since, the end among it, makes it readable. */
bool transport_drained(const struct transport *transport);
void transport_hang_up(
    struct transport *transport); /* close_notify, then nothing goes either way */
const char *transport_tls_version(const struct transport *transport); /* NULL: no TLS */

/* Also that of a handshake which failed for it. false: none was shown. */
bool transport_certificate(const struct transport *transport,
                           struct transport_certificate *certificate_out);
bool transport_resumed(const struct transport *transport); /* an earlier TLS session went on */

enum { TRANSPORT_BINDING_SIZE = 64 };

/*
 * What a login can be bound to, in base64, "" where there is none: tls-exporter (RFC 9266) and, of
 * TLS 1.2 alone, tls-unique (RFC 5929). Without the extended master secret (RFC 7627) there is
 * neither: two connections of a man in the middle could then have the same.
 */
void transport_bindings(const struct transport *transport,
                        char exporter_out[TRANSPORT_BINDING_SIZE],
                        char unique_out[TRANSPORT_BINDING_SIZE]);

#endif
