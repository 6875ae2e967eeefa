#ifndef POSTERN_MAIL_REPLY_H
#define POSTERN_MAIL_REPLY_H

/* A relay's reply as it is kept and shown; `code` 0: there was none. */
struct reply_record {
    int code;
    char enhanced[12]; /* "5.1.1", or "" */
    char text[256];    /* lines joined by a space, control characters made harmless */
};

#endif
