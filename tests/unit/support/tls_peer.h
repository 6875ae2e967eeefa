#ifndef POSTERN_TESTS_TLS_PEER_H
#define POSTERN_TESTS_TLS_PEER_H

/* A TLS server in the test's own thread: certificates as they are wanted, and both ends of a
 * connection over loopback moved in turn. What cannot be set up ends the test. */

#include <openssl/ssl.h>
#include <stdbool.h>

#include "smtp/transport.h"

struct tls_identity {
    X509 *certificate;
    EVP_PKEY *key;
};

struct tls_identity_settings {
    const struct tls_identity *issuer; /* NULL: signs itself */
    const char *names;                 /* "DNS:a.example,IP:127.0.0.1"; NULL: none */
    bool authority;
    unsigned rsa_bits; /* 0: an elliptic curve */
    bool sha1;
    long from_s, to_s; /* valid from and until, from now; both 0: an hour each way */
};

void tls_identity_init(struct tls_identity *identity, const struct tls_identity_settings *settings);
void tls_identity_clear(struct tls_identity *identity);
void tls_identity_write(const struct tls_identity *identity, const char *certificate_path,
                        const char *key_path); /* PEM; a path of NULL: not that one */

struct tls_server_settings {
    const struct tls_identity *identity, *issuer; /* `issuer` is sent along; may be NULL */
    int version;                                  /* TLS1_2_VERSION, ...; 0: as they agree */
    bool any_level; /* what OpenSSL thinks too weak is none the less offered */
    bool no_ems;    /* without the extended master secret */
};

SSL_CTX *tls_server_new(const struct tls_server_settings *settings);

struct tls_pair {
    struct transport *client;
    SSL *server;
    int server_fd;
    int result; /* of transport_handshake() */
    struct error why;
};

/* Connect, and move both ends until the client's handshake ends one way or the other. */
void tls_pair_open(struct tls_pair *pair, SSL_CTX *server, struct transport_tls *tls);
void tls_pair_close(struct tls_pair *pair);
/* The server says `text`; the client reads it whole (and with it the tickets before it). */
void tls_pair_say(struct tls_pair *pair, const char *text);

#endif
