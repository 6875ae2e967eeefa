#ifndef POSTERN_MESSAGE_ADDRESS_H
#define POSTERN_MESSAGE_ADDRESS_H

/*
 * Mailboxes (RFC 5322, 3.4; RFC 6531 for UTF-8; limits of RFC 5321, 4.5.3.1). One that got past
 * here holds no control character, no space outside a quoted local part, no comment, no route, no
 * address literal: `smtp/` may assert it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"

struct address {
    const char *name;  /* display name, decoded, UTF-8; NULL if there is none */
    const char *email; /* local@domain as it goes into RCPT and headers: the local part quoted if it
                          must be, the domain as A-labels (IDNA 2008), lower-cased */
    const char *local; /* the part before the '@' of `email` */
    const char *domain; /* A-labels */
    bool utf8_local;    /* the local part is not ASCII: it needs SMTPUTF8 */
};

/*
 * `text` is one mailbox: "a@b", "<a@b>", "Name <a@b>", "\"Na, me\" <a@b>". Strings are the arena's.
 * -1 and ERR_INVALID with a sentence that says what is wrong; ERR_NOMEM.
 */
int address_parse(struct arena *arena, const char *text, size_t len, struct address *out,
                  struct error *err);

/* The same for {name, email}; `name` may be NULL. `email` is a bare local@domain. */
int address_from_parts(struct arena *arena, const char *name, size_t name_len, const char *email,
                       size_t email_len, struct address *out, struct error *err);

/* Do they name one mailbox? Domains without case, local parts with it (RFC 5321, 2.4). */
bool address_same(const struct address *a, const struct address *b);

/* Does `address` fit an allow-list entry: "*@example.com", "a@example.com", "*"? */
bool address_matches(const char *email, const char *pattern);

#endif
