#include "api/decode.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json_write.h"
#include "base/nearest.h"
#include "config/units.h"
#include "message/header.h"
#include "message/text.h"

enum {
    LIST_MAX = 1000,
    HEADERS_MAX = 100,
    TAGS_MAX = 20,
    TAG_MAX = 128,
    METADATA_MAX = 50,
    METADATA_VALUE_MAX = 1024,
    /* each octet may need an escape of six */
    METADATA_TEXT_MAX = METADATA_MAX * (6 * 2 * METADATA_VALUE_MAX + sizeof("\"\":\"\",")) + 3,
    ENVID_MAX = 100, /* octets on the wire: RFC 3461, 4.4 */
    POINTER_SIZE = sizeof(((struct error *)NULL)->where),
};

struct decoding {
    struct arena *arena;
    struct error_list *errors;
    bool no_memory;
};

typedef void decode_fn(struct decoding *d, const struct json_value *value, const char *where,
                       void *out);

/* A field of an object in JSON, and where it goes in a struct. */
struct field {
    const char *name;
    decode_fn *decode; /* NULL: comes with a later version */
    size_t offset;
};

/* --- objects ------------------------------------------------------------------------------ */

/* `parent`/`key` (RFC 6901, 3). Cut where it is too long, but never inside an escape. */
static void point_to(char out[POINTER_SIZE], const char *parent, const char *key)
{
    size_t n = (size_t)snprintf(out, POINTER_SIZE, "%s/", parent);
    for (; *key != '\0' && n + 2 < POINTER_SIZE; key++) {
        if (*key == '~' || *key == '/') {
            out[n++] = '~';
            out[n++] = *key == '~' ? '0' : '1';
        } else {
            out[n++] = *key;
        }
    }
    if (n < POINTER_SIZE)
        out[n] = '\0';
}

/* `parent`/`index` */
static void point_at(char out[POINTER_SIZE], const char *parent, size_t index)
{
    snprintf(out, POINTER_SIZE, "%s/%zu", parent, index);
}

static void tell_unknown(struct decoding *d, const char *where, const char *key,
                         const struct field *fields, size_t n_fields)
{
    struct nearest nearest;
    if (d->errors->n_items == ERROR_LIST_MAX) { /* counted only: not worth a search */
        error_list_add(d->errors, where, "unknown");
        return;
    }
    nearest_init(&nearest, key);
    for (size_t i = 0; i < n_fields; i++)
        nearest_offer(&nearest, fields[i].name);
    if (nearest.word != NULL)
        error_list_add(d->errors, where, "is not a field here; did you mean %s?", nearest.word);
    else
        error_list_add(d->errors, where, "is not a field here");
}

static void decode_field(struct decoding *d, const char *where, const struct json_value *member,
                         const struct field *fields, size_t n_fields, void *out)
{
    size_t i = 0;
    while (i < n_fields && strcmp(fields[i].name, member->key) != 0)
        i++;
    if (i == n_fields)
        tell_unknown(d, where, member->key, fields, n_fields);
    else if (fields[i].decode == NULL)
        error_list_add(d->errors, where, "is not supported yet in this version");
    else
        fields[i].decode(d, member, where, (char *)out + fields[i].offset);
}

/* Every field of `object` to its place in `out`. null is the same as absent. */
static void decode_object(struct decoding *d, const struct json_value *object, const char *where,
                          const struct field *fields, size_t n_fields, void *out)
{
    for (const struct json_value *m = object->first; m != NULL; m = m->next) {
        char pointer[POINTER_SIZE];
        if (m->kind == JSON_KIND_NULL)
            continue;
        point_to(pointer, where, m->key);
        decode_field(d, pointer, m, fields, n_fields, out);
    }
}

static bool is_given(const struct json_value *object, const char *name)
{
    const struct json_value *value = json_member(object, name);
    return value != NULL && value->kind != JSON_KIND_NULL &&
           !(value->kind == JSON_KIND_ARRAY && value->n == 0);
}

/* An array for the arena; NULL is remembered. */
static void *new_array(struct decoding *d, size_t n, size_t size)
{
    void *items = arena_alloc_array(d->arena, n + 1, size);
    if (items == NULL)
        d->no_memory = true;
    return items;
}

