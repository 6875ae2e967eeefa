#include "queue/record.h"

#include "base/arena.h"

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
const char *message_record_status(const struct message_record *record)
{
    static const enum recipient_status open[] = {RECIPIENT_SENDING, RECIPIENT_QUEUED,
                                                 RECIPIENT_IN_DOUBT, RECIPIENT_DEFERRED};
    size_t n[RECIPIENT_SENDING + 1] = {0};
    for (size_t i = 0; i < record->n_recipients; i++)
        n[record->recipients[i].status]++;
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (n[open[i]] > 0)
            return recipient_status_word(open[i]);
    if (n[RECIPIENT_SENT] == record->n_recipients)
        return "sent";
    if (n[RECIPIENT_SENT] > 0)
        return "partial";
    return n[RECIPIENT_FAILED] > 0 ? "failed" : "canceled";
}

void message_record_free(struct message_record *record)
{
    if (record != NULL)
        arena_free(record->arena); /* which the record itself is from */
}
