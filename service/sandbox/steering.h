#ifndef POSTERN_SANDBOX_STEERING_H
#define POSTERN_SANDBOX_STEERING_H

/*
 * What the sandbox does with a mail, by its recipients at sandbox.test (any case; every other
 * address is accepted):
 *
 *   ok@         accepted
 *   bounce@     550 5.1.1 to RCPT, always
 *   throttle@   432 4.3.2 to RCPT, always
 *   defer@      451 4.3.0 to the content, the first two times that this message comes; then 250
 *   slow@       5 s pass before the reply to the content
 *   drop@       the first time that this message comes it is kept, and the connection closed
 *               without a reply. A retry is accepted, and kept too: so one sees how a delivery in
 *               doubt ends, and what a duplicate is
 *
 * defer, slow and drop concern the content, so with it every recipient of that transaction. A
 * message is known by its Message-ID, without one by its content. What is remembered is bounded:
 * a message that so many others came after begins anew.
 */

#include <stddef.h>
#include <stdint.h>

#include "sandbox/receiver.h"

enum { STEERING_SLOW_MS = 5000, STEERING_DEFERS = 2, STEERING_REMEMBERED = 4096 };

struct steering; /* not thread-safe */

struct steering *steering_new(void); /* NULL without memory */
void steering_free(struct steering *steering);

/* The reply to RCPT, static; NULL: accepted. */
const char *steering_on_recipient(const char *address);

struct steering_verdict {
    struct receiver_verdict receiver;
    bool keep;
};

struct steering_verdict steering_on_mail(struct steering *steering,
                                         const struct receiver_mail *mail);

#endif