/* --- strings ------------------------------------------------------------------------------ */

/* "" for what is none. */
static const char *string_or_empty(const struct json_value *value)
{
    return value->kind == JSON_KIND_STRING ? value->text : "";
}

/* A string that becomes part of a header: const char *. */
static void decode_header_text(struct decoding *d, const struct json_value *value,
                               const char *where, void *out)
{
    const char *fault = "a string is wanted";
    if (value->kind == JSON_KIND_STRING)
        fault = text_header_fault(value->text, value->len);
    if (fault != NULL)
        error_list_add(d->errors, where, "%s", fault);
    else
        *(const char **)out = value->text;
}

/* Any string: struct text. */
static void decode_text(struct decoding *d, const struct json_value *value, const char *where,
                        void *out)
{
    if (value->kind != JSON_KIND_STRING)
        error_list_add(d->errors, where, "a string is wanted");
    else
        *(struct text *)out = (struct text){value->text, value->len};
}

struct strings {
    const char **items; /* "" where there was a fault */
    size_t n_items;
};

static struct strings decode_strings(struct decoding *d, const struct json_value *value,
                                     const char *where, size_t n_max, size_t len_max)
{
    struct strings list = {0};
    if (value->kind != JSON_KIND_ARRAY || value->n > n_max) {
        error_list_add(d->errors, where, "a list of at most %zu strings is wanted", n_max);
        return list;
    }
    list.items = new_array(d, value->n, sizeof(*list.items));
    if (list.items == NULL)
        return list;
    for (const struct json_value *item = value->first; item != NULL; item = item->next) {
        char pointer[POINTER_SIZE];
        size_t i = list.n_items++;
        point_at(pointer, where, i);
        list.items[i] = "";
        if (item->kind == JSON_KIND_STRING && item->len > len_max)
            error_list_add(d->errors, pointer, "has at most %zu octets", len_max);
        else
            decode_header_text(d, item, pointer, &list.items[i]);
    }
    return list;
}

/* --- addresses ---------------------------------------------------------------------------- */

struct address_parts {
    struct text name, email;
};

static const struct field address_fields[] = {
    {"name", decode_text, offsetof(struct address_parts, name)},
    {"email", decode_text, offsetof(struct address_parts, email)},
};

static void take_fault(struct decoding *d, int rc, const char *where, const struct error *err)
{
    if (rc < 0 && err->code == ERR_NOMEM)
        d->no_memory = true;
    else if (rc < 0)
        error_list_add(d->errors, where, "%s", err->detail);
}

static void decode_address(struct decoding *d, const struct json_value *value, const char *where,
                           void *out)
{
    struct error err;
    if (value->kind == JSON_KIND_STRING) {
        int rc = address_parse(d->arena, value->text, value->len, out, &err);
        take_fault(d, rc, where, &err);
        return;
    }
    if (value->kind != JSON_KIND_OBJECT) {
        error_list_add(d->errors, where, "an address is wanted: a string or {name, email}");
        return;
    }
    struct address_parts parts = {0};
    size_t n_faults = d->errors->n_total;
    decode_object(d, value, where, address_fields, 2, &parts);
    if (d->errors->n_total > n_faults)
        return;
    if (parts.email.data == NULL) {
        error_list_add(d->errors, where, "an address has an email");
        return;
    }
    int rc = address_from_parts(d->arena, parts.name.data, parts.name.len, parts.email.data,
                                parts.email.len, out, &err);
    take_fault(d, rc, where, &err);
}

/* A list, or one that stands for a list of one. */
static void decode_addresses(struct decoding *d, const struct json_value *value, const char *where,
                             void *out)
{
    struct address_list *list = out;
    bool one = value->kind != JSON_KIND_ARRAY;
    if (!one && value->n > LIST_MAX) {
        error_list_add(d->errors, where, "has more than %d addresses", LIST_MAX);
        return;
    }
    list->items = new_array(d, one ? 1 : value->n, sizeof(*list->items));
    if (list->items == NULL)
        return;
    if (one)
        decode_address(d, value, where, &list->items[list->n_items++]);
    for (const struct json_value *item = value->first; !one && item != NULL; item = item->next) {
        char pointer[POINTER_SIZE];
        point_at(pointer, where, list->n_items);
        decode_address(d, item, pointer, &list->items[list->n_items++]);
    }
}

