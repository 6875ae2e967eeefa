#ifndef POSTERN_SMTP_CONTENT_H
#define POSTERN_SMTP_CONTENT_H

/*
 * A message's content as it goes out: behind DATA with leading dots doubled and the final dot at
 * the end (RFC 5321, 4.5.2), in a BDAT chunk as it is (RFC 3030). It is read in slices of any size
 * straight from the caller's octets, so a large message is never copied as a whole.
 */

#include <stdbool.h>
#include <stddef.h>

struct smtp_content {
    const char *begin, *at, *end; /* borrowed */
    bool stuffed;                 /* dots are doubled */
    bool doubled;                 /* the extra dot before `at` is out */
    const char *trailer;          /* what is left of the final dot's line */
};

/* `len` 0: the lone dot. */
void smtp_content_init(struct smtp_content *content, const char *data, size_t len);
/* Returns how many octets the chunk has. */
size_t smtp_content_init_chunk(struct smtp_content *content, const char *data, size_t len);
size_t smtp_content_pull(struct smtp_content *content, char *buf, size_t size);
bool smtp_content_is_8bit(const char *data, size_t len);    /* has an octet of 0x80 or more */
bool smtp_content_done(const struct smtp_content *content); /* the last octet was pulled */

#endif
