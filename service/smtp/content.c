#include "smtp/content.h"

#include <stdint.h>
#include <string.h>

#include "message/text.h"

static bool ends_a_line(const char *data, size_t len)
{
    return len == 0 || (len >= 2 && memcmp(data + len - 2, "\r\n", 2) == 0);
}

void smtp_content_init(struct smtp_content *content, const char *data, size_t len)
{
    *content = (struct smtp_content){
        .begin = data,
        .at = data,
        .end = len > 0 ? data + len : data,
        .stuffed = true,
        .trailer = ends_a_line(data, len) ? ".\r\n" : "\r\n.\r\n",
    };
}

size_t smtp_content_init_chunk(struct smtp_content *content, const char *data, size_t len)
{
    *content = (struct smtp_content){
        .begin = data,
        .at = data,
        .end = len > 0 ? data + len : data,
        .trailer = ends_a_line(data, len) ? "" : "\r\n",
    };
    return len + strlen(content->trailer);
}

/* The first dot in [from, end) that stands at the start of a line, or `end`. Dots are searched for
 * rather than line ends, because base64 has none: an attachment is one memchr(). The octet before
 * `from` must be readable. */
static const char *leading_dot(const char *from, const char *end)
{
    const char *dot = from;
    while ((dot = memchr(dot, '.', (size_t)(end - dot))) != NULL) {
        if (dot[-1] == '\n')
            return dot;
        dot++;
    }
    return end;
}

static bool wants_doubling(const struct smtp_content *content)
{
    return content->stuffed && *content->at == '.' && !content->doubled &&
           (content->at == content->begin || content->at[-1] == '\n');
}

/* How many of the next `len` octets can go as they are. */
static size_t plain_run(const struct smtp_content *content, size_t len)
{
    if (!content->stuffed)
        return len;
    return (size_t)(leading_dot(content->at + 1, content->at + len) - content->at);
}

size_t smtp_content_pull(struct smtp_content *content, char *buf, size_t size)
{
    size_t len = 0;
    while (len < size && content->at < content->end) {
        if (wants_doubling(content)) {
            buf[len++] = '.';
            content->doubled = true;
            continue;
        }
        size_t left = (size_t)(content->end - content->at), room = size - len;
        size_t run = plain_run(content, left < room ? left : room);
        memcpy(buf + len, content->at, run);
        len += run;
        content->at += run;
        content->doubled = false;
    }
    while (len < size && content->at == content->end && *content->trailer != '\0')
        buf[len++] = *content->trailer++;
    return len;
}

bool smtp_content_done(const struct smtp_content *content)
{
    return content->at == content->end && *content->trailer == '\0';
}

/* By words: it is done for every transaction, and a content may have megabytes. */
bool smtp_content_is_8bit(const char *data, size_t len)
{
    uint64_t all = 0, word;
    size_t at = 0;
    for (; len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, data + at, sizeof(word));
        all |= word;
    }
    return (all & UINT64_C(0x8080808080808080)) != 0 || !text_is_ascii(data + at, len - at);
}
