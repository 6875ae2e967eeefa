#include "mail/mail.h"

#include <assert.h>

/* --- its life ----------------------------------------------------------------------------- */

struct mail *mail_new(void)
{
    struct arena *arena = arena_new();
    struct mail *mail = arena != NULL ? arena_alloc(arena, sizeof(*mail)) : NULL;
    if (mail == NULL) {
        arena_free(arena);
        return NULL;
    }
    *mail = (struct mail){.arena = arena,
                          .message_id = "",
                          .sender = "",
                          .from = "",
                          .subject = "",
                          .api_key = "",
                          .tags = "[]",
                          .metadata = "{}",
                          .options = MAIL_OPTIONS_NONE,
                          .flight = -1};
    return mail;
}

void mail_free(struct mail *mail)
{
    if (mail == NULL)
        return;
    bytes_unref(mail->content);
    arena_free(mail->arena); /* which the mail itself is from */
}

void mail_list_free(struct mail *list)
{
    for (struct mail *next; list != NULL; list = next) {
        next = list->next;
        mail_free(list);
    }
}

int mail_reserve_recipients(struct mail *mail, size_t n)
{
    mail->recipients = arena_alloc_array(mail->arena, n, sizeof(*mail->recipients));
    if (mail->recipients == NULL)
        return -1;
    for (size_t i = 0; i < n; i++)
        mail->recipients[i].index = i;
    mail->n_recipients = n;
    return 0;
}

uint64_t mail_cost(const struct mail *mail)
{
    size_t content = mail->content != NULL ? mail->content->len : 0;
    return content + sizeof(*mail) + mail->n_recipients * sizeof(mail->recipients[0]);
}

/* --- its state ---------------------------------------------------------------------------- */

const char *recipient_status_word(enum recipient_status status)
{
    switch (status) {
    case RECIPIENT_QUEUED:
        return "queued";
    case RECIPIENT_SENDING:
        return "sending";
    case RECIPIENT_DEFERRED:
        return "deferred";
    case RECIPIENT_SENT:
        return "sent";
    case RECIPIENT_FAILED:
        return "failed";
    case RECIPIENT_CANCELED:
        return "canceled";
    case RECIPIENT_IN_DOUBT:
        return "in_doubt";
    }
    return "unknown";
}

bool recipient_status_is_final(enum recipient_status status)
{
    return status == RECIPIENT_SENT || status == RECIPIENT_FAILED || status == RECIPIENT_CANCELED;
}

const char *event_type_word(enum event_type type)
{
    switch (type) {
    case EVENT_MESSAGE_QUEUED:
        return "message.queued";
    case EVENT_MESSAGE_DEFERRED:
        return "message.deferred";
    case EVENT_MESSAGE_SENT:
        return "message.sent";
    case EVENT_MESSAGE_FAILED:
        return "message.failed";
    case EVENT_MESSAGE_IN_DOUBT:
        return "message.in_doubt";
    case EVENT_MESSAGE_CANCELED:
        return "message.canceled";
    }
    return "unknown";
}

/* What is still open decides, the most active first; else how it ended. */
const char *mail_status(const struct mail *mail)
{
    static const enum recipient_status open[] = {RECIPIENT_SENDING, RECIPIENT_QUEUED,
                                                 RECIPIENT_IN_DOUBT, RECIPIENT_DEFERRED};
    size_t n[RECIPIENT_SENDING + 1] = {0};
    for (size_t i = 0; i < mail->n_recipients; i++)
        n[mail->recipients[i].status]++;
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (n[open[i]] > 0)
            return recipient_status_word(open[i]);
    if (n[RECIPIENT_SENT] == mail->n_recipients)
        return "sent";
    if (n[RECIPIENT_SENT] > 0)
        return "partial";
    return n[RECIPIENT_FAILED] > 0 ? "failed" : "canceled";
}
