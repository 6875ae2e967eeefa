#include "api/decode.h"

#include <stdio.h>
#include <string.h>

#include "message/header.h"
#include "message/text.h"

enum {
    DEPTH_MAX = 16,
    NODES_MAX = 20000,
    LIST_MAX = 1000,
    TAGS_MAX = 20,
    TAG_MAX = 128,
    METADATA_MAX = 50,
    METADATA_VALUE_MAX = 1024,
};

struct decoding {
    struct arena *arena;
    struct error_list *errors;
    struct message *message;
};

/* --- JSON --------------------------------------------------------------------------------- */

/* jansson spends some 77 octets of memory on one of a body like [{},{},...]: count first. */
static int scan(const char *body, size_t len, struct error *err)
{
    size_t depth = 0, nodes = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = body[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        in_string = c == '"';
        nodes += c == ',' || c == '{' || c == '[' || c == ':';
        depth += c == '{' || c == '[';
        if (depth > DEPTH_MAX)
            return error_set(err, ERR_MALFORMED, "more than %d levels, at offset %zu", DEPTH_MAX,
                             i);
        if (nodes > NODES_MAX)
            return error_set(err, ERR_TOO_LARGE, "more than %d values", NODES_MAX);
        if ((c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return 0;
}

int decode_json(const char *body, size_t len, json_t **tree_out, struct error *err)
{
    json_error_t why;
    if (len == 0)
        return error_set(err, ERR_MALFORMED, "the body is empty: a JSON object is wanted");
    if (scan(body, len, err) < 0)
        return -1;
    json_t *tree = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (tree == NULL) {
        bool twice = json_error_code(&why) == json_error_duplicate_key;
        return error_set(err, ERR_MALFORMED, "%s at offset %d",
                         twice ? "a key stands twice in one object, before or" : "not JSON",
                         why.position);
    }
    if (!json_is_object(tree)) {
        json_decref(tree);
        return error_set(err, ERR_MALFORMED, "a JSON object is wanted, at offset 0");
    }
    *tree_out = tree;
    return 0;
}

/* --- strings ------------------------------------------------------------------------------ */

/* Text for a header; NULL after telling, or if it is absent. */
static const char *header_string(struct decoding *d, const json_t *value, const char *where)
{
    if (value == NULL || json_is_null(value))
        return NULL;
    if (!json_is_string(value)) {
        error_list_add(d->errors, where, "a string is wanted");
        return NULL;
    }
    const char *fault = text_header_fault(json_string_value(value), json_string_length(value));
    if (fault != NULL) {
        error_list_add(d->errors, where, "%s", fault);
        return NULL;
    }
    return json_string_value(value);
}

/* --- fields ------------------------------------------------------------------------------- */

static void decode_address(struct decoding *d, const json_t *value, const char *where,
                           struct address *out)
{
    struct error err;
    const char *key;
    json_t *part;
    if (json_is_string(value)) {
        if (address_parse(d->arena, json_string_value(value), json_string_length(value), out,
                          &err) < 0)
            error_list_add(d->errors, where, "%s", err.detail);
        return;
    }
    const json_t *name = json_object_get(value, "name");
    const json_t *email = json_object_get(value, "email");
    if (!json_is_object(value) || !json_is_string(email) ||
        (name != NULL && !json_is_null(name) && !json_is_string(name))) {
        error_list_add(d->errors, where, "an address is a string or {name, email}");
        return;
    }
    json_object_foreach((json_t *)value, key,
                        part) if (strcmp(key, "name") != 0 && strcmp(key, "email") != 0)
        error_list_add(d->errors, where, "an address has name and email, nothing else");
    if (address_from_parts(d->arena, json_string_value(name), json_string_length(name),
                           json_string_value(email), json_string_length(email), out, &err) < 0)
        error_list_add(d->errors, where, "%s", err.detail);
}

/* A list, or one that stands for a list of one. */
static void decode_addresses(struct decoding *d, const json_t *value, const char *where,
                             struct address_list *out)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    if (n > LIST_MAX) {
        error_list_add(d->errors, where, "more than %d addresses", LIST_MAX);
        return;
    }
    out->items = arena_alloc_array(d->arena, n + 1, sizeof(*out->items));
    if (out->items == NULL) {
        error_list_add(d->errors, where, "out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char item[128];
        snprintf(item, sizeof(item), "%s/%zu", where, i);
        decode_address(d, json_is_array(value) ? json_array_get(value, i) : value,
                       json_is_array(value) ? item : where, &out->items[i]);
    }
    out->n_items = n;
}

static void decode_sender(struct decoding *d, const json_t *value, const char *where)
{
    struct address *sender = arena_alloc(d->arena, sizeof(*sender));
    if (sender == NULL)
        return;
    decode_address(d, value, where, sender);
    d->message->sender = sender;
}

static void decode_from(struct decoding *d, const json_t *value, const char *where)
{
    if (json_is_array(value))
        error_list_add(d->errors, where, "one address is wanted");
    else
        decode_address(d, value, where, &d->message->from);
}

static void decode_to(struct decoding *d, const json_t *value, const char *where)
{
    decode_addresses(d, value, where, &d->message->to);
}

static void decode_cc(struct decoding *d, const json_t *value, const char *where)
{
    decode_addresses(d, value, where, &d->message->cc);
}

static void decode_bcc(struct decoding *d, const json_t *value, const char *where)
{
    decode_addresses(d, value, where, &d->message->bcc);
}

static void decode_reply_to(struct decoding *d, const json_t *value, const char *where)
{
    decode_addresses(d, value, where, &d->message->reply_to);
}

static void decode_subject(struct decoding *d, const json_t *value, const char *where)
{
    d->message->subject = header_string(d, value, where);
}

static void decode_body(struct decoding *d, const json_t *value, const char *where,
                        struct text *out)
{
    if (!json_is_string(value))
        error_list_add(d->errors, where, "a string is wanted");
    else
        *out = (struct text){json_string_value(value), json_string_length(value)};
}

static void decode_text(struct decoding *d, const json_t *value, const char *where)
{
    decode_body(d, value, where, &d->message->text);
}

static void decode_html(struct decoding *d, const json_t *value, const char *where)
{
    decode_body(d, value, where, &d->message->html);
}

static void decode_message_id(struct decoding *d, const json_t *value, const char *where)
{
    d->message->message_id = header_string(d, value, where);
}

static void decode_in_reply_to(struct decoding *d, const json_t *value, const char *where)
{
    d->message->in_reply_to = header_string(d, value, where);
}

static const char *const *decode_strings(struct decoding *d, const json_t *value, const char *where,
                                         size_t most, size_t *n_out)
{
    size_t n = json_array_size(value);
    *n_out = 0;
    if (!json_is_array(value) || n > most) {
        error_list_add(d->errors, where, "a list of at most %zu strings is wanted", most);
        return NULL;
    }
    const char **items = arena_alloc_array(d->arena, n + 1, sizeof(*items));
    for (size_t i = 0; items != NULL && i < n; i++) {
        char item[128];
        snprintf(item, sizeof(item), "%s/%zu", where, i);
        const json_t *string = json_array_get(value, i);
        if (json_is_null(string))
            error_list_add(d->errors, item, "a string is wanted");
        items[i] = header_string(d, string, item);
        items[i] = items[i] != NULL ? items[i] : "";
        *n_out = i + 1;
    }
    return items;
}

static void decode_references(struct decoding *d, const json_t *value, const char *where)
{
    d->message->references = decode_strings(d, value, where, 100, &d->message->n_references);
}

static void decode_tags(struct decoding *d, const json_t *value, const char *where)
{
    struct message *m = d->message;
    m->tags = decode_strings(d, value, where, TAGS_MAX, &m->n_tags);
    for (size_t i = 0; i < m->n_tags; i++)
        if (strlen(m->tags[i]) > TAG_MAX)
            error_list_add(d->errors, where, "a tag has at most %d octets", TAG_MAX);
}

static void decode_metadata(struct decoding *d, const json_t *value, const char *where)
{
    const char *key;
    json_t *item;
    if (!json_is_object(value) || json_object_size(value) > METADATA_MAX) {
        error_list_add(d->errors, where, "an object of at most %d strings is wanted", METADATA_MAX);
        return;
    }
    json_object_foreach((json_t *)value, key, item)
    {
        char pointer[128];
        snprintf(pointer, sizeof(pointer), "%s/%s", where, key);
        if (!json_is_string(item) || json_string_length(item) > METADATA_VALUE_MAX)
            error_list_add(d->errors, pointer, "a string of at most %d octets is wanted",
                           METADATA_VALUE_MAX);
    }
    d->message->metadata = value;
}

static void decode_envelope(struct decoding *d, const json_t *value, const char *where)
{
    const char *key;
    json_t *item;
    if (!json_is_object(value)) {
        error_list_add(d->errors, where, "an object with from and to is wanted");
        return;
    }
    json_object_foreach((json_t *)value, key, item)
    {
        struct address from = {0};
        if (json_is_null(item))
            continue;
        if (strcmp(key, "to") == 0) {
            decode_addresses(d, item, "/envelope/to", &d->message->envelope_to);
        } else if (strcmp(key, "from") != 0) {
            error_list_add(d->errors, where, "has from and to, nothing else");
        } else if (json_is_string(item) && json_string_length(item) == 0) {
            d->message->envelope_from = "";
        } else {
            decode_address(d, item, "/envelope/from", &from);
            d->message->envelope_from = from.email;
        }
    }
}

static void decode_header(struct decoding *d, const char *name, const json_t *value,
                          struct header_field *out)
{
    char where[160];
    snprintf(where, sizeof(where), "/headers/%s", name);
    const char *fault = header_name_fault(name);
    if (fault != NULL)
        error_list_add(d->errors, where, "%s", fault);
    else if (json_is_null(value))
        error_list_add(d->errors, where, "a string is wanted");
    out->name = name;
    out->value = header_string(d, value, where);
    if (out->value == NULL)
        out->value = "";
}

static void decode_headers(struct decoding *d, const json_t *value, const char *where)
{
    const char *name;
    json_t *item;
    struct message *m = d->message;
    if (!json_is_object(value) || json_object_size(value) > 100) {
        error_list_add(d->errors, where, "an object of at most 100 strings is wanted");
        return;
    }
    m->headers = arena_alloc_array(d->arena, json_object_size(value) + 1, sizeof(*m->headers));
    if (m->headers == NULL)
        return;
    json_object_foreach((json_t *)value, name, item)
        decode_header(d, name, item, &m->headers[m->n_headers++]);
}

static void decode_attachment(struct decoding *d, const json_t *value, const char *where,
                              struct attachment *out)
{
    static const char *const known[] = {"filename", "content", "content_type", "disposition",
                                        "content_id"};
    const char *key;
    json_t *item;
    char pointer[160];
    out->content_type = "application/octet-stream";
    if (!json_is_object(value)) {
        error_list_add(d->errors, where, "an object is wanted");
        return;
    }
    json_object_foreach((json_t *)value, key, item)
    {
        size_t k = 0;
        while (k < 5 && strcmp(key, known[k]) != 0)
            k++;
        snprintf(pointer, sizeof(pointer), "%s/%.40s", where, key);
        if (k == 5)
            error_list_add(d->errors, pointer, "is not a field of an attachment");
    }
    snprintf(pointer, sizeof(pointer), "%s/filename", where);
    out->filename = header_string(d, json_object_get(value, "filename"), pointer);
    snprintf(pointer, sizeof(pointer), "%s/content_type", where);
    const char *type = header_string(d, json_object_get(value, "content_type"), pointer);
    out->content_type = type != NULL ? type : out->content_type;
    snprintf(pointer, sizeof(pointer), "%s/content_id", where);
    out->content_id = header_string(d, json_object_get(value, "content_id"), pointer);
    snprintf(pointer, sizeof(pointer), "%s/disposition", where);
    const char *disposition = header_string(d, json_object_get(value, "disposition"), pointer);
    out->is_inline = disposition != NULL && strcmp(disposition, "inline") == 0;
    if (disposition != NULL && !out->is_inline && strcmp(disposition, "attachment") != 0)
        error_list_add(d->errors, pointer, "is attachment or inline");
    snprintf(pointer, sizeof(pointer), "%s/content", where);
    const json_t *content = json_object_get(value, "content");
    if (!json_is_string(content))
        error_list_add(d->errors, pointer, "a string of base64 is wanted");
    out->base64 = json_is_string(content) ? json_string_value(content) : "";
    out->base64_len = json_string_length(content);
}

static void decode_attachments(struct decoding *d, const json_t *value, const char *where)
{
    struct message *m = d->message;
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > LIST_MAX) {
        error_list_add(d->errors, where, "a list of at most %d attachments is wanted", LIST_MAX);
        return;
    }
    m->attachments = arena_alloc_array(d->arena, n + 1, sizeof(*m->attachments));
    for (size_t i = 0; m->attachments != NULL && i < n; i++) {
        char item[64];
        snprintf(item, sizeof(item), "%s/%zu", where, i);
        decode_attachment(d, json_array_get(value, i), item, &m->attachments[i]);
        m->n_attachments = i + 1;
    }
}

/* --- the message -------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*decode)(struct decoding *d, const json_t *value, const char *where); /* NULL: later */
} fields[] = {
    {"from", decode_from},
    {"sender", decode_sender},
    {"to", decode_to},
    {"cc", decode_cc},
    {"bcc", decode_bcc},
    {"reply_to", decode_reply_to},
    {"subject", decode_subject},
    {"text", decode_text},
    {"html", decode_html},
    {"attachments", decode_attachments},
    {"headers", decode_headers},
    {"message_id", decode_message_id},
    {"in_reply_to", decode_in_reply_to},
    {"references", decode_references},
    {"envelope", decode_envelope},
    {"tags", decode_tags},
    {"metadata", decode_metadata},
    {"amp", NULL},
    {"calendar", NULL},
    {"list_unsubscribe", NULL},
    {"raw", NULL},
    {"template", NULL},
    {"data", NULL},
    {"strict", NULL},
    {"relay", NULL},
    {"priority", NULL},
    {"send_at", NULL},
    {"ttl", NULL},
    {"dsn", NULL},
    {"require_tls", NULL},
};

/* RFC 6901, 3. */
static void pointer_to(const char *key, char *out, size_t size)
{
    size_t n = 0;
    out[n++] = '/';
    for (; *key != '\0' && n + 3 < size; key++) {
        if (*key == '~' || *key == '/') {
            out[n++] = '~';
            out[n++] = *key == '~' ? '0' : '1';
        } else {
            out[n++] = *key;
        }
    }
    out[n] = '\0';
}

static void decode_field(struct decoding *d, const char *key, const json_t *value)
{
    char where[96];
    pointer_to(key, where, sizeof(where));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(fields[i].name, key) != 0)
            continue;
        if (fields[i].decode == NULL)
            error_list_add(d->errors, where, "is not supported yet in this version");
        else
            fields[i].decode(d, value, where);
        return;
    }
    error_list_add(d->errors, where, "is not a field of a message");
}

int decode_message(struct arena *arena, const json_t *tree, struct message *out,
                   struct error_list *errors)
{
    struct decoding d = {.arena = arena, .errors = errors, .message = out};
    const char *key;
    json_t *value;
    *out = (struct message){0};
    json_object_foreach((json_t *)tree, key, value)
    {
        if (!json_is_null(value)) /* the same as absent */
            decode_field(&d, key, value);
    }
    if (json_object_get(tree, "from") == NULL || json_is_null(json_object_get(tree, "from")))
        error_list_add(errors, "/from", "is missing");
    return errors->n_total == 0 ? 0 : -1;
}