static void decode_sender(struct decoding *d, const struct json_value *value, const char *where,
                          void *out)
{
    struct address *sender = new_array(d, 1, sizeof(*sender));
    if (sender == NULL)
        return;
    decode_address(d, value, where, sender);
    *(const struct address **)out = sender;
}

/* --- the rest ----------------------------------------------------------------------------- */

static void decode_envelope_from(struct decoding *d, const struct json_value *value,
                                 const char *where, void *out)
{
    struct address from = {0};
    if (value->kind == JSON_KIND_STRING && value->len == 0) {
        *(const char **)out = ""; /* the null sender */
        return;
    }
    decode_address(d, value, where, &from);
    *(const char **)out = from.email;
}

static const struct field envelope_fields[] = {
    {"from", decode_envelope_from, offsetof(struct message, envelope_from)},
    {"to", decode_addresses, offsetof(struct message, envelope_to)},
};

static void decode_envelope(struct decoding *d, const struct json_value *value, const char *where,
                            void *out)
{
    if (value->kind == JSON_KIND_OBJECT)
        decode_object(d, value, where, envelope_fields, 2, out);
    else
        error_list_add(d->errors, where, "an object with from and to is wanted");
}

static void decode_references(struct decoding *d, const struct json_value *value, const char *where,
                              void *out)
{
    struct message *message = out;
    struct strings list = decode_strings(d, value, where, MESSAGE_REFERENCES_MAX, SIZE_MAX);
    message->references = list.items;
    message->n_references = list.n_items;
}

static void decode_tags(struct decoding *d, const struct json_value *value, const char *where,
                        void *out)
{
    struct message *message = out;
    struct strings list = decode_strings(d, value, where, TAGS_MAX, TAG_MAX);
    message->tags = list.items;
    message->n_tags = list.n_items;
}

static void decode_metadata_item(struct decoding *d, const struct json_value *item,
                                 const char *where)
{
    char pointer[POINTER_SIZE];
    point_to(pointer, where, item->key);
    if (item->kind != JSON_KIND_STRING || item->len > METADATA_VALUE_MAX ||
        strlen(item->key) > METADATA_VALUE_MAX)
        error_list_add(d->errors, pointer, "a string of at most %d octets is wanted",
                       METADATA_VALUE_MAX);
    else if (memchr(item->text, '\0', item->len) != NULL)
        error_list_add(d->errors, pointer, "holds a NUL");
}

/* JSON text: it is given back as it is, and never looked into. */
static void decode_metadata(struct decoding *d, const struct json_value *value, const char *where,
                            void *out)
{
    CLEANUP(buffer_clear) struct buffer text;
    struct json_writer w;
    buffer_init(&text, METADATA_TEXT_MAX);
    json_writer_init(&w, &text);
    if (value->kind != JSON_KIND_OBJECT || value->n > METADATA_MAX) {
        error_list_add(d->errors, where, "an object of at most %d strings is wanted", METADATA_MAX);
        return;
    }
    json_begin_object(&w);
    for (const struct json_value *item = value->first; item != NULL; item = item->next) {
        size_t n_faults = d->errors->n_total;
        decode_metadata_item(d, item, where);
        if (d->errors->n_total == n_faults) {
            json_key(&w, item->key);
            json_put_stringn(&w, item->text, item->len);
        }
    }
    json_end_object(&w);
    const char *copy = text.failed ? NULL : arena_strndup(d->arena, text.data, text.len);
    d->no_memory = d->no_memory || copy == NULL;
    *(const char **)out = copy;
}

static void decode_header(struct decoding *d, const struct json_value *value, const char *where,
                          const char *name, struct message *message)
{
    const char *text = NULL;
    struct error err;
    decode_header_text(d, value, where, &text);
    if (text == NULL)
        return;
    int rc = header_field_set(d->arena, name, text, &message->headers[message->n_headers], &err);
    if (rc == 0)
        message->n_headers++;
    else
        take_fault(d, rc, where, &err);
}

