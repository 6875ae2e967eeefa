#ifndef POSTERN_SMTP_ADDRESSES_H
#define POSTERN_SMTP_ADDRESSES_H

/*
 * Which addresses of a host were of no use lately (no connection, no greeting, no EHLO, no TLS):
 * they are tried after the others. One per relay, shared by its sessions on all workers.
 */

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

struct addresses;

enum { ADDRESSES_BAD_MS = 5 * 60 * 1000 };

struct addresses *addresses_new(void); /* NULL without memory */
void addresses_free(struct addresses *addresses);

/* The same IP address; the port is no part of it. */
bool addresses_equal(const struct sockaddr *a, const struct sockaddr *b);

void addresses_failed(struct addresses *addresses, const struct sockaddr *address, int64_t now_ms);
void addresses_worked(struct addresses *addresses, const struct sockaddr *address);

/*
 * The order to try them in (RFC 8305, 4): families in turn, beginning with that of the resolver's
 * first; those that failed within the last ADDRESSES_BAD_MS behind all others, that whose failure
 * is the oldest first. `sorted_out` has
 * room for `size` pointers into `list`; returns how many it holds. `addresses` may be NULL.
 */
size_t addresses_sort(struct addresses *addresses, const struct addrinfo *list, int64_t now_ms,
                      const struct addrinfo **sorted_out, size_t size);

#endif
