#ifndef POSTERN_SMTP_DIALOGUE_STATE_H
#define POSTERN_SMTP_DIALOGUE_STATE_H

/*
 * The inside of a dialogue, shared by the files that play its phases in wire order: opening
 * (greeting, EHLO, STARTTLS), authentication, transfer (MAIL to the content's end, RSET).
 * dialogue.c feeds them replies and sends what they ask for.
 */

#include "smtp/login.h"
#include "smtp/owed.h"
#include "smtp/parameters.h"
#include "smtp/reply.h"
#include "smtp/settings.h"

enum {
    /* RFC 5321 has 512, and each parameter adds to it. Addresses are bounded in transaction.c, host
     * names in opening.c. */
    DIALOGUE_LINE_SIZE = 512 + SMTP_PARAMETERS_SIZE,
};

struct smtp_dialogue {
    const struct smtp_options *options; /* borrowed */
    struct smtp_extensions extensions;

    struct smtp_reply reply;   /* being read */
    enum smtp_arrival arrival; /* of its first octet */
    struct reply_record said;  /* the last whole one, fit to be shown */

    struct smtp_owed_queue owed;
    enum smtp_step last_step; /* answered last */
    int64_t since_ms;         /* when the first of them became the first, or last made progress */
    int64_t first_ms;         /* when it became the first; later by what this process stood still */
    uint64_t first_written;   /* ... and `written` then */

    uint64_t pulled, written; /* octets, ever */
    const char *text;         /* the command being sent: what is left of it */
    size_t text_len;
    char line[DIALOGUE_LINE_SIZE];

    struct sasl_credentials credentials; /* the options', and the token once it has come */
    char *token;                         /* owned; NULL: none has come */
    bool wants_token, token_refused;     /* one was: the next is the last */
    struct smtp_login login;
    struct login_memory *memory; /* of the options, or the next: for this connection alone */
    struct login_memory own_memory;
    bool login_away; /* taken, to be run */
    bool fell_back;  /* a challenge was refused: the password itself follows */
    bool tls, wants_tls;
    bool ready, quitting;
    bool unclear;       /* the last transaction may have left something open at the server */
    bool rset_asked;    /* ... of which the RSET on its way will clear it */
    bool refused_chunk; /* ... and its content may have been read as commands */
    bool grouped;       /* a reply has come for a command that was sent with others behind it */
    bool farewell;      /* it said that it goes: what stands behind that was not done */
    bool over, closed;

    unsigned without; /* enum smtp_extension: on this connection, from its beginning */
    unsigned window;  /* transactions under way at once, now */
    uint64_t n_begun;
    size_t n_under_way;
    struct smtp_tx_list under_way, results;
    struct smtp_tx *shown; /* whose result the caller looks at */
};

int dialogue_reply_class(const struct smtp_dialogue *d);
bool dialogue_is_refused(const struct smtp_dialogue *d); /* 4xx or 5xx */
/* These three return -1, with the reply as the detail. */
int dialogue_refused(const struct smtp_dialogue *d, enum error_code code, struct error *err);
int dialogue_relay_refused(const struct smtp_dialogue *d, struct error *err);
int dialogue_no_answer(const struct smtp_dialogue *d, const struct smtp_owed *owed,
                       struct error *err);
/* The text of the command whose turn it is: borrowed, or written into `line`. */
void dialogue_send(struct smtp_dialogue *d, const char *text, size_t len);
void dialogue_put(struct smtp_dialogue *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Another reply is the first that is owed. */
void dialogue_begin_wait(struct smtp_dialogue *d, int64_t now_ms);
void dialogue_ask(struct smtp_dialogue *d, const struct smtp_command *command);
/* What it offers does not work; those under way go on as they are. */
void dialogue_distrust(struct smtp_dialogue *d, unsigned extensions);

#endif
