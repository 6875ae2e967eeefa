#ifndef POSTERN_SMTP_RESOLVER_H
#define POSTERN_SMTP_RESOLVER_H

/*
 * Names to addresses, by getaddrinfo(), without waiting for it.
 *
 * getaddrinfo() waits as long as the resolver likes: 30 s and more when it is down. libuv's pool
 * has four threads, of which names may take two: two relays with a dead resolver would hold up all
 * others, and a larger pool only makes it more. So each lookup has a thread of its own, and there
 * is one lookup of a name at a time, whoever asks: all sessions that want the same wait for the
 * same. There are never more threads than names in the configuration, and no name waits for
 * another.
 *
 * Who gives up does not end the lookup (nothing can); it goes on alone and cleans up behind itself.
 */

#include <netdb.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct resolution; /* somebody's wait for a lookup */

/* `list` is valid during the call, and NULL on failure (ERR_DNS_FAILED in `why`). */
typedef void resolver_fn(void *arg, const struct addrinfo *list, const struct error *why);

/*
 * The addresses of `host` for TCP to `port`, told on the loop's thread, and never before this has
 * returned. An address as such ("192.0.2.1", "::1") is told without a lookup. NULL: no memory, no
 * thread.
 */
struct resolution *resolver_ask(uv_loop_t *loop, const char *host, uint16_t port, resolver_fn *done,
                                void *arg);
void resolver_forget(
    struct resolution *resolution); /* before `done` was called; it never will be */

#endif
