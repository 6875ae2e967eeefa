#ifndef POSTERN_RELAY_CONNECT_H
#define POSTERN_RELAY_CONNECT_H

/*
 * From a relay's settings to what a session needs: the one place where struct config_relay becomes
 * struct session_settings, for the pool and for `verify` alike.
 */

#include "config/config.h"
#include "smtp/diagnosis.h"
#include "smtp/session.h"

/* What of a relay stands in files, read already: a loop has no time to read them. */
struct relay_files {
    struct reloader *reloader; /* looks at them; NULL: nobody does */
    struct transport_tls *tls; /* NULL: its files cannot be read */
    struct reload *password;   /* a struct secret; NULL: as the settings have it */
};

/* Borrows all strings of `relay`. `tls_context` and `addresses` are the caller's to add. */
void connect_settings(const struct config_relay *relay, struct session_settings *settings_out);
/* The TLS context that fits; `*tls_out` is NULL for tls: none. `reloader` looks at its files (NULL:
 * nobody), unless they are those of `like`, which then are not read (NULL: they are). ERR_CONFIG
 * names the file, ERR_NOMEM. */
int connect_tls_new(const struct config_relay *relay, struct reloader *reloader,
                    struct transport_tls *like, struct transport_tls **tls_out, struct error *err);

/* What a diagnosis of this relay's failures needs to know of it; strings are borrowed. */
void connect_diagnosis(const struct config_relay *relay, struct diagnosis_context *context_out);
const char *connect_tls_word(enum config_tls tls); /* as the settings spell it */

#endif
