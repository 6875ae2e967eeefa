#include "mail/fields.h"

#include <assert.h>
#include <string.h>

#define AT(member) offsetof(struct mail, member)

/* In the order in which they are shown. */
const struct mail_field MAIL_FIELDS[MAIL_N_FIELDS] = {
    {"id", "id", MAIL_ID, AT(id), true},
    {"message_id", "message_id", MAIL_TEXT, AT(message_id), false},
    {"created_ms", "created_at", MAIL_TIME, AT(created_ms), true},
    {"expires_ms", NULL, MAIL_TIME, AT(expires_ms), true},
    {"sender", NULL, MAIL_TEXT, AT(sender), true},
    {"header_from", "from", MAIL_TEXT, AT(from), true},
    {"subject", "subject", MAIL_TEXT, AT(subject), false},
    {"size", "size", MAIL_INTEGER, AT(size), true},
    {"tags", "tags", MAIL_JSON, AT(tags), true},
    {"metadata", "metadata", MAIL_JSON, AT(metadata), false},
    {"api_key", NULL, MAIL_TEXT, AT(api_key), true},
    {"smtputf8", NULL, MAIL_FLAG, AT(smtputf8), true},
    {"relay", NULL, MAIL_OPTION, AT(options.relay), true},
    {"priority", NULL, MAIL_CHOICE, AT(options.priority), true},
    {"require_tls", NULL, MAIL_FLAG, AT(options.require_tls), true},
    {"dsn_notify", NULL, MAIL_OPTION, AT(options.dsn.notify), true},
    {"dsn_ret", NULL, MAIL_OPTION, AT(options.dsn.ret), true},
    {"dsn_envid", NULL, MAIL_OPTION, AT(options.dsn.envid), true},
};

static const void *at(const struct mail *mail, const struct mail_field *field)
{
    return (const char *)mail + field->offset;
}

const char *mail_field_text(const struct mail *mail, const struct mail_field *field)
{
    assert(mail_field_is_text(field));
    if (field->type == MAIL_ID)
        return at(mail, field);
    const char *text = *(const char *const *)at(mail, field);
    return text != NULL ? text : "";
}

void mail_field_set_text(struct mail *mail, const struct mail_field *field, const char *text)
{
    assert(mail_field_is_text(field));
    if (field->type == MAIL_ID) {
        size_t len = strnlen(text, ID_SIZE - 1);
        char *id = (char *)mail + field->offset;
        memcpy(id, text, len);
        id[len] = '\0';
        return;
    }
    if (field->type == MAIL_OPTION && text[0] == '\0')
        text = NULL;
    *(const char **)((char *)mail + field->offset) = text;
}

int64_t mail_field_number(const struct mail *mail, const struct mail_field *field)
{
    switch (field->type) {
    case MAIL_INTEGER:
    case MAIL_TIME:
        return *(const int64_t *)at(mail, field);
    case MAIL_CHOICE:
        return *(const int *)at(mail, field);
    case MAIL_FLAG:
        return *(const bool *)at(mail, field);
    case MAIL_ID:
    case MAIL_TEXT:
    case MAIL_OPTION:
    case MAIL_JSON:
        break;
    }
    assert(false);
    return 0;
}

void mail_field_set_number(struct mail *mail, const struct mail_field *field, int64_t value)
{
    void *to = (char *)mail + field->offset;
    switch (field->type) {
    case MAIL_INTEGER:
    case MAIL_TIME:
        *(int64_t *)to = value;
        return;
    case MAIL_CHOICE:
        *(int *)to = (int)value;
        return;
    case MAIL_FLAG:
        *(bool *)to = value != 0;
        return;
    case MAIL_ID:
    case MAIL_TEXT:
    case MAIL_OPTION:
    case MAIL_JSON:
        break;
    }
    assert(false);
}
