/*
 * What the composer writes, read back by another parser (GMime): the subject, the names, the texts
 * and the attachment come back as they went in.
 */

#include <assert.h>
#include <gmime/gmime.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "message/compose.h"
#include "message/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ONE_WORD = 8 }; /* octets that surely fit into one encoded word */

struct fields { /* of the input, one behind the other, divided by 0xff, which no UTF-8 has */
    char *subject, *name, *filename, *text, *html;
    const uint8_t *content;
    size_t content_len;
};

static char *next_field(const uint8_t **data, size_t *size, bool is_header)
{
    const uint8_t *stop = memchr(*data, 0xff, *size);
    size_t n = stop != NULL ? (size_t)(stop - *data) : *size;
    char *field = g_utf8_make_valid((const char *)*data, (gssize)n);
    *data += n + (stop != NULL);
    *size -= n + (stop != NULL);
    for (char *c = field; is_header && *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '_';
    if (is_header)
        g_strstrip(field);
    if (is_header && text_header_fault(field, strlen(field)) != NULL)
        field[0] = '\0'; /* it would have been refused */
    return field;
}

/* Parts end with a line end, however they came, and line ends are CRLF. */
static char *as_lines(const char *text, size_t len)
{
    GString *lines = g_string_new(NULL);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
            continue;
        g_string_append_c(lines, text[i] == '\r' ? '\n' : text[i]);
    }
    while (lines->len > 0 && lines->str[lines->len - 1] == '\n')
        g_string_truncate(lines, lines->len - 1);
    return g_string_free(lines, FALSE);
}

static GByteArray *part_octets(GMimeObject *part)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    GMimeDataWrapper *content = g_mime_part_get_content(GMIME_PART(part));
    if (content != NULL)
        g_mime_data_wrapper_write_to_stream(content, stream);
    GByteArray *octets = g_byte_array_new();
    GByteArray *held = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
    g_byte_array_append(octets, held->data, held->len);
    g_object_unref(stream);
    return octets;
}

static void check_text(GMimeObject *part, const char *text)
{
    GByteArray *octets = part_octets(part);
    char *got = as_lines((const char *)octets->data, octets->len);
    char *want = as_lines(text, strlen(text));
    assert(strcmp(got, want) == 0);
    g_free(got);
    g_free(want);
    g_byte_array_unref(octets);
}

static void check_part(GMimeObject *parent, GMimeObject *part, gpointer arg)
{
    const struct fields *fields = arg;
    if (!GMIME_IS_PART(part))
        return;
    GMimeContentType *type = g_mime_object_get_content_type(part);
    if (g_mime_object_get_disposition(part) != NULL) {
        const char *filename = g_mime_part_get_filename(GMIME_PART(part));
        assert(strcmp(filename != NULL ? filename : "", fields->filename) == 0);
        GByteArray *octets = part_octets(part);
        assert(octets->len == fields->content_len);
        assert(octets->len == 0 || memcmp(octets->data, fields->content, octets->len) == 0);
        g_byte_array_unref(octets);
    } else {
        check_text(part,
                   g_mime_content_type_is_type(type, "text", "html") ? fields->html : fields->text);
    }
}

static char *without_spaces(const char *text)
{
    GString *rest = g_string_new(NULL);
    for (; text != NULL && *text != '\0'; text++)
        if (strchr(" \t\r\n", *text) == NULL)
            g_string_append_c(rest, *text);
    return g_string_free(rest, FALSE);
}

/* GMime leaves folds in a phrase; and it reads neighbouring encoded words as one run of base64 and
 * stops at the padding of the first, though each stands for itself (RFC 2047, 5): of what takes
 * several words it may see the begin. */
static void check_words(const char *got, const char *want)
{
    char *is = without_spaces(got), *should = without_spaces(want);
    bool in_one = strlen(want) <= ONE_WORD;
    size_t n = in_one || strlen(is) > ONE_WORD ? ONE_WORD : strlen(is);
    assert(strncmp(is, should, n) == 0);
    assert(is[0] != '\0' || should[0] == '\0');
    g_free(is);
    g_free(should);
}

static void check_name(InternetAddressList *list, const char *name)
{
    assert(internet_address_list_length(list) == 1);
    InternetAddress *address = internet_address_list_get_address(list, 0);
    const char *got = internet_address_get_name(address);
    if (strpbrk(name, "\"\\") ==
        NULL) /* GMime takes these for quoting, even from an encoded word */
        check_words(got, name);
    assert(strcmp(internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(address)),
                  "alice@example.com") == 0);
}

static void read_back(const struct bytes *content, const struct fields *fields)
{
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(content->data, content->len);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    assert(message != NULL);
    const char *subject = g_mime_message_get_subject(message);
    check_words(subject, fields->subject);
    check_name(g_mime_message_get_from(message), fields->name);
    GMimeObject *root = g_mime_message_get_mime_part(message);
    assert(root != NULL);
    if (GMIME_IS_MULTIPART(root))
        g_mime_multipart_foreach(GMIME_MULTIPART(root), check_part, (gpointer)fields);
    else
        check_part(NULL, root, (gpointer)fields);
    g_object_unref(message);
    g_object_unref(parser);
    g_object_unref(stream);
}

static void compose(const struct fields *fields)
{
    CLEANUP(arena_free) struct arena *arena = arena_new();
    char *base64 = g_base64_encode(fields->content, fields->content_len);
    struct attachment attachment = {.filename = fields->filename,
                                    .content_type = "application/octet-stream",
                                    .base64 = base64,
                                    .base64_len = strlen(base64)};
    struct message message = {.subject = fields->subject,
                              .text = {fields->text, strlen(fields->text)},
                              .html = {fields->html, strlen(fields->html)},
                              .attachments = &attachment,
                              .n_attachments = fields->filename[0] != '\0'};
    struct address to;
    struct error err;
    if (fields->html[0] == '\0')
        message.html = (struct text){0};
    assert(address_from_parts(arena, NULL, 0, "bob@example.net", 15, &to, &err) == 0);
    message.to = (struct address_list){&to, 1};
    CLEANUP(error_list_clear) struct error_list errors = {0};
    const struct compose_options options = {
        .now_ms = 1795435200000, .id = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .size_limit = 1 << 22};
    struct composed composed;
    if (address_from_parts(arena, fields->name, strlen(fields->name), "alice@example.com", 17,
                           &message.from, &err) == 0 &&
        message_compose(arena, &message, &options, &composed, &errors, &err) == 0) {
        read_back(composed.content, fields);
        bytes_unref(composed.content);
    }
    g_free(base64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool begun;
    if (!begun)
        g_mime_init();
    begun = true;
    struct fields fields;
    fields.subject = next_field(&data, &size, true);
    fields.name = next_field(&data, &size, true);
    fields.filename = next_field(&data, &size, true);
    g_strdelimit(fields.filename, "/\\", '_'); /* folders are taken off */
    fields.text = next_field(&data, &size, false);
    fields.html = next_field(&data, &size, false);
    fields.content = data;
    fields.content_len = size;
    compose(&fields);
    g_free(fields.subject);
    g_free(fields.name);
    g_free(fields.filename);
    g_free(fields.text);
    g_free(fields.html);
    return 0;
}
