#include "admit/make.h"

#include <string.h>

#include "base/json_write.h"

enum { TAGS_TEXT_MAX = 64 << 10 };

/* As JSON. NULL without memory. */
static const char *write_tags(struct arena *arena, const struct message *message)
{
    if (message->n_tags == 0)
        return "[]";
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

static int64_t lifetime_ms(const struct message *message, int64_t max_age_ms)
{
    return message->ttl_ms > 0 && message->ttl_ms < max_age_ms ? message->ttl_ms : max_age_ms;
}

static struct mail_options copy_options(struct arena *arena, const struct message *message,
                                        const struct config_api_key *key)
{
    struct mail_options options = message->options; /* notify and ret are static */
    if (options.relay == NULL && key != NULL)
        options.relay = key->relay;
    options.relay = copy_or_null(arena, options.relay);
    options.dsn.envid = copy_or_null(arena, options.dsn.envid);
    return options;
}

static int copy_recipients(struct mail *mail, const struct envelope *envelope)
{
    if (mail_reserve_recipients(mail, envelope->n_to) < 0)
        return -1;
    for (size_t i = 0; i < envelope->n_to; i++) {
        mail->recipients[i].address = arena_strdup(mail->arena, envelope->to[i]);
        mail->recipients[i].at_ms = mail->created_ms;
    }
    return 0;
}

/* Whatever of it has no memory shows in the arena. */
struct mail *mail_make(const struct mail_parts *parts)
{
    const struct message *message = parts->message;
    const struct config_api_key *key = parts->api_key;
    CLEANUP(bytes_unref) struct bytes *content = TAKE(parts->composed->content);
    CLEANUP(mail_free) struct mail *mail = mail_new();
    if (mail == NULL)
        return NULL;
    struct arena *arena = mail->arena;
    memcpy(mail->id, parts->id, sizeof(mail->id));
    mail->message_id = arena_strdup(arena, parts->composed->message_id);
    mail->sender = arena_strdup(arena, parts->envelope->from);
    mail->from = arena_strdup(arena, message->from.email);
    if (message->subject != NULL)
        mail->subject = arena_strdup(arena, message->subject);
    if (key != NULL)
        mail->api_key = key->name; /* the configuration's, for good */
    mail->tags = write_tags(arena, message);
    if (message->metadata != NULL)
        mail->metadata = arena_strdup(arena, message->metadata);
    mail->smtputf8 = parts->composed->smtputf8;
    mail->options = copy_options(arena, message, key);
    mail->created_ms = parts->now_ms;
    mail->expires_ms = parts->now_ms + lifetime_ms(message, parts->max_age_ms);
    if (copy_recipients(mail, parts->envelope) < 0 || arena_failed(arena) || mail->tags == NULL)
        return NULL;
    mail->size = (int64_t)content->len;
    mail->content = TAKE(content);
    return TAKE(mail);
}
