#ifndef POSTERN_RELAY_CONNECT_H
#define POSTERN_RELAY_CONNECT_H

/*
 * From a relay's settings to what a session needs: the one place where struct config_relay becomes
 * struct session_settings, for the pool and for `verify` alike.
 */

#include "config/config.h"
#include "smtp/session.h"

/* Borrows all strings of `relay`. `tls_context` and `addresses` are the caller's. */
void connect_settings(const struct config_relay *relay, struct session_settings *settings_out);
/* The TLS context that fits; `*tls_out` is NULL for tls: none. ERR_CONFIG names the file. */
int connect_tls_new(const struct config_relay *relay, struct transport_tls **tls_out,
                    struct error *err);

#endif
