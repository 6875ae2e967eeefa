#ifndef POSTERN_SMTP_PROXY_H
#define POSTERN_SMTP_PROXY_H

/*
 * Asking a proxy to connect us, without any I/O: SOCKS5 (RFC 1928, with name and password by
 * RFC 1929) or HTTP CONNECT (RFC 9110, 9.3.6). The proxy is told the server's name and resolves it.
 *
 * What stands behind the proxy's last octet is the server's. proxy_wants() never lets in more than
 * must still come, so nothing of it is read here, and a proxy cannot have us keep octets of its own
 * for later, behind the TLS handshake.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct session_proxy; /* session.h */
struct proxy;

/* ERR_PROXY_FAILED: no request can hold that host (a line end in it would begin another), user or
 * password; ERR_NOMEM. Nothing is borrowed. */
int proxy_new(const struct session_proxy *settings, const char *host, uint16_t port,
              struct proxy **proxy_out, struct error *err);
void proxy_free(struct proxy *proxy); /* wipes the password */
DEFINE_CLEANUP(struct proxy *, proxy_free)

/* What is to be sent now; counted as sent by proxy_sent(). */
const char *proxy_pending(const struct proxy *proxy, size_t *len_out);
void proxy_sent(struct proxy *proxy, size_t len);

/* How many octets may be read, at most; never 0 before it has let us through. */
size_t proxy_wants(const struct proxy *proxy);
/* 1: we are through; 0: more comes; -1: ERR_PROXY_FAILED says why not. */
int proxy_feed(struct proxy *proxy, const char *data, size_t len, struct error *err);

#endif
