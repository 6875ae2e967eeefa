#ifndef POSTERN_MESSAGE_MESSAGE_H
#define POSTERN_MESSAGE_MESSAGE_H

/*
 * A message as a client means it, decoded and checked, before it is composed. Every pointer is
 * borrowed from the arena (or the request body) of whoever made it. All text is valid UTF-8;
 * nothing that becomes a header holds a control character.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mail/options.h"
#include "message/address.h"

enum { MESSAGE_RECIPIENTS_MAX = 1000, MESSAGE_REFERENCES_MAX = 1000 };

struct text {
    const char *data; /* NULL: absent. May hold any octet but is valid UTF-8 */
    size_t len;
};

/* A field that the client set: made by header_field_set(), which judges it. */
struct header_field {
    const char *name;
    const char *value;             /* UTF-8, without blanks around it */
    bool is_free_text;             /* what is not ASCII becomes encoded words */
    struct address_list addresses; /* if it has any they are written in the value's stead: phrases
                                      that are not ASCII become encoded words */
};

struct attachment {
    const char *filename;     /* UTF-8, at most 255 characters; NULL for none */
    const char *content_type; /* as the client wrote it; NULL: told from the file name */
    const char *content_id;   /* without <>; NULL for none */
    bool is_inline;           /* with a content_id it goes to multipart/related */
    const char *base64;       /* as the client sent it, not yet validated */
    size_t base64_len;
};

struct message {
    struct address from;
    const struct address *sender; /* NULL: none */
    struct address_list to, cc, bcc, reply_to;
    const char *subject; /* NULL: none */
    struct text text, html;
    struct attachment *attachments;
    size_t n_attachments;
    struct header_field *headers;
    size_t n_headers;
    const char *message_id; /* with <>; NULL: made by the composer */
    const char *in_reply_to;
    const char *const *references;
    size_t n_references;

    const char *envelope_from;       /* NULL: Sender, else From. "" is the null sender */
    struct address_list envelope_to; /* empty: to, cc, bcc */
    const char *const *tags;
    size_t n_tags;
    const char *metadata; /* JSON text: an object of strings; NULL: none */
    struct mail_options options;
    int64_t ttl_ms; /* 0: as the settings say */
};

#endif