/* A header's value is a string, or a list of them for a field that stands several times. */
static void decode_header_values(struct decoding *d, const struct json_value *value,
                                 const char *where, const char *name, struct message *message)
{
    if (value->kind != JSON_KIND_ARRAY) {
        decode_header(d, value, where, name, message);
        return;
    }
    size_t i = 0;
    for (const struct json_value *item = value->first; item != NULL; item = item->next) {
        char index[24], pointer[POINTER_SIZE];
        snprintf(index, sizeof(index), "%zu", i++);
        point_to(pointer, where, index);
        decode_header(d, item, pointer, name, message);
    }
}

static size_t count_values(const struct json_value *headers)
{
    size_t n = 0;
    for (const struct json_value *m = headers->first; m != NULL; m = m->next)
        n += m->kind == JSON_KIND_ARRAY ? m->n : 1;
    return n;
}

/* Does a name before this one differ only by case? Headers are few. */
static bool is_header_twice(const struct json_value *headers, const struct json_value *header)
{
    for (const struct json_value *m = headers->first; m != header; m = m->next)
        if (strcasecmp(m->key, header->key) == 0)
            return true;
    return false;
}

static void decode_headers(struct decoding *d, const struct json_value *value, const char *where,
                           void *out)
{
    struct message *message = out;
    size_t n = value->kind == JSON_KIND_OBJECT ? count_values(value) : 0;
    if (value->kind != JSON_KIND_OBJECT || n > HEADERS_MAX || value->n > HEADERS_MAX) {
        error_list_add(d->errors, where, "an object of at most %d headers is wanted", HEADERS_MAX);
        return;
    }
    message->headers = new_array(d, n, sizeof(*message->headers));
    if (message->headers == NULL)
        return;
    for (const struct json_value *m = value->first; m != NULL; m = m->next) {
        char pointer[POINTER_SIZE];
        const char *fault = header_name_fault(m->key);
        point_to(pointer, where, m->key);
        if (fault == NULL && is_header_twice(value, m))
            fault = "stands here twice, in another case: give its values as a list";
        if (fault != NULL)
            error_list_add(d->errors, pointer, "%s", fault);
        else if (m->kind != JSON_KIND_NULL)
            decode_header_values(d, m, pointer, m->key, message);
    }
}

static void decode_disposition(struct decoding *d, const struct json_value *value,
                               const char *where, void *out)
{
    struct attachment *attachment = out;
    const char *word = string_or_empty(value);
    attachment->is_inline = strcmp(word, "inline") == 0;
    if (!attachment->is_inline && strcmp(word, "attachment") != 0)
        error_list_add(d->errors, where, "is attachment or inline");
}

static void decode_content(struct decoding *d, const struct json_value *value, const char *where,
                           void *out)
{
    struct attachment *attachment = out;
    attachment->base64 = string_or_empty(value);
    attachment->base64_len = value->kind == JSON_KIND_STRING ? value->len : 0;
    if (value->kind != JSON_KIND_STRING)
        error_list_add(d->errors, where, "a string of base64 is wanted");
}

static const struct field attachment_fields[] = {
    {"filename", decode_header_text, offsetof(struct attachment, filename)},
    {"content", decode_content, 0},
    {"content_type", decode_header_text, offsetof(struct attachment, content_type)},
    {"disposition", decode_disposition, 0},
    {"content_id", decode_header_text, offsetof(struct attachment, content_id)},
};

static void decode_attachment(struct decoding *d, const struct json_value *value, const char *where,
                              struct attachment *out)
{
    char pointer[POINTER_SIZE];
    *out = (struct attachment){0};
    if (value->kind != JSON_KIND_OBJECT) {
        error_list_add(d->errors, where, "an object is wanted");
        return;
    }
    decode_object(d, value, where, attachment_fields,
                  sizeof(attachment_fields) / sizeof(attachment_fields[0]), out);
    /* What has an id is meant to be shown where the HTML names it. */
    if (!is_given(value, "disposition"))
        out->is_inline = out->content_id != NULL;
    if (out->base64 == NULL) {
        point_to(pointer, where, "content");
        error_list_add(d->errors, pointer, "is missing");
    }
}

