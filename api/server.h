#ifndef POSTERN_API_SERVER_H
#define POSTERN_API_SERVER_H

/* What libmicrohttpd leaves to us, each a file of its own: listening, deadlines, and listening on
 * after the answer. */

#include <stdatomic.h>
#include <stdbool.h>
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
    void *connection;         /* the library's; NULL: it is not a connection any more */
    /* The rest is the connection's thread's alone. */
    bool replying; /* an answer is on its way */
    bool linger;   /* its client may be sending still when it is closed */
};

int watchdog_start(struct watchdog **watchdog_out, struct error *err);
void watchdog_stop(struct watchdog *watchdog); /* NULL is fine */
void watchdog_add(struct watchdog *watchdog, struct watched *watched);
void watchdog_remove(struct watchdog *watchdog, struct watched *watched); /* before the fd closes */
struct watched *watchdog_find(struct watchdog *watchdog, int fd);         /* NULL: not watched */
/* Shut every connection down, and say how many there still are. */
size_t watchdog_shut_all(struct watchdog *watchdog);

/* Sockets that were answered and shut down on our side, and whose clients still send. They have a
 * thread of their own. */
struct linger;

int linger_start(struct watchdog *watchdog, struct linger **linger_out, struct error *err);
void linger_stop(struct linger *linger); /* closes what is left; NULL is fine */
/* Before `fd` is closed by its owner: what comes is thrown away until the client closes, falls
 * silent, has sent so many octets, or its time is up. */
void linger_take(struct linger *linger, int fd, uint64_t octets, int64_t for_ms);

#endif
