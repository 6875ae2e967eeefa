#ifndef POSTERN_API_SERVER_H
#define POSTERN_API_SERVER_H

/* What libmicrohttpd leaves to us, each a file of its own: listening, and deadlines. */

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"

enum { SERVER_ADDRESS_SIZE = 300 };

/* A listening socket for "host:port", "[::1]:port" or "unix:/path"; -1 and ERR_CONFIG. */
int server_listen(const char *address, struct error *err);
/* `address` as it was given, but for port 0 with the port that the system chose. */
void server_address(int fd, const char *address, char out[SERVER_ADDRESS_SIZE]);

/*
 * Deadlines of connections. libmicrohttpd has timeouts of inactivity only: a client that sends an
 * octet a second would live for ever. The watchdog shuts down the socket of whoever is too late.
 */
struct watchdog;
struct watched {
    struct watched *next, *prev;
    int fd;
    atomic_llong deadline_ms; /* monotonic; INT64_MAX: none */
};

int watchdog_start(struct watchdog **watchdog_out, struct error *err);
void watchdog_stop(struct watchdog *watchdog); /* NULL is fine */
void watchdog_add(struct watchdog *watchdog, struct watched *watched);
void watchdog_remove(struct watchdog *watchdog, struct watched *watched); /* before the fd closes */

#endif
