#ifndef POSTERN_CONFIG_HOST_H
#define POSTERN_CONFIG_HOST_H

/* The name or address of a server as it is written in a setting. */

#include "base/arena.h"
#include "base/error.h"

/*
 * As DNS, TLS and the certificate have it: an internationalised name as A-labels (RFC 5891), an
 * address without its brackets. A trailing dot stays: it keeps the resolver from its search list.
 * NULL with ERR_CONFIG, whose detail says what to write instead, for what is neither: "host:587",
 * "smtps://host".
 */
const char *config_host_of(const char *written, struct arena *arena, struct error *err);

#endif
