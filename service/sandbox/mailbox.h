#ifndef POSTERN_SANDBOX_MAILBOX_H
#define POSTERN_SANDBOX_MAILBOX_H

/*
 * What the sandbox received: the newest so many messages and octets. One thread puts in, any may
 * look; what is looked at is taken out of the lock as a reference, so that reading a large message
 * holds up nobody.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/id.h"

struct mail { /* immutable once put in; counted */
    atomic_uint refs;
    char id[ID_SIZE];
    int64_t at_ms; /* wall clock */
    struct bytes *content;
    size_t n_to;
    const char *from; /* within `addresses` */
    char addresses[]; /* the sender, then the recipients, each NUL-terminated */
};

void mail_unref(struct mail *mail); /* NULL is fine */
DEFINE_CLEANUP(struct mail *, mail_unref)

struct mailbox;

struct mailbox *mailbox_new(size_t max_messages, uint64_t max_bytes); /* NULL without memory */
void mailbox_free(struct mailbox *mailbox);                           /* NULL is fine */

/* Keeps it, and forgets the oldest as need be; the newest stays, whatever its size. Takes a
 * reference of the content. -1 without memory. */
int mailbox_put(struct mailbox *mailbox, const char *from, const char *const *to, size_t n_to,
                struct bytes *content);

struct mail *mailbox_find(struct mailbox *mailbox, const char *id); /* a reference; NULL: none */
/* References to all, newest first: the caller unrefs each and frees the array. NULL without memory;
 * none are an empty array. */
struct mail **mailbox_all(struct mailbox *mailbox, size_t *n_out);
size_t mailbox_clear(struct mailbox *mailbox); /* how many there were */

#endif
