/* JSON to a message, and what is decoded on to the octets that would be sent. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/decode.h"
#include "message/compose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct compose_options options = {
    .now_ms = 1795435200000, .id = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .size_limit = 1 << 20};

/* No line end but CRLF, no line over 998 octets: nothing may end the data early. */
static void check_lines(const struct bytes *content)
{
    size_t line = 0;
    for (size_t i = 0; i < content->len; i++, line++) {
        char c = content->data[i];
        char before = i > 0 ? content->data[i - 1] : '\0';
        if ((c == '\n') != (before == '\r') || c == '\0')
            abort();
        if (c == '\n')
            line = (size_t)-1;
        if (line != (size_t)-1 && line > 998)
            abort();
    }
}

static void compose(struct arena *arena, const struct message *message)
{
    CLEANUP(error_list_clear) struct error_list errors = {0};
    struct error err;
    struct envelope envelope;
    struct composed composed;
    if (message_envelope(arena, message, &envelope, &errors, &err) < 0 ||
        message_compose(arena, message, &options, &composed, &errors, &err) < 0)
        return;
    for (size_t i = 0; i < envelope.n_to; i++) /* a quoted local part may hold brackets */
        if (strpbrk(envelope.to[i], envelope.to[i][0] == '"' ? "\r\n" : "\r\n<> ") != NULL)
            abort();
    check_lines(composed.content);
    bytes_unref(composed.content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json_value *value;
    struct error err;
    struct message message;
    CLEANUP(error_list_clear) struct error_list errors = {0};
    CLEANUP(buffer_clear) struct buffer body;
    CLEANUP(arena_free) struct arena *arena = arena_new();
    buffer_init(&body, size);
    buffer_append(&body, data, size);
    if (decode_json(arena, &body, &value, &err) == 0 &&
        decode_message(arena, value, &message, &errors, &err) == 0)
        compose(arena, &message);
    return 0;
}
