#include "admit/submission.h"

#include <string.h>

#include "base/json_write.h"

enum { TAGS_TEXT_MAX = 64 << 10 };

/* As JSON. NULL without memory. */
static const char *write_tags(struct arena *arena, const struct message *message)
{
    CLEANUP(buffer_clear) struct buffer text;
    struct json_writer w;
    buffer_init(&text, TAGS_TEXT_MAX);
    json_writer_init(&w, &text);
    json_begin_array(&w);
    for (size_t i = 0; i < message->n_tags; i++)
        json_put_string(&w, message->tags[i]);
    json_end_array(&w);
    return text.failed ? NULL : arena_strndup(arena, text.data, text.len);
}

static const char *copy_or_null(struct arena *arena, const char *s)
{
    return s != NULL ? arena_strdup(arena, s) : NULL;
}

static enum delivery_priority priority_of(const struct message *message)
{
    switch (message->priority) {
    case MESSAGE_HIGH:
        return PRIORITY_HIGH;
    case MESSAGE_NORMAL:
        return PRIORITY_NORMAL;
    case MESSAGE_LOW:
        return PRIORITY_LOW;
    }
    return PRIORITY_NORMAL;
}

static int64_t lifetime_ms(const struct message *message, int64_t max_age_ms)
{
    return message->ttl_ms > 0 && message->ttl_ms < max_age_ms ? message->ttl_ms : max_age_ms;
}

static const char *const *copy_recipients(struct arena *arena, const struct envelope *envelope)
{
    const char **recipients = arena_alloc_array(arena, envelope->n_to, sizeof(*recipients));
    for (size_t i = 0; recipients != NULL && i < envelope->n_to; i++)
        recipients[i] = arena_strdup(arena, envelope->to[i]);
    return recipients;
}

/* Whatever of it has no memory shows in the arena. */
struct submission *submission_make(const struct submission_parts *parts)
{
    const struct message *message = parts->message;
    const struct config_api_key *key = parts->api_key;
    CLEANUP(bytes_unref) struct bytes *content = TAKE(parts->composed->content);
    CLEANUP(arena_free) struct arena *arena = arena_new();
    struct submission *s = arena != NULL ? arena_alloc(arena, sizeof(*s)) : NULL;
    if (s == NULL)
        return NULL;
    *s = (struct submission){
        .message_id = arena_strdup(arena, parts->composed->message_id),
        .from = arena_strdup(arena, message->from.email),
        .envelope_from = arena_strdup(arena, parts->envelope->from),
        .recipients = copy_recipients(arena, parts->envelope),
        .n_recipients = parts->envelope->n_to,
        .subject = message->subject != NULL ? arena_strdup(arena, message->subject) : "",
        .api_key = key != NULL ? key->name : "", /* the configuration's, for good */
        .tags = write_tags(arena, message),
        .metadata = message->metadata != NULL ? arena_strdup(arena, message->metadata) : "{}",
        .priority = priority_of(message),
        .require_tls = message->require_tls,
        .dsn_notify = message->dsn.notify, /* both are static */
        .dsn_ret = message->dsn.ret,
        .dsn_envid = copy_or_null(arena, message->dsn.envid),
        .smtputf8 = parts->composed->smtputf8,
        .created_ms = parts->now_ms,
        .expires_ms = parts->now_ms + lifetime_ms(message, parts->max_age_ms),
        .idempotency_key = copy_or_null(arena, parts->idempotency_key),
    };
    if (message->relay != NULL)
        s->relay = arena_strdup(arena, message->relay);
    else if (key != NULL)
        s->relay = copy_or_null(arena, key->relay);
    if (s->idempotency_key != NULL)
        memcpy(s->fingerprint, parts->fingerprint, sizeof(s->fingerprint));
    memcpy(s->id, parts->id, sizeof(s->id));
    if (arena_failed(arena) || s->tags == NULL)
        return NULL;
    s->content = TAKE(content);
    s->arena = TAKE(arena);
    return s;
}

bool submission_set_receipt(struct submission *submission, int status, const char *text, size_t len)
{
    submission->answer_status = status;
    if (submission->idempotency_key != NULL)
        submission->answer_body = arena_strndup(submission->arena, text, len);
    return submission->idempotency_key == NULL || submission->answer_body != NULL;
}
