#ifndef POSTERN_QUEUE_RECORD_H
#define POSTERN_QUEUE_RECORD_H

/* What is known of a message and its recipients: what the API shows. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/id.h"
#include "message/reply.h"

/* As they are stored: those that are open come before those that are final, so that the store asks
 * for them by one comparison. */
enum recipient_status {
    RECIPIENT_QUEUED,
    RECIPIENT_IN_DOUBT,
    RECIPIENT_DEFERRED,
    RECIPIENT_SENT, /* the first that is final */
    RECIPIENT_FAILED,
    RECIPIENT_CANCELED,
    RECIPIENT_SENDING, /* shown, never stored: a session has it now */
};

const char *recipient_status_word(enum recipient_status status);
bool recipient_status_is_final(enum recipient_status status); /* sent, failed, canceled */

struct recipient_record {
    const char *address;
    enum recipient_status status;
    uint32_t attempts;
    const char *relay; /* NULL: none tried yet */
    struct reply_record reply;
    int64_t next_attempt_ms; /* wall clock; 0: none */
    int64_t at_ms;           /* of the last change */
};

enum event_type {
    EVENT_MESSAGE_QUEUED,
    EVENT_MESSAGE_DEFERRED,
    EVENT_MESSAGE_SENT,
    EVENT_MESSAGE_FAILED,
    EVENT_MESSAGE_IN_DOUBT,
    EVENT_MESSAGE_CANCELED,
};

const char *event_type_word(enum event_type type); /* "message.queued" */

struct event_record {
    int64_t id; /* shown as evt_ and the number: one order for all messages */
    enum event_type type;
    int64_t at_ms;
    size_t recipient; /* index into the record's recipients */
    struct reply_record reply;
};

struct message_record {
    int64_t seq;      /* the store's key; not shown */
    char id[ID_SIZE]; /* shown as msg_ and the ULID */
    const char *message_id;
    const char *from; /* the header's From, address only */
    const char *subject;
    const char *api_key;  /* name of the key it came with; "" for none */
    const char *tags;     /* JSON array, as text */
    const char *metadata; /* JSON object, as text */
    size_t size;          /* of the content, octets */
    int64_t created_ms;
    struct recipient_record *recipients;
    size_t n_recipients;
    struct event_record *events; /* in order */
    size_t n_events;
    struct arena *arena; /* owns all of the above */
};

/* "queued", "sending", "deferred", "sent", "failed", "canceled", "in_doubt" or "partial". */
const char *message_record_status(const struct message_record *record);
void message_record_free(struct message_record *record);
DEFINE_CLEANUP(struct message_record *, message_record_free)

#endif
