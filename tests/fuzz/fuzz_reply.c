/* The reply parser: the same replies however the octets are cut, and only codes it may give. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(struct buffer *seen, const struct smtp_reply *reply)
{
    struct reply_record record;
    smtp_reply_record(reply, &record);
    if (reply->code < 200 || reply->code > 599 || strpbrk(record.text, "\r\n") != NULL)
        abort();
    buffer_printf(seen, "%d %s %zu %s\n", reply->code, reply->enhanced, reply->n_lines,
                  record.text);
}

static void read_all(const char *data, size_t size, size_t piece, struct buffer *seen)
{
    struct smtp_reply reply;
    struct error err;
    smtp_reply_init(&reply);
    for (size_t at = 0; at < size;) {
        size_t n = size - at < piece ? size - at : piece, used = 0;
        enum smtp_feed got = smtp_reply_feed(&reply, data + at, n, &used, &err);
        if (got == SMTP_FEED_ERROR) {
            buffer_append_str(seen, "error\n");
            break;
        }
        if (used > n || (got == SMTP_FEED_MORE && used != n))
            abort();
        if (got == SMTP_FEED_REPLY)
            note(seen, &reply);
        at += used;
    }
    smtp_reply_clear(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct buffer whole, pieces;
    buffer_init(&whole, 16 << 20);
    buffer_init(&pieces, 16 << 20);
    read_all((const char *)data + 1, size - 1, size, &whole);
    read_all((const char *)data + 1, size - 1, 1 + data[0] % 8, &pieces);
    if (whole.len != pieces.len ||
        (whole.len > 0 && memcmp(whole.data, pieces.data, whole.len) != 0))
        abort();
    buffer_clear(&whole);
    buffer_clear(&pieces);
    return 0;
}
