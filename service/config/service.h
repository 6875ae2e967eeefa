#ifndef POSTERN_CONFIG_SERVICE_H
#define POSTERN_CONFIG_SERVICE_H

/*
 * The well-known services: where each takes mail in, and the limits it is known to have, so that
 * `service: office365` with a login is a whole relay. Such facts go stale; they are data, a row a
 * service, and whatever is given beside `service` wins over them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum { SERVICE_NAMES_MAX = 5, SERVICE_PORTS_MAX = 5 };

struct service_port {
    uint16_t port; /* 0: behind the last */
    enum config_tls tls;
};

struct service {
    const char *names[SERVICE_NAMES_MAX + 1]; /* lower case; the first is the one we print */
    const char *host; /* "{region}" in it stands for the REGION of NAME:REGION */
    struct service_port ports[SERVICE_PORTS_MAX + 1]; /* the first is what we take */
    bool oauth;                                       /* it takes OAuth 2 tokens */
    const char *settings; /* of relays[]: "PATH=VALUE PATH=VALUE"; "": none */
};

extern const struct service services[];
extern const size_t n_services;

/* By one of its names, in any case, with or without a region. NULL: unknown. */
const struct service *service_find(const char *word);
/* The known name nearest to it; NULL: none is near. */
const char *service_nearest(const char *word);

/* Behind the ":" of what was written; NULL: none. */
const char *service_region(const char *word);
bool service_has_regions(const struct service *service);

/* The first of its ports that fits: `port` 0 is any, `tls` CONFIG_TLS_AUTO is any. NULL: none. */
const struct service_port *service_port(const struct service *service, uint16_t port,
                                        enum config_tls tls);

#endif
