#ifndef POSTERN_TESTS_HTTP_PEER_H
#define POSTERN_TESTS_HTTP_PEER_H

/* An HTTP server in threads of the test's own, which answers as its path says, mostly badly. What
 * cannot be set up ends the test. */

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdint.h>

struct http_peer;

/* `tls` NULL: in the clear. Borrowed. */
struct http_peer *http_peer_start(SSL_CTX *tls);
void http_peer_stop(struct http_peer *peer); /* its clients have closed their connections */

uint16_t http_peer_port(const struct http_peer *peer);
unsigned http_peer_connections(const struct http_peer *peer); /* ever */
unsigned http_peer_requests(const struct http_peer *peer);
uint64_t http_peer_written(const struct http_peer *peer); /* octets */

#endif
