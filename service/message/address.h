#ifndef POSTERN_MESSAGE_ADDRESS_H
#define POSTERN_MESSAGE_ADDRESS_H

/*
 * Mailboxes (RFC 5322, 3.4; RFC 6531 for UTF-8). One that got past here holds no control character,
 * nothing that cannot be seen, no space outside a quoted local part, no comment, no route, no
 * address literal, and has at most 254 octets (RFC 5321, 4.5.3.1.3): `smtp/` may assert it. How
 * long a local part may be, and whether a quoted one is known, is the relay's to judge.
 *
 * Domains are A-labels everywhere: that is legal with SMTPUTF8 too (RFC 6532, 3), one mailbox has
 * one spelling, and the octets are the same whichever relay takes them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"

struct address {
    const char *name;   /* display name, decoded, UTF-8, not blank; NULL if there is none */
    const char *email;  /* local@domain as it goes into RCPT and headers: the local part as it was
                           given, the domain as A-labels (IDNA 2008), lower-cased */
    const char *local;  /* the part before the '@' of `email` */
    const char *domain; /* A-labels */
    bool utf8_local;    /* the local part is not ASCII: it needs SMTPUTF8 */
};

/*
 * `text` is one mailbox: "a@b", "<a@b>", "Name <a@b>", "\"Na, me\" <a@b>". Encoded words
 * in a name (RFC 2047) are decoded, but in quotes. Strings are the arena's. -1 and ERR_INVALID with
 * a sentence that says what is wrong; ERR_NOMEM.
 */
int address_parse(struct arena *arena, const char *text, size_t len, struct address *out,
                  struct error *err);

/* The same for {name, email}; `name` may be NULL. `email` is a bare local@domain. */
int address_from_parts(struct arena *arena, const char *name, size_t name_len, const char *email,
                       size_t email_len, struct address *out, struct error *err);

struct address_list {
    struct address *items;
    size_t n_items;
};

/* Mailboxes divided by commas, as a header field has them; empty ones are passed over. Else as
 * address_parse(). */
int address_list_parse(struct arena *arena, const char *text, size_t len, struct address_list *out,
                       struct error *err);

/* An order in which the same mailboxes are equal (0): domains without case, local parts with it
 * (RFC 5321, 2.4). */
int address_order(const struct address *a, const struct address *b);
typedef int address_order_fn(const struct address *a, const struct address *b);

/* Of `items`, keep each mailbox once, where it stands first, in their order. Costs n log n
 * comparisons by `order`. Returns how many are left, or -1 without memory. */
long address_distinct(struct arena *arena, const struct address **items, size_t n,
                      address_order_fn *order);

/* Does `address` fit an allow-list entry: "*@example.com", "a@example.com", "*"? */
bool address_matches(const char *email, const char *pattern);

#endif
