#ifndef POSTERN_RELAY_IDENTITY_H
#define POSTERN_RELAY_IDENTITY_H

/*
 * What makes a relay's connections what they are: host, port, TLS, proxy, and as whom they log in.
 * A password that is kept in a file is read again when the file changes (secret.h); that is a new
 * identity. Connections begun as the old one finish what they carry and are given up, so that no
 * mail goes out as somebody we are not any more. (Certificates are transport_tls's.)
 *
 * Counted: a connection keeps the one it was opened with.
 */

#include <stdatomic.h>

#include "config/config.h"
#include "relay/secret.h"
#include "smtp/session.h"

struct identity {
    struct session_settings session;
    /* the rest is identity.c's own */
    atomic_uint holders;
    struct secret *secret; /* a reference; NULL: as the settings have it */
};

/* With that password, of which it takes a reference of its own; NULL: the settings'. The rest is
 * borrowed. NULL without memory. */
struct identity *identity_new(const struct config_relay *settings, struct secret *secret,
                              struct transport_tls *tls, struct addresses *addresses);
void identity_unref(struct identity *identity); /* any thread; NULL is fine */

#endif