static void decode_attachments(struct decoding *d, const struct json_value *value,
                               const char *where, void *out)
{
    struct message *message = out;
    if (value->kind != JSON_KIND_ARRAY || value->n > LIST_MAX) {
        error_list_add(d->errors, where, "a list of at most %d attachments is wanted", LIST_MAX);
        return;
    }
    message->attachments = new_array(d, value->n, sizeof(*message->attachments));
    if (message->attachments == NULL)
        return;
    for (const struct json_value *item = value->first; item != NULL; item = item->next) {
        char pointer[POINTER_SIZE];
        point_at(pointer, where, message->n_attachments);
        decode_attachment(d, item, pointer, &message->attachments[message->n_attachments++]);
    }
}

/* --- how it is to be delivered ------------------------------------------------------------ */

static void decode_bool(struct decoding *d, const struct json_value *value, const char *where,
                        void *out)
{
    *(bool *)out = value->kind == JSON_KIND_TRUE;
    if (value->kind != JSON_KIND_TRUE && value->kind != JSON_KIND_FALSE)
        error_list_add(d->errors, where, "is true or false");
}

/* Milliseconds: int64_t. */
static void decode_duration(struct decoding *d, const struct json_value *value, const char *where,
                            void *out)
{
    const char *text = string_or_empty(value);
    int64_t ms = 0;
    if (units_duration_ms(text, &ms) < 0 || ms == 0)
        error_list_add(d->errors, where, "a duration is wanted: \"30m\", \"24h\"");
    else
        *(int64_t *)out = ms;
}

/* Which of the words it is; -1: none, and that was told. */
static int decode_word(struct decoding *d, const struct json_value *value, const char *where,
                       const char *const *words, size_t n_words, const char *wanted)
{
    const char *word = string_or_empty(value);
    for (size_t i = 0; i < n_words; i++)
        if (strcmp(word, words[i]) == 0)
            return (int)i;
    return error_list_add(d->errors, where, "is %s", wanted);
}

static void decode_priority(struct decoding *d, const struct json_value *value, const char *where,
                            void *out)
{
    static const char *const words[] = {
        [PRIORITY_HIGH] = "high", [PRIORITY_NORMAL] = "normal", [PRIORITY_LOW] = "low"};
    int word = decode_word(d, value, where, words, 3, "high, normal or low");
    if (word >= 0)
        *(enum mail_priority *)out = (enum mail_priority)word;
}

enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

/* By the set of NOTIFY_...; NULL: NEVER does not go with others (RFC 3461, 4.1). */
static const char *const notify_values[16] = {
    [NOTIFY_NEVER] = "NEVER",
    [NOTIFY_SUCCESS] = "SUCCESS",
    [NOTIFY_FAILURE] = "FAILURE",
    [NOTIFY_SUCCESS | NOTIFY_FAILURE] = "SUCCESS,FAILURE",
    [NOTIFY_DELAY] = "DELAY",
    [NOTIFY_SUCCESS | NOTIFY_DELAY] = "SUCCESS,DELAY",
    [NOTIFY_FAILURE | NOTIFY_DELAY] = "FAILURE,DELAY",
    [NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY] = "SUCCESS,FAILURE,DELAY",
};

static void decode_notify(struct decoding *d, const struct json_value *value, const char *where,
                          void *out)
{
    static const char *const words[] = {"never", "success", "failure", "delay"};
    static const char wanted[] = "a list of failure, delay and success, or of never alone";
    unsigned set = 0;
    size_t i = 0;
    bool is_list = value->kind == JSON_KIND_ARRAY, good = is_list;
    for (const struct json_value *item = value->first; is_list && item != NULL; item = item->next) {
        char pointer[POINTER_SIZE];
        point_at(pointer, where, i++);
        int word = decode_word(d, item, pointer, words, 4, "failure, delay, success or never");
        good = good && word >= 0;
        set |= word >= 0 ? 1U << word : 0;
    }
    const char *notify = notify_values[set];
    if (notify != NULL && good)
        *(const char **)out = notify;
    else if (notify == NULL && (good || !is_list))
        error_list_add(d->errors, where, "is %s", wanted);
}

static void decode_ret(struct decoding *d, const struct json_value *value, const char *where,
                       void *out)
{
    static const char *const words[] = {"headers", "full"};
    static const char *const values[] = {"HDRS", "FULL"};
    int word = decode_word(d, value, where, words, 2, "headers or full");
    if (word >= 0)
        *(const char **)out = values[word];
}

