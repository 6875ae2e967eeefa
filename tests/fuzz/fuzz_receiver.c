/*
 * The sandbox's receiver under any client: whatever it is sent, and in whatever pieces, it stays
 * within its bounds, says the same, and hands on only contents that a strict server may take.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/receiver.h"
#include "sandbox/steering.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct steering *steering;
    struct buffer said;
    struct buffer contents;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* CRLF only, and no line too long: then nothing in it can end it early. */
static void check_content(const struct bytes *content)
{
    size_t line = 0;
    for (size_t i = 0; i < content->len; i++) {
        char c = content->data[i];
        bool cr = c == '\r', lf = c == '\n';
        require(!lf || (i > 0 && content->data[i - 1] == '\r'));
        require(!cr || (i + 1 < content->len && content->data[i + 1] == '\n'));
        line = lf ? 0 : line + !cr;
        require(line <= RECEIVER_LINE_MAX);
    }
    require(content->len == 0 || content->data[content->len - 1] == '\n');
}

static const char *on_recipient(void *arg, const char *address)
{
    return steering_on_recipient(address);
}

static struct receiver_verdict on_mail(void *arg, const struct receiver_mail *mail)
{
    struct seen *seen = arg;
    check_content(mail->content);
    require(mail->n_to > 0 && mail->n_to <= RECEIVER_RECIPIENTS_MAX);
    for (size_t i = 0; i < mail->n_to; i++)
        require(strpbrk(mail->to[i], "\r\n") == NULL);
    buffer_append(&seen->contents, mail->content->data, mail->content->len);
    return steering_on_mail(seen->steering, mail).receiver;
}

static void converse(struct seen *seen, const char *data, size_t size, size_t piece)
{
    struct receiver_budget budget = {.max = 1 << 16};
    const struct receiver_owner owner = {on_recipient, on_mail, seen, &budget};
    seen->steering = steering_new();
    buffer_init(&seen->said, 16 << 20);
    buffer_init(&seen->contents, 16 << 20);
    struct receiver *receiver = receiver_new(&owner);
    for (size_t used = 0; used < size && !receiver_over(receiver);) {
        size_t n = size - used < piece ? size - used : piece;
        size_t taken = receiver_feed(receiver, data + used, n);
        require(taken <= n && budget.used <= budget.max + sizeof(struct bytes));
        used += taken;
        struct buffer *out = receiver_out(receiver);
        require(!out->failed);
        buffer_append(&seen->said, out->data, out->len);
        buffer_reset(out);
        receiver_resume(receiver);
    }
    receiver_free(receiver);
    require(budget.used == 0);
    steering_free(seen->steering);
}

static bool same(const struct buffer *a, const struct buffer *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, pieces;
    if (size == 0)
        return 0;
    converse(&whole, (const char *)data + 1, size - 1, size);
    converse(&pieces, (const char *)data + 1, size - 1, 1 + data[0] % 16);
    require(same(&whole.said, &pieces.said));
    require(same(&whole.contents, &pieces.contents));
    buffer_clear(&whole.said);
    buffer_clear(&whole.contents);
    buffer_clear(&pieces.said);
    buffer_clear(&pieces.contents);
    return 0;
}
