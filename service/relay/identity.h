#ifndef POSTERN_RELAY_IDENTITY_H
#define POSTERN_RELAY_IDENTITY_H

/*
 * What makes a relay's connections what they are: host, port, TLS, proxy, and as whom they log in.
 * A password that is kept in a file is read again when the file changes; that is a new identity.
 * Connections begun as the old one finish what they carry and are given up, so that no mail goes
 * out as somebody we are not any more. (Certificates are watched by transport_tls.)
 *
 * Counted: a connection keeps the one it was opened with.
 */

#include "config/config.h"
#include "smtp/session.h"

struct identity {
    struct session_settings session;
    /* the rest is identity.c's own */
    const struct config_relay *settings;
    unsigned refs; /* the relay's lock guards it */
    int64_t looked_ms;
    struct {
        int64_t changed_s, changed_ns, size;
        uint64_t inode;
    } file; /* as it was when it was read */
    char password[];
};

/* All three are borrowed. ERR_CONFIG, ERR_NOMEM. */
int identity_new(const struct config_relay *settings, struct transport_tls *tls,
                 struct addresses *addresses, struct identity **identity_out, struct error *err);
void identity_unref(struct identity *identity); /* wipes the password with the last; NULL is fine */

/* Look at the file, at most once a second. A new identity if its content changed, else NULL; `err`
 * is ERR_NONE, or says why a file that changed cannot be read: the old one then stays good. */
struct identity *identity_renew(struct identity *identity, int64_t now_ms, struct error *err);

#endif