static void decode_envid(struct decoding *d, const struct json_value *value, const char *where,
                         void *out)
{
    const char *envid = string_or_empty(value);
    size_t len = value->kind == JSON_KIND_STRING ? value->len : 0, n_wire = 0;
    bool good = len > 0;
    for (size_t i = 0; i < len && n_wire <= ENVID_MAX; i++) {
        good = good && envid[i] >= ' ' && envid[i] < 0x7f;
        n_wire += envid[i] == ' ' || envid[i] == '+' || envid[i] == '=' ? 3 : 1;
    }
    if (good && n_wire <= ENVID_MAX)
        *(const char **)out = envid;
    else
        error_list_add(
            d->errors, where,
            "a string of 1 to %d printable ASCII characters is wanted, of which a space, "
            "+ and = count as three",
            ENVID_MAX);
}

static const struct field dsn_fields[] = {
    {"notify", decode_notify, offsetof(struct mail_dsn, notify)},
    {"ret", decode_ret, offsetof(struct mail_dsn, ret)},
    {"envid", decode_envid, offsetof(struct mail_dsn, envid)},
};

static void decode_dsn(struct decoding *d, const struct json_value *value, const char *where,
                       void *out)
{
    if (value->kind == JSON_KIND_OBJECT)
        decode_object(d, value, where, dsn_fields, 3, out);
    else
        error_list_add(d->errors, where, "an object with notify, ret and envid is wanted");
}

/* --- the message -------------------------------------------------------------------------- */

static const struct field message_fields[] = {
    {"from", decode_address, offsetof(struct message, from)},
    {"sender", decode_sender, offsetof(struct message, sender)},
    {"to", decode_addresses, offsetof(struct message, to)},
    {"cc", decode_addresses, offsetof(struct message, cc)},
    {"bcc", decode_addresses, offsetof(struct message, bcc)},
    {"reply_to", decode_addresses, offsetof(struct message, reply_to)},
    {"subject", decode_header_text, offsetof(struct message, subject)},
    {"text", decode_text, offsetof(struct message, text)},
    {"html", decode_text, offsetof(struct message, html)},
    {"attachments", decode_attachments, 0},
    {"headers", decode_headers, 0},
    {"message_id", decode_header_text, offsetof(struct message, message_id)},
    {"in_reply_to", decode_header_text, offsetof(struct message, in_reply_to)},
    {"references", decode_references, 0},
    {"envelope", decode_envelope, 0},
    {"tags", decode_tags, 0},
    {"metadata", decode_metadata, offsetof(struct message, metadata)},
    {"amp", NULL, 0},
    {"calendar", NULL, 0},
    {"list_unsubscribe", NULL, 0},
    {"raw", NULL, 0},
    {"template", NULL, 0},
    {"data", NULL, 0},
    {"strict", NULL, 0},
    {"relay", decode_header_text, offsetof(struct message, options.relay)},
    {"priority", decode_priority, offsetof(struct message, options.priority)},
    {"send_at", NULL, 0},
    {"ttl", decode_duration, offsetof(struct message, ttl_ms)},
    {"dsn", decode_dsn, offsetof(struct message, options.dsn)},
    {"require_tls", decode_bool, offsetof(struct message, options.require_tls)},
};

/* What must be there; told together with what is wrong. */
static void look_for_missing(struct decoding *d, const struct json_value *value)
{
    if (!is_given(value, "from"))
        error_list_add(d->errors, "/from", "is missing");
    if (!is_given(value, "to") && !is_given(value, "cc") && !is_given(value, "bcc") &&
        !is_given(json_member(value, "envelope"), "to"))
        error_list_add(d->errors, "/to",
                       "is missing: nobody is in to, cc, bcc or the envelope's to");
}

int decode_message(struct arena *arena, const struct json_value *value, struct message *out,
                   struct error_list *errors, struct error *err)
{
    struct decoding d = {.arena = arena, .errors = errors};
    *out = (struct message){.options = MAIL_OPTIONS_NONE};
    decode_object(&d, value, "", message_fields, sizeof(message_fields) / sizeof(message_fields[0]),
                  out);
    look_for_missing(&d, value);
    if (d.no_memory)
        return error_set(err, ERR_NOMEM, "message");
    return errors->n_total == 0 ? 0 : -1;
}
