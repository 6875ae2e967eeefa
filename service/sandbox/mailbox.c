#include "sandbox/mailbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"

struct mailbox {
    size_t max_messages;
    uint64_t max_bytes;
    struct lock lock;   /* guards all below; nothing is taken under it */
    struct mail **ring; /* of max_messages; owned references */
    size_t first, n;    /* the oldest is at `first` */
    uint64_t bytes;     /* of contents and addresses */
};

static void mail_ref(struct mail *mail)
{
    atomic_fetch_add_explicit(&mail->refs, 1, memory_order_relaxed);
}

void mail_unref(struct mail *mail)
{
    if (mail == NULL || atomic_fetch_sub_explicit(&mail->refs, 1, memory_order_acq_rel) != 1)
        return;
    bytes_unref(mail->content);
    free(mail);
}

static struct mail *mail_new(const char *from, const char *const *to, size_t n_to,
                             struct bytes *content)
{
    size_t size = strlen(from) + 1;
    for (size_t i = 0; i < n_to; i++)
        size += strlen(to[i]) + 1;
    struct mail *mail = malloc(sizeof(*mail) + size);
    if (mail == NULL)
        return NULL;
    *mail = (struct mail){.at_ms = clock_wall_ms(), .content = bytes_ref(content), .n_to = n_to};
    atomic_init(&mail->refs, 1);
    id_new(mail->at_ms, mail->id);
    mail->from = mail->addresses;
    char *at = stpcpy(mail->addresses, from) + 1;
    for (size_t i = 0; i < n_to; i++)
        at = stpcpy(at, to[i]) + 1;
    return mail;
}

struct mailbox *mailbox_new(size_t max_messages, uint64_t max_bytes)
{
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
    if (mailbox == NULL)
        return NULL;
    mailbox->max_messages = max_messages > 0 ? max_messages : 1;
    mailbox->max_bytes = max_bytes;
    mailbox->ring = calloc(mailbox->max_messages, sizeof(struct mail *));
    if (mailbox->ring == NULL) {
        free(mailbox);
        return NULL;
    }
    lock_init(&mailbox->lock);
    return mailbox;
}

void mailbox_free(struct mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    mailbox_clear(mailbox);
    lock_clear(&mailbox->lock);
    free(mailbox->ring);
    free(mailbox);
}

/* With the lock held; the caller unrefs what it returns. */
static struct mail *take_oldest(struct mailbox *mailbox)
{
    assert(lock_held_by_me(&mailbox->lock));
    struct mail *mail = mailbox->ring[mailbox->first];
    mailbox->first = (mailbox->first + 1) % mailbox->max_messages;
    mailbox->n--;
    mailbox->bytes -= mail->content->len;
    return mail;
}

/* With the lock held. */
static struct mail *newest(const struct mailbox *mailbox, size_t i)
{
    assert(lock_held_by_me(&mailbox->lock));
    return mailbox->ring[(mailbox->first + mailbox->n - 1 - i) % mailbox->max_messages];
}

int mailbox_put(struct mailbox *mailbox, const char *from, const char *const *to, size_t n_to,
                struct bytes *content)
{
    struct mail *mail = mail_new(from, to, n_to, content);
    if (mail == NULL)
        return -1;
    lock_take(&mailbox->lock);
    while (mailbox->n > 0 && (mailbox->n == mailbox->max_messages ||
                              mailbox->bytes + content->len > mailbox->max_bytes))
        mail_unref(take_oldest(mailbox));
    mailbox->ring[(mailbox->first + mailbox->n) % mailbox->max_messages] = mail;
    mailbox->n++;
    mailbox->bytes += content->len;
    lock_drop(&mailbox->lock);
    return 0;
}

struct mail *mailbox_find(struct mailbox *mailbox, const char *id)
{
    struct mail *found = NULL;
    lock_take(&mailbox->lock);
    for (size_t i = 0; i < mailbox->n && found == NULL; i++)
        if (strcmp(newest(mailbox, i)->id, id) == 0)
            found = newest(mailbox, i);
    if (found != NULL)
        mail_ref(found);
    lock_drop(&mailbox->lock);
    return found;
}

struct mail **mailbox_all(struct mailbox *mailbox, size_t *n_out)
{
    lock_take(&mailbox->lock);
    struct mail **all = calloc(mailbox->n + 1, sizeof(struct mail *));
    for (size_t i = 0; all != NULL && i < mailbox->n; i++) {
        all[i] = newest(mailbox, i);
        mail_ref(all[i]);
    }
    *n_out = mailbox->n;
    lock_drop(&mailbox->lock);
    return all;
}

size_t mailbox_clear(struct mailbox *mailbox)
{
    lock_take(&mailbox->lock);
    size_t n = mailbox->n;
    while (mailbox->n > 0)
        mail_unref(take_oldest(mailbox));
    lock_drop(&mailbox->lock);
    return n;
}
